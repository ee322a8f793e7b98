"""Models as things to save, load, rebuild and clone."""
from . import backend as K
from .engine.input_layer import Input, InputLayer
from .engine.sequential import Sequential
from .engine.training import Model
from .saving import load_model, model_from_config, model_from_json, model_from_yaml, save_model
from .utils.generic_utils import has_arg, to_list, unpack_singleton

__all__ = ['Input', 'InputLayer', 'Model', 'Sequential', 'clone_model', 'has_arg', 'load_model', 'model_from_config',
           'model_from_json', 'model_from_yaml', 'save_model', 'to_list']


def clone_model(model, input_tensors=None):
    """A model of the same architecture and layer names, with new layers and freshly initialised weights.

    Layers that the model uses several times stay shared in the clone. `input_tensors` are symbols to build it on (one
    for a `Sequential`); None for new inputs. Raises ValueError if `model` is no model, or they do not fit it.
    """
    if not isinstance(model, Model):
        raise ValueError(f'Expected `model` argument to be a `Model` instance, got {model!r}')
    clone = _clone_sequential_model if isinstance(model, Sequential) else _clone_functional_model
    return clone(model, input_tensors)


def _clone_functional_model(model, input_tensors=None):
    inputs = _clone_inputs(model, input_tensors)
    clones = {layer: x._keras_history[0] for layer, x in zip(model._input_layers, inputs)}
    symbols = dict(zip(model.inputs, inputs))

    def call_of_clone(node, given):
        if node.outbound_layer not in clones:
            clones[node.outbound_layer] = _clone_layer(node.outbound_layer)
        arguments = {key: symbols.get(value, value) if K.is_tensor(value) else value
                     for key, value in (node.arguments or {}).items()}
        return clones[node.outbound_layer](unpack_singleton(given), **arguments)
    return Model(inputs, model._propagate(symbols, call_of_clone), name=model.name)


def _clone_inputs(model, tensors):
    """The symbols that the clone of ``model`` starts from: new ones, or ``tensors``, made Keras tensors."""
    layers = model._input_layers
    if tensors is None:
        return [Input(batch_shape=layer.batch_input_shape, dtype=layer.dtype, name=layer.name) for layer in layers]
    tensors = to_list(tensors)
    if len(tensors) != len(layers):
        raise ValueError(f'Expected {len(layers)} `input_tensors`, one for each of {model.input_names}, '
                         f'got {len(tensors)}.')
    return [_as_input(x, layer.name) for x, layer in zip(tensors, layers)]


def _as_input(x, name):
    return x if K.is_keras_tensor(x) else Input(tensor=x, name=f'input_wrapper_for_{name}')


def _clone_sequential_model(model, input_tensors=None):
    layers = [_clone_layer(layer) for layer in (model._described() if input_tensors is None else model.layers)]
    if input_tensors is not None:
        tensors = to_list(input_tensors)
        if len(tensors) != 1:
            raise ValueError('To clone a `Sequential` model, we expect at most one tensor as part of `input_tensors`.')
        origin = _as_input(tensors[0], tensors[0].name)._keras_history[0]
        if not isinstance(origin, InputLayer):
            raise ValueError('Cannot clone a `Sequential` model on top of a tensor that comes from a Keras layer other '
                             'than an `InputLayer`. Use the functional API instead.')
        layers = [origin, *layers]
    return Sequential(layers=layers, name=model.name)


def _clone_layer(layer):
    return type(layer).from_config(layer.get_config())
