"""Padding, cropping and enlarging along the spatial axes."""
from .. import backend as K
from ..backend.spatial import pad_nd, upsample_nd
from ..engine.base_layer import InputSpec, opaque
from ..legacy import interfaces
from ..utils import conv_utils
from ..utils.generic_utils import transpose_shape
from ._base import BuiltinLayer, checked_sizes


def _pairs(value, rank, name):
    """One (before, after) for each spatial axis, from an int, an int an axis, or a pair an axis."""
    if isinstance(value, int):
        return ((value, value),) * rank
    count = 'two' if rank == 2 else rank
    if not hasattr(value, '__len__'):
        raise ValueError(f'`{name}` should be either an int, a tuple of {rank} ints (symmetric along each axis), or a '
                         f'tuple of {rank} tuples of 2 ints (before and after, along each axis). Found: {value}')
    if len(value) != rank:
        raise ValueError(f'`{name}` should have {count} elements. Found: {value}')
    ordinals = ('1st', '2nd', '3rd')
    return tuple(conv_utils.normalize_tuple(v, 2, f'{ordinals[i]} entry of {name}') for i, v in enumerate(value))


class _Spatial(BuiltinLayer):
    """Base of layers that change the sizes of the spatial axes by a setting of one entry an axis."""

    def __init__(self, rank, data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.rank = rank
        self.data_format = K.normalize_data_format(data_format)
        self.input_spec = InputSpec(ndim=rank + 2)

    def _each_axis(self, entries, other):
        """`entries` of the spatial axes and `other` for batch and channels, in the order of the input's axes."""
        return transpose_shape((other, *entries, other), self.data_format, tuple(range(1, self.rank + 1)))


class _ZeroPadding(_Spatial):
    settings = ('padding', 'data_format')

    def __init__(self, padding, data_format=None, **kwargs):
        super().__init__(len(padding), data_format, **kwargs)
        self.check_integers('padding', padding, 0)
        self.padding = padding

    @opaque
    def call(self, inputs):
        return pad_nd(inputs, self.padding, self.data_format)

    def compute_output_shape(self, input_shape):
        return tuple(None if size is None else size + sum(pair)
                     for size, pair in zip(input_shape, self._each_axis(self.padding, (0, 0))))


class ZeroPadding1D(_ZeroPadding):
    """Zeros before and after the steps of (batch, steps, channels): `padding` at either end, or (before, after)."""

    settings = ('padding',)

    def __init__(self, padding=1, **kwargs):
        super().__init__((conv_utils.normalize_tuple(padding, 2, 'padding'),), 'channels_last', **kwargs)

    def get_config(self):
        return {**super().get_config(), 'padding': self.padding[0]}


class ZeroPadding2D(_ZeroPadding):
    """Zeros around images. `padding`: an int, (rows, columns), or ((top, bottom), (left, right))."""

    @interfaces.legacy_zeropadding2d_support
    def __init__(self, padding=(1, 1), data_format=None, **kwargs):
        super().__init__(_pairs(padding, 2, 'padding'), data_format, **kwargs)


class ZeroPadding3D(_ZeroPadding):
    """Zeros around volumes. `padding`: an int, one int an axis, or one (before, after) an axis."""

    @interfaces.legacy_zeropadding3d_support
    def __init__(self, padding=(1, 1, 1), data_format=None, **kwargs):
        super().__init__(_pairs(padding, 3, 'padding'), data_format, **kwargs)


class _Cropping(_Spatial):
    settings = ('cropping', 'data_format')

    def __init__(self, cropping, data_format=None, **kwargs):
        super().__init__(len(cropping), data_format, **kwargs)
        self.check_integers('cropping', cropping, 0)
        self.cropping = cropping
        self._index = self._each_axis([slice(start, -end or None) for start, end in cropping], slice(None))

    @opaque
    def call(self, inputs):
        return inputs[self._index]

    def compute_output_shape(self, input_shape):
        shape = [None if size is None else size - sum(pair)
                 for size, pair in zip(input_shape, self._each_axis(self.cropping, (0, 0)))]
        return checked_sizes(self, shape, input_shape)


class Cropping1D(_Cropping):
    """Cuts steps off (batch, steps, channels): `cropping` at either end, or (before, after)."""

    settings = ('cropping',)

    def __init__(self, cropping=(1, 1), **kwargs):
        super().__init__((conv_utils.normalize_tuple(cropping, 2, 'cropping'),), 'channels_last', **kwargs)

    def get_config(self):
        return {**super().get_config(), 'cropping': self.cropping[0]}


class Cropping2D(_Cropping):
    """Cuts the edges off images. `cropping`: an int, (rows, columns), or ((top, bottom), (left, right))."""

    @interfaces.legacy_cropping2d_support
    def __init__(self, cropping=((0, 0), (0, 0)), data_format=None, **kwargs):
        super().__init__(_pairs(cropping, 2, 'cropping'), data_format, **kwargs)


class Cropping3D(_Cropping):
    """Cuts the edges off volumes. `cropping`: an int, one int an axis, or one (before, after) an axis."""

    @interfaces.legacy_cropping3d_support
    def __init__(self, cropping=((1, 1), (1, 1), (1, 1)), data_format=None, **kwargs):
        super().__init__(_pairs(cropping, 3, 'cropping'), data_format, **kwargs)


class _UpSampling(_Spatial):
    settings = ('size', 'data_format')
    interpolation = 'nearest'

    def __init__(self, size, data_format=None, **kwargs):
        super().__init__(len(size), data_format, **kwargs)
        self.configure(size=size)

    @opaque
    def call(self, inputs):
        return upsample_nd(inputs, self.size, self.data_format, self.interpolation)

    def compute_output_shape(self, input_shape):
        return tuple(None if size is None else size * n
                     for size, n in zip(input_shape, self._each_axis(self.size, 1)))


class UpSampling1D(_UpSampling):
    """Repeats each step of (batch, steps, channels) `size` times."""

    settings = ('size',)

    @interfaces.legacy_upsampling1d_support
    def __init__(self, size=2, **kwargs):
        size = int(size) if isinstance(size, float) else size  # as Keras does
        super().__init__(conv_utils.normalize_tuple(size, 1, 'size'), 'channels_last', **kwargs)

    def get_config(self):
        return {**super().get_config(), 'size': self.size[0]}


class UpSampling2D(_UpSampling):
    """Enlarges images `size` = (rows, columns) times, by repetition ('nearest') or by 'bilinear' interpolation."""

    settings = ('size', 'data_format', 'interpolation')

    @interfaces.legacy_upsampling2d_support
    def __init__(self, size=(2, 2), data_format=None, interpolation='nearest', **kwargs):
        super().__init__(conv_utils.normalize_tuple(size, 2, 'size'), data_format, **kwargs)
        if interpolation not in ('nearest', 'bilinear'):
            raise ValueError(f'interpolation should be one of "nearest" or "bilinear". Received: {interpolation}')
        self.interpolation = interpolation


class UpSampling3D(_UpSampling):
    """Enlarges volumes `size` times along each axis, by repetition."""

    @interfaces.legacy_upsampling3d_support
    def __init__(self, size=(2, 2, 2), data_format=None, **kwargs):
        super().__init__(conv_utils.normalize_tuple(size, 3, 'size'), data_format, **kwargs)
