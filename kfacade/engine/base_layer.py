"""`Layer`, the base of all layers: a `torch.nn.Module` that scripts call on symbols, build, save and reuse."""
import contextlib
import functools
import inspect
import re

import numpy as np
import torch

from .. import initializers
from ..backend import session as K
from ..backend import state
from ..backend.devices import device_of, mover
from ..backend.dtypes import torch_dtype
from ..backend.shapes import pairs_of, stand_in, told_apart
from ..backend.state import mode
from ..backend.symbolic import SymbolicNode, SymbolicTensor, TensorFace, leaves, record, wrap
from ..backend.variable import Holder, OwnHolder, Variable
from ..legacy import interfaces
from ..utils import generic_utils
from ..utils.generic_utils import has_arg, is_all_none, object_list_uid, to_list, to_snake_case, unpack_singleton
from .node import InputSpec, Node, NodeAccess

__all__ = ['InputSpec', 'Layer', 'Node', 'opaque']

_KWARGS = {'input_shape', 'batch_input_shape', 'batch_size', 'dtype', 'name', 'trainable', 'weights', 'input_dtype',
           'as_tf_keras'}


def opaque(call):
    """Decorator of a built-in layer's `call`: live torch code that is never recorded.

    On symbols it records one call of the layer as a module, with the shape of the class' `compute_output_shape`; in a
    compiled graph nothing stands between `torch.nn.Module.__call__` and the body.
    """
    parameters = list(inspect.signature(call).parameters)

    @functools.wraps(call)
    def symbolic_or_live(self, *args, **kwargs):
        if mode.depth:
            return call(self, *args, **kwargs)
        if any(isinstance(x, TensorFace) for x in leaves((args, kwargs))):
            kwargs = {**dict(zip(parameters[1:], args)), **kwargs}
            return self._record_opaque(symbolic_or_live, kwargs.pop(parameters[1]), kwargs)
        with state.running(self.training):
            return call(self, *args, **kwargs)

    symbolic_or_live.body = call
    symbolic_or_live.takes_training = 'training' in parameters
    symbolic_or_live.activates = 'activation' in parameters
    return symbolic_or_live


