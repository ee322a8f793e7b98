"""Variables: the named Keras-layout faces of what torch modules store, and pending updates of them."""
from collections import namedtuple

import numpy as np
import torch

from . import state
from .devices import default_device, device_of, put, scoped_device
from .dtypes import on_host, torch_dtype
from .face import DTYPES, Shape
from .symbolic import Face, as_tensor, record

Layout = namedtuple('Layout', 'to_keras from_keras')
Layout.__doc__ = """How torch stores a weight: two functions between its layout and Keras', each tensor to tensor.

What `from_keras` gives may be a view. The weight lies in memory as that does.
"""


class Holder(torch.nn.Module):
    """Where weights live: a module with nothing but parameters and buffers, under keys that cannot collide."""

    def store(self, key, tensor, trainable, on=None):
        """Registers `tensor` as a parameter, or as a buffer where it is not trainable or not floating.

        `on` is the device that a scope has put it on.
        """
        if trainable and tensor.is_floating_point():
            self.register_parameter(key, torch.nn.Parameter(tensor))
        else:
            self.register_buffer(key, tensor)
        if on is not None:
            getattr(self, key).on = on


class OwnHolder(Holder):
    """Where a variable lives that no layer has made its weight."""


class _AbstractVariable(Face):
    """What Keras and TensorFlow code asks of a variable, over the property `value`."""

    _uses_learning_phase = False

    _keras_shape = property(lambda self: tuple(self.shape.as_list()))

    def numpy(self):
        """A copy of the value as an array, in Keras' layout."""
        return on_host(self.value).clone(memory_format=torch.contiguous_format).numpy()

    def eval(self, session=None):
        """The value as an array; `session` is there for code written for TensorFlow and makes no difference."""
        return self.numpy()

    def read_value(self):
        return record(torch.clone, (self,), {})


class Variable(_AbstractVariable):
    """A weight as Keras knows it: name, Keras-layout shape and value, over a parameter that torch stores its own way.

    The face holds no tensor: it is (owner module, key, layout), looked up at each access.
    """

    constraint, debias_steps = None, 0  # the latter: how many updates a moving average has had

    def __init__(self, value, dtype=None, name=None, constraint=None, trainable=True, owner=None, key='value',
                 layout=None):
        tensor = as_tensor(value, dtype).detach().clone()
        self._show(owner or OwnHolder(), key, layout, name)
        self.constraint = constraint
        on = scoped_device(self)
        stored = layout.from_keras(tensor) if layout else tensor
        self.owner.store(key, put(stored, on or default_device()), trainable, on)

    @classmethod
    def of(cls, owner, key, layout, name=None):
        """The face of what a module stores already."""
        face = cls.__new__(cls)
        face._show(owner, key, layout, name)
        return face

    def _show(self, owner, key, layout, name):
        self.owner, self.key, self.layout = owner, key, layout
        self.name = f'{state.unique_scope(name or "Variable")}:0'

    @property
    def param(self):
        """The parameter or buffer itself, in torch's layout."""
        return getattr(self.owner, self.key)

    @property
    def on(self):
        """The device that a scope has put the variable on; None for those of no scope."""
        return getattr(self.param, 'on', None)

    @property
    def value(self):
        """The live tensor in Keras' layout, a view of the parameter where there is one."""
        return self.layout.to_keras(self.param) if self.layout else self.param

    @property
    def shape(self):
        return Shape(self.value.shape) if self.layout is None else Shape(
            self.layout.to_keras(self.param.detach().to('meta')).shape)

    dtype = property(lambda self: self.param.dtype)

    def assign(self, value):
        """Sets the value, given in Keras' layout. Raises ValueError for another shape."""
        value = as_tensor(value)
        if tuple(value.shape) != tuple(self.shape):
            raise ValueError(f'Cannot assign a value of shape {tuple(value.shape)} to the variable {self.name} of '
                             f'shape {tuple(self.shape)}.')
        with torch.no_grad():
            self.param.copy_(self.layout.from_keras(value) if self.layout else value)

    def slot(self):
        """A new Variable of zeros with this one's layout, dtype and device, not trainable."""
        owner, param = OwnHolder(), self.param.detach()
        zeros = put(torch.zeros_like(param, memory_format=torch.preserve_format), device_of(param))
        owner.store('value', zeros, False, self.on)
        return Variable.of(owner, 'value', self.layout)

    def move(self, owner, key, trainable):
        """Makes another module the one that stores this variable, as a parameter where it can be trained."""
        param = self.param
        if trainable and isinstance(param, torch.nn.Parameter):
            owner.register_parameter(key, param)
        else:
            owner.store(key, param.detach(), False, self.on)
        self.owner, self.key = owner, key


class HostVariable(_AbstractVariable):
    """A number kept on the host behind a Variable's face (a learning rate, a step count): reading it never waits.

    `host` is the number, a Python float or int. `assign` rounds floats to `dtype`, as a stored variable would be.
    """

    constraint = None

    def __init__(self, value, dtype='float32', name=None):
        self.dtype = torch_dtype(dtype)
        self.name = f'{state.unique_scope(name or "Variable")}:0'
        self.assign(value)

    shape = Shape(())

    value = property(lambda self: torch.tensor(self.host, dtype=self.dtype))

    def numpy(self):
        return _numpy_scalar(self.host, self.dtype)

    def assign(self, value):
        """Sets the number, from anything that holds just one."""
        value = value.item() if isinstance(value, (torch.Tensor, np.generic, np.ndarray)) else value
        self.host = _numpy_scalar(value, self.dtype).item()


def _numpy_scalar(number, dtype):
    return DTYPES[dtype].as_numpy_dtype(number)


class Update:
    """A pending assignment of `new_value` to `variable`. Only a function that was given it applies it."""

    held = None  # a tensor with the number that `new_value` reads, during a run of a graph that torch has compiled

    def __init__(self, variable, new_value):
        self.variable, self.new_value = variable, new_value

    def prepare(self):
        """Called before each such run, to set `held`: for another number, torch would compile the graph anew."""

    def applied(self):
        """Called after the assignment."""

    name = property(lambda self: f'update_{self.variable.name}')


class MovingAverageUpdate(Update):
    """Moves a variable towards `value`, with TensorFlow's correction of the zero start unless ``zero_debias=False``.

    After t updates the stored average is s_t = s_{t-1} + a_t (value - s_{t-1}), a_t = (1 - momentum)/(1 - momentum^t),
    so the first update stores `value` itself (Kingma & Ba 2014, section 3). `output` is the symbol of the layer call
    that can make this update itself, in one kernel.
    """

    def __init__(self, variable, value, momentum, zero_debias=True, output=None):
        self.momentum, self.zero_debias, self.output = momentum, zero_debias, output
        super().__init__(variable, record(_move_average, (variable, value, self), {}, metas=variable.metas))

    def prepare(self):
        self.held = torch.full((), self.rate(), dtype=self.variable.dtype, device=self.variable.param.device)

    def rate(self):
        return averaging_rate(self.variable, self.momentum, self.zero_debias)

    def applied(self):
        self.variable.debias_steps += 1


def averaging_rate(average, momentum, zero_debias):
    """a_t of the next update of a moving average; see `MovingAverageUpdate`."""
    return (1. - momentum) / (1. - momentum ** (average.debias_steps + 1) if zero_debias else 1.)


def _move_average(average, value, update):
    return torch.lerp(average, value.to(average.dtype), update.rate() if update.held is None else update.held)
