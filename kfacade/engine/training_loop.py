"""The loops of `fit`, `evaluate` and `predict`, and arrays as a source of batches for them.

A source of batches is an object with
    steps: how many batches make an epoch.
    samples: how many samples they hold together; None where steps count instead.
    take(i): the weight of batch `i` in means (its number of samples, where those count) and the batch. 0 is the first
        one of an epoch.
    run(batch): what the model's function gives for it, a list of numbers or of tensors still on their way.
    validates_when_stopped: whether an epoch that was stopped after the batch taken last is validated all the same.
    keeps_logs: whether what is in the logs of an epoch stays for the next one.
    index: the order of the samples, which the next epoch's starts from; None where there is none.
"""
import functools
import mmap

import numpy as np
import torch

from ..backend.devices import device_of, fetched
from ..backend.graph import compile_graph
from ..backend.session import to_numpy
from ..backend.symbolic import TensorFace, as_tensor, fed_tensor, to_feed
from ..callbacks.logs import Logs
from ..utils import ranks
from ..utils.generic_utils import to_list
from ..utils.progbar import Progbar
from ..utils.scalars import accumulate
from . import training_utils
from .functions import StepFunction
from .memory import keep_freed_memory


class Feed:
    """Arrays as a source of batches: tensors made once, and only what a batch needs gathered from them.

    Arguments:
        arrays: inputs, then targets, then sample weights.
        symbols: the placeholder of each, whose dtype the batches get.
        n_weights: how many of the arrays, at the end, are sample weights.
        function: what will be fed; weights that are all ones are left out where it can do without.
        device: where the batches go. float_dtype: of the batches, where it is not that of the symbols.
        phase: the learning phase, where a function that is not ours takes it as its last input.
        samples, batch_size: how to cut the arrays; without a batch size, each of `steps` batches is the whole arrays,
            and what symbols among them give then.
        shuffle: True for new batches in each epoch, 'batch' for the same ones in a new order.
    """

    keeps_logs = False

    def __init__(self, arrays, symbols, n_weights, function, device, float_dtype=None, phase=None, samples=None,
                 batch_size=None, steps=1, shuffle=False):
        n = len(arrays) - n_weights
        self.fast = isinstance(function, StepFunction)
        self.weighted = not (self.fast and function.plain and all(map(training_utils.are_unit_weights, arrays[n:])))
        if not self.weighted:
            arrays = arrays[:n]
        self.device, self.float_dtype, self.symbols = device, float_dtype, symbols[:len(arrays)]
        self.sources = [self._source(a, symbol) for a, symbol in zip(arrays, self.symbols)]
        self.function, self.phase = function, [] if phase is None else [phase]
        self.samples, self.batch_size, self.shuffle = samples if batch_size else None, batch_size, shuffle
        self.steps = -(-samples // batch_size) if batch_size else steps
        self.index = np.arange(samples) if batch_size and shuffle else None
        self.validates_when_stopped = not batch_size
        self._ready = all(map(self._is_ready, self.symbols, self.sources))

    def _source(self, array, symbol):
        """A tensor over the array's memory where there can be one; float64 is rounded once, for all epochs."""
        if isinstance(array, torch.Tensor):
            return array.detach()
        if not isinstance(array, np.ndarray) or _lies_in_a_file(array) or not array.flags.writeable or (
                any(stride < 0 for stride in array.strides) or not array.dtype.isnative):
            return array  # sliced batch by batch: HDF5Matrix, sparse matrices, what torch or memory cannot hold
        rounded = array.dtype == np.float64 and not symbol._keeps_dtype
        return fed_tensor(symbol, array, self._dtype_of(symbol) if rounded else None)

    def _dtype_of(self, symbol):
        return symbol.dtype if symbol._exact or self.float_dtype is None else self.float_dtype

    def _is_ready(self, symbol, source):
        """Whether what is cut from a source can be fed as it is."""
        return isinstance(source, torch.Tensor) and not source.is_sparse and (
            source.dtype == self._dtype_of(symbol) and device_of(source) == self.device == source.device)

    def _cut(self, rows):
        if self._ready:
            return [rows(source) for source in self.sources]
        return [to_feed(symbol, rows(source), self.device, self.float_dtype)
                for symbol, source in zip(self.symbols, self.sources)]

    @functools.cached_property
    def _whole(self):
        return self._cut(_all_rows)

    @functools.cached_property
    def _symbolic(self):
        symbols = [source for source in self.sources if isinstance(source, TensorFace)]
        return compile_graph([], symbols, phase=self.fast and self.function.phase) if symbols else None

    def _whole_with_symbols(self):
        values = iter(self._symbolic.run())
        return self._cut(lambda source: next(values) if isinstance(source, TensorFace) else _all_rows(source))

    def take(self, i=0):
        if i == 0:
            self.prepared = self.function.prepare(self.weighted) if self.fast else []
        if self.samples is None:
            batch = self._whole if self._symbolic is None else self._whole_with_symbols()
            return 1, self.function.part(batch) if self.fast else batch
        if i == 0 and self.shuffle == 'batch':
            self.index = training_utils.batch_shuffle(self.index, self.batch_size)
        elif i == 0 and self.shuffle:
            np.random.shuffle(self.index)  # Keras' way: one seed, one order
        if i == 0 and self.shuffle:
            self.index = ranks.of_first(self.index)
            self._order_on = functools.cache(lambda device: fetched(torch.from_numpy(self.index), device))
        start = i * self.batch_size
        stop = min(self.samples, start + self.batch_size)
        rows = self.function.share(stop - start) if self.fast else None
        if rows is None:
            return stop - start, self._cut(self._rows(start, stop))
        own = self._cut(self._rows(start + rows.start, start + rows.stop))
        return stop - start, ranks.Part(own, rows, stop - start)

    def _rows(self, start, stop):
        """What takes the samples number `start` to `stop` of the epoch from a source."""
        index = None if self.index is None else self.index[start:stop]
        if index is not None and self.shuffle == 'batch':  # files give rows that follow each other, or in their order
            start, stop = int(index[0]), int(index[-1]) + 1
            index = None if stop - start == len(index) and (np.diff(index) == 1).all() else np.sort(index)
        if index is None:
            return lambda source: source[start:stop]
        rows = torch.from_numpy(index)

        def gathered(source):
            if not isinstance(source, torch.Tensor):
                return _picked(source, index)
            if self.device.type != 'cuda' or source.is_sparse or self.shuffle == 'batch':
                return source.index_select(0, rows.to(source.device))
            if source.is_cuda:
                return source.index_select(0, self._order_on(source.device)[start:stop])
            pinned = torch.empty((len(rows), *source.shape[1:]), dtype=source.dtype, pin_memory=True)
            return torch.index_select(source, 0, rows, out=pinned)  # which need not be copied to such memory again
        return gathered

    def run(self, batch):
        if self.fast:
            return self.function.step(batch, self.weighted, None, self.prepared)
        return to_list(self.function([to_numpy(x) for x in batch] + self.phase), allow_tuple=True)


def _lies_in_a_file(array):
    """Whether an array is a view of a mapped file, as ``np.memmap`` makes them."""
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


def _all_rows(source):
    return source if isinstance(source, torch.Tensor) else source[0:source.shape[0]]


def _picked(source, index):
    try:
        return source[index]
    except TypeError as error:
        raise TypeError('TypeError while preparing batch. If using HDF5 input data, pass shuffle="batch".') from error


def fit_loop(model, batches, callbacks, epochs, validate, names=None):
    """Trains for the given epochs (a range). `validate`: None, or a function that gives the validation results.

    `names`: of the results in the logs; None for those of the model's metrics.
    """
    keep_freed_memory()
    names = names or model.metrics_names
    seen = getattr(model, 'callback_model', None) or model
    seen.stop_training = model.stop_training = False
    epoch_logs = {}
    for epoch in callbacks.epochs_left(batches, epochs):
        for metric in model.stateful_metric_functions:
            metric.reset_states()
        epoch_logs = epoch_logs if batches.keeps_logs else {}
        callbacks.on_epoch_begin(epoch)
        for i in range(batches.steps):
            size, batch = batches.take(i)
            logs = Logs(batch=i, size=size)
            callbacks.on_batch_begin(i, logs)
            for name, value in zip(names, batches.run(batch)):
                logs[name] = value
            callbacks.on_batch_end(i, logs)
            if seen.stop_training:
                break
        if validate is not None and (batches.validates_when_stopped or not seen.stop_training):
            results = [np.asarray(value).item() for value in to_list(validate())]
            epoch_logs.update(zip(['val_' + name for name in names], results))
        callbacks.on_epoch_end(epoch, epoch_logs)
        seen.stop_training = ranks.of_first(seen.stop_training)
        if seen.stop_training:
            break


def test_loop(model, batches, verbose):
    """Evaluates; returns one float per output, averaged over the batches. Stateful metrics give their last number."""
    keep_freed_memory()
    for metric in model.stateful_metric_functions:
        metric.reset_states()
    stateful = {i for i, name in enumerate(model.metrics_names) if name in model.stateful_metric_names}
    totals, weight, bar = [], 0, _bar(batches, verbose)
    for i in range(batches.steps):
        size, batch = batches.take(i)
        if not size:
            raise ValueError('Received an empty batch. Batches should contain at least one item.')
        values = [as_tensor(value) for value in batches.run(batch)]
        totals = [value if k in stateful else accumulate(total, value, size)
                  for k, (total, value) in enumerate(zip(totals or [0.] * len(values), values))]
        weight += size
        bar.update(weight if batches.samples else i + 1)
    return [np.asarray(total.item())[()] if k in stateful else np.float64(total.item() / weight)
            for k, total in enumerate(totals)]


def predict_loop(batches, verbose):
    """Predicts; returns a list with one array per output."""
    keep_freed_memory()
    parts, outputs, seen, bar = [], None, 0, _bar(batches, verbose)
    for i in range(batches.steps):
        size, batch = batches.take(i)
        values = [to_numpy(value) for value in batches.run(batch)]
        if batches.samples is None:
            parts.append(values)
        elif outputs is None:  # one array for all, so that no prediction is in memory twice
            outputs = [np.zeros((batches.samples, *value.shape[1:]), value.dtype) for value in values]
        for whole, value in zip(outputs or (), values):
            whole[seen:seen + size] = value
        seen += size
        bar.update(seen)
    return outputs or [np.concatenate([np.atleast_1d(value) for value in column]) for column in zip(*parts)]


def _bar(batches, verbose):
    return Progbar(batches.samples or batches.steps, verbose=int(verbose == 1))
