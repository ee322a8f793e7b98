"""Layers, and functions, that merge several tensors into one."""
import functools

import torch

from .. import backend as K
from ..backend.state import mode
from ..engine.base_layer import opaque
from ..utils.generic_utils import is_all_none, to_list
from ._base import BuiltinLayer, size_along

__all__ = ['Add', 'Average', 'Concatenate', 'Dot', 'Maximum', 'Minimum', 'Multiply', 'Subtract', 'add', 'average',
           'concatenate', 'dot', 'maximum', 'minimum', 'multiply', 'subtract']


def _check_masks(inputs, mask):
    if not isinstance(mask, list):
        raise ValueError('`mask` should be a list.')
    if not isinstance(inputs, list):
        raise ValueError('`inputs` should be a list.')
    if len(mask) != len(inputs):
        raise ValueError('The lists `inputs` and `mask` should have the same length.')


class _Merge(BuiltinLayer):
    """Base of layers that take a list of inputs and define ``_merge_function(inputs)``.

    Inputs of fewer dimensions than the others get new ones of size 1 after the batch.
    """

    passes_masks = makes_new = True

    def _merge_function(self, inputs):
        raise NotImplementedError(f'{type(self).__name__} must define `_merge_function(inputs)`.')

    def build(self, input_shape):
        if not isinstance(input_shape, list):
            raise ValueError('A merge layer should be called on a list of inputs. '
                             f'Layer {self.name} got the input shape {input_shape}.')
        if len(input_shape) < 2:
            raise ValueError('A merge layer should be called on a list of at least 2 inputs. '
                             f'Got {len(input_shape)} inputs.')
        if len({shape[0] for shape in input_shape} - {None}) > 1:
            raise ValueError('Can not merge tensors with different batch sizes. Got tensors with shapes : '
                             f'{input_shape} (layer {self.name})')
        self.compute_output_shape(input_shape)
        self.built = True

    def call(self, inputs):
        if not isinstance(inputs, list):
            raise ValueError(f'A merge layer should be called on a list of inputs. Layer {self.name} got {inputs!r}.')
        rank = max(x.dim() for x in inputs)
        return self._merge_function([functools.reduce(K.expand_dims, [1] * (rank - x.dim()), x) for x in inputs])

    def compute_output_shape(self, input_shape):
        input_shape = to_list(input_shape)
        batches = {shape[0] for shape in input_shape} - {None}
        batch = batches.pop() if len(batches) == 1 else None
        try:
            return (batch, *functools.reduce(_broadcast, (shape[1:] for shape in input_shape)))
        except ValueError as error:
            raise ValueError(f'{error} (layer {self.name})') from None

    def compute_mask(self, inputs, mask=None):
        if mask is None:
            return None
        _check_masks(inputs, mask)
        masks = [m for m in mask if m is not None]
        if masks and mode.origin == 'Keras 3' and isinstance(self, (Maximum, Minimum)):
            raise ValueError(f'The {type(self).__name__} layer "{self.name}" compares masked tensors, of which Keras 3 '
                             'takes the steps that are not masked: Keras 2.2.4 takes all.')
        return functools.reduce(torch.logical_and, masks) if masks else None


def _broadcast(shape1, shape2):
    if len(shape1) < len(shape2):
        shape1, shape2 = shape2, shape1
    merged = list(shape1[:len(shape1) - len(shape2)])
    for i, j in zip(shape1[len(merged):], shape2):
        if None not in (i, j) and 1 not in (i, j) and i != j:
            raise ValueError(f'Operands could not be broadcast together with shapes {tuple(shape1)} {tuple(shape2)}')
        merged.append(None if i is None or j is None else j if i == 1 else i)
    return tuple(merged)


class _Reduce(_Merge):
    """A merge of any number of inputs, two at a time, by the torch function `combine`."""

    combine = None

    def _merge_function(self, inputs):
        return functools.reduce(self.combine, inputs)

    @opaque
    def call(self, inputs):
        return super().call(inputs)


class Add(_Reduce):
    """The sum of the inputs."""

    combine = staticmethod(torch.add)


class Subtract(_Reduce):
    """The first of two inputs minus the second."""

    combine = staticmethod(torch.sub)

    def _pair(self, inputs):
        if len(inputs) != 2:
            raise ValueError(f'A `Subtract` layer should be called on exactly 2 inputs. Layer {self.name} got '
                             f'{len(inputs)}.')
        return inputs

    def compute_output_shape(self, input_shape):
        return super().compute_output_shape(self._pair(to_list(input_shape)))

    def _merge_function(self, inputs):
        return super()._merge_function(self._pair(inputs))


class Multiply(_Reduce):
    """The product of the inputs, element by element."""

    combine = staticmethod(torch.mul)


class Average(_Reduce):
    """The mean of the inputs, element by element."""

    combine = staticmethod(torch.add)

    def _merge_function(self, inputs):
        return super()._merge_function(inputs) / len(inputs)


class Maximum(_Reduce):
    """The largest of the inputs, element by element."""

    combine = staticmethod(torch.maximum)


class Minimum(_Reduce):
    """The smallest of the inputs, element by element."""

    combine = staticmethod(torch.minimum)


