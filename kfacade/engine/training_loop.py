"""The loops of `fit`, `evaluate` and `predict` over arrays."""
import numpy as np
import torch

from ..backend.session import to_numpy
from ..backend.symbolic import as_tensor, to_feed
from ..callbacks.logs import Logs
from ..utils.progbar import Progbar
from . import training_utils
from .functions import StepFunction


class Feed:
    """Arrays ready to be cut into batches: tensors made once, and only what a batch needs gathered from them.

    Arguments:
        arrays: inputs, then targets, then sample weights.
        symbols: the placeholder of each, whose dtype the batches get.
        n_weights: how many of the arrays, at the end, are sample weights.
        function: what will be fed; weights that are all ones are left out where it can do without.
        device: where the batches go. float_dtype: of the batches, where it is not that of the symbols.
    """

    phase = None  # the learning phase, where a function that is not ours takes it as its last input

    def __init__(self, arrays, symbols, n_weights, function, device, float_dtype=None):
        n = len(arrays) - n_weights
        self.fast = isinstance(function, StepFunction)
        self.weighted = not (self.fast and function.takes_unweighted
                             and all(training_utils.are_unit_weights(w) for w in arrays[n:]))
        if not self.weighted:
            arrays = arrays[:n]
        self.device, self.float_dtype, self.symbols = device, float_dtype, symbols[:len(arrays)]
        self.sources = [self._source(a, symbol) for a, symbol in zip(arrays, self.symbols)]
        self.function = function
        if hasattr(function, 'prepare'):
            function.prepare()

    def _source(self, array, symbol):
        """A tensor over the array's memory where there can be one; float64 is rounded once, for all epochs."""
        if isinstance(array, torch.Tensor):
            return array.detach()
        if not isinstance(array, np.ndarray):
            return array  # sliced batch by batch: HDF5Matrix, sparse matrices
        if array.dtype == np.float64 and not symbol._keeps_dtype:
            return as_tensor(array, self.float_dtype or symbol.dtype)
        return as_tensor(array)

    def _cut(self, rows):
        return [to_feed(symbol, rows(source), self.device, self.float_dtype)
                for symbol, source in zip(self.symbols, self.sources)]

    def all(self):
        """The whole arrays."""
        return self._cut(lambda source: source if isinstance(source, torch.Tensor) else source[0:source.shape[0]])

    def slice(self, start, stop):
        """Samples `start` to `stop`."""
        return self._cut(lambda source: source[start:stop])

    def gather(self, index):
        """The samples at an int64 tensor of indices."""
        return self._cut(lambda source: source.index_select(0, index) if isinstance(source, torch.Tensor) else (
            self._rows(source, index.numpy())))

    @staticmethod
    def _rows(source, index):
        try:
            return source[index]
        except TypeError as error:
            raise TypeError('TypeError while preparing batch. If using HDF5 input data, pass shuffle="batch".'
                            ) from error

    def run(self, fed):
        """Calls the function on a batch; gives its outputs, as tensors where it is one of ours."""
        if self.fast:
            return self.function.step(fed, self.weighted)
        values = [to_numpy(x) for x in fed] + ([] if self.phase is None else [self.phase])
        outputs = self.function(values)
        return outputs if isinstance(outputs, (list, tuple)) else [outputs]


