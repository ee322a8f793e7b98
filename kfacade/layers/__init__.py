"""All layers, under the names that Keras scripts import, and the layers of configurations."""
from ..engine.base_layer import InputSpec, Layer  # noqa: F401
from ..engine.input_layer import Input, InputLayer  # noqa: F401
from ..legacy.layers import *  # noqa: F403
from ..registry import deserialize, register  # noqa: F401
from ..utils.generic_utils import serialize_keras_object
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

register(globals())


def serialize(layer):
    """A layer (or model) as ``{'class_name', 'config'}``."""
    return serialize_keras_object(layer)
