"""Training, evaluating and predicting on single batches."""
import functools

import numpy as np

from ..backend import session as K
from ..backend.symbolic import TensorFace, to_feed
from ..utils.generic_utils import names_unknown_arguments, unpack_singleton
from .functions import StepFunction
from .memory import keep_freed_memory
from .training_utils import are_unit_weights


class BatchMethods:
    """The part of a `Model` that works on one batch at a time."""

    @names_unknown_arguments
    def train_on_batch(self, x, y, sample_weight=None, class_weight=None):
        """Trains on one batch; gives its loss, or a list of loss and metrics."""
        return _numbers(self._on_batch('train', x, y, sample_weight, class_weight))

    @names_unknown_arguments
    def test_on_batch(self, x, y, sample_weight=None):
        """Evaluates one batch; gives its loss, or a list of loss and metrics."""
        return _numbers(self._on_batch('test', x, y, sample_weight))

    def predict_on_batch(self, x):
        """The outputs for one batch."""
        return _numbers(self._on_batch('predict', x))

    def _batch_function(self, kind, kept):
        """A subclass' or an instance's own ``{kind}_on_batch``, else what need not wait for results from the device.

        `kept`: a list for what need not be made anew for each batch, empty before the first one.
        """
        own = getattr(self, f'{kind}_on_batch')
        ours = getattr(own, '__func__', None) is getattr(BatchMethods, f'{kind}_on_batch')
        return functools.partial(self._on_batch, kind, kept=kept) if ours else own

    def _on_batch(self, kind, x, y=None, sample_weight=None, class_weight=None, kept=None):
        """What ``train_``, ``test_`` or ``predict_on_batch`` gives, as tensors that may still be on their way."""
        function, arrays = getattr(self, f'{kind}_function'), [x] if y is None else [x, y]
        passed = getattr(function, 'passed', None)
        if passed and sample_weight is class_weight is None and passed == _shapes(arrays):
            if kind == 'train' and not kept:
                self._check_trainable_weights_consistency()
            return self._step(function, arrays, function.plain is None, kept)
        if kind != 'predict':
            self._require_compiled()
        return self._on_arrays(kind, *self._standardize_user_data(x, y, sample_weight, class_weight))

    def _on_arrays(self, kind, x, y=(), weights=()):
        """The same for arrays that have been standardized."""
        getattr(self, f'_make_{kind}_function')()
        function, arrays = getattr(self, f'{kind}_function'), [*x, *y, *weights]
        symbols = self._feed_inputs if kind == 'predict' else self._fed_symbols()
        if not isinstance(function, StepFunction) or len(arrays) != len(symbols) or any(
                isinstance(array, TensorFace) for array in arrays):
            feed = self._feed(function, x, y, weights)
            return feed.run(feed.take()[1])
        weighted = not (function.plain and all(map(are_unit_weights, weights)))
        arrays = arrays if weighted else [*x, *y]
        function.passed = None if weighted and weights else _shapes(arrays)
        return self._step(function, arrays, weighted)

    def _step(self, function, arrays, weighted, kept=None):
        """What a function gives for arrays that were checked: what a `Feed` does for many batches, at once."""
        prepared = kept.pop() if kept else function.prepare(weighted)
        if kept is not None:
            kept.append(prepared)
        place = self._place(function.tensor_graph(weighted).anchor)
        tensors = [to_feed(symbol, array, *place) for symbol, array in zip(function.inputs, arrays)]
        return function.step(function.part(tensors), weighted, None, prepared)


def _shapes(arrays):
    """The shapes of the samples in arrays of as many samples; None where that is not what they are."""
    for array in arrays:
        if type(array) is not np.ndarray or array.ndim < 2 or len(array) != len(arrays[0]):
            return None
    return [array.shape[1:] for array in arrays]


def new_arrays(values):
    """What `predict` gives for the outputs of a batch."""
    keep_freed_memory()
    return unpack_singleton([np.array(K.to_numpy(value)) for value in values])  # copies: one may be the input


def _numbers(values):
    return unpack_singleton([K.to_numpy(value) for value in values])
