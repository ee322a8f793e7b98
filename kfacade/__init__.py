"""kfacade: the public API of Keras 2 as a thin facade over PyTorch."""
# isort: off
from . import config, backend  # all else stands on them
from . import activations, callbacks, constraints, datasets, engine, initializers, layers, legacy, losses, metrics
from . import models, objectives, optimizers, preprocessing, regularizers, saving, utils, wrappers
from .engine import Input
from .models import Model, Sequential
from .saving.export import export

__version__ = '2.2.4'  # of the API: scripts compare it

__all__ = ['Input', 'Model', 'Sequential', 'activations', 'backend', 'callbacks', 'config', 'constraints', 'datasets',
           'engine', 'export', 'initializers', 'layers', 'legacy', 'losses', 'metrics', 'models', 'objectives',
           'optimizers', 'preprocessing', 'regularizers', 'saving', 'utils', 'wrappers']
