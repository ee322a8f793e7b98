"""Layers, inputs, networks and models."""
from ..registry import register
from ..utils.layer_utils import get_source_inputs
from . import saving, training_arrays  # noqa: F401 - as scripts reach them
from .base_layer import InputSpec, Layer, Node
from .input_layer import Input, InputLayer
from .network import Network
from .sequential import Sequential
from .training import Model

register({'Model': Model, 'Sequential': Sequential})

__all__ = ['Input', 'InputLayer', 'InputSpec', 'Layer', 'Model', 'Network', 'Node', 'Sequential', 'get_source_inputs']
