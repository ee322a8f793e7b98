"""The engine's classes under the module name that Keras gave them before 2.2."""
from ..utils.layer_utils import get_source_inputs
from .base_layer import InputSpec, Layer, Node
from .input_layer import Input, InputLayer
from .network import Network

Container = Network

__all__ = ['Container', 'Input', 'InputLayer', 'InputSpec', 'Layer', 'Network', 'Node', 'get_source_inputs']
