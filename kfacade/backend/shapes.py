"""Shapes of recorded calls, found before there is any data.

A size is known or unknown. For an unknown one stand two numbers, one in each of two runs of the call: on tensors
without data, and on ints where sizes themselves are computed with. What differs between the runs is unknown, and the
pair of numbers says which unknown it is: a size that is computed from another one keeps its identity.

Where an unknown size meets a known one, no number will do. Then unknown sizes are renamed, to one another or to known
sizes, until the call accepts them; and a size of the result counts as known only if it is the same under all renamings
that the call accepts (see `infer`).
"""
import collections
import dis
import functools
import itertools
import math
import re

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from . import state
from .dtypes import torch_dtype
from .face import Shape
from .trees import filled, leaves, map_leaves

_numbers = itertools.count()
_COUNT = 96  # as many unknown sizes are told apart
_SMALL = 64  # tensors of one axis and as many elements keep their values, since they may hold sizes


# ---------------------------------------------------------------- unknown sizes

def new_size():
    """The pair of stand-ins for a new unknown size.

    The two ranges have no number in common, so that no two unknown sizes can be taken for a known one. Odd numbers are
    rare among known sizes, and six factors below 1090 make less than 2**63 elements.
    """
    i = next(_numbers) % _COUNT
    return 503 + 2 * i, 1083 - 2 * i


def _is_open(pair):
    return pair[0] != pair[1]


def stand_in(shape, dtype):
    """The two meta tensors that stand for a tensor of `shape`: of sizes, pairs of stand-ins, and None for new ones."""
    pairs = [size if isinstance(size, tuple) else (size, size) for size in shape]
    pairs = [new_size() if None in pair else pair for pair in pairs]
    return tuple(_empty([pair[which] for pair in pairs], dtype) for which in (0, 1))


def _zipped(metas):
    return list(zip(*[meta.shape for meta in metas])) if isinstance(metas[0], torch.Tensor) else None


def told_apart(pairs, given):
    """The sizes of a result, without two that only rounding made the same: 503 // 32 == 505 // 32.

    `given` are the sizes of the arguments.
    """
    given, pairs = {pair for sizes in given for pair in sizes}, list(pairs)
    return [new_size() if pair[0] != pair[1] and pair not in given and pair in pairs[:i] else pair
            for i, pair in enumerate(pairs)]


def pairs_of(x):
    """The sizes of a symbol, variable or tensor, each as the pair that stands for it; None for other things."""
    return _zipped((x, x) if isinstance(x, torch.Tensor) else getattr(x, 'metas', (None,)))


def either(x, y):
    """What stands for one of two results, each given as its values in the two runs: a size that differs is unknown."""
    merged = []
    for ours, theirs in zip(zip(*map(leaves, x)), zip(*map(leaves, y))):
        sizes, others = _zipped(ours), _zipped(theirs)
        if None not in (sizes, others) and len(sizes) == len(others):
            ours = stand_in([a if a == b else None for a, b in zip(sizes, others)], ours[0].dtype)
        merged.append(ours)
    return tuple(map(filled, x, zip(*merged)))


def common_shape(metas):
    """The shape, with None for unknown sizes, that the values of the two runs have in common."""
    first, second = metas
    if not isinstance(first, torch.Tensor):
        return Shape(())
    return Shape(a if a == b else None for a, b in zip(first.shape, second.shape))


def unknown():
    """In a run that finds shapes: the stand-in of a size that only data decide, a new one each time."""
    return state.mode.run.unknown()


def is_unknown(size):
    """Whether `size` stands for an unknown one in the run that finds shapes; False outside of such a run."""
    return state.mode.run is not None and size in state.mode.run.open


def empty(shape, dtype):
    """In a run that finds shapes: a tensor of `shape`, which may hold None."""
    return _empty([unknown() if size is None else size for size in shape], dtype)


def _empty(shape, dtype):
    return torch.empty(shape, dtype=torch_dtype(dtype), device='meta')


