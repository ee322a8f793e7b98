"""`Sequential`: a stack of layers, each fed by the one before."""
import copy
import warnings

import torch

from .. import registry
from ..backend import session as K
from ..utils.generic_utils import to_list
from .base_layer import Layer
from .input_layer import Input, InputLayer
from .training import Model


class Sequential(Model):
    """A linear stack of layers.

    The first layer says the shape of the input (`input_shape` or `batch_input_shape`); without it the model is built by
    `build(input_shape)` or by the first data it sees. A plain `torch.nn.Module` may be added like a layer.

    Arguments: `layers`, a list to add; `name`.
    """

    def __init__(self, layers=None, name=None):
        super().__init__(name=name)
        self._build_input_shape = None
        self._add_all(layers or ())

    @property
    def layers(self):
        # The input layer that the stack made for itself is not one of the user's layers.
        return self._layers[1:] if self._layers and isinstance(self._layers[0], InputLayer) else self._layers[:]

    @property
    def model(self):
        """The model itself (Keras 1 kept another one inside)."""
        warnings.warn('`Sequential.model` is deprecated. `Sequential` is a subclass of `Model`, you can just use your '
                      '`Sequential` instance directly.', stacklevel=2)
        return self

    def add(self, layer):
        """Puts a layer on top of the stack.

        Raises TypeError for what is no layer, or for a layer with several outputs, and ValueError for an empty model.
        """
        if not isinstance(layer, Layer):
            if not isinstance(layer, torch.nn.Module):
                raise TypeError(f'The added layer must be an instance of class Layer. Found: {layer}')
            layer = registry.known()['TorchModule'](layer)
        self.built = False
        if not self._layers:
            self._add_first(layer)
        elif self.outputs:
            self._append(layer, layer(self.outputs[0]))
        else:
            self._layers.append(layer)
            self._register_layers()
        if self.inputs and not self._has_more:
            self.build()

    def _add_all(self, layers):
        """Adds the layers, and makes the model of them once, which takes a time for each."""
        self._has_more = True
        for layer in layers:
            self.add(layer)
        self._has_more = False
        if self.inputs:
            self.build()

    def _add_first(self, layer):
        if isinstance(layer, InputLayer):
            self._start_from(layer.get_output_at(-1))
            return
        batch_shape, dtype = _input_of(layer)
        if batch_shape is None:
            self._layers.append(layer)
            self._register_layers()
            return
        x = Input(batch_shape=batch_shape, dtype=dtype, name=f'{layer.name}_input')
        self._start_from(x)
        self._append(layer, layer(x))

    def _start_from(self, x):
        self._layers, self.inputs, self.outputs = [x._keras_history[0]], [x], [x]

    def _append(self, layer, output):
        if isinstance(output, list):
            raise TypeError('All layers in a Sequential model should have a single output tensor. For multi-output '
                            f'layers, use the functional API. Layer "{layer.name}" has {len(output)}.')
        self._layers.append(layer)
        self.outputs = [output]

    def pop(self):
        """Removes the last layer. Raises TypeError where there is none."""
        if not self.layers:
            raise TypeError('There are no layers in the model.')
        self._layers.pop()
        self.built = False
        if not self.layers:
            self.inputs = self.outputs = None
            self._layers.clear()
        elif self.outputs:
            self.layers[-1]._outbound_nodes = []
            self.outputs = [self.layers[-1].output]
            self.build()
        self._register_layers()

    def build(self, input_shape=None):
        """Makes the model of the layers, for inputs of `input_shape` (with the batch) where they do not say theirs.

        Raises ValueError where neither says it.
        """
        if not self._layers:
            raise ValueError(f'Sequential model "{self.name}" has no layers yet: add some.')
        if input_shape and not self.inputs:
            batch_shape = tuple(input_shape)
            self._build_input_shape = input_shape
            layers = self.layers
            self._start_from(Input(batch_shape=batch_shape, name=f'{self.name}_input', dtype=_input_of(layers[0])[1]))
            for layer in layers:
                self._append(layer, layer(self.outputs[0]))
        if not self.inputs:
            raise ValueError(f'Sequential model "{self.name}" cannot be built: fit it on some data first, call '
                             '`build(input_shape)`, or give its first layer an `input_shape` or `batch_input_shape`.')
        stack, compiled_shape = self._layers, self._build_input_shape
        self._init_graph_network(self.inputs, self.outputs, name=self.name)
        self._layers, self._build_input_shape = stack, compiled_shape
        self._register_layers()

    def _set_inputs(self, inputs):
        self.build((None, *to_list(inputs)[0].shape[1:]))

    # ------------------------------------------------------------ classes and probabilities

    def predict_proba(self, x, batch_size=32, verbose=0):
        """`predict`, with a warning where the outputs do not look like probabilities."""
        preds = self.predict(x, batch_size, verbose)
        if preds.min() < 0. or preds.max() > 1.:
            warnings.warn('Network returning invalid probability values. The last layer might not normalize '
                          'predictions into probabilities (like softmax or sigmoid would).', stacklevel=2)
        return preds

    def predict_classes(self, x, batch_size=32, verbose=0):
        """The class of each sample: the largest output, or for a single one whether it is above 0.5."""
        proba = self.predict(x, batch_size=batch_size, verbose=verbose)
        return proba.argmax(axis=-1) if proba.shape[-1] > 1 else (proba > 0.5).astype('int32')

    # ------------------------------------------------------------ configuration

    def _described(self):
        """The layers to make the stack anew of, with an InputLayer that alone knows the shape, which Keras forgets."""
        layers = self.layers
        by_first = not (layers and self.inputs) or self._build_input_shape or (
            tuple(_input_of(layers[0])[0] or ()) == K.int_shape(self.inputs[0]))
        return layers if by_first else self._layers

    def get_config(self):
        config = {'name': self.name, 'layers': [{'class_name': type(layer).__name__, 'config': layer.get_config()}
                                                for layer in self._described()]}
        if self._build_input_shape:
            config['build_input_shape'] = self._build_input_shape
        return copy.deepcopy(config)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """A new model of this configuration, as Keras 2 wrote it (a dict) or as Keras before 2.2.3 did (a list)."""
        config = {'layers': config} if isinstance(config, list) else config
        model = cls(name=config.get('name'))
        model._add_all(registry.deserialize(data, custom_objects) for data in config['layers'])
        if not model.inputs and config.get('build_input_shape'):
            model.build(config['build_input_shape'])
        return model


def _input_of(layer):
    """The batch shape and dtype that a first layer asks for; a model in first place asks through its own first."""
    while isinstance(layer, Model) and not hasattr(layer, 'batch_input_shape'):
        if not layer.layers:
            raise ValueError('Cannot add an empty model to a `Sequential` model.')
        if layer.inputs:
            return K.int_shape(layer.inputs[0]), K.dtype(layer.inputs[0])
        layer = layer.layers[0]
    return getattr(layer, 'batch_input_shape', None), getattr(layer, 'dtype', None)
