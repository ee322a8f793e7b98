"""kfacade: the public API of Keras 2 as a thin facade over PyTorch."""
import sys

# isort: off
if sys.orig_argv[-3:] not in (['-m', 'kfacade', '-h'], ['-m', 'kfacade', '--help']):  # which need nothing of it
    from . import config, backend  # all else stands on them
    from . import activations, applications, callbacks, constraints, datasets, engine, initializers, layers, legacy
    from . import losses, metrics, models, objectives, optimizers, preprocessing, regularizers, saving, utils, wrappers
    from .engine import Input
    from .models import Model, Sequential
    from .backend.devices import device_scope, set_device
    from .saving.export import export
    from .legacy import paths

    paths.install()

__version__ = '2.2.4'  # of the API: scripts compare it

__all__ = ['Input', 'Model', 'Sequential', 'activations', 'applications', 'backend', 'callbacks', 'config',
           'constraints', 'datasets', 'device_scope', 'engine', 'export', 'initializers', 'install_as_keras', 'layers',
           'legacy', 'losses', 'metrics', 'models', 'objectives', 'optimizers', 'preprocessing', 'regularizers',
           'saving', 'set_device', 'utils', 'wrappers']


def install_as_keras(tensorflow='stand-in', backend_name=None, tensorflow_keras=False):
    """Lets ``import keras`` mean kfacade from now on, as the launcher does: for notebooks and programs of one's own.

    Arguments:
        tensorflow: 'stand-in' lets ``import tensorflow`` mean kfacade's stand-in for it; 'real' leaves that alone.
        backend_name: what ``K.backend()`` answers; by default 'tensorflow', and 'torch' where that is left alone.
        tensorflow_keras: whether ``tensorflow.keras`` means kfacade, too.
    Doing it twice makes no difference. Raises ImportError where another keras or tensorflow was imported before.
    """
    from . import __main__ as launcher
    launcher.install_as_keras(tensorflow, backend_name, tensorflow_keras)


def load_ipython_extension(ipython):
    """What ``%load_ext kfacade`` does in a notebook: `install_as_keras`."""
    install_as_keras()
