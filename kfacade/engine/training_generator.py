"""Training, evaluating and predicting on batches that a generator or a `Sequence` gives."""
import itertools
import warnings
from contextlib import ExitStack, contextmanager

import numpy as np

from ..backend.session import to_numpy
from ..backend.symbolic import as_tensor
from ..callbacks.logs import Logs
from ..utils.data_utils import GeneratorEnqueuer, OrderedEnqueuer, Sequence
from ..utils.generic_utils import to_list, unpack_singleton
from ..utils.progbar import Progbar
from .training_utils import iter_sequence_infinite


def fit_generator(model, generator, steps_per_epoch=None, epochs=1, verbose=1, callbacks=None, validation_data=None,
                  validation_steps=None, class_weight=None, max_queue_size=10, workers=1, use_multiprocessing=False,
                  shuffle=True, initial_epoch=0):
    """`Model.fit_generator`."""
    from .. import callbacks as cbks
    model._require_compiled()
    _warn_of_duplicates(generator, workers, use_multiprocessing)
    steps_per_epoch = _count(generator, steps_per_epoch, 'steps_per_epoch')
    validates = bool(validation_data)
    val_from_generator = validates and (isinstance(validation_data, Sequence) or hasattr(validation_data, '__next__'))
    if val_from_generator:
        validation_steps = _count(validation_data, validation_steps or None, 'validation_steps')
    generator = _build(model, generator)
    model._make_train_function()

    run = cbks.configure(model, callbacks, None, epochs, steps_per_epoch, None, verbose, validates, from_generator=True)
    seen = getattr(model, 'callback_model', None) or model
    run.on_train_begin()
    with ExitStack() as stack:
        def batches_of(source, shuffled=False):
            return stack.enter_context(_batches(source, max_queue_size, workers, use_multiprocessing, shuffled))
        validate = None
        if val_from_generator:
            val_batches = batches_of(validation_data)

            def validate(batch_size):
                return model.evaluate_generator(val_batches, validation_steps, workers=0)
        elif validates:
            x, y, weights = _validation_arrays(model, validation_data)
            run.set_validation_data([*x, *y, *weights, *([0.] if model._takes_phase else [])])

            def validate(batch_size):
                return model.evaluate(x, y, batch_size, 0, weights)
        batches = batches_of(generator, shuffle)
        seen.stop_training = False
        _train(model, seen, batches, run, steps_per_epoch, range(initial_epoch, epochs), class_weight, validate)
    run.on_train_end()
    return model.history


def _train(model, seen, batches, run, steps, epochs, class_weight, validate):
    """The epochs. `seen` is the model that callbacks see; `validate` takes the size of the last batch."""
    step = _step(model, 'train')
    epoch_logs = {}  # one dict for all epochs, as in Keras: what a callback added once stays
    for epoch in epochs:
        for metric in model.stateful_metric_functions:
            metric.reset_states()
        run.on_epoch_begin(epoch)
        for i in range(steps):
            x, y, sample_weight = _parts(_next(batches, i, steps))
            size = _samples(x)
            logs = Logs(batch=i, size=size)
            run.on_batch_begin(i, logs)
            for name, value in zip(model.metrics_names, step(x, y, sample_weight, class_weight)):
                logs[name] = value
            run.on_batch_end(i, logs)
            if validate is not None and i == steps - 1:
                results = map(float, to_list(validate(size)))
                epoch_logs.update(zip(['val_' + name for name in model.metrics_names], results))
            if seen.stop_training:
                break
        run.on_epoch_end(epoch, epoch_logs)
        if seen.stop_training:
            break


def evaluate_generator(model, generator, steps=None, max_queue_size=10, workers=1, use_multiprocessing=False,
                       verbose=0):
    """`Model.evaluate_generator`."""
    model._require_compiled()
    for metric in model.stateful_metric_functions:
        metric.reset_states()
    _warn_of_duplicates(generator, workers, use_multiprocessing)
    steps = _count(generator, steps, 'steps')
    step, bar, totals, seen = _step(model, 'test'), _bar(steps, verbose), None, 0
    with _batches(generator, max_queue_size, workers, use_multiprocessing) as batches:
        for i in range(steps):
            x, y, sample_weight = _parts(_next(batches, i, steps))
            size = _samples(x)
            if size == 0:
                raise ValueError('Received an empty batch. Batches should contain at least one item.')
            outputs = [as_tensor(value).double() for value in step(x, y, sample_weight)]
            stateful = [name in model.stateful_metric_names for name in model.metrics_names]
            totals = [value if last else value * size + total
                      for value, last, total in zip(outputs, stateful, totals or [0.] * len(outputs))]
            seen += size
            bar.update(i + 1)
    return unpack_singleton([np.float64(total.item() if last else total.item() / seen)
                             for total, last in zip(totals, stateful)])


