"""Session-wide settings: the float type, the fuzz factor, the image layout and the name of the backend.

They start from ``keras.json`` in ``$KERAS_HOME``, else in ``~/.keras`` (or ``/tmp/.keras`` where the home directory is
not writable). Where there is none, Keras' own default file is written, since other Kerases read it, too; an existing
one is only ever read. The backend's name does not come from it.
"""
import json
import os
import warnings

import numpy as np

__all__ = ['backend', 'cast_to_floatx', 'epsilon', 'floatx', 'image_data_format', 'image_dim_ordering',
           'normalize_data_format', 'set_epsilon', 'set_floatx', 'set_image_data_format', 'set_image_dim_ordering']

_FLOAT_TYPES = {'float16', 'float32', 'float64'}
_DATA_FORMATS = {'channels_last', 'channels_first'}

settings = {'floatx': 'float32', 'epsilon': 1e-7, 'image_data_format': 'channels_last', 'device': None,
            'backend': os.environ.get('KFACADE_BACKEND_NAME', 'torch')}  # set by the launcher, for what it starts


def keras_dir():
    """Folder of ``keras.json``: ``$KERAS_HOME`` as it is, else ``~/.keras``, else ``/tmp/.keras``."""
    if 'KERAS_HOME' in os.environ:
        return os.environ['KERAS_HOME']
    home = os.path.expanduser('~')
    return os.path.join(home if os.access(home, os.W_OK) else '/tmp', '.keras')


def backend():
    """Name of the backend: ``'torch'`` (or what ``python -m kfacade --backend-name`` asked for)."""
    return settings['backend']


def device():
    """Name of the device that keras.json chooses; None where it leaves that open."""
    return settings['device']


def floatx():
    """Default float type, as a string: ``'float16'``, ``'float32'`` or ``'float64'``."""
    return settings['floatx']


def set_floatx(floatx):
    """Sets the default float type. Raises ValueError for any other name."""
    if floatx not in _FLOAT_TYPES:
        raise ValueError(f'Unknown floatx type: {floatx}. Expected one of {sorted(_FLOAT_TYPES)}.')
    settings['floatx'] = str(floatx)


def epsilon():
    """Fuzz factor that keeps logarithms and divisions finite (1e-7 unless set)."""
    return settings['epsilon']


def set_epsilon(e):
    """Sets the fuzz factor."""
    settings['epsilon'] = float(e)


def image_data_format():
    """Default layout of images: ``'channels_last'`` or ``'channels_first'``."""
    return settings['image_data_format']


def set_image_data_format(data_format):
    """Sets the default layout of images. Raises ValueError for an unknown one."""
    if data_format not in _DATA_FORMATS:
        raise ValueError(f'Unknown data_format: {data_format!r}. Expected one of {sorted(_DATA_FORMATS)}.')
    settings['image_data_format'] = str(data_format)


def normalize_data_format(value):
    """The data format meant by ``value`` (None: the default). Raises ValueError for an unknown one."""
    value = image_data_format() if value is None else value
    data_format = value.lower() if isinstance(value, str) else value
    if data_format not in _DATA_FORMATS:
        raise ValueError('The `data_format` argument must be one of "channels_first", "channels_last". '
                         f'Received: {value}')
    return data_format


def image_dim_ordering():
    """The image layout under its Keras-1 name: ``'th'`` or ``'tf'``."""
    return 'th' if image_data_format() == 'channels_first' else 'tf'


def set_image_dim_ordering(dim_ordering):
    """Sets the image layout by its Keras-1 name. Raises ValueError for an unknown one."""
    if dim_ordering not in ('tf', 'th'):
        raise ValueError(f'Unknown dim_ordering: {dim_ordering!r}. Expected "tf" or "th".')
    set_image_data_format('channels_first' if dim_ordering == 'th' else 'channels_last')


def cast_to_floatx(x):
    """``x`` as a numpy array of the default float type."""
    return np.asarray(x, dtype=floatx())


def _load(folder):
    """Reads ``keras.json``; a missing one is written, a broken one is reported and passed over."""
    path = os.path.join(folder, 'keras.json')
    try:
        with open(path) as f:
            found = json.load(f)
        setters = {'floatx': set_floatx, 'epsilon': set_epsilon, 'image_data_format': set_image_data_format}
        for key in found.keys() & setters.keys():
            setters[key](found[key])
        settings['device'] = found.get('device')
    except FileNotFoundError:
        _write_defaults(path)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        warnings.warn(f'Could not read the Keras configuration file {path}: {error}. Going on with the defaults for '
                      'what it does not set.', stacklevel=2)


def _write_defaults(path):
    defaults = {'floatx': floatx(), 'epsilon': epsilon(), 'backend': 'tensorflow',
                'image_data_format': image_data_format()}
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(f'{path}.{os.getpid()}', 'x') as f:  # renamed when it is whole: other processes may be starting, too
            json.dump(defaults, f, indent=4)
        os.replace(f.name, path)
    except OSError:
        return  # a read-only home is no reason to fail: the defaults hold without a file


_load(keras_dir())
