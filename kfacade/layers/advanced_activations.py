"""Activations that have arguments or weights of their own."""
import torch
import torch.nn.functional as F

from .. import activations
from .. import backend as K
from ..backend.pullbacks import full
from ..engine.base_layer import InputSpec, opaque
from ..legacy import interfaces
from ..utils.generic_utils import to_list
from ._base import BuiltinLayer, size_along

__all__ = ['ELU', 'LeakyReLU', 'PReLU', 'ReLU', 'Softmax', 'ThresholdedReLU']


class _Scaled(BuiltinLayer):
    """Base of layers whose arguments are rounded to ``floatx()``, as Keras keeps them and writes them to files.

    Where `may_write_over` says so, ``call(inputs, over=True)`` gives the result in the place of `inputs`.
    """

    passes_masks, may_write_over = True, False

    def _checked(self, name, value):
        return float(K.cast_to_floatx(super()._checked(name, value)))


class LeakyReLU(_Scaled):
    """``x`` where x > 0, else ``alpha * x``."""

    may_write_over = True

    def __init__(self, alpha=0.3, **kwargs):
        super().__init__(locals(), **kwargs)

    @opaque
    def call(self, inputs, over=False):
        return F.leaky_relu(inputs, self.alpha, over)

    def with_pullback(self, wanted, inputs):
        return self.forward(inputs), lambda dy: [
            torch.ops.aten.leaky_relu_backward.default(full(dy, inputs), inputs, self.alpha, False)]


class PReLU(BuiltinLayer):
    """``x`` where x > 0, else ``alpha * x``, with a trainable alpha for each element of a sample.

    `shared_axes`: axes, counted from 1, along which all elements share one alpha.
    """

    passes_masks = True
    weight_layouts = {'alpha': None}

    @interfaces.legacy_prelu_support
    def __init__(self, alpha_initializer='zeros', alpha_regularizer=None, alpha_constraint=None, shared_axes=None,
                 **kwargs):
        super().__init__({**locals(), 'shared_axes': shared_axes and to_list(shared_axes, allow_tuple=True)}, **kwargs)

    def build(self, input_shape):
        shared, shape = self.shared_axes or (), list(input_shape[1:])
        try:
            for axis in shared:
                shape[axis - 1] = 1
        except (IndexError, TypeError):
            raise ValueError(f'`shared_axes` of layer {self.name} must be integers from 1 to {len(shape)}, the axes of '
                             f'its input of shape {tuple(input_shape)}. Received: {shared}') from None
        if None in shape:
            raise ValueError(f'Layer {self.name} needs one weight for each element of a sample, but the input shape '
                             f'{tuple(input_shape)} is not fully defined. Use `shared_axes` for the unknown ones.')
        self.param_broadcast = [i in shared for i in range(1, len(input_shape))]
        self.alpha = self.add_setting_weight('alpha', shape)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={
            i: size for i, size in enumerate(input_shape) if shared and i and i not in shared})
        self.built = True

    @opaque
    def call(self, inputs, mask=None):
        return torch.relu(inputs) - self._params.alpha * torch.relu(-inputs)


class ELU(_Scaled):
    """``x`` where x > 0, else ``alpha * (exp(x) - 1)``."""

    may_write_over = True

    def __init__(self, alpha=1.0, **kwargs):
        super().__init__(locals(), **kwargs)

    @opaque
    def call(self, inputs, over=False):
        return F.elu(inputs, self.alpha, over)

    def with_pullback(self, wanted, inputs):
        return self.forward(inputs), lambda dy: [
            torch.ops.aten.elu_backward.default(full(dy, inputs), self.alpha, 1., 1., False, inputs)]


class ThresholdedReLU(_Scaled):
    """``x`` where x > theta, else 0."""

    def __init__(self, theta=1.0, **kwargs):
        super().__init__(locals(), **kwargs)

    @opaque
    def call(self, inputs, mask=None):
        return F.threshold(inputs, self.theta, 0.)


class Softmax(BuiltinLayer):
    """Softmax along `axis`."""

    passes_masks = True
    by_sample = property(lambda self: self.axis > 0 or self.axis == -1)

    def __init__(self, axis=-1, **kwargs):
        super().__init__(locals(), **kwargs)

    def build(self, input_shape):
        if len(input_shape) > 2:  # of two axes, Keras takes the last, whatever is asked for
            size_along(self, self.axis, input_shape)
        super().build(input_shape)

    @opaque
    def call(self, inputs):
        return activations.softmax(inputs, axis=self.axis)


class ReLU(_Scaled):
    """``min(x, max_value)`` where x >= threshold, else ``negative_slope * (x - threshold)``.

    Raises ValueError for a negative `max_value` or `negative_slope`.
    """

    settings = ('max_value', 'negative_slope', 'threshold')

    def __init__(self, max_value=None, negative_slope=0., threshold=0., **kwargs):
        super().__init__({'negative_slope': negative_slope, 'threshold': threshold}, **kwargs)
        self.max_value = None if max_value is None else self._checked('max_value', max_value)
        for name in ('max_value', 'negative_slope'):
            if (getattr(self, name) or 0.) < 0.:
                raise ValueError(f'{name} of ReLU layer cannot be negative value: {getattr(self, name)}')
        self.may_write_over = self.max_value in (None, 6.) and not negative_slope and not threshold

    @opaque
    def call(self, inputs, over=False):
        if self.may_write_over and (over or self.max_value is None):
            return F.relu(inputs, over) if self.max_value is None else F.hardtanh(inputs, 0., 6., over)
        return K.relu(inputs, alpha=self.negative_slope, max_value=self.max_value, threshold=self.threshold)
