"""`TorchModule`: any `torch.nn.Module` as a layer."""
import torch

from ..backend import state
from ..backend.devices import default_device, put
from ..backend.shapes import common_shape, infer
from ..backend.symbolic import placeholder
from ..backend.variable import Variable
from ..engine.base_layer import Layer, opaque
from ..utils.generic_utils import to_list, unpack_singleton


class TorchModule(Layer):
    """Makes a layer of a plain torch module, which stays as it is: weights, hooks, its own layout of the data.

    Arguments: `module`, already constructed (lazy modules must have seen data); `name` and Keras' other keywords.
    Its parameters are the layer's trainable weights and its buffers the others, in torch's layouts. The module follows
    the learning phase (``module.train(...)``). A Keras file can hold its weights but not the module itself:
    `get_config` raises NotImplementedError.
    """

    def __init__(self, module, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(module, torch.nn.Module):
            raise TypeError(f'TorchModule wraps a torch.nn.Module; got {module!r}.')
        self.module = module
        self.supports_masking = True

    def build(self, input_shape):
        on = None if callable(state.mode.device) else state.mode.device
        self.module._apply(lambda tensor: put(tensor, on or default_device()))
        for tensor in (*self.module.parameters(), *self.module.buffers()) if on is not None else ():
            tensor.on = on
        self._trainable_weights += [self._face(path) for path, _ in self.module.named_parameters()]
        self._non_trainable_weights += [self._face(path) for path, _ in self.module.named_buffers()]
        self.built = True

    def _face(self, path):
        """The Variable over a tensor that the module stores."""
        owner, _, key = path.rpartition('.')
        return Variable.of(self.module.get_submodule(owner), key, None, path.replace('.', '/'))

    @opaque
    def call(self, inputs, training=None):
        if self.module.training != training:
            self.module.train(training)
        return self.module(*inputs) if isinstance(inputs, (list, tuple)) else self.module(inputs)

    def _meta_call(self, *inputs):
        tensors = {name: torch.empty_like(t, device='meta') for name, t in (
            *self.module.named_parameters(), *self.module.named_buffers())}
        return torch.func.functional_call(self.module, tensors, inputs)

    def _output_metas(self, owner, inputs):
        return infer(self._meta_call, tuple(to_list(inputs, allow_tuple=True)), {})

    def compute_output_shape(self, input_shape):
        inputs = [placeholder(shape) for shape in (input_shape if isinstance(input_shape, list) else [input_shape])]
        outputs = zip(*[to_list(run, allow_tuple=True) for run in self._output_metas(None, inputs)])
        return unpack_singleton([tuple(common_shape(metas)) for metas in outputs])

    def get_config(self):
        raise NotImplementedError(f'Layer {self.name} wraps the torch module {type(self.module).__name__}, which a '
                                  'Keras configuration cannot hold. Save the weights (`save_weights`, or '
                                  '`state_dict`) and make the model again in code.')
