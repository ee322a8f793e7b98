"""The callbacks of one training run."""
import inspect

import numpy as np

from .core import CallbackList
from .loggers import BaseLogger, History, ProgbarLogger


def _checked(callbacks):
    """The user's callbacks as a list. Raises TypeError for what is no list, or holds classes or what has no hooks."""
    listed = list(callbacks) if np.iterable(callbacks) else []
    wrong = [callback for callback in listed if inspect.isclass(callback) or not hasattr(callback, 'on_epoch_end')]
    if wrong or callbacks and not listed:
        raise TypeError('`callbacks` must be a list of instances of `keras.callbacks.Callback`. Received: '
                        f'{(wrong or [callbacks])[0]!r}')
    return listed


def configure(model, callbacks=None, batch_size=None, epochs=1, steps_per_epoch=None, samples=None, verbose=1,
              do_validation=False, from_generator=False):
    """The `CallbackList` of one training run, in Keras' order: means, bar, the user's callbacks, history.

    The bar counts steps where `steps_per_epoch` is given, else samples. `from_generator` gives the parameters that
    `fit_generator` gives: no batch_size and samples, and always the names of validation metrics. Sets
    ``model.history``; the model that callbacks see is ``model.callback_model`` where there is one.
    """
    model.history = History()
    stateful = model.stateful_metric_names
    own = [BaseLogger(stateful)]
    if verbose:
        own.append(ProgbarLogger('samples' if steps_per_epoch is None else 'steps', stateful))
    metrics = list(model.metrics_names)
    if do_validation or from_generator:
        metrics += ['val_' + name for name in metrics]
    params = {'batch_size': batch_size, 'epochs': epochs, 'steps': steps_per_epoch, 'samples': samples,
              'verbose': verbose, 'do_validation': do_validation, 'metrics': metrics}
    if from_generator:
        del params['batch_size'], params['samples']
    run = CallbackList([*own, *_checked(callbacks), model.history])
    run.set_model(getattr(model, 'callback_model', None) or model)
    run.set_params(params)
    return run
