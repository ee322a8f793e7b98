"""Images, texts and sequences made ready for a model: the public names and numbers of keras_preprocessing 1.1.0."""
from .. import backend as _backend
from .. import utils as _utils
from . import image, sequence, text

__version__ = '1.1.0'  # of the API, under its own name `keras_preprocessing`, too


def get_keras_submodule(name):
    """`backend` or `utils`, as packages of the time ask for them."""
    modules = {'backend': _backend, 'utils': _utils}
    if name not in modules:
        raise ImportError(f'Can only retrieve "backend" and "utils". Requested: {name}')
    return modules[name]


def set_keras_submodules(backend, utils):
    """Packages of the time say so which Keras to use. It is this one, and ValueError is raised for any other."""
    if (backend, utils) != (_backend, _utils):
        raise ValueError('`backend` and `utils` must be those of kfacade, whose preprocessing this is.')
