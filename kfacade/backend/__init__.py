"""The Keras backend ``K`` on torch."""
import importlib

from ..config import *  # noqa: F403
from ..utils.generic_utils import has_arg, transpose_shape
from .control import *  # noqa: F403
from .ctc import *  # noqa: F403
from .devices import _get_available_gpus, device_scope, set_device
from .math import *  # noqa: F403
from .nn import *  # noqa: F403
from .random import *  # noqa: F403
from .session import *  # noqa: F403
from .spatial import *  # noqa: F403
from .state import get_uid, name_scope, reset_uids
from .tensorflow_private import *  # noqa: F403
from .variable import Update, Variable

del globals()['symbolic']  # the module: libraries take `K.symbolic` for a decorator that later Kerases have

_TENSORFLOW = {'tf': '', 'tf_ops': '.python.framework.ops', 'device_lib': '.python.client.device_lib',
               'moving_averages': '.python.training.moving_averages', 'config_pb2': '.core.protobuf.config_pb2',
               **{name: f'.python.ops.{name}' for name in ('control_flow_ops', 'functional_ops', 'tensor_array_ops')}}


def __getattr__(name):
    if name == '_BACKEND':
        return backend()  # noqa: F405
    if name in _TENSORFLOW:  # what Keras' backend imported from TensorFlow
        return importlib.import_module(f'{__package__.partition(".")[0]}.legacy.tensorflow').module(
            f'tensorflow{_TENSORFLOW[name]}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
