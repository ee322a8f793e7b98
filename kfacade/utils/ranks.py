"""Ranks: processes that train one model together, as ``torchrun --nproc-per-node=4 -m kfacade train.py`` starts them.

Every rank runs the whole script, on the same data and the same random numbers. A network is computed by each rank for
its rows of a batch; what comes out is gathered, so that losses, metrics and predictions are, on all ranks alike, those
of the whole batch. Each rank goes back from the same loss to its own rows, and the gradients are averaged over the
ranks: the loss counts as the mean of that of all ranks, and what is put together sends back, to each, what all of them
make of it. Layers that look at the whole batch look at the rank's rows, unless they take `total` sums.
"""
import contextlib
import functools
import math
import os
import threading
from collections import Counter
from datetime import timedelta

import torch
import torch.distributed as dist

from .seeds import random_states, set_random_states


class _Here(threading.local):
    part = None  # the `Part` of a batch that is being computed


here = _Here()
rank, count = 0, 1
_store, _turns = None, Counter()


def start():
    """Joins the processes that torchrun has started, where it has: from now on they train together.

    Raises ValueError where their environment variables are incomplete.
    """
    global rank, count, _store
    if int(os.environ.get('WORLD_SIZE', 1)) < 2:
        return
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus:
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']) % gpus)
    _store, rank, count = next(iter(dist.rendezvous('env://')))
    nccl = gpus >= int(os.environ.get('LOCAL_WORLD_SIZE', count)) and dist.is_nccl_available()
    dist.init_process_group('cpu:gloo,cuda:nccl' if nccl else 'gloo', store=dist.PrefixStore('kfacade', _store),
                            rank=rank, world_size=count)
    set_random_states(of_first(random_states()))


def stop():
    """Leaves the others, when the script is done on all: they may have to look up what rank 0 has told."""
    global rank, count
    if count > 1:
        last = torch.zeros(1)  # until the group is gone, whose thread may wait for Python to let go of it (torch 2.6)
        dist.all_reduce(last)  # all wait for all
        rank, count = 0, 1
        dist.destroy_process_group()


# ---------------------------------------------------------------- what rank 0 does for all

def of_first(value):
    """What `value` is on rank 0."""
    if count == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, device=torch.device('cpu'))
    return box[0]


def tell(*text):
    """``print``, by rank 0 alone."""
    if rank == 0:
        print(*text)


@contextlib.contextmanager
def after_first(what):
    """A context that rank 0 leaves before others enter it: a file called `what` is there for them."""
    _turns[what] += 1
    key = f'{what} {_turns[what]}'
    if rank:
        _store.wait([key], timedelta(days=1))  # as long as rank 0 lives: torchrun ends all when one does not
    try:
        yield
    finally:
        if rank == 0 and count > 1:
            _store.set(key, '')


class Silent:
    """Takes the place of a writer on the other ranks: whatever it is asked to do is nothing."""

    def __getattr__(self, name):
        return self

    def __call__(self, *args, **kwargs):
        return self


# ---------------------------------------------------------------- parts of batches

class Part(list):
    """Tensors of the rows `start` to `stop` of a batch of `n`; in its context, the part that is being computed.

    `synchronizes`: whether BatchNormalization takes the statistics of all parts.
    """

    def __init__(self, tensors, rows, n, synchronizes=False):
        super().__init__(tensors)
        self.start, self.stop, self.n, self.synchronizes = rows.start, rows.stop, n, synchronizes
        self.size = self.stop - self.start

    def __enter__(self):
        self._outer, here.part = here.part, self

    def __exit__(self, *_):
        here.part = self._outer