class Concatenate(_Merge):
    """The inputs side by side along `axis`; their other dimensions must agree."""

    by_sample = property(lambda self: self.axis > 0 or self.axis == -1)

    def __init__(self, axis=-1, **kwargs):
        super().__init__(locals(), **kwargs)

    def build(self, input_shape):
        if not isinstance(input_shape, list) or len(input_shape) < 2:
            raise ValueError('A `Concatenate` layer should be called on a list of at least 2 inputs. '
                             f'Layer {self.name} got the input shape {input_shape}.')
        rest = [list(shape) for shape in input_shape]
        for shape in rest:
            size_along(self, self.axis, shape)
            del shape[self.axis]
        if any(shape != rest[0] for shape in rest):
            raise ValueError('A `Concatenate` layer requires inputs with matching shapes except for the concat axis. '
                             f'Got inputs shapes: {input_shape} (layer {self.name})')
        self.built = True

    @opaque
    def call(self, inputs):
        return torch.cat(inputs, self.axis)

    def compute_output_shape(self, input_shape):
        if not isinstance(input_shape, list):
            raise ValueError('A `Concatenate` layer should be called on a list of inputs.')
        sizes = [shape[self.axis] for shape in input_shape]
        output_shape = list(input_shape[0])
        output_shape[self.axis] = None if None in sizes else sum(sizes)
        return tuple(output_shape)

    def compute_mask(self, inputs, mask=None):
        if mask is None:
            return None
        _check_masks(inputs, mask)
        if is_all_none(mask):
            return None
        full = [torch.ones_like(x[..., :1], dtype=torch.bool) if m is None
                else K.expand_dims(m) if K.ndim(m) < K.ndim(x) else m for x, m in zip(inputs, mask)]
        return K.all(K.concatenate(full, axis=self.axis), axis=-1)


class Dot(_Merge):
    """Dot products between the samples of two inputs, along `axes` (an int, or one for each input).

    `normalize`: scale both to length 1 along these axes first, which gives the cosine of the angle between them.
    """

    by_sample = False

    def __init__(self, axes, normalize=False, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(axes, int):
            if not isinstance(axes, (list, tuple)):
                raise TypeError(f'Invalid type for `axes` - should be a list or an int. Got {axes!r}.')
            if len(axes) != 2:
                raise ValueError(f'Invalid format for `axes` - should contain two elements. Got {axes}.')
            if not all(isinstance(axis, int) for axis in axes):
                raise ValueError(f'Invalid format for `axes` - list elements should be "int". Got {axes}.')
        self.configure(locals())

    def _axes(self, rank1, rank2):
        axes = (self.axes,) * 2 if isinstance(self.axes, int) else self.axes
        return [axes[0] % rank1 if axes[0] < 0 else axes[0], axes[1] % rank2 if axes[1] < 0 else axes[1]]

    def build(self, input_shape):
        if not isinstance(input_shape, list) or len(input_shape) != 2:
            raise ValueError(f'A `Dot` layer should be called on a list of 2 inputs. Layer {self.name} got the input '
                             f'shape {input_shape}.')
        shape1, shape2 = input_shape
        axis1, axis2 = axes = self._axes(len(shape1), len(shape2))
        if size_along(self, axis1, shape1) != size_along(self, axis2, shape2):
            raise ValueError(f'Dimension incompatibility {shape1[axis1]} != {shape2[axis2]}. '
                             f'Layer shapes: {shape1}, {shape2} (layer {self.name})')
        if None not in (*shape1[1:], *shape2[1:]):
            try:
                K.batch_dot.body(*(torch.empty(1, *s[1:], device='meta') for s in input_shape), axes)
            except RuntimeError as error:  # beyond three dimensions, the middle ones must agree
                raise ValueError(f'Layer {self.name} cannot be applied to inputs of the shapes {shape1}, {shape2}: '
                                 f'{error}') from None
        self.built = True

    @opaque
    def call(self, inputs):
        x, y = inputs
        axes = self._axes(x.dim(), y.dim())
        if self.normalize:
            x, y = K.l2_normalize(x, axis=axes[0]), K.l2_normalize(y, axis=axes[1])
        return K.batch_dot(x, y, axes)

    def compute_output_shape(self, input_shape):
        if not isinstance(input_shape, list) or len(input_shape) != 2:
            raise ValueError('A `Dot` layer should be called on a list of 2 inputs.')
        shape1, shape2 = (list(shape) for shape in input_shape)
        axis1, axis2 = self._axes(len(shape1), len(shape2))
        del shape1[axis1], shape2[axis2], shape2[0]
        merged = shape1 + shape2
        return tuple(merged if len(merged) > 1 else [*merged, 1])

    def compute_mask(self, inputs, mask=None):
        return None


# ---------------------------------------------------------------- functions

def _function(layer):
    def merge(inputs, **kwargs):
        return layer(**kwargs)(inputs)
    merge.__name__ = merge.__qualname__ = layer.__name__.lower()
    merge.__doc__ = f'What the layer `{layer.__name__}`, made with the keywords, gives for a list of symbols.'
    return merge


add, subtract, multiply = _function(Add), _function(Subtract), _function(Multiply)
average, maximum, minimum = _function(Average), _function(Maximum), _function(Minimum)


def concatenate(inputs, axis=-1, **kwargs):
    """What the layer `Concatenate`, made with the other arguments, gives for a list of symbols."""
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs, axes, normalize=False, **kwargs):
    """What the layer `Dot`, made with the other arguments, gives for a list of two symbols."""
    return Dot(axes=axes, normalize=normalize, **kwargs)(inputs)
