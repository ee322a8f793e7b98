"""Image files, PIL images and arrays: one from the other."""
import os
import warnings

import numpy as np

from ...config import floatx, normalize_data_format
from ...utils.extras import optional

EXTENSIONS = ('png', 'jpg', 'jpeg', 'bmp', 'ppm', 'tif', 'tiff')
CHANNELS = {'grayscale': 1, 'rgb': 3, 'rgba': 4}
INTERPOLATIONS = 'nearest', 'bilinear', 'bicubic', 'hamming', 'box', 'lanczos'
_PIL_MODES = {'grayscale': 'L', 'rgb': 'RGB', 'rgba': 'RGBA'}


def check_choice(argument, value, choices):
    """Raises ValueError that names the argument where its value is none of the choices."""
    if value not in choices:
        raise ValueError(f'Invalid {argument}: {value!r}; expected one of {", ".join(map(repr, choices))}.')


def validate_filename(filename, white_list_formats):
    """Whether there is a file of this name, with one of the extensions."""
    return filename.lower().endswith(tuple(white_list_formats)) and os.path.isfile(filename)


def load_img(path, grayscale=False, color_mode='rgb', target_size=None, interpolation='nearest'):
    """A PIL image from a file.

    Arguments:
        path: path of the file, or the open file.
        grayscale: old form of ``color_mode='grayscale'``.
        color_mode: 'grayscale', 'rgb' or 'rgba'.
        target_size: (height, width) to resize to, or None.
        interpolation: 'nearest', 'bilinear', 'bicubic', 'hamming', 'box' or 'lanczos'.
    Raises OSError that names the file when it cannot be read, ValueError for an unknown mode.
    """
    if grayscale is True:
        warnings.warn('grayscale is deprecated. Please use color_mode = "grayscale"', stacklevel=2)
        color_mode = 'grayscale'
    check_choice('color_mode', color_mode, _PIL_MODES)
    mode, pil = _PIL_MODES[color_mode], optional('PIL.Image', 'Reading an image', 'images')
    try:
        with pil.open(path) as img:
            img.load()  # now, so that the file can be closed, and errors name it
            img = img if img.mode == mode else img.convert(mode)
    except FileNotFoundError:
        raise
    except Exception as error:  # truncated and damaged files raise many, some of which do not tell the file's name
        raise OSError(f'Could not read the image {path!r}: {error}') from error
    if target_size is None or img.size == (target_size[1], target_size[0]):
        return img
    check_choice('interpolation method', interpolation, INTERPOLATIONS)
    (height, width), resample = target_size, pil.Resampling[interpolation.upper()]
    if interpolation == 'nearest':
        return img.resize((width, height), resample)
    img = img.convert('RGBa') if mode == 'RGBA' else img  # what is transparent counts less
    # Pillow rounds after each axis, and takes them in another order since version 13. This is the old one.
    return img.resize((width, img.height), resample).resize((width, height), resample).convert(mode)


def img_to_array(img, data_format=None, dtype=None):
    """An array (height, width, channels), or (channels, height, width), of a PIL image or of an array of rank 2 or 3.

    `data_format` and `dtype`: those of the session where they are None.
    """
    channels_first = normalize_data_format(data_format) == 'channels_first'
    x = np.asarray(img, dtype=dtype or floatx())
    if x.ndim == 2:
        return x[None] if channels_first else x[..., None]
    if x.ndim != 3:
        raise ValueError(f'Unsupported image shape: {x.shape}')
    return x.transpose(2, 0, 1) if channels_first else x


def to_pixels(x, scale):
    """An array of bytes. `scale`: spread over 0 to 255, from 0 (or the lowest value below it) to the highest value."""
    if scale:
        x = x + max(-np.min(x), 0)
        highest = np.max(x)
        x = (x / highest if highest != 0 else x) * 255
    return x.astype('uint8')


def array_to_img(x, data_format=None, scale=True, dtype=None):
    """A PIL image of an array (height, width, channels), or (channels, height, width).

    `scale`: spread the values over 0 to 255. `data_format` and `dtype`: those of the session where they are None.
    Raises ValueError for an array that is no image of 1, 3 or 4 channels.
    """
    x = np.asarray(x, dtype=dtype or floatx())
    if x.ndim != 3:
        raise ValueError(f'Expected image array to have rank 3 (single image). Got array with shape: {x.shape}')
    if normalize_data_format(data_format) == 'channels_first':
        x = x.transpose(1, 2, 0)
    if x.shape[2] not in CHANNELS.values():
        raise ValueError(f'Unsupported channel number: {x.shape[2]}')
    pixels = to_pixels(x, scale)
    pixels = pixels[:, :, 0] if x.shape[2] == 1 else pixels
    return optional('PIL.Image', 'An image from an array', 'images').fromarray(pixels)


def save_img(path, x, data_format=None, file_format=None, scale=True, **kwargs):
    """Writes an array, as `array_to_img` takes it, to a path or an open file.

    `file_format`: a format of PIL's; None takes that of the path's extension. `kwargs` go to PIL.
    """
    img = array_to_img(x, data_format=data_format, scale=scale)
    file_format = 'jpeg' if file_format == 'jpg' else file_format
    if img.mode == 'RGBA' and file_format == 'jpeg':
        warnings.warn('The JPG format does not support RGBA images, converting to RGB.', stacklevel=2)
        img = img.convert('RGB')
    img.save(path, format=file_format, **kwargs)


def list_pictures(directory, ext=EXTENSIONS):
    """The paths of the pictures in a folder and those below it; `ext`: an extension, or several."""
    endings = tuple(f'.{e}' for e in ([ext] if isinstance(ext, str) else ext))
    return [os.path.join(root, name) for root, _, names in os.walk(directory) for name in names
            if name.lower().endswith(endings)]