class Layer(NodeAccess, torch.nn.Module):
    """Base of all layers.

    Called on symbols (what `Input` gives) a layer builds its weights, records its computation and remembers the call as
    a `Node`; called on a torch tensor it computes. Subclasses written for Keras define `build(input_shape)`,
    `call(inputs)` and `compute_output_shape(input_shape)`, and make weights with `add_weight`.

    Arguments: `name`; `trainable` (default True); `dtype` of the input; `input_shape` (without the batch),
    `batch_input_shape` or `batch_size`, for the first layer of a `Sequential`; `weights`, arrays to start from;
    `as_tf_keras`, whether to compute as tf.keras and Keras 3 do where Keras 2.2.4 does otherwise: masks end at layers
    without masking, masked steps of recurrent layers, bilinear `UpSampling2D`, `Flatten` of what is flat.
    """

    as_tf_keras = False

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        torch.nn.Module.__init__(self)  # here, since scripts assign sublayers before they call super().__init__()
        self.training = False
        self._params = Holder()
        self._reset_graph()
        self._trainable_weights, self._non_trainable_weights = [], []
        self._losses, self._updates = [], []
        self.input_spec, self.supports_masking, self.stateful, self.built = None, False, False, False
        self.trainable, self._initial_weights = True, None
        return self

    def __init__(self, **kwargs):
        if kwargs.keys() - _KWARGS:
            unknown = generic_utils.unknown_arguments(kwargs, type(self).__init__, *_KWARGS)
            raise TypeError(f'Keyword argument not understood: {unknown}. A layer takes {sorted(_KWARGS)}, and '
                            f'{type(self).__name__} its own arguments.')
        name = kwargs.get('name')
        if not name:
            prefix = type(self).__name__
            name = f'{to_snake_case(prefix)}_{state.get_uid(prefix)}'
        self.name = name
        self.trainable = kwargs.get('trainable', True)
        self.input_spec, self.supports_masking, self.stateful = None, False, False  # whatever was set before, as Keras
        if 'input_shape' in kwargs or 'batch_input_shape' in kwargs:
            self.batch_input_shape = checked_batch_shape(**kwargs)
            self.dtype = kwargs.get('dtype') or kwargs.get('input_dtype') or K.config.floatx()
        self._initial_weights = kwargs.get('weights')
        if kwargs.get('as_tf_keras'):
            self.as_tf_keras = True

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        definer = next(c for c in cls.__mro__ if 'call' in c.__dict__ or 'forward' in c.__dict__)
        if 'forward' not in definer.__dict__:  # `call` may come from a mixin, too
            cls.forward = getattr(cls.call, 'body', Layer.forward)
            cls._takes_training = has_arg(cls.call, 'training')

    _takes_training = False
    _uses_phase = True  # False where training makes no difference to a layer whose call has the argument

    def _reset_graph(self):
        self._inbound_nodes, self._outbound_nodes = [], []
        self._per_input_losses, self._per_input_updates = {}, {}

    # ------------------------------------------------------------ calling

    def __call__(self, inputs, *args, **kwargs):
        """Applies the layer to a symbol, a torch tensor, or a list of either.

        Raises ValueError for anything else, for a wrong rank or shape (`input_spec`), and what `call` raises.
        """
        if mode.depth:
            if not self.built:
                self._build_live(inputs)
            if self._takes_training and 'training' not in kwargs:
                kwargs['training'] = mode.phase
            return torch.nn.Module.__call__(self, inputs, *args, **kwargs)
        flat = leaves(inputs)
        if any(isinstance(x, TensorFace) for x in flat):
            return self._call_symbolic(inputs, *args, **kwargs)
        if not flat or not all(isinstance(x, torch.Tensor) for x in flat):
            raise ValueError(f"Layer {self.name} was called with an input that isn't a symbolic tensor. Received type: "
                             f'{type(flat[0] if flat else inputs)}. Full input: {inputs}. All inputs to the layer '
                             'should be tensors (symbols, or torch tensors to compute with).')
        with state.running(self.training):
            if self.built:
                self.assert_input_compatibility(inputs)
            return self(inputs, *args, **kwargs)

    def forward(self, inputs, *args, **kwargs):
        return self.call(inputs, *args, **kwargs)

    def _build_live(self, inputs):
        """Builds from live tensors; weights, regularizers and names come out as from a symbolic call."""
        with state.recording(), state.name_scope(self.name), state.at_home(device_of(leaves(inputs)[0])):
            self.assert_input_compatibility(inputs)
            self._build_from([(None, *x.shape[1:]) for x in to_list(inputs)])

    def _build_from(self, input_shapes):
        self.build(unpack_singleton(input_shapes))
        self.built = True
        self._adopt_weights()
        if self._initial_weights is not None:
            self.set_weights(self._initial_weights)
            self._initial_weights = None

    def _call_symbolic(self, inputs, **kwargs):
        inputs = inputs[:] if isinstance(inputs, list) else inputs
        arguments = dict(kwargs)
        with state.name_scope(self.name):
            if not self.built:
                self.assert_input_compatibility(inputs)
                self._build_from([K.int_shape(x) for x in to_list(inputs)])
            self.assert_input_compatibility(inputs)
            previous_mask = _collect_previous_mask(inputs)
            if not is_all_none(previous_mask) and 'mask' not in kwargs and has_arg(self.call, 'mask'):
                kwargs['mask'] = previous_mask
            output = self.call(inputs, **kwargs)
            output_mask = self.compute_mask(inputs, previous_mask)
            given = to_list(inputs)
            outputs = [_identity(x) if any(x is y for y in given) else x for x in to_list(output)]
            for x in outputs:
                if not isinstance(x, TensorFace):
                    raise TypeError(f'The call of layer {self.name} must return tensors; it returned {x!r}.')
            output = unpack_singleton(outputs)
            self._set_shapes(outputs, given)
            if getattr(self, 'uses_learning_phase', False) or any(x._uses_learning_phase for x in given):
                for x in outputs:
                    x._uses_learning_phase = True
            if len(outputs) > 1 and not isinstance(output_mask, (list, tuple)):
                output_mask = [output_mask] * len(outputs)
            self._add_inbound_node(given, outputs, to_list(previous_mask), to_list(output_mask), arguments)
            regularizer = getattr(self, 'activity_regularizer', None)
            if regularizer is not None:
                self.add_loss([regularizer(x) for x in outputs], given)
        return output

    def _set_shapes(self, outputs, inputs):
        if type(self).compute_output_shape is Layer.compute_output_shape:
            return  # nothing said: the recorded call knows better than "as the input"
        shapes = self.compute_output_shape(unpack_singleton([K.int_shape(x) for x in inputs]))
        shapes = [shapes] if len(outputs) == 1 and not isinstance(shapes, list) else shapes
        for x, shape in zip(outputs, shapes):
            if isinstance(x, SymbolicTensor):
                x._keras_shape = tuple(shape)

    def _record_opaque(self, call, inputs, kwargs):
        """Records this layer's built-in `call` as one node. One tensor may come in a list."""
        inputs = unpack_singleton(to_list(inputs, allow_tuple=True))
        owner = next(c for c in type(self).__mro__ if c.__dict__.get('call') is call)
        kwargs = {k: v for k, v in kwargs.items() if v is not None}
        if call.takes_training and 'training' not in kwargs:
            kwargs['training'] = K.learning_phase() if self._uses_phase else False
        metas = self._output_metas(owner, inputs)
        if call.activates:
            kwargs, metas = self._record_activation(kwargs, metas)
        output = wrap(self._opaque_node(call, inputs, kwargs), metas)
        if hasattr(self, '_record_updates'):
            self._record_updates(inputs, output)
        return output

    def _opaque_node(self, call, inputs, kwargs):
        """The recorded call: of the layer as a module, or of the bare body where a subclass has another `call`."""
        if type(self).call is call:
            return SymbolicNode(self, (inputs,), kwargs)
        return SymbolicNode(call.body, (self, inputs), kwargs)

    def _output_metas(self, owner, inputs):
        """What stands for the output in both runs; the class `owner` has the rule for the shape."""
        given = to_list(inputs, allow_tuple=True)
        rule, dtype = owner.compute_output_shape, self._output_dtype(given)
        try:
            both = [rule(self, unpack_singleton([tuple(x.metas[which].shape) for x in given])) for which in (0, 1)]
        except ValueError:  # a size that stands for None does not fit beside a known one
            both = [rule(self, unpack_singleton([K.int_shape(x) for x in given]))] * 2
        several = is_several(both[0])
        sizes = list(map(pairs_of, given))
        metas = [stand_in(told_apart(zip(*shapes), sizes), dtype) if shapes[0] is not None else (None, None)
                 for shapes in (zip(*both) if several else [both])]
        return tuple(map(list, zip(*metas))) if several else metas[0]

    def _output_dtype(self, given):
        return self.compute_output_dtype(unpack_singleton([x.dtype for x in given]))

    def compute_output_dtype(self, input_dtypes):
        """The torch dtype of the output, from that of the input (a list of them for several inputs)."""
        return to_list(input_dtypes)[0]

    # ------------------------------------------------------------ what subclasses define

    def build(self, input_shape):
        """Makes the weights for inputs of `input_shape`, a tuple with None for the batch (or a list of them)."""
        self.built = True

    def call(self, inputs, **kwargs):
        """The computation, on symbols or tensors. The base returns its inputs."""
        return inputs

    def compute_output_shape(self, input_shape):
        """The output's shape with None for the batch; the base gives the input's."""
        return input_shape

    def is_as_tf_keras(self):
        """Asked where it makes a difference: a layer from a file of tf.keras or Keras 3 notes that it computes so."""
        if mode.origin != 'Keras':
            self.as_tf_keras = True
        return self.as_tf_keras

    def compute_mask(self, inputs, mask=None):
        """The output's mask. Raises TypeError for a mask when the layer does not set `supports_masking`."""
        if self.supports_masking:
            return mask
        if mask is not None and not (isinstance(mask, list) and is_all_none(mask)) and not self.is_as_tf_keras():
            raise TypeError(f'Layer {self.name} does not support masking, but was passed an input_mask: {mask}')
        return None

    def get_config(self):
        """What `from_config` needs to make the layer again, without its weights."""
        given = [name for name in ('batch_input_shape', 'dtype') if hasattr(self, name)]
        given += ['as_tf_keras'] if self.as_tf_keras else []
        return {name: getattr(self, name) for name in ('name', 'trainable', *given)}

    @classmethod
    def from_config(cls, config):
        """A new layer of this configuration."""
        return cls(**config)

    # ------------------------------------------------------------ weights

    @interfaces.legacy_add_weight_support
    def add_weight(self, name, shape, dtype=None, initializer=None, regularizer=None, trainable=True, constraint=None,
                   layout=None):
        """Makes a weight and returns the Variable that is its face.

        Arguments:
            name: last part of its full name. shape: in Keras' layout. dtype: default ``floatx()``.
            initializer: a name, object or function of the shape. regularizer: function of the Variable, its result
                joins the model's loss. trainable: False keeps it from the optimizer (and makes it a torch buffer).
            constraint: function that each training step applies to it.
            layout: a `Layout` where torch stores it otherwise than Keras.
        """
        dtype = dtype or K.config.floatx()
        state.claim(shape, torch_dtype(dtype), f'Layer {self.name} claims a weight "{name}"')
        initializer = initializers.get('glorot_uniform' if initializer is None else initializer)
        if mode.claims is not None and mode.claims.blank:
            value = torch.zeros(tuple(shape), dtype=torch_dtype(dtype))
        else:
            value = initializers.first_value(initializer, tuple(shape))
        weight = Variable(value, dtype, name, constraint, trainable, self._params, self._free_key(name), layout)
        if regularizer is not None:
            with state.recording(), state.name_scope('weight_regularizer'):
                self.add_loss(regularizer(weight))
        (self._trainable_weights if trainable else self._non_trainable_weights).append(weight)
        return weight

    def _free_key(self, name):
        stem = re.sub(r'\W+', '_', (name or 'weight').split(':')[0].rpartition('/')[2]) or 'weight'
        return generic_utils.unique_name(stem, functools.partial(hasattr, self._params))

    def _adopt_weights(self):
        """Stores Variables that the layer lists as its weights, but which nobody stores yet, with the layer."""
        for weights in (self._trainable_weights, self._non_trainable_weights):
            for weight in weights:
                if isinstance(weight, Variable) and isinstance(weight.owner, OwnHolder):
                    weight.move(self._params, self._free_key(weight.name), weights is self._trainable_weights)

    @property
    def trainable_weights(self):
        """Variables that training changes; none where `trainable` is False."""
        return self._trainable_weights if getattr(self, 'trainable', True) else []

    @trainable_weights.setter
    def trainable_weights(self, weights):
        self._trainable_weights = weights
        self._adopt_weights()

    @property
    def non_trainable_weights(self):
        """Variables that training leaves alone; all of them where `trainable` is False."""
        if getattr(self, 'trainable', True):
            return self._non_trainable_weights
        return self._trainable_weights + self._non_trainable_weights

    @non_trainable_weights.setter
    def non_trainable_weights(self, weights):
        self._non_trainable_weights = weights
        self._adopt_weights()

    @property
    def weights(self):
        """All Variables, the trainable ones first."""
        return self.trainable_weights + self.non_trainable_weights

    def get_weights(self):
        """The weights as a list of arrays in Keras' layout."""
        return K.batch_get_value(self.weights)

    def set_weights(self, weights):
        """Sets the weights from a list of arrays, in the order of `get_weights`.

        Raises ValueError for another number or shape of arrays, and then changes none.
        """
        params = self.weights
        if len(params) != len(weights):
            raise ValueError(f'You called `set_weights(weights)` on layer "{self.name}" with a  weight list of length '
                             f'{len(weights)}, but the layer was expecting {len(params)} weights. '
                             f'Provided weights: {str(weights)[:50]}...')
        for param, weight in zip(params, weights):
            if tuple(param.shape) != np.shape(weight):
                raise ValueError(f'Layer weight shape {tuple(param.shape)} not compatible with provided weight shape '
                                 f'{np.shape(weight)} (layer "{self.name}", weight {param.name}).')
        K.batch_set_value(zip(params, weights))

    def count_params(self):
        """Number of scalars in the weights. Raises RuntimeError before the layer is built."""
        if not self.built and not hasattr(self, '_is_graph_network'):  # a network counts what it has by now
            raise RuntimeError(f'You tried to call `count_params` on {self.name}, but the layer isn\'t built. '
                               f'You can build it manually via: `{self.name}.build(batch_input_shape)`.')
        return sum(K.count_params(w) for w in {id(w): w for w in self.weights}.values())

    # ------------------------------------------------------------ losses and updates

    def add_loss(self, losses, inputs=None):
        """Adds scalars to what a model with this layer minimizes.

        With `inputs`, a loss counts only in models that contain the call on these inputs.
        """
        self._add(losses, inputs, self._losses, self._per_input_losses)

    def add_update(self, updates, inputs=None):
        """Adds updates for training to apply; see `add_loss` for `inputs`."""
        self._add(updates, inputs, self._updates, self._per_input_updates)

    @staticmethod
    def _add(items, inputs, everything, per_input):
        items = to_list(items) if items is not None else []
        if not items or state.is_running():
            return  # a live call computes; only what is recorded belongs to a model
        everything[:] = each_once([*everything, *items])
        per_input.setdefault(_key(inputs), []).extend(items)

    @property
    def losses(self):
        return self._losses

    @property
    def updates(self):
        """Pending updates; none of a layer that is neither trainable nor stateful."""
        return self._updates if self.trainable or self.stateful else []

    def get_losses_for(self, inputs):
        """The losses that depend on the given inputs (None: those that depend on none)."""
        return self._per_input_losses.get(_key(inputs), [])

    def get_updates_for(self, inputs):
        """The updates that depend on the given inputs (None: those that depend on none)."""
        return self._per_input_updates.get(_key(inputs), []) if self.trainable or self.stateful else []

    # ------------------------------------------------------------ checks

    def assert_input_compatibility(self, inputs):
        """Raises ValueError where `inputs` do not fit `input_spec`, naming what was expected and what came."""
        inputs = to_list(inputs)
        if self.input_spec is None:
            return
        specs = to_list(self.input_spec)
        if len(inputs) != len(specs):
            raise ValueError(f'Layer {self.name} expects {len(specs)} inputs, but it received {len(inputs)} input '
                             f'tensors. Input received: {inputs}')
        for i, (x, spec) in enumerate(zip(inputs, specs)):
            if spec is not None:
                spec.check(x, i, self.name)

    # ------------------------------------------------------------ nodes

    def _add_inbound_node(self, input_tensors, output_tensors, input_masks, output_masks, arguments=None):
        history = [getattr(x, '_keras_history', (None, None, None)) for x in input_tensors]
        layers, node_indices, tensor_indices = ([h[i] for h in history] for i in range(3))
        Node(self, layers, node_indices, tensor_indices, input_tensors, output_tensors, input_masks, output_masks,
             [K.int_shape(x) for x in input_tensors], [K.int_shape(x) for x in output_tensors], arguments)
        for i, x in enumerate(output_tensors):
            x._keras_history = (self, len(self._inbound_nodes) - 1, i)

    # ------------------------------------------------------------ a good torch module

    _params = property(lambda self: self._modules['_params'])  # each call looks it up

    def __getattr__(self, name):
        if name in (modules := self.__dict__.get('_modules', ())):  # as wrappers look up what they wrap
            return modules[name]
        descriptor = getattr(type(self), name, None)
        if isinstance(descriptor, property):
            return descriptor.fget(self)  # it raised AttributeError: let its own message through
        return super().__getattr__(name)

    def to(self, *args, **kwargs):
        """As torch's; names of devices are those of torch and of `device_scope`, virtual ones too."""
        if args and isinstance(args[0], (str, torch.device)):
            args, kwargs = args[1:], {**kwargs, 'device': args[0]}
        if (device := kwargs.pop('device', None)) is not None:
            self._apply(mover(device))
        return super().to(*args, **kwargs) if args or kwargs else self

    def _apply(self, fn, recurse=True):
        """What ``to()`` and the like call; it reaches variables that the layer keeps but has not made weights."""
        for x in leaves(vars(self)):
            if isinstance(x, Variable) and isinstance(x.owner, OwnHolder):
                x.owner._apply(fn)
        return super()._apply(fn, recurse)

    def __getstate__(self):
        kept = {k: v for k, v in self.__dict__.items() if not isinstance(v, SymbolicTensor)}
        return {**kept, '_inbound_nodes': [], '_outbound_nodes': [], '_losses': [], '_updates': [],
                '_per_input_losses': {}, '_per_input_updates': {}}

    def __repr__(self):
        return f'<{type(self).__name__} {getattr(self, "name", "")}>'