def fit_loop(model, feed, names, callbacks, n, batch_size, epochs, initial_epoch, shuffle, steps_per_epoch, validate):
    """Trains for the epochs `initial_epoch` to `epochs` - 1.

    Arguments:
        feed: the training data; names: of the outputs of a step; callbacks: a configured `CallbackList`.
        n: number of samples (None with `steps_per_epoch`, when each step takes the whole arrays).
        validate: None, or a function without arguments that gives the list of validation results.
    """
    index = np.arange(n) if n is not None else None
    seen = getattr(model, 'callback_model', None) or model
    seen.stop_training = model.stop_training = False
    for epoch in range(initial_epoch, epochs):
        for metric in model.stateful_metric_functions:
            metric.reset_states()
        callbacks.on_epoch_begin(epoch)
        epoch_logs = {}
        batches = _steps(feed, steps_per_epoch) if steps_per_epoch is not None else (
            _batches(feed, index, batch_size, shuffle))
        for i, (size, fed) in enumerate(batches):
            logs = Logs(batch=i, size=size)
            callbacks.on_batch_begin(i, logs)
            for name, value in zip(names, feed.run(fed)):
                logs[name] = value
            callbacks.on_batch_end(i, logs)
            if seen.stop_training:
                break
        else:
            if validate is not None:
                epoch_logs.update(zip(['val_' + name for name in names], map(float, validate())))
        callbacks.on_epoch_end(epoch, epoch_logs)
        if seen.stop_training:
            break


def _steps(feed, steps):
    whole = feed.all()
    for _ in range(steps):
        yield 1, whole


def _batches(feed, index, batch_size, shuffle):
    """(size, tensors) of each batch of an epoch, after the indices were shuffled as asked."""
    if shuffle == 'batch':
        index[:] = training_utils.batch_shuffle(index, batch_size)
    elif shuffle:
        np.random.shuffle(index)
    for start, stop in training_utils.make_batches(len(index), batch_size):
        if not shuffle:
            fed = feed.slice(start, stop)
        elif shuffle == 'batch':
            fed = _contiguous_rows(feed, index[start:stop])
        else:
            fed = feed.gather(torch.from_numpy(index[start:stop]))
        yield stop - start, fed


def _contiguous_rows(feed, part):
    """Rows that follow each other are sliced, as files need it; others gathered in sorted order."""
    first, last = int(part[0]), int(part[-1]) + 1
    if last - first == len(part) and (np.diff(part) == 1).all():
        return feed.slice(first, last)
    return feed.gather(torch.from_numpy(np.sort(part)))


def test_loop(model, feed, n, batch_size, verbose, steps):
    """Evaluates; returns one float per output, averaged over samples (over steps where `steps` is given).

    Stateful metrics give their last value.
    """
    for metric in model.stateful_metric_functions:
        metric.reset_states()
    stateful = {i for i, name in enumerate(model.metrics_names) if name in model.stateful_metric_names}
    totals, count = None, 0
    bar = Progbar(target=steps if steps is not None else n) if verbose == 1 else None
    for seen, size, fed in _test_batches(feed, n, batch_size, steps):
        outputs = [as_tensor(v).double() for v in feed.run(fed)]
        if totals is None:
            totals = [torch.zeros_like(v) for v in outputs]
        for i, value in enumerate(outputs):
            totals[i] = value if i in stateful else totals[i].add_(value, alpha=size)
        count += size
        if bar is not None:
            bar.update(seen)
    return [np.float64(total.item() if i in stateful else total.item() / count) for i, total in enumerate(totals or ())]


def _test_batches(feed, n, batch_size, steps):
    if steps is not None:
        for step in range(steps):
            yield step + 1, 1, feed.all()
        return
    for start in range(0, n, batch_size):
        stop = min(n, start + batch_size)
        yield stop, stop - start, feed.slice(start, stop)


def predict_loop(feed, n, batch_size, verbose, steps):
    """Predicts; returns a list with one array per output."""
    bar = Progbar(target=steps if steps is not None else n) if verbose == 1 else None
    parts, outputs, done = [], None, 0
    for seen, _, fed in _test_batches(feed, n, batch_size, steps):
        batch = [to_numpy(v) for v in feed.run(fed)]
        if steps is not None:
            parts.append(batch)
        else:
            if outputs is None:
                outputs = [np.zeros((n, *np.shape(v)[1:]), dtype=v.dtype) for v in batch]
            for whole, v in zip(outputs, batch):
                whole[done:done + len(v)] = v
            done = seen
        if bar is not None:
            bar.update(seen)
    if steps is not None:
        outputs = [np.concatenate(part) if np.ndim(part[0]) else np.asarray(part) for part in zip(*parts)]
    return outputs or []
