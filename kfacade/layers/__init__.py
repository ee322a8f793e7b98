"""All layers, under the names that Keras scripts import, and the layers of configurations."""
from ..engine.base_layer import InputSpec, Layer  # noqa: F401
from ..engine.input_layer import Input, InputLayer  # noqa: F401
from ..legacy.layers import *  # noqa: F403
from ..utils.generic_utils import deserialize_keras_object, serialize_keras_object
from .advanced_activations import *  # noqa: F403
from .convolutional import *  # noqa: F403
from .convolutional_recurrent import *  # noqa: F403
from .core import *  # noqa: F403
from .cudnn_recurrent import *  # noqa: F403
from .embeddings import *  # noqa: F403
from .local import *  # noqa: F403
from .merge import *  # noqa: F403
from .noise import *  # noqa: F403
from .normalization import *  # noqa: F403
from .pooling import *  # noqa: F403
from .recurrent import *  # noqa: F403
from .torch_module import TorchModule  # noqa: F401
from .wrappers import *  # noqa: F403


def serialize(layer):
    """A layer (or model) as ``{'class_name', 'config'}``."""
    return serialize_keras_object(layer)


def deserialize(config, custom_objects=None):
    """The layer or model of ``{'class_name', 'config'}``; `custom_objects` says what names of one's own mean.

    Raises ValueError for an unknown class.
    """
    from ..engine.sequential import Sequential
    from ..engine.training import Model
    known = {name: value for name, value in globals().items() if isinstance(value, type) and issubclass(value, Layer)}
    known.update(Model=Model, Sequential=Sequential, AtrousConvolution1D=AtrousConvolution1D,  # noqa: F405
                 AtrousConvolution2D=AtrousConvolution2D)  # noqa: F405
    return deserialize_keras_object(config, known, custom_objects, 'layer')