def checked_shape(shape, argument):
    """`shape` as a tuple of integers and None. Raises ValueError, which names the argument, where it is no shape."""
    with contextlib.suppress(TypeError, ValueError):  # no sequence, or not of numbers
        sizes = tuple(None if size is None else int(size) for size in shape)
        if all(size is None or size == given >= 0 for size, given in zip(sizes, shape)):
            return sizes
    raise ValueError(f'`{argument}` must be a tuple of sizes: integers from 0 up, and None for what is not known. Got: '
                     f'{shape!r}')


def checked_batch_shape(input_shape=None, batch_input_shape=None, batch_size=None, **_):
    """The shape with the batch that these arguments of a layer say. Raises ValueError, which names the wrong one."""
    if batch_input_shape is not None:
        if len(batch_input_shape) == 2 and isinstance(batch_input_shape[1], (list, tuple)):
            batch_input_shape = (batch_input_shape[0], *batch_input_shape[1])  # as Keras' Embedding has several lengths
        return checked_shape(batch_input_shape, 'batch_input_shape')
    return checked_shape((batch_size, *checked_shape(input_shape, 'input_shape')), '(batch_size, *input_shape)')


def each_once(items):
    """Each symbol or update of a list once; numbers count as often as they were added, as in Keras."""
    return list({(i,) if isinstance(x, (int, float)) else id(x): x for i, x in enumerate(items)}.values())


def is_several(shape):
    """Whether this is a list (or tuple) of shapes."""
    return isinstance(shape, list) or bool(shape) and isinstance(shape[0], (tuple, list))


def _key(inputs):
    """What losses and updates are kept under: None for those that depend on no inputs."""
    return None if inputs is None or inputs == [] else object_list_uid(inputs)


def _identity(x):
    return record(K.identity_of, (x,), {}, metas=x.metas)


def _collect_previous_mask(input_tensors):
    """The masks of symbols, as the layers that made them gave them."""
    made = [getattr(x, '_keras_history', None) for x in to_list(input_tensors)]
    return unpack_singleton([call and call[0]._inbound_nodes[call[1]].output_masks[call[2]] for call in made])
