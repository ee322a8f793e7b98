"""Maximum and average over windows, or over everything."""
import torch

from .. import backend as K
from ..backend.spatial import pool_nd
from ..engine.base_layer import opaque
from ..legacy import interfaces
from ._base import SpatialLayer, spatial_settings

__all__ = [
    f'{kind}{rank}D' for rank in (1, 2, 3) for kind in (
        'AveragePooling', 'AvgPool', 'MaxPooling', 'MaxPool', 'GlobalAveragePooling', 'GlobalAvgPool',
        'GlobalMaxPooling', 'GlobalMaxPool')]


class _Pooling(SpatialLayer):
    """Base of pooling over windows in `rank` dimensions, by `mode`; averages leave the padding out.

    `strides` None means the pool size. `padding` is 'valid' or 'same'.
    """

    settings = ('pool_size', 'padding', 'strides', 'data_format')
    rank, mode, window = 2, 'max', 'pool_size'
    gradients_are_new = True
    takes_maxima = property(lambda self: self.mode == 'max')

    def __init__(self, pool_size, strides, padding, data_format, **kwargs):
        super().__init__(self.rank, data_format, **kwargs)
        strides = pool_size if strides is None else strides
        self.configure(**spatial_settings(self.rank, locals()))

    def __init_subclass__(cls, **kwargs):
        if '_pooling_function' in cls.__dict__ and 'call' not in cls.__dict__:
            cls.call = _Pooling._call_function
        super().__init_subclass__(**kwargs)

    @opaque
    def call(self, inputs):
        return pool_nd(inputs, self.pool_size, self.strides, self.padding, self.data_format, self.mode)

    def _pooling_function(self, inputs, pool_size, strides, padding, data_format):
        """What subclasses that people write may replace; in one dimension with a second one of size 1, as in Keras."""
        return (K.pool3d if self.rank == 3 else K.pool2d)(inputs, pool_size, strides, padding, data_format, self.mode)

    def _call_function(self, inputs):
        more, axis = (1,) * (self.rank == 1), 3 if self.data_format == 'channels_first' else 2
        pooled = self._pooling_function(
            inputs=K.expand_dims(inputs, axis) if more else inputs, pool_size=self.pool_size + more,
            strides=self.strides + more, padding=self.padding, data_format=self.data_format)
        return K.squeeze(pooled, axis) if more else pooled


class _Pooling1D(_Pooling):
    settings = ('strides', 'pool_size', 'padding', 'data_format')
    rank = 1

    @interfaces.legacy_pooling1d_support
    def __init__(self, pool_size=2, strides=None, padding='valid', data_format='channels_last', **kwargs):
        super().__init__(pool_size, strides, padding, data_format, **kwargs)


class _Pooling2D(_Pooling):
    @interfaces.legacy_pooling2d_support
    def __init__(self, pool_size=(2, 2), strides=None, padding='valid', data_format=None, **kwargs):
        super().__init__(pool_size, strides, padding, data_format, **kwargs)


class _Pooling3D(_Pooling):
    rank = 3

    @interfaces.legacy_pooling3d_support
    def __init__(self, pool_size=(2, 2, 2), strides=None, padding='valid', data_format=None, **kwargs):
        super().__init__(pool_size, strides, padding, data_format, **kwargs)


class MaxPooling1D(_Pooling1D):
    """Maximum over windows of (batch, steps, channels)."""


class AveragePooling1D(_Pooling1D):
    """Average over windows of (batch, steps, channels)."""

    mode = 'avg'


class MaxPooling2D(_Pooling2D):
    """Maximum over windows of images: (batch, rows, columns, channels), or channels first."""


class AveragePooling2D(_Pooling2D):
    """Average over windows of images: (batch, rows, columns, channels), or channels first."""

    mode = 'avg'


class MaxPooling3D(_Pooling3D):
    """Maximum over windows of volumes: (batch, depth, rows, columns, channels), or channels first."""


class AveragePooling3D(_Pooling3D):
    """Average over windows of volumes: (batch, depth, rows, columns, channels), or channels first."""

    mode = 'avg'


# ---------------------------------------------------------------- global pooling

class _GlobalPooling(SpatialLayer):
    """Base of pooling over everything but batch and channels, by `reduce`: output shape (batch, channels)."""

    settings = ('data_format',)
    rank, reduce = 2, staticmethod(torch.amax)

    def __init__(self, data_format=None, **kwargs):
        super().__init__(self.rank, data_format, **kwargs)
        first = 2 if self.data_format == 'channels_first' else 1
        self._axes = tuple(range(first, first + self.rank))

    @opaque
    def call(self, inputs):
        return self.reduce(inputs, self._axes)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[self._channel_axis])


class _GlobalPooling1D(_GlobalPooling):
    rank = 1

    def __init__(self, data_format='channels_last', **kwargs):
        super().__init__(data_format, **kwargs)


class _GlobalPooling2D(_GlobalPooling):
    @interfaces.legacy_global_pooling_support
    def __init__(self, data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)


class _GlobalPooling3D(_GlobalPooling2D):
    rank = 3


class GlobalAveragePooling1D(_GlobalPooling1D):
    """Average over the steps of (batch, steps, channels), over those that the mask keeps where there is one."""

    reduce = staticmethod(torch.mean)
    passes_masks = True

    @opaque
    def call(self, inputs, mask=None):
        if mask is None:
            return self.reduce(inputs, self._axes)
        steps, = self._axes
        mask = mask.to(inputs.dtype).unsqueeze(3 - steps)
        return (inputs * mask).sum(steps) / mask.sum(steps)

    def compute_mask(self, inputs, mask=None):
        return None


class GlobalMaxPooling1D(_GlobalPooling1D):
    """Maximum over the steps of (batch, steps, channels)."""


class GlobalAveragePooling2D(_GlobalPooling2D):
    """Average over the rows and columns of images."""

    reduce = staticmethod(torch.mean)


class GlobalMaxPooling2D(_GlobalPooling2D):
    """Maximum over the rows and columns of images."""


class GlobalAveragePooling3D(_GlobalPooling3D):
    """Average over all positions of volumes."""

    reduce = staticmethod(torch.mean)


class GlobalMaxPooling3D(_GlobalPooling3D):
    """Maximum over all positions of volumes."""


AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D
MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
GlobalMaxPool1D, GlobalMaxPool2D, GlobalMaxPool3D = GlobalMaxPooling1D, GlobalMaxPooling2D, GlobalMaxPooling3D
GlobalAvgPool1D, GlobalAvgPool2D, GlobalAvgPool3D = (GlobalAveragePooling1D, GlobalAveragePooling2D,
                                                     GlobalAveragePooling3D)
