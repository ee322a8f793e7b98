"""Transformations of one image, an array of rank 3.

Resampling is that of scipy.ndimage 1.2, which keras_preprocessing 1.1.0 had: its rules at the borders changed since.
"""
import functools

import numpy as np

from ...utils.extras import optional
from .utils import check_choice, to_pixels

# ---------------------------------------------------------------- resampling

def _reflect(at, n):
    # scipy put -0.3 at -0.7, which _fold then reads at 0.7.
    below = at + 2 * n * np.trunc(np.maximum(-at, 0) / (2 * n))
    below = np.where(below < -n, below + 2 * n, -below - 1)
    above = at - 2 * n * np.trunc(at / (2 * n))
    above = np.where(above >= n, 2 * n - above - 1, above)
    return np.where(at < 0, below, np.where(at > n - 1, above, at))


def _wrap(at, n):
    last = max(n - 1, 1)  # and not n: for scipy the first and the last element were the same one
    return np.where(at < 0, at + last * (np.trunc(-at / last) + 1), np.where(at > n - 1, at % last, at))


FILL_MODES = {  # which coordinates to look at for those outside of 0 to n - 1; -1 is nowhere
    'constant': lambda at, n: np.where((at < 0) | (at > n - 1), -1., at),
    'nearest': lambda at, n: np.clip(at, 0, n - 1),
    'reflect': _reflect,
    'wrap': _wrap,
}


def _fold(at, n):
    """Integer coordinates from -1 to n, mirrored at the first and the last element to 0 to n - 1."""
    at = np.abs(at.astype(int))
    return np.clip(np.minimum(at, 2 * n - 2 - at), 0, n - 1)


def _sample(x, at, order, fill_mode, cval):
    """The image `x`, float64 (channels, height, width), at rows and columns `at`: float64 (channels, *their shape)."""
    at = [FILL_MODES[fill_mode](a, n) if n > 1 or fill_mode == 'constant' else 0 * a for a, n in zip(at, x.shape[1:])]
    outside = (at[0] <= -1) | (at[1] <= -1)
    if order > 1:
        ndimage = optional('scipy.ndimage', 'An interpolation order above 1', 'images')
        out = np.stack([ndimage.map_coordinates(ndimage.spline_filter(channel, order), at, order=order, mode='mirror',
                                                prefilter=False) for channel in x])
    else:
        lows = [np.floor(a if order else a + .5) for a in at]
        taps = [[(_fold(low, n), 1 - (a - low)), (_fold(low + 1, n), a - low)]
                for a, low, n in zip(at, lows, x.shape[1:])]
        corners = [(i * x.shape[2] + j, v * w) for i, v in taps[0] for j, w in taps[1]]
        if order == 0:
            corners = [(corners[0][0], 1)]
        out = np.stack([sum(pixels[i] * weight for i, weight in corners) for pixels in x.reshape(len(x), -1)])
    if fill_mode in ('constant', 'reflect'):
        out[:, outside] = cval
    return out


def _shifted(rows, columns):
    return np.array([[1, 0, rows], [0, 1, columns], [0, 0, 1]])


def transform_matrix_offset_center(matrix, x, y):
    """A 3x3 matrix of an affine transformation about the origin, made one about the centre of `x` rows, `y` columns."""
    row, column = x / 2 + .5, y / 2 + .5
    return _shifted(row, column) @ matrix @ _shifted(-row, -column)


def apply_affine_transform(x, theta=0, tx=0, ty=0, shear=0, zx=1, zy=1, row_axis=0, col_axis=1, channel_axis=2,
                           fill_mode='nearest', cval=0., order=1):
    """The image rotated, shifted, sheared and zoomed around its centre: an array like `x`.

    Arguments:
        theta, shear: angles in degrees. tx, ty: shifts along rows and columns, in pixels. zx, zy: zoom along both.
        row_axis, col_axis, channel_axis: which axes of `x` are which.
        fill_mode: what lies outside: 'constant' (`cval`), 'nearest', 'reflect' or 'wrap'.
        order: of the interpolation: 0 takes the nearest pixel, 1 is linear, 2 to 5 are splines (which take scipy).
    """
    if (theta, tx, ty, shear, zx, zy) == (0, 0, 0, 0, 1, 1):
        return x
    check_choice('fill_mode', fill_mode, FILL_MODES)
    theta, shear = np.deg2rad(theta), np.deg2rad(shear)
    rotated = [[np.cos(theta), -np.sin(theta), 0], [np.sin(theta), np.cos(theta), 0], [0, 0, 1]]
    sheared = [[1, -np.sin(shear), 0], [0, np.cos(shear), 0], [0, 0, 1]]
    matrix = functools.reduce(np.dot, (rotated, _shifted(tx, ty), sheared, np.diag([zx, zy, 1])))
    matrix = transform_matrix_offset_center(matrix, x.shape[row_axis], x.shape[col_axis])
    image = np.moveaxis(x, channel_axis, 0)
    i, j = np.arange(image.shape[1])[:, None], np.arange(image.shape[2])
    out = _sample(image.astype(np.float64, order='C'), [a * i + b * j + offset for a, b, offset in matrix[:2]], order,
                  fill_mode, cval)
    if x.dtype.kind in 'iu':
        limits = np.iinfo(x.dtype)
        out = np.clip(np.trunc(out + np.copysign(.5, out)), limits.min, limits.max)
    return np.moveaxis(out.astype(x.dtype), 0, channel_axis)