def predict_generator(model, generator, steps=None, max_queue_size=10, workers=1, use_multiprocessing=False,
                      verbose=0):
    """`Model.predict_generator`."""
    _warn_of_duplicates(generator, workers, use_multiprocessing)
    steps = _count(generator, steps, 'steps', least=0)
    step, bar, parts = _step(model, 'predict'), _bar(steps, verbose), []
    with _batches(generator, max_queue_size, workers, use_multiprocessing) as batches:
        for i in range(steps):
            batch = _next(batches, i, steps)
            x = _parts(batch)[0] if isinstance(batch, tuple) else batch
            parts.append([to_numpy(value) for value in step(x)])
            bar.update(i + 1)
    if len(parts) == 1:
        return unpack_singleton(parts[0])
    return unpack_singleton([np.concatenate(outputs) for outputs in zip(*parts)])


def _bar(steps, verbose):
    return Progbar(steps, verbose=1 if verbose == 1 else 0)


# ---------------------------------------------------------------- where batches come from

@contextmanager
def _batches(source, max_queue_size, workers, use_multiprocessing, shuffle=False):
    """An endless iterator over batches, made ahead by `workers` threads or processes (0: by this thread)."""
    is_sequence = isinstance(source, Sequence)
    if workers <= 0:
        yield iter_sequence_infinite(source) if is_sequence else source
        return
    if is_sequence:
        enqueuer = OrderedEnqueuer(source, use_multiprocessing, shuffle)
    else:
        enqueuer = GeneratorEnqueuer(source, use_multiprocessing)
    enqueuer.start(workers, max_queue_size)
    try:
        yield enqueuer.get()
    finally:
        enqueuer.stop()


def _warn_of_duplicates(source, workers, use_multiprocessing):
    if use_multiprocessing and workers > 1 and not isinstance(source, Sequence):
        warnings.warn('Using a generator with `use_multiprocessing=True` and multiple workers may duplicate your data. '
                      'Please consider using the`keras.utils.Sequence class.', stacklevel=5)


def _count(source, steps, argument, least=1):
    """How many batches to take: `steps`, or all that a `Sequence` has. Raises ValueError where nobody says."""
    if steps is None and not isinstance(source, Sequence):
        raise ValueError(f'`{argument}=None` is only valid for a generator based on the `keras.utils.Sequence` class. '
                         f'Please specify `{argument}` or use the `keras.utils.Sequence` class.')
    count = len(source) if steps is None else steps
    if count < least:
        raise ValueError(f'There is nothing to do: `{argument}` is {steps}' + (
            f', and the {type(source).__name__} has no batches.' if steps is None else '.'))
    return count


def _next(batches, done, steps):
    try:
        return next(batches)
    except StopIteration:  # of the type that Keras lets through, but it says what happened
        raise StopIteration(f'The generator ended after {done} of {steps} batches. It has to give batches for as long '
                            'as it is asked to.') from None


# ---------------------------------------------------------------- what is in a batch

def _parts(batch):
    """(x, y, sample weights or None) of what a generator gave. Raises ValueError for anything else."""
    if not hasattr(batch, '__len__') or len(batch) not in (2, 3):
        raise ValueError('Output of generator should be a tuple `(x, y, sample_weight)` or `(x, y)`. '
                         f'Found: {batch}')
    x, y, *sample_weight = batch
    return x, y, sample_weight[0] if sample_weight else None


def _samples(x):
    """The number of samples in the inputs of a batch; 1 where there are no inputs, as Keras counts."""
    arrays = list(x.values()) if isinstance(x, dict) else x if isinstance(x, (list, tuple)) else [x]
    shape = np.shape(arrays[0]) if arrays else ()
    return shape[0] if shape else max(len(arrays), 1)


def _validation_arrays(model, validation_data):
    if len(validation_data) not in (2, 3):
        raise ValueError('`validation_data` should be a tuple `(val_x, val_y, val_sample_weight)` or `(val_x, val_y)`. '
                         f'Found: {validation_data}')
    return model._standardize_user_data(*validation_data)


def _build(model, generator):
    """Builds a model that has no input shape yet from the first batch; returns what gives all batches."""
    if model.built:
        return generator
    if isinstance(generator, Sequence):
        model._standardize_user_data(*_parts(generator[0]))
        return generator
    first = next(generator)
    model._standardize_user_data(*_parts(first))
    return itertools.chain([first], generator)


def _step(model, kind):
    """What `train_on_batch` (or `test_`, `predict_`) does, but with results that need not have come from the device.

    It is the method itself where a subclass or an instance has its own.
    """
    from .training import Model
    method = getattr(model, f'{kind}_on_batch')
    if getattr(method, '__func__', None) is getattr(Model, f'{kind}_on_batch'):
        return getattr(model, f'_{kind}_step')
    return lambda *batch: to_list(method(*batch))