def rows_of(n, which=None):
    """The rows of a batch of `n` that a rank (this one) computes: a slice, or None where it has too few for all."""
    which = rank if which is None else which
    return slice(n * which // count, n * (which + 1) // count) if 1 < count <= n else None


run_apart = None  # calls a function outside of what torch compiles; made when it first does


def of_batch(draw):
    """Has ``draw(shape, ...)`` draw for the whole batch, as one process would, and gives the rows of this rank."""
    @functools.wraps(draw)
    def drawn(shape, *args, **kwargs):
        part = here.part
        if run_apart and torch.compiler.is_dynamo_compiling():
            return run_apart(drawn, shape, *args, **kwargs)
        if part is None or not len(shape) or shape[0] != part.size:
            return draw(shape, *args, **kwargs)
        return draw((part.n, *shape[1:]), *args, **kwargs)[part.start:part.stop]
    return drawn


def gather(kinds, *tensors):
    """What all ranks have computed, for each tensor of this one's; the tensors themselves outside of a `Part`.

    `kinds`, for each: 'rows' where there is one row a sample, 'open' where the number of rows only shows now: these are
    put one after the other. 'mean' where there are none: the mean over the samples of what the ranks have.
    """
    if run_apart and torch.compiler.is_dynamo_compiling():
        return run_apart(gather, kinds, *tensors)
    return tensors if here.part is None else _Gather.apply(kinds, here.part, *tensors)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kinds, part, *tensors):
        places = [slice(rank, rank + 1) if kind == 'mean' else slice(part.start, part.stop) for kind in kinds]
        shapes = [(count, *x.shape) if kind == 'mean' else (part.n, *x.shape[1:]) for kind, x in zip(kinds, tensors)]
        for i, x in enumerate(tensors):
            if kinds[i] == 'open':
                counts = torch.zeros(count, dtype=torch.int64)
                counts[rank] = len(x)
                dist.all_reduce(counts)
                start = int(counts[:rank].sum())
                places[i], shapes[i] = slice(start, start + len(x)), (int(counts.sum()), *x.shape[1:])
        lengths = [x.element_size() * math.prod(shape) for x, shape in zip(tensors, shapes)]
        buffer = torch.zeros(sum(-(-n // 8) * 8 for n in lengths), dtype=torch.uint8, device=tensors[0].device)
        pieces = buffer.split([-(-n // 8) * 8 for n in lengths])  # aligned for all data types
        wholes = [piece[:n].view(x.dtype).view(shape) for piece, n, x, shape in zip(pieces, lengths, tensors, shapes)]
        for whole, place, x in zip(wholes, places, tensors):
            whole[place] = x
        dist.all_reduce(buffer)  # of bytes that are 0 on all ranks but one
        ctx.kinds, ctx.places, ctx.share = kinds, places, part.size / part.n
        shares = [r.stop - r.start for r in (rows_of(part.n, i) for i in range(count))]
        results = [_mean(x, shares) if kind == 'mean' else x for kind, x in zip(kinds, wholes)]
        ctx.mark_non_differentiable(*[x for x in results if not x.is_floating_point()])
        return tuple(results)

    @staticmethod
    def backward(ctx, *grads):
        return None, None, *[None if g is None else g * (ctx.share * count) if kind == 'mean' else g[place] * count
                             for g, kind, place in zip(grads, ctx.kinds, ctx.places)]


def _mean(values, shares):
    """The mean of what floats the ranks have, in the first axis, by the size of their parts; any other of rank 0."""
    if not values.is_floating_point():
        return values[0].clone()
    return sum(x * (n / sum(shares)) for x, n in zip(values, shares))


def total(tensor):
    """The sum over the ranks, of which each sends back the sum of what all make of it."""
    return _Total.apply(tensor)


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        result = x.contiguous().clone()
        dist.all_reduce(result)
        return result

    @staticmethod
    def backward(ctx, grad):
        return _Total.apply(grad)


def average(tensors, like, share=None):
    """The means over the ranks of tensors (or None), which lie in memory as those of `like` do.

    `share`: that of the batch which the tensors of this rank are of; None where all count the same. Those of one device
    and data type are sent in one piece.
    """
    means, alike = list(tensors), {}
    for i, x in enumerate(tensors if count > 1 else ()):
        if x is not None:
            alike.setdefault((x.device, x.dtype), []).append(i)
    for group in alike.values():
        orders = [sorted(range(like[i].dim()), key=like[i].stride, reverse=True) for i in group]
        laid = [tensors[i].detach().permute(order) for i, order in zip(group, orders)]
        flat = torch.cat([x.reshape(-1) for x in laid]).mul_(1. / count if share is None else share)
        dist.all_reduce(flat)
        for i, order, x, piece in zip(group, orders, laid, flat.split([x.numel() for x in laid])):
            means[i] = piece.view(x.shape).permute([order.index(axis) for axis in range(len(order))])
    return means


def spread(tensors):
    """Gives the tensors on all ranks the values that they have on rank 0."""
    for x in tensors if count > 1 else ():
        value = x.detach().contiguous()
        dist.broadcast(value, 0)
        x.detach().copy_(value)
