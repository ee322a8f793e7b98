"""Training, evaluating and predicting on batches that a generator or a `Sequence` gives."""
import itertools
import warnings
from contextlib import ExitStack, contextmanager

import numpy as np

from ..callbacks.run import configure
from ..legacy import interfaces
from ..utils.data_utils import GeneratorEnqueuer, OrderedEnqueuer, Sequence
from ..utils.generic_utils import names_unknown_arguments, to_list, unpack_singleton
from .torch_data import TorchBatches, as_batches
from .training_loop import fit_loop, predict_loop, test_loop
from .training_utils import count, iter_sequence_infinite


class GeneratorMethods:
    """The half of a `Model` that works on batches which somebody makes while it does."""

    @interfaces.legacy_generator_methods_support
    @names_unknown_arguments
    def fit_generator(self, generator, steps_per_epoch=None, epochs=1, verbose=1, callbacks=None, validation_data=None,
                      validation_steps=None, class_weight=None, max_queue_size=10, workers=1,
                      use_multiprocessing=False, shuffle=True, initial_epoch=0):
        """Trains on batches that are made while the model trains.

        Arguments:
            generator: an iterator, a `keras.utils.Sequence`, or a data set or data loader of torch, of batches
                ``(x, y)`` or ``(x, y, sample_weight)``, each as `train_on_batch` takes it. An iterator must not end.
            steps_per_epoch: batches in an epoch; None takes all of a `Sequence`.
            validation_data: a generator or `Sequence`, too, or arrays ``(x, y)`` or ``(x, y, sample_weight)``.
            validation_steps: batches to validate on; None takes all of a `Sequence`.
            max_queue_size: how many batches are made ahead. workers: number of threads, or of processes with
                `use_multiprocessing`, that make them (0: none, batches are made when needed).
            shuffle: whether a `Sequence` is read in a new order in each epoch (with workers).
            epochs, verbose, callbacks, class_weight, initial_epoch: as for `fit`.
        Returns the `History` of losses and metrics. Raises ValueError for batches that do not fit, StopIteration for
        an iterator that ends too early.
        """
        self._require_compiled()
        queue = max_queue_size, workers, use_multiprocessing
        generator, validation_data = as_batches(generator, shuffle=shuffle), as_batches(validation_data)
        _warn_of_duplicates(generator, *queue)
        epochs, initial_epoch = count(epochs, 'epochs'), count(initial_epoch, 'initial_epoch')
        steps_per_epoch = _count(generator, steps_per_epoch, 'steps_per_epoch')
        val_from_generator = isinstance(validation_data, Sequence) or hasattr(validation_data, '__next__')
        if not (val_from_generator or isinstance(validation_data, (tuple, list, type(None)))):
            _refuse_validation_data(type(validation_data).__name__)
        validates = val_from_generator or bool(validation_data)
        if val_from_generator:
            validation_steps = _count(validation_data, validation_steps or None, 'validation_steps')
        generator, to_come = _build(self, generator), range(initial_epoch, epochs)
        self._make_train_function()

        run = configure(self, callbacks, None, epochs, steps_per_epoch, None, verbose, validates, from_generator=True)
        run.on_train_begin()
        with ExitStack() as stack:
            validate = None
            if val_from_generator:
                val_batches = stack.enter_context(_batches(
                    validation_data, validation_steps * len(to_come), *queue))

                def validate():
                    return self.evaluate_generator(val_batches, validation_steps, workers=0)
            elif validates:
                x, y, weights = _validation_arrays(self, validation_data)
                run.set_validation_data(self._seen_by_callbacks(x, y, weights))

                def validate():
                    return self.evaluate(x, y, feed.size, 0, weights)
            feed = GeneratorFeed(self, 'train', stack.enter_context(_batches(
                generator, steps_per_epoch * len(to_come), *queue, shuffle)), steps_per_epoch, class_weight)
            if isinstance(generator, TorchBatches):
                feed.index = generator.index
            fit_loop(self, feed, run, to_come, validate)
        run.on_train_end()
        return self.history

    @interfaces.legacy_generator_methods_support
    @names_unknown_arguments
    def evaluate_generator(self, generator, steps=None, max_queue_size=10, workers=1, use_multiprocessing=False,
                           verbose=0):
        """The loss and metrics over batches of a generator or `Sequence`, averaged over samples.

        Arguments as for `fit_generator`. A number, or a list of numbers in the order of `metrics_names`.
        """
        self._require_compiled()
        queue = max_queue_size, workers, use_multiprocessing
        generator = as_batches(generator)
        _warn_of_duplicates(generator, *queue)
        steps = _count(generator, steps, 'steps')
        with _batches(generator, steps, *queue) as batches:
            return unpack_singleton(test_loop(self, GeneratorFeed(self, 'test', batches, steps), verbose))

    @interfaces.legacy_generator_methods_support
    @names_unknown_arguments
    def predict_generator(self, generator, steps=None, max_queue_size=10, workers=1, use_multiprocessing=False,
                          verbose=0):
        """The outputs for batches of a generator or `Sequence`: tuples as for `fit_generator`, or inputs alone.

        Arguments as for `fit_generator`. One array, or a list with one for each output.
        """
        queue = max_queue_size, workers, use_multiprocessing
        generator = as_batches(generator, n_inputs=len(self.inputs or ()))
        _warn_of_duplicates(generator, *queue)
        steps = _count(generator, steps, 'steps', least=0)
        with _batches(generator, steps, *queue) as batches:
            return unpack_singleton(predict_loop(GeneratorFeed(self, 'predict', batches, steps), verbose))