def flip_axis(x, axis):
    """The image, or a batch of them, mirrored along an axis: a view."""
    return np.flip(np.asarray(x), axis)


# ---------------------------------------------------------------- values

def apply_channel_shift(x, intensity, channel_axis=0):
    """The image with `intensity` added to all values, kept between its lowest and its highest one."""
    return np.clip(x + intensity, np.min(x), np.max(x))


def apply_brightness_shift(x, brightness):
    """The image times `brightness`, float32, its values (height, width, channels) first spread over 0 to 255.

    0 is black, 1 changes nothing more. The fourth channel of four, opacity, is only spread.
    """
    pixels = to_pixels(np.asarray(x, dtype=np.float32), scale=True)
    levels = np.trunc(np.clip(np.arange(256, dtype=np.float32) * np.float32(brightness), 0, 255))
    out = levels[pixels]
    if x.shape[-1] == 4:
        out[..., 3] = pixels[..., 3]
    return out


# ---------------------------------------------------------------- at random (numpy's global state)

def _move(x, channel_axis, fill_mode, cval, order, **how):
    return apply_affine_transform(x, channel_axis=channel_axis, fill_mode=fill_mode, cval=cval, order=order, **how)


def random_rotation(x, rg, row_axis=1, col_axis=2, channel_axis=0, fill_mode='nearest', cval=0., interpolation_order=1):
    """The image rotated by an angle in [-`rg`, `rg`) degrees. All else as for `apply_affine_transform`.

    As in keras_preprocessing 1.1.0, the centre is that of the first two axes here, in `random_shear` and `random_zoom`:
    of the image only where it is (height, width, channels), whatever `row_axis` and `col_axis` are.
    """
    return _move(x, channel_axis, fill_mode, cval, interpolation_order, theta=np.random.uniform(-rg, rg))


def random_shift(x, wrg, hrg, row_axis=1, col_axis=2, channel_axis=0, fill_mode='nearest', cval=0.,
                 interpolation_order=1):
    """The image shifted by up to the fractions `wrg` of its width and `hrg` of its height."""
    tx, ty = (np.random.uniform(-rg, rg) * x.shape[axis] for rg, axis in ((hrg, row_axis), (wrg, col_axis)))
    return _move(x, channel_axis, fill_mode, cval, interpolation_order, tx=tx, ty=ty)


def random_shear(x, intensity, row_axis=1, col_axis=2, channel_axis=0, fill_mode='nearest', cval=0.,
                 interpolation_order=1):
    """The image sheared by an angle in [-`intensity`, `intensity`) degrees."""
    shear = np.random.uniform(-intensity, intensity)
    return _move(x, channel_axis, fill_mode, cval, interpolation_order, shear=shear)


def random_zoom(x, zoom_range, row_axis=1, col_axis=2, channel_axis=0, fill_mode='nearest', cval=0.,
                interpolation_order=1):
    """The image zoomed along rows and columns by two factors from `zoom_range`, (lowest, highest)."""
    zx, zy = draw_zoom(zoom_range)
    return _move(x, channel_axis, fill_mode, cval, interpolation_order, zx=zx, zy=zy)


def draw_zoom(zoom_range):
    """Two zoom factors; (1, 1) without a draw where the range holds nothing else."""
    low, high = check_pair('zoom_range', zoom_range)
    return (1, 1) if low == high == 1 else np.random.uniform(low, high, 2)


def random_channel_shift(x, intensity_range, channel_axis=0):
    """The image shifted in all channels by one amount in [-`intensity_range`, `intensity_range`)."""
    return apply_channel_shift(x, np.random.uniform(-intensity_range, intensity_range), channel_axis=channel_axis)


def random_brightness(x, brightness_range):
    """The image times a factor from `brightness_range`, (lowest, highest); see `apply_brightness_shift`."""
    low, high = check_pair('brightness_range', brightness_range)
    return apply_brightness_shift(x, np.random.uniform(low, high))


def check_pair(argument, value):
    """The two numbers in a list or tuple. Raises ValueError that names the argument for anything else."""
    if not isinstance(value, (list, tuple, np.ndarray)) or len(value) != 2:
        raise ValueError(f'`{argument}` should be a tuple or list of two floats. Received: {value}')
    return value
