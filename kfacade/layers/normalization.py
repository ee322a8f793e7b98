"""Batch normalization."""
import math

import torch

from ..backend import state
from ..backend.nn import MIN_FUSED_EPSILON
from ..backend.pullbacks import batch_norm, full
from ..backend.symbolic import record
from ..backend.variable import MovingAverageUpdate, averaging_rate
from ..engine.base_layer import InputSpec, opaque
from ..legacy import interfaces
from ..utils import ranks
from ._base import BuiltinLayer, argument_names, size_along, with_params

__all__ = ['BatchNormalization']


class BatchNormalization(BuiltinLayer):
    """Normalizes each channel along `axis`: ``gamma * (x - mean) / sqrt(variance + epsilon) + beta``.

    In training, mean and variance are those of the batch, and training moves the averages towards them; in test the
    averages take their place. A frozen layer (``trainable = False``) keeps its averages, but still normalizes with the
    batch in training. All this is as in Keras 2.2.4 on TensorFlow, and so are the averages:

    - they are corrected for their start from zero: the first update after construction (or loading of the model) stores
      the batch's own statistics. ``zero_debias=False`` gives the plain averages of later versions;
    - the variance goes in times N/(N - (1 + epsilon)), for N values a channel, and once more times N/(N - 1) for input
      of 4 dimensions with the channels last.

    Raises ValueError where the size of `axis` is unknown.
    """

    passes_masks = makes_new = True
    weight_layouts = dict.fromkeys(('gamma', 'beta', 'moving_mean', 'moving_variance'))

    @interfaces.legacy_batchnorm_support
    def __init__(self, axis=-1, momentum=0.99, epsilon=1e-3, center=True, scale=True, beta_initializer='zeros',
                 gamma_initializer='ones', moving_mean_initializer='zeros', moving_variance_initializer='ones',
                 beta_regularizer=None, gamma_regularizer=None, beta_constraint=None, gamma_constraint=None,
                 zero_debias=True, **kwargs):
        super().__init__(locals(), **kwargs)

    settings, own_settings = argument_names(__init__)[:-1], {'zero_debias': True}

    def build(self, input_shape):
        dim = size_along(self, self.axis, input_shape)
        if dim is None:
            raise ValueError(f'Axis {self.axis} of input tensor should have a defined dimension but the layer '
                             f'{self.name} received an input with shape {tuple(input_shape)}.')
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: dim})
        self._fused = len(input_shape) == 4 and self.axis in (-1, 3)  # so Keras would use TensorFlow's fused kernel
        self._epsilon = max(self.epsilon, MIN_FUSED_EPSILON) if self._fused else self.epsilon
        self.gamma = self.add_setting_weight('gamma', (dim,), self.scale)
        self.beta = self.add_setting_weight('beta', (dim,), self.center)
        self.moving_mean = self.add_setting_weight('moving_mean', (dim,), trainable=False)
        self.moving_variance = self.add_setting_weight('moving_variance', (dim,), trainable=False)
        self.built = True

    @opaque
    def call(self, inputs, training=None, update=False, normalize=torch.batch_norm):
        params = self._params
        x, restored = self._by_channel(inputs)
        together = training and ranks.here.part is not None and ranks.here.part.synchronizes
        if together:
            moments = mean, variance, _ = self._moments(x, 1)
            own = [1, -1] + [1] * (x.dim() - 2)
            scale = torch.rsqrt(variance + self._epsilon) * (1. if params.gamma is None else params.gamma)
            y = (x - mean.view(own)) * scale.view(own)
            y = y if params.beta is None else y + params.beta.view(own)
        elif not training:
            y = normalize(x, params.gamma, params.beta, params.moving_mean, params.moving_variance, False, 0.,
                          self._epsilon, True)
        elif not update or x.numel() == x.shape[1]:
            y = normalize(x, params.gamma, params.beta, None, None, True, 0., self._epsilon, True)
        else:  # torch moves the averages itself, but with its own idea of the variance
            correction, update = self._correction(x.numel() // x.shape[1]), False
            variance = params.moving_variance.data  # what autograd keeps of the averages must not seem to have changed
            variance.div_(correction)
            try:
                y = normalize(x, params.gamma, params.beta, params.moving_mean, params.moving_variance, True,
                              self._rate(), self._epsilon, True)
            finally:
                variance.mul_(correction)
        if update:
            statistics = self._moved_to(*moments) if together else self._batch_statistics(inputs)
            for average, value in zip((params.moving_mean, params.moving_variance), statistics):
                average.lerp_(value, self._rate())
        return restored(y)

    def _by_channel(self, x):
        """`x` with the channels along axis 1, and what brings such a tensor back to the axes of `x`."""
        axis = self.axis % x.dim()
        if axis == x.dim() - 1:  # one row a position: no copy, and the fastest layout to normalize
            return x.reshape(-1, x.shape[-1]), lambda y: y.view(x.shape)
        return x.movedim(axis, 1), lambda y: y.movedim(1, axis)

    def with_pullback(self, wanted, inputs, training=None, update=False):
        (_, restored), pullbacks = self._by_channel(inputs), []

        def normalize(x, *arguments):
            y, pullback = batch_norm(wanted, x, *arguments)
            pullbacks.append(pullback)
            return y
        y = type(self).call.body(self, inputs, training, update, normalize)

        def pullback(dy):
            dx, *others = pullbacks.pop()(self._by_channel(full(dy, y))[0])
            return [dx if dx is None else restored(dx), *others]
        return y, pullback

    def after(self, layer):
        """A function ``(inputs, activation=None)`` that gives, in test, `activation` of this of what `layer` gives.

        It scales the weights of `layer`, once, where these are fewer than its inputs.
        """
        scaled = []

        def both(inputs, activation=None):
            if not scaled and inputs.numel() <= getattr(layer._params, layer.scaled_weight).numel():
                y = type(self).forward(self, type(layer).forward(layer, inputs))
                return y if activation is None else activation(y)
            if not scaled:
                scaled.append(self._scaled(layer))
            return type(layer).forward(scaled[0], inputs, activation=activation)
        return both

    def _scaled(self, layer):
        """What computes this, in test, of what `layer` gives."""
        params, weight = self._params, getattr(layer._params, layer.scaled_weight)
        scale = torch.rsqrt(params.moving_variance + self._epsilon)
        scale = scale if params.gamma is None else scale * params.gamma
        bias = -params.moving_mean if layer._params.bias is None else layer._params.bias - params.moving_mean
        bias = bias * scale if params.beta is None else torch.addcmul(params.beta, bias, scale)
        scaled = weight * scale.view(-1, *[1] * (weight.dim() - 1))
        return with_params(layer, {layer.scaled_weight: scaled, 'bias': bias})

    def _rate(self):
        """How far the next update moves the averages."""
        return averaging_rate(self.moving_mean, self.momentum, self.zero_debias)

    def _correction(self, n):
        """Keras' variance of `n` numbers over the unbiased one that torch averages; see the class."""
        return (n if self._fused else n - 1) / (n - (1. + self.epsilon))

    @staticmethod
    def _moments(x, axis):
        """Mean and variance of a live batch along all axes but one, and of how many numbers each.

        Where ranks share the batch and synchronize, of all of it.
        """
        axes = [i for i in range(x.dim()) if i != axis % x.dim()]
        n, part = math.prod([x.shape[i] for i in axes]), ranks.here.part
        if part is None or not part.synchronizes:
            return *reversed(torch.var_mean(x, axes, correction=0)), n
        n = n // part.size * part.n
        mean = ranks.total(x.sum(axes, keepdim=True)) / n
        return mean.view(-1), ranks.total((x - mean).square().sum(axes)) / n, n

    def _moved_to(self, mean, variance, n):
        """Mean and corrected variance, which the moving averages move towards."""
        return mean.detach(), variance.detach() * (self._correction(n) * n / max(n - 1, 1))

    def _batch_statistics(self, inputs):
        if not inputs.numel():  # the part of a small batch that one of several devices gets: not a number, as in Keras
            return (torch.full_like(self.moving_mean.param, math.nan),) * 2
        return self._moved_to(*self._moments(inputs.detach(), self.axis))

    def _record_updates(self, inputs, output):
        training = output.kwargs['training']
        if training is False or (training == 0 and state.fixed_learning_phase() is None):
            return  # `training=False` in the call; a learning phase fixed at 0 is another thing, and Keras updates then
        averages = self.moving_mean, self.moving_variance
        metas = tuple(torch.empty_like(average.param, device='meta') for average in averages)
        statistics = record(self._batch_statistics, (inputs,), {}, metas=(metas, metas))
        self.add_update([MovingAverageUpdate(average, value, self.momentum, self.zero_debias, output)
                         for average, value in zip(averages, statistics)], inputs)

    # How many updates the averages have had decides on the next one, so a resumed run must know it.

    def get_extra_state(self):
        return torch.tensor([getattr(self, name).debias_steps for name in ('moving_mean', 'moving_variance')]
                            if self.built else [0, 0])

    def set_extra_state(self, state):
        if self.built:
            self.moving_mean.debias_steps, self.moving_variance.debias_steps = state.tolist()