class GeneratorFeed:
    """What an iterator gives as a source of batches (see `training_loop`), to 'train', 'test' or 'predict' on.

    A batch is fed by the model's own ``{kind}_on_batch`` where a subclass or an instance has one. `size` is the number
    of samples in the batch taken last. `arguments` go with each batch.
    """

    samples = index = None
    keeps_logs = True  # Keras has one dict of logs for all epochs: what a callback adds stays

    def __init__(self, model, kind, batches, steps, *arguments):
        self.steps, self.size, self.validates_when_stopped = steps, None, False
        self._batches, self._kind, self._arguments = batches, kind, arguments
        self._kept = []
        self._on_batch = model._batch_function(kind, self._kept)

    def take(self, i):
        if i == 0:
            self._kept.clear()
        try:
            batch = next(self._batches)
        except StopIteration:  # of the type that Keras lets through, but it says what happened
            raise StopIteration(f'The generator ended after {i} of {self.steps} batches. It has to give batches for as '
                                'long as it is asked to.') from None
        if self._kind == 'predict':
            return 1, (_parts(batch)[0] if isinstance(batch, tuple) else batch,)
        batch = _parts(batch)
        self.size, self.validates_when_stopped = _samples(batch[0]), i + 1 == self.steps
        return self.size, batch

    def run(self, batch):
        return to_list(self._on_batch(*batch, *self._arguments))


# ---------------------------------------------------------------- where batches come from

@contextmanager
def _batches(source, number, max_queue_size, workers, use_multiprocessing, shuffle=False):
    """An iterator over `number` batches, made ahead by `workers` threads or processes (0: by this thread)."""
    is_sequence = isinstance(source, Sequence)
    if workers <= 0 or isinstance(source, TorchBatches):
        yield iter_sequence_infinite(source) if is_sequence else source
        return
    if is_sequence:
        enqueuer = OrderedEnqueuer(source, use_multiprocessing, shuffle)
    else:
        enqueuer = GeneratorEnqueuer(source, use_multiprocessing)
    enqueuer.most = number
    try:
        enqueuer.start(workers, max_queue_size)
        yield enqueuer.get()
    finally:
        enqueuer.stop()


def _warn_of_duplicates(source, max_queue_size, workers, use_multiprocessing):
    if use_multiprocessing and workers > 1 and not isinstance(source, Sequence):
        warnings.warn('Using a generator with `use_multiprocessing=True` and multiple workers may duplicate your data. '
                      'Please consider using the`keras.utils.Sequence class.', stacklevel=5)


def _count(source, steps, argument, least=1):
    """How many batches to take: `steps`, or all that a `Sequence` has. Raises ValueError where nobody says."""
    if steps is None and not isinstance(source, Sequence):
        raise ValueError(f'`{argument}=None` is only valid for a generator based on the `keras.utils.Sequence` class. '
                         f'Please specify `{argument}` or use the `keras.utils.Sequence` class.')
    found = count(len(source) if steps is None else steps, argument)
    if found < least:
        raise ValueError(f'There is nothing to do: `{argument}` is {steps}' + (
            f', and the {type(source).__name__} has no batches.' if steps is None else '.'))
    return found


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


def _refuse_validation_data(found):
    raise ValueError('`validation_data` should be a tuple `(val_x, val_y, val_sample_weight)` or `(val_x, val_y)`, a '
                     f'generator or a `Sequence`. Found: {found}')


def _validation_arrays(model, validation_data):
    if len(validation_data) not in (2, 3):
        _refuse_validation_data(validation_data)
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


# Keras has these methods as functions, too.
evaluate_generator, fit_generator, predict_generator = (
    GeneratorMethods.evaluate_generator, GeneratorMethods.fit_generator, GeneratorMethods.predict_generator)
