"""Keras' place for the loops over arrays, for code that calls them with functions of its own."""
import functools

from ..backend.graph import PHASE
from ..callbacks.run import configure
from ..utils.generic_utils import unpack_singleton
from . import training_loop
from .training_loop import Feed
from .training_utils import batch_shuffle, check_num_samples, make_batches

__all__ = ['batch_shuffle', 'check_num_samples', 'fit_loop', 'make_batches', 'predict_loop', 'test_loop']


def _batches(model, f, ins, batch_size, steps, steps_name='steps', shuffle=False):
    """The number of samples and the arrays `ins` as a source of batches for `f`; a last float is a learning phase."""
    arrays, phase = (ins[:-1], ins[-1]) if ins and isinstance(ins[-1], float) else (ins, None)
    samples = check_num_samples(arrays, batch_size, steps, steps_name)
    symbols = [x for x in getattr(f, 'inputs', None) or model._fed_symbols() if x is not PHASE]
    n_weights = len(getattr(f, '_weights', ()))
    return samples, Feed(list(arrays), symbols, n_weights, f, *model._place(), phase, samples=samples,
                         batch_size=batch_size, steps=steps, shuffle=shuffle)


def fit_loop(model, f, ins, out_labels=None, batch_size=None, epochs=100, verbose=1, callbacks=None, val_f=None,
             val_ins=None, shuffle=True, callback_metrics=None, initial_epoch=0, steps_per_epoch=None,
             validation_steps=None):
    """Calls `f` on batches of the arrays `ins` for a number of epochs, and `val_f` on `val_ins` after each.

    Arguments:
        f, val_f: a `train_function` and a `test_function`, or others that take and return lists of arrays.
        ins, val_ins: arrays, and at the end a float where the function takes a learning phase.
        out_labels: names of what `f` returns (default: those of the model's metrics). callback_metrics: names that
            callbacks are told of.
        The others as of `Model.fit`.
    Returns the `History`.
    """
    validates = bool(val_f and val_ins)
    n, batches = _batches(model, f, ins, batch_size, steps_per_epoch, 'steps_per_epoch', shuffle)
    validate = None
    if validates:
        _, held_out = _batches(model, val_f, val_ins, batch_size, validation_steps, 'validation_steps')
        validate = functools.partial(training_loop.test_loop, model, held_out, 0)
    run = configure(model, callbacks, batch_size, epochs, steps_per_epoch, n, verbose, validates)
    if callback_metrics is not None:
        run.set_params({**model.history.params, 'metrics': callback_metrics})
    run.on_train_begin()
    run.set_validation_data(list(val_ins or []))
    training_loop.fit_loop(model, batches, run, range(initial_epoch, epochs), validate, out_labels)
    run.on_train_end()
    return model.history


def predict_loop(model, f, ins, batch_size=32, verbose=0, steps=None):
    """What `f` gives for the arrays `ins`, batch by batch: an array, or a list of arrays."""
    return unpack_singleton(training_loop.predict_loop(_batches(model, f, ins, batch_size, steps)[1], verbose))


def test_loop(model, f, ins, batch_size=None, verbose=0, steps=None):
    """The means of what `f` gives for the batches of the arrays `ins`: a number, or a list of numbers."""
    return unpack_singleton(training_loop.test_loop(model, _batches(model, f, ins, batch_size, steps)[1], verbose))