# ---------------------------------------------------------------- one run

class _Reshapes(TorchFunctionMode):
    """Inside, nobody counts the elements of what is reshaped: a size may fit where its stand-in does not.

    And a place that data decide is the first one.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.__getitem__:
            x, index = args
            return x[tuple(0 if isinstance(i, torch.Tensor) and i.is_meta and not i.dim() and i.dtype != torch.bool
                           else i for i in (index if isinstance(index, tuple) else (index,)))]
        if func not in (torch.reshape, torch.Tensor.reshape, torch.Tensor.view) or kwargs or not (
                args[0].is_meta and state.mode.run.open) or isinstance(args[1], torch.dtype):
            return func(*args, **(kwargs or {}))
        x, *sizes = args
        sizes = [int(size) for size in (sizes if isinstance(sizes[0], int) else sizes[0])]
        rest = [size for size in sizes if size != -1]
        left = unknown() if 0 in rest or any(map(is_unknown, rest)) else x.numel() // math.prod(rest)
        return _empty([left if size == -1 else size for size in sizes], x.dtype)


def _overloads(*names):
    packets = [getattr(torch.ops.aten, name) for name in names]
    return {getattr(packet, overload) for packet in packets for overload in packet.overloads()}


# Functions that are blind to sizes: the sizes of the result are among those of the arguments.
_BLIND_TAGS = {torch.Tag.pointwise, getattr(torch.Tag, 'reduction', None)}
_INDEXING = _overloads('index', 'index_put', 'index_select', 'embedding', 'gather', 'scatter', 'scatter_add')
_BLIND = _INDEXING | _overloads(
    '_softmax', '_log_softmax', 'floor_divide', 'mm', 'bmm', 'addmm', 'cumsum', 'cumprod', 'flip', 'roll', 'sort',
    'tril', 'triu', 'where', 'native_batch_norm', 'baddbmm', 'mv',
    'binary_cross_entropy_with_logits', 'empty_like', 'zeros_like', 'ones_like', 'full_like')
_GROWING = _overloads('repeat', 'repeat_interleave', 'constant_pad_nd')  # may make a large tensor of a small one
_ARANGES, _EYES = _overloads('arange'), _overloads('eye')


def _is_small(x):
    return x.dim() <= 1 and x.numel() <= _SMALL


def _on_tensors(f, tree):
    return map_leaves(lambda x: f(x) if isinstance(x, torch.Tensor) else x, tree)


def _without_values(x):
    return x if x.is_meta else _empty(x.shape, x.dtype)


@functools.cache
def _has_device(func):
    return any(argument.name == 'device' for argument in func._schema.arguments)


class _Run(TorchDispatchMode):
    """A run of a call that makes nothing large and changes nothing real.

    Values survive in small tensors that the call was given or has made, so that sizes can be computed with; all others
    have none. Functions that are blind to sizes run on miniatures: real tensors of a few elements, where each size has
    a small one stand for it. (torch's own way to their shapes is written in Python, and the first of them to be used
    imports torch's compiler.)
    """

    _should_skip_dynamo = classmethod(lambda cls: False)  # or torch would wrap the method, and import the same

    def __init__(self, which, renamed, pairs):
        super().__init__()
        self.which, self._renamed, self._pairs = which, renamed, pairs
        self.used, self.open, self._own = [], set(), {}
        self.counts = False  # whether unknown sizes came as numbers

    def unknown(self):
        size = next(self._pairs)[self.which]
        self.open.add(size)
        return size

    def leaf(self, x):
        """What stands for an argument."""
        if isinstance(x, torch.Tensor):
            self.used.append([(size, size) for size in x.shape])
            return self._owned(x.detach().to('cpu', copy=True)) if _is_small(x) else _without_values(x)
        if not hasattr(x, 'metas'):
            return x
        metas, place = x.metas, len(self.used)
        self.used.append(list(zip(*map(sizes_in, metas))))
        pairs = [self._renamed.get((place, 'axis', i), self._renamed.get(pair, pair))
                 for i, pair in enumerate(self.used[-1])]
        unknown = [pair[self.which] for pair in pairs if _is_open(pair)]
        self.open.update(unknown)
        self.counts |= bool(unknown) and _has_values(metas[0])
        return _on_tensors(self._owned, _with_sizes(metas[self.which], pairs, self.which))

    def _owned(self, x):
        """`x`, which this run may change."""
        self._own[id(x)] = x
        return x

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if not state.mode.depth:  # a layer that is built on the way: its weights are real
            return func(*args, **kwargs)
        tensors = [x for x in leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        own = all(id(x) in self._own for x in tensors)
        random = torch.Tag.nondeterministic_seeded in func.tags
        if not random and func not in _GROWING and (own or not func._schema.is_mutable) and all(
                not x.is_meta and _is_small(x) for x in tensors) and self._makes_small(func, args, kwargs):
            results = _on_tensors(lambda x: x if _is_small(x) else _without_values(x), func(*args, **kwargs))
            return _on_tensors(self._owned, results) if own else results
        if _has_device(func):
            kwargs = {**kwargs, 'device': torch.device('meta')}
        args, kwargs = _on_tensors(_without_values, (args, kwargs))
        if func in _RULES:
            return _RULES[func](self, *args, **kwargs)
        if random:  # nothing is drawn
            return args[0] if func._schema.is_mutable else func(*args, **kwargs)
        if func in _BLIND or not _BLIND_TAGS.isdisjoint(func.tags) or (
                func._schema.is_mutable and torch.Tag.inplace_view not in func.tags):
            return _on_miniatures(func, args, kwargs)
        return func(*args, **kwargs)

    @staticmethod
    def _makes_small(func, args, kwargs):
        """Whether a function of small tensors, or of none, is sure to make small ones."""
        if func in _BLIND or not _has_device(func):
            return True
        if func in _EYES or kwargs.get('device') == torch.device('meta'):
            return False
        if func in _ARANGES:
            return _count(*args) <= _SMALL
        return _is_small(func(*args, **{**kwargs, 'device': torch.device('meta')}))

    # ------------------------------------------------------------ functions whose sizes need a rule

    def _item(self, x):
        return self.unknown()

    def _nonzero(self, x):
        return _empty((self.unknown(), x.dim()), torch.int64)

    def _masked_select(self, x, mask):
        return _empty((self.unknown(),), x.dtype)

    def _unique(self, x, *args, **kwargs):
        count = _empty((self.unknown(),), torch.int64)
        return count.to(x.dtype), _empty(x.shape, torch.int64), count

    def _index(self, x, indices):
        places = []
        for index in indices:
            if isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8):
                places += [_empty((self.unknown(),), torch.int64)] * index.dim()
            else:
                places.append(index)
        return _on_miniatures(torch.ops.aten.index.Tensor, (x, places), {})

    def _slice(self, x, dim=0, start=None, end=None, step=1):
        """Of a slice that ends inside an unknown size, nobody knows whether it gets there."""
        size, start, end = x.shape[dim], start or 0, x.shape[dim] if end is None else end
        result = torch.ops.aten.slice.Tensor(x, dim, start, end, step)
        to_end = start >= 0 and (end >= size or end < 0) and result.shape[dim]
        if size in self.open and not to_end or not self.open.isdisjoint({start, end} - {size}):
            return _empty([self.unknown() if i == dim % x.dim() else n for i, n in enumerate(x.shape)], x.dtype)
        return result

    def _cat(self, tensors, dim=0):
        tensors = [x for x in tensors if x.dim() != 1 or len(x)] or tensors[:1]  # torch leaves empty vectors out
        rest = {(*x.shape[:dim % x.dim()], *x.shape[dim % x.dim() + 1:]) for x in tensors}
        if len(rest) > 1:
            raise _misfit('cat', tensors)
        shape = [*tensors[0].shape]
        shape[dim] = sum(x.shape[dim] for x in tensors)
        return _empty(shape, functools.reduce(torch.promote_types, [x.dtype for x in tensors]))

    def _stack(self, tensors, dim=0):
        return self._cat([x.unsqueeze(dim) for x in tensors], dim)

    def _repeat(self, x, counts):
        shape = (1,) * (len(counts) - x.dim()) + tuple(x.shape)
        return _empty([size * count for size, count in zip(shape, counts)], x.dtype)

    def _convolution(self, x, weight, bias, strides, paddings, dilations, transposed, added, groups):
        filters, channels = weight.shape[0], weight.shape[1] * groups
        filters, channels, sizes = (channels, filters, []) if transposed else (filters, channels, [])
        for size, kernel, stride, padding, dilation, more in zip(
                x.shape[2:], weight.shape[2:], strides, paddings, dilations, added):
            extent = (kernel - 1) * dilation + 1 - 2 * padding
            sizes.append((size - 1) * stride + extent + more if transposed else (size - extent) // stride + 1)
        if x.shape[1] != channels or min(sizes) < 1:
            raise _misfit('convolution', (x, weight))
        return _empty((x.shape[0], filters, *sizes), x.dtype)

    def _eye(self, rows, columns=None, *, dtype=None, **kwargs):
        return _empty((rows, rows if columns is None else columns), dtype or torch.get_default_dtype())

    def _arange(self, *bounds, dtype=None, **kwargs):
        whole = all(isinstance(x, int) for x in bounds)
        return _empty((_count(*bounds),), dtype or (torch.int64 if whole else torch.get_default_dtype()))


_RULES = {func: getattr(_Run, rule) for rule, name in (
    ('_item', '_local_scalar_dense'), ('_nonzero', 'nonzero'), ('_masked_select', 'masked_select'), ('_index', 'index'),
    ('_unique', '_unique2'), ('_unique', 'unique_consecutive'), ('_slice', 'slice'),
    ('_cat', 'cat'), ('_stack', 'stack'), ('_repeat', 'repeat'), ('_convolution', 'convolution'),
    ('_eye', 'eye'), ('_arange', 'arange'))
    for func in _overloads(name)}


def _count(start, end=None, step=1):
    """How many numbers ``torch.arange`` makes."""
    start, end = (0, start) if end is None else (start, end)
    return max(0, math.ceil((end - start) / step))


def _misfit(name, tensors):
    shapes = ' and '.join(str(tuple(x.shape)) for x in tensors)
    return ValueError(f'{name}: the shapes {shapes} do not go together')


def _on_miniatures(func, args, kwargs):
    """What `func`, which is blind to sizes, makes of meta tensors."""
    tensors = [x for x in leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    sizes = sorted({0, 1}.union(*[x.shape for x in tensors]))  # in order: some functions compare sizes
    number = {size: i for i, size in enumerate(sizes)}
    fill = torch.zeros if func in _INDEXING else torch.ones  # zeros are indices that there are

    args, kwargs = _on_tensors(lambda x: fill([number[size] for size in x.shape], dtype=x.dtype, device='cpu'),
                               (args, kwargs))
    try:
        results = func(*args, **kwargs)
    except Exception as error:
        raise _misfit(func._schema.name.partition('::')[2], tensors) from error
    return _on_tensors(lambda x: _empty([sizes[n] for n in x.shape], x.dtype), results)


# ---------------------------------------------------------------- a call

def sizes_in(value):
    """The sizes that the value of a run shows: the shape of a tensor, or the numbers that it holds or is."""
    if isinstance(value, torch.Tensor):
        return list(value.shape) if value.is_meta else value.reshape(-1).tolist()
    return [value] if isinstance(value, (int, float)) else []


def _with_sizes(value, pairs, which):
    """`value` with the sizes of run number `which`."""
    sizes = [pair[which] for pair in pairs]
    if not isinstance(value, torch.Tensor):
        return sizes[0] if sizes and not isinstance(value, bool) else value
    if value.is_meta:
        return _empty(sizes, value.dtype)
    if value.dtype == torch.bool and any(map(_is_open, pairs)):  # an unknown truth has no stand-in
        return _without_values(value)
    return torch.tensor(sizes, dtype=value.dtype).reshape(value.shape)


def _has_values(x):
    return not x.is_meta if isinstance(x, torch.Tensor) else isinstance(x, (int, float))


class _Call:
    """A call whose shapes are wanted."""

    def __init__(self, fn, args, kwargs):
        self.fn, self.args, self.kwargs = fn, args, kwargs
        self.used = []  # the sizes of each of its arguments
        self._new = []  # the pairs of sizes that become unknown in the course of it
        self._counts = False  # whether it computes with sizes

    def _pairs(self):
        for i in itertools.count():
            if i == len(self._new):
                self._new.append(new_size())
            yield self._new[i]

    def run(self, which, renamed):
        """The results of run number `which` with unknown sizes `renamed`: {pair: other pair}."""
        run = _Run(which, renamed, self._pairs())
        try:
            with state.finding_shapes(run), torch.no_grad(), torch.device('cpu'), _Reshapes():
                args, kwargs = map_leaves(run.leaf, (self.args, self.kwargs))
                with run:
                    return self.fn(*args, **kwargs)
        finally:
            self.used = run.used
            self._counts |= run.counts

    def settled(self, renamed):
        """The results of the two runs. What other renamings that the call accepts make different is unknown in them."""
        runs = [self.run(which, renamed) for which in (0, 1)]
        found = list(zip(*map(leaves, runs)))
        if any(len(leaves(run)) != len(found) for run in runs):
            raise ValueError('the number of results depends on an unknown size')
        for i, (a, b) in enumerate(found):
            if getattr(a, 'shape', None) != getattr(b, 'shape', None):
                found[i] = _on_tensors(_without_values, (a, b))
        sizes = [list(zip(*map(sizes_in, values))) for values in found]
        self._counts |= any(_has_values(a) for a, _ in found)
        doubted = self._doubted(renamed, sizes)
        merged = any(map(_is_open, renamed.values()))
        new = collections.defaultdict(new_size)
        for i, pairs in enumerate(sizes):
            for j, pair in enumerate(pairs):
                if (i, j) in doubted or merged and _is_open(pair):
                    pairs[j] = new[pair if _is_open(pair) else (i, j)]
            sizes[i] = told_apart(pairs, self.used)
        return tuple(filled(run, [_with_sizes(values[which], pairs, which) for values, pairs in zip(found, sizes)])
                     for which, run in enumerate(runs))

    def _doubted(self, renamed, sizes):
        """The places of known `sizes` that another renaming changes."""
        fixed = [pair for pair, to in renamed.items() if not _is_open(to)]
        trials = [{**renamed, pair: to} for pair in fixed for to in (pair, new_size(), (1, 1))]
        trials += [{**renamed, **dict.fromkeys(fixed, (1, 1))}] * (len(fixed) > 1)
        trials += [{**renamed, (place, 'axis', axis): pair} for place, pairs in enumerate(self.used)
                   for axis, pair in enumerate(pairs) if pair in fixed]  # TensorFlow tells two places of a size apart
        if self._counts and self.unknown():  # small and large sizes may come to something else
            trials += [dict.fromkeys(self.unknown(), (n, n)) for n in (0, 1, 10 ** 6)]
        doubted = set()
        for trial in trials:
            try:
                found = leaves(self.run(0, trial))
            except Exception:  # whatever the call raises on these sizes: it does not accept them
                continue
            for i, (value, pairs) in enumerate(zip(found, sizes)):
                doubted.update((i, j) for j, (size, pair) in enumerate(zip(sizes_in(value), pairs))
                               if pair[0] == pair[1] != size)
        return doubted

    # ------------------------------------------------------------ renamings

    def unknown(self):
        return list(dict.fromkeys(pair for pairs in self.used for pair in pairs if _is_open(pair)))

    def renamings(self):
        """Renamings of unknown sizes under which the call may be possible, likeliest first."""
        unknown = self.unknown()
        numbers = [size for pairs in self.used for size, other in pairs if size == other]
        numbers += [x for x in leaves((self.args, self.kwargs)) if type(x) is int and x > 0]
        numbers += [size for x in leaves((self.args, self.kwargs)) if hasattr(x, 'metas') and _has_values(x.metas[0])
                    for size in getattr(x.metas[0], 'shape', ())]  # of these, `used` has the values
        numbers += [1, 0] if self._counts else [1]
        known = [(n, n) for n in dict.fromkeys(numbers) if type(n) is int]
        yield self._aligned(True, True)
        yield self._aligned(False, True)
        for base in ({}, self._aligned(True, False), self._aligned(False, False),
                     dict.fromkeys(unknown[1:], *unknown[:1]), {(a, b): (a * 1000, b * 1000) for a, b in unknown}):
            yield base
            for pair, to in itertools.product(unknown, known):
                yield {**{k: to if v == pair else v for k, v in base.items()}, pair: to}
        for two in itertools.combinations(unknown, 2):
            for ends in itertools.product(known, known):
                yield dict(zip(two, ends))

    def _aligned(self, right, with_known):
        """Each unknown size renamed to one at its axis, counted from the left or the right: a known one if wanted."""
        axes, renamed = collections.defaultdict(list), {}
        for pairs in self.used:
            for i, pair in enumerate(pairs):
                axes[i - len(pairs) if right else i].append(pair)

        def final(pair):
            while pair in renamed:
                pair = renamed[pair]
            return pair
        for axis in axes.values():
            unknown = [pair for pair in axis if _is_open(pair)]
            known = [pair for pair in axis if with_known and not _is_open(pair) and pair != (1, 1)]
            for pair in unknown:
                pair, to = final(pair), final((known or unknown)[0])
                if _is_open(pair) and pair != to:
                    renamed[pair] = to
        return {pair: final(pair) for pair in renamed}


class Misfit(ValueError):
    """A call that no sizes suit."""


def infer(fn, args, kwargs):
    """The results of ``fn(*args, **kwargs)`` in the two runs, a pair of trees.

    What stands for a symbol or a variable among the arguments are its `metas`. The call is made with the unknown sizes
    as they are, and where that fails with one renaming after another. Under the first that works, renamings that differ
    from it are tried: a size that any of these changes becomes unknown.
    Raises Misfit with the reason of the first failure, and as it is an exception that a client's own code raised.
    """
    call, tried, reason = _Call(fn, args, kwargs), set(), None
    for renamed in itertools.chain([{}], call.renamings()):
        key = frozenset(renamed.items())
        if key in tried:
            continue
        tried.add(key)
        try:
            return call.settled(renamed)
        except Exception as error:  # whatever the call raises on these sizes, others may suit it
            if reason is None and _is_clients(error):
                raise
            reason = reason or error
    names = {str(a) for a, _ in call.unknown()}
    raise Misfit(re.sub(r'\b\d+\b', lambda n: 'None' if n[0] in names else n[0], str(reason))) from reason


def _is_clients(error):
    """Whether an exception is not about sizes: none that torch raises for these, or one that a client's code raises."""
    if type(error) not in (IndexError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return True
    place = error.__traceback__
    while place.tb_next:
        place = place.tb_next
    package = place.tb_frame.f_globals.get('__name__', '').partition('.')[0]
    return package not in ('torch', __name__.partition('.')[0]) and (
        place.tb_frame.f_code.co_code[place.tb_lasti] == dis.opmap['RAISE_VARARGS'])
