"""Optimizers: the rules by which training changes weights.

A built-in optimizer is one class with a *rule*, which gives the new parameter and slots from the old ones, and
*coefficients*, the numbers of a step that the rule needs. Both are written once, for symbols and for live values alike.
`get_updates` records them; `make_step` runs the same arithmetic in place, in fused kernels (`_optimizer_steps`).
"""
import inspect
import numbers
from types import SimpleNamespace

import numpy as np
import torch

from . import _optimizer_steps as kernels
from . import backend as K
from .backend.variable import HostVariable, Variable
from .legacy import interfaces
from .utils.generic_utils import check_number, deserialize_keras_object, serialize_keras_object, unknown_arguments


def clip_norm(g, c, n):
    """The gradient `g` scaled by ``c / n`` where the norm `n` is `c` or more; `g` itself where `c` is not positive."""
    return g if c <= 0 else torch.where(n >= c, g * (c / n), g)


class _LearningRate(HostVariable):
    """A learning rate kept in the param groups of the torch optimizer that steps, so that torch's schedulers set it.

    It reads as the first group's. Setting it scales those of further groups alike, so that their ratios stay.
    `owner` is that optimizer, or whatever else has `param_groups`.
    """

    def __init__(self, owner, dtype):
        self.owner = owner
        super().__init__(self.host, dtype, 'lr')

    @property
    def host(self):
        return float(self.owner.param_groups[0]['lr'])

    @host.setter
    def host(self, value):
        factor = value / self.host if self.host else None
        for i, group in enumerate(self.owner.param_groups):
            rate = value if i == 0 or factor is None else group['lr'] * factor
            if isinstance(group['lr'], torch.Tensor):
                group['lr'].fill_(rate)
            else:
                group['lr'] = rate


class Optimizer:
    """Base of all optimizers; optimizers of your own override `get_updates` and `get_config`.

    Arguments of every optimizer:
        clipnorm: gradients are scaled down so that their common L2 norm is at most this.
        clipvalue: after that, each element of a gradient is clipped to [-clipvalue, clipvalue].

    Arguments of those that list them:
        lr: learning rate.
        decay: step t (from 0) uses the learning rate lr / (1 + decay t).
        epsilon: keeps divisors from 0; None for ``K.epsilon()``.

    Assigning a number to an attribute that holds a Variable (``optimizer.lr = 0.01``) sets the Variable, and so counts
    from the next step on.
    """

    def __init__(self, **kwargs):
        for name in kwargs:
            if name not in ('clipnorm', 'clipvalue'):
                raise TypeError(f'Unexpected keyword argument passed to optimizer: {name}. {type(self).__name__} has '
                                f'no argument {unknown_arguments(kwargs, type(self), "clipnorm", "clipvalue")}.')
            check_number(name, 0 if kwargs[name] is None else kwargs[name], type(self).__name__)
        self.__dict__.update(kwargs)
        self.updates = []
        self.weights = []

    def __setattr__(self, name, value):
        held = self.__dict__.get(name)
        if isinstance(held, (Variable, HostVariable)) and isinstance(value, (numbers.Number, np.ndarray)):
            held.assign(value)
        else:
            super().__setattr__(name, value)

    @interfaces.legacy_get_updates_support
    def get_updates(self, loss, params):
        """The list of updates that one training step makes, to lower the symbol `loss` by changing `params`."""
        raise NotImplementedError(f'{type(self).__name__} does not define `get_updates(loss, params)`.')

    def get_gradients(self, loss, params):
        """The symbolic gradients of `loss` for `params`, clipped. Raises ValueError where one is not defined."""
        grads = K.gradients(loss, params)
        if any(g is None for g in grads):
            raise ValueError(kernels.NO_GRADIENT)
        clipnorm, clipvalue = self.clipping()
        if clipnorm:
            norm = torch.sqrt(sum(torch.sum(g * g) for g in grads))
            grads = [clip_norm(g, clipnorm, norm) for g in grads]
        if clipvalue:
            grads = [torch.clamp(g, -clipvalue, clipvalue) for g in grads]
        return grads

    def clipping(self):
        """(clipnorm, clipvalue), each 0 where it is absent or not positive."""
        return tuple(max(getattr(self, name, None) or 0, 0) for name in ('clipnorm', 'clipvalue'))

    def make_step(self, params):
        """A function that does a training step in place, on a list of gradients (default: those in ``param.grad``).

        It equals what `get_updates` gives; None where there is no such shortcut, as for optimizers of your own.
        `torch_optimizer` becomes what steps. Slots are made, and named in the open name scope, as by `get_updates`.
        """

    def set_weights(self, weights):
        """Sets `weights` (step count, moments) from arrays. Raises ValueError for another number or other shapes.

        They exist once the training function has been built.
        """
        if len(self.weights) != len(weights):
            raise ValueError(f'Length of the specified weight list ({len(weights)}) does not match the number of '
                             f'weights of the optimizer ({len(self.weights)})')
        for variable, value in zip(self.weights, weights):
            if tuple(variable.shape) != np.shape(value):
                raise ValueError(f'Optimizer weight shape {tuple(variable.shape)} not compatible with provided weight '
                                 f'shape {np.shape(value)}')
        K.batch_set_value(list(zip(self.weights, weights)))

    def get_weights(self):
        """The values of `weights`, as a list of arrays."""
        return K.batch_get_value(self.weights)

    def get_config(self):
        """The constructor's arguments."""
        return {name: getattr(self, name) for name in ('clipnorm', 'clipvalue') if hasattr(self, name)}

    @classmethod
    def from_config(cls, config):
        """An optimizer from what `get_config` gave."""
        return cls(**config)


class _BuiltIn(Optimizer):
    """An optimizer given by its rule.

    Class attributes and methods of a subclass:
        rates: names of the numbers that may change between steps, `lr` first (`decay` apart).
        options: names of the attributes that are fixed when the step is built.
        slots: names of what is kept per parameter.
        saves_iterations: whether `weights`, and so a file, begins with the step count.
        config_keys: the constructor's arguments, in the order of files, where it is not rates, decay, options.
        carried: names of the rates whose next values are the first coefficients.
        coefficients(t, *rates): the numbers that step t (from 1) gives the rule; `lr` comes decayed.
        rule(p, g, slots, *coefficients, **options): the new p, followed by the new slots.
        kernel: the rule in place, for lists (see `_optimizer_steps`).
    """

    carried = config_keys = ()
    saves_iterations = True

    def __init__(self, arguments):
        """Takes the ``locals()`` of the subclass' constructor."""
        super().__init__(**arguments['kwargs'])
        for name in ('lr', 'decay', *self.rates):
            check_number(name, arguments.get(name, 0), type(self).__name__)
        with K.name_scope(type(self).__name__):
            self.iterations = HostVariable(0, 'int64', 'iterations')
            self.lr = _LearningRate(SimpleNamespace(param_groups=[{'lr': arguments['lr']}]), K.floatx())
            for name in (*self.rates[1:], 'decay'):
                if name in arguments:
                    setattr(self, name, HostVariable(arguments[name], K.floatx(), name))
        if 'decay' in arguments:
            self.initial_decay = arguments['decay']
        for name in self.options:
            setattr(self, name, K.epsilon() if name == 'epsilon' and arguments[name] is None else arguments[name])

    @staticmethod
    def coefficients(t, *rates):
        return rates

    @interfaces.legacy_get_updates_support
    def get_updates(self, loss, params):
        grads = self.get_gradients(loss, params)
        rates = [getattr(self, name) for name in self.rates]
        if getattr(self, 'initial_decay', 0) > 0:
            rates[0] = rates[0] * (1. / (1. + self.decay * self.iterations))
        coefficients = self.coefficients(self.iterations + 1, *rates)
        options = {name: getattr(self, name) for name in self.options}
        self.updates = [K.update_add(self.iterations, 1)]
        self.updates += [K.update(getattr(self, name), value) for name, value in zip(self.carried, coefficients)]
        for p, g, *own in zip(params, grads, *self._make_slots(params).values()):
            new_p, *new = self.rule(p, g, own, *coefficients, **options)
            if getattr(p, 'constraint', None) is not None:
                new_p = p.constraint(new_p)
            self.updates += [K.update(variable, value) for variable, value in zip((*own, p), (*new, new_p))]
        return self.updates

    def _make_slots(self, params):
        """New slots, a list by name with one for each parameter; they become the optimizer's `weights`."""
        slots = {name: [p.slot() for p in params] for name in self.slots}
        self.weights = [self.iterations] * self.saves_iterations + [slot for kind in slots.values() for slot in kind]
        return slots

    def make_step(self, params):
        own = (getattr(self.get_updates, '__func__', None), getattr(self.get_gradients, '__func__', None))
        held = [getattr(self, name) for name in (*self.rates, 'decay') if name in vars(self)]
        # The kernels compute in 32 bits; with floatx float16, Keras rounds each step of the arithmetic.
        if own != _OVERRIDABLE or not all(isinstance(x, HostVariable) and x.dtype != torch.float16 for x in held):
            return None
        self.torch_optimizer = kernels.Step(self, list(params), self._make_slots(params))
        return self.torch_optimizer

    def get_config(self):
        held = {name: getattr(self, name) for name in self.config_keys or (*self.rates, 'decay', *self.options)}
        return {**super().get_config(), **{name: float(K.get_value(value)) if isinstance(value, HostVariable) else value
                                           for name, value in held.items()}}


_OVERRIDABLE = _BuiltIn.get_updates, Optimizer.get_gradients


class SGD(_BuiltIn):
    """Stochastic gradient descent: the velocity is v = momentum v - lr g, and the step p + v.

    With `nesterov` the step is p + momentum v - lr g, with the new v (Sutskever et al. 2013).
    """

    rates, options, slots = ('lr', 'momentum'), ('nesterov',), ('moment',)
    kernel = staticmethod(kernels.sgd)

    def __init__(self, lr=0.01, momentum=0., decay=0., nesterov=False, **kwargs):
        super().__init__(locals())

    @staticmethod
    def rule(p, g, slots, lr, momentum, *, nesterov):
        v = momentum * slots[0] - lr * g
        return p + (momentum * v - lr * g if nesterov else v), v


class RMSprop(_BuiltIn):
    """Divides the gradient by a running root mean square of it (Hinton, lecture 6e of "Neural Networks", 2012).

    `rho` is the share of the running mean that each step keeps.
    """

    rates, options, slots = ('lr', 'rho'), ('epsilon',), ('accumulator',)
    saves_iterations = False
    kernel = staticmethod(kernels.rmsprop)

    def __init__(self, lr=0.001, rho=0.9, epsilon=None, decay=0., **kwargs):
        super().__init__(locals())

    @staticmethod
    def rule(p, g, slots, lr, rho, *, epsilon):
        a = rho * slots[0] + (1. - rho) * g * g
        return p - lr * g / (torch.sqrt(a) + epsilon), a


class Adagrad(_BuiltIn):
    """Divides the gradient by the root of the sum of all its squares so far (Duchi et al. 2011)."""

    rates, options, slots = ('lr',), ('epsilon',), ('accumulator',)
    saves_iterations = False
    kernel = staticmethod(kernels.adagrad)

    def __init__(self, lr=0.01, epsilon=None, decay=0., **kwargs):
        super().__init__(locals())

    @staticmethod
    def rule(p, g, slots, lr, *, epsilon):
        a = slots[0] + g * g
        return p - lr * g / (torch.sqrt(a) + epsilon), a


class Adadelta(_BuiltIn):
    """Scales the gradient by the ratio of running root mean squares, of past steps and of gradients (Zeiler 2012).

    `rho` is the share of the running means that each step keeps; `lr` 1 is the paper's rule.
    """

    rates, options, slots = ('lr',), ('rho', 'epsilon'), ('accumulator', 'delta_accumulator')
    config_keys = ('lr', 'rho', 'decay', 'epsilon')
    saves_iterations = False
    kernel = staticmethod(kernels.adadelta)

    def __init__(self, lr=1.0, rho=0.95, epsilon=None, decay=0., **kwargs):
        super().__init__(locals())

    @staticmethod
    def rule(p, g, slots, lr, *, rho, epsilon):
        a, d = slots
        a = rho * a + (1. - rho) * g * g
        change = g * torch.sqrt(d + epsilon) / torch.sqrt(a + epsilon)
        return p - lr * change, a, rho * d + (1. - rho) * change * change


class Adam(_BuiltIn):
    """Steps by the ratio of running means of the gradient and, under a root, of its square (Kingma & Ba 2014).

    `beta_1` and `beta_2`, in (0, 1), are the shares of the two means that each step keeps. Their correction for the
    start from zero is a factor of the learning rate, so `epsilon` is the paper's "epsilon hat". With `amsgrad` the
    divisor is the largest mean of squares so far (Reddi et al. 2018).
    """

    rates, options = ('lr', 'beta_1', 'beta_2'), ('epsilon', 'amsgrad')
    kernel = staticmethod(kernels.adam)

    def __init__(self, lr=0.001, beta_1=0.9, beta_2=0.999, epsilon=None, decay=0., amsgrad=False, **kwargs):
        super().__init__(locals())

    slots = property(lambda self: ('m', 'v', 'vhat') if self.amsgrad else ('m', 'v'))

    def _make_slots(self, params):
        slots = super()._make_slots(params)
        if not self.amsgrad:  # Keras' files hold a placeholder of each
            self.weights += [K.zeros((1,)) for _ in params]
        return slots

    @staticmethod
    def coefficients(t, lr, beta_1, beta_2):
        return lr * ((1. - beta_2 ** t) ** 0.5 / (1. - beta_1 ** t)), beta_1, beta_2

    @staticmethod
    def rule(p, g, slots, lr, beta_1, beta_2, *, epsilon, amsgrad):
        m, v, *maxima = slots
        m = beta_1 * m + (1. - beta_1) * g
        v = beta_2 * v + (1. - beta_2) * g * g
        maxima = [torch.maximum(maximum, v) for maximum in maxima]
        return p - lr * m / (torch.sqrt(maxima[0] if amsgrad else v) + epsilon), m, v, *maxima


class Adamax(_BuiltIn):
    """Adam with the infinity norm in place of the root mean square (Kingma & Ba 2014, section 7)."""

    rates, options, slots = ('lr', 'beta_1', 'beta_2'), ('epsilon',), ('m', 'u')
    kernel = staticmethod(kernels.adamax)

    def __init__(self, lr=0.002, beta_1=0.9, beta_2=0.999, epsilon=None, decay=0., **kwargs):
        super().__init__(locals())

    @staticmethod
    def coefficients(t, lr, beta_1, beta_2):
        return lr / (1. - beta_1 ** t), beta_1, beta_2

    @staticmethod
    def rule(p, g, slots, lr, beta_1, beta_2, *, epsilon):
        m, u = slots
        m = beta_1 * m + (1. - beta_1) * g
        u = torch.maximum(beta_2 * u, torch.abs(g))
        return p - lr * m / (u + epsilon), m, u


class Nadam(_BuiltIn):
    """Adam with Nesterov momentum that warms up (Dozat 2015): to beta_1 (1 - 0.96^(t schedule_decay) / 2) in step t.

    `m_schedule` is the product of all momenta so far.
    """

    rates, options, slots = ('lr', 'beta_1', 'beta_2', 'm_schedule'), ('epsilon',), ('m', 'v')
    config_keys = ('lr', 'beta_1', 'beta_2', 'epsilon', 'schedule_decay')
    carried = ('m_schedule',)
    kernel = staticmethod(kernels.nadam)

    def __init__(self, lr=0.002, beta_1=0.9, beta_2=0.999, epsilon=None, schedule_decay=0.004, **kwargs):
        super().__init__({**locals(), 'm_schedule': 1.})
        self.schedule_decay = schedule_decay

    def coefficients(self, t, lr, beta_1, beta_2, m_schedule):
        now, following = (beta_1 * (1. - 0.5 * 0.96 ** (step * self.schedule_decay)) for step in (t, t + 1))
        m_schedule = m_schedule * now
        return (m_schedule, lr * (1. - now) / (1. - m_schedule), lr * following / (1. - m_schedule * following),
                beta_1, beta_2, 1. - beta_2 ** t)

    @staticmethod
    def rule(p, g, slots, _, lr_g, lr_m, beta_1, beta_2, correction, *, epsilon):
        m, v = slots
        m = beta_1 * m + (1. - beta_1) * g
        v = beta_2 * v + (1. - beta_2) * g * g
        return p - (lr_g * g + lr_m * m) / (torch.sqrt(v / correction) + epsilon), m, v


class TorchOptimizer(Optimizer):
    """A ``torch.optim`` optimizer under the face of a Keras one: what ``compile(optimizer=...)`` makes of it.

    `lr` is a Variable over its param groups. Keras' files hold neither the settings nor the state of a torch optimizer,
    so `get_config` raises NotImplementedError and `weights` is empty.

    Arguments:
        optimizer: a ``torch.optim.Optimizer`` made from the model's parameters, or a function that makes one from a
            list of them, such as ``torch.optim.AdamW`` or a ``functools.partial`` of it.
    """

    def __init__(self, optimizer):
        super().__init__()
        self._factory = None if isinstance(optimizer, torch.optim.Optimizer) else optimizer
        self._trained = None
        with K.name_scope(type(self).__name__):
            self.iterations = HostVariable(0, 'int64', 'iterations')
        if self._factory is None:
            self._hold(optimizer)

    def _hold(self, optimizer):
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError('As an optimizer, a function that makes a torch.optim.Optimizer from a list of parameters '
                            f'was expected, but {self._factory!r} gave {optimizer!r}.')
        for name, parameter in inspect.signature(optimizer.step).parameters.items():
            if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                raise ValueError(f'{type(optimizer).__name__}.step needs the argument {name!r}, which training a model '
                                 'cannot give. Use an optimizer that steps on the gradients alone.')
        self.torch_optimizer = optimizer
        self.lr = _LearningRate(optimizer, 'float64')

    def bind(self, params, others=()):
        """Ties the optimizer to the Variables `params` that it shall train.

        A factory is called with their parameters. A ready-made optimizer may hold some of them only; it may also hold
        parameters of `others`, the model's Variables that are not trained, which it will leave alone. Raises ValueError
        where it holds none of `params`, or parameters that are no part of the model.
        """
        self._trained = [p.param for p in params]
        if self._factory is not None:
            return self._hold(self._factory(self._trained))
        trained, known = {id(p) for p in self._trained}, {id(p.param) for p in (*params, *others)}
        held = [p for group in self.torch_optimizer.param_groups for p in group['params']]
        foreign = [tuple(p.shape) for p in held if id(p) not in known]
        if foreign or not any(id(p) in trained for p in held):
            raise ValueError(
                f'The {type(self.torch_optimizer).__name__} optimizer was not made from the parameters of this model: '
                f'of its {len(held)} parameters, {len(foreign)} are no part of the model (shapes {foreign[:3]}), and '
                f'{sum(id(p) in trained for p in held)} of the {len(trained)} that are to be trained are among them. '
                'Build the model before you make the optimizer from `model.parameters()`, or pass `compile` a function '
                'that makes the optimizer from a list of parameters.')

    def follow(self):
        """Puts the state of the torch optimizer where its parameters have been moved, as torch does when it loads."""
        self.torch_optimizer.load_state_dict(self.torch_optimizer.state_dict())

    def make_step(self, params):
        tensors = [p.param for p in params]
        if self._trained is None or [id(p) for p in self._trained] != [id(p) for p in tensors]:
            self.bind(params)
        optimizer, constrain = self.torch_optimizer, kernels.constrainer(params)
        trained = {id(p) for p in tensors}
        frozen = [p for group in optimizer.param_groups for p in group['params'] if id(p) not in trained]

        def step(gradients=None):
            for p in frozen:
                p.grad = None
            for p, gradient in zip(tensors, gradients or ()):
                p.grad = gradient
            optimizer.step()
            for p in tensors if gradients else ():  # the next pass needs the memory
                p.grad = None
            if constrain:
                with torch.no_grad():
                    constrain()
            self.iterations.host += 1
        return step

    def get_config(self):
        raise NotImplementedError(
            f'The torch optimizer {type(self.torch_optimizer).__name__} has settings and a state of its own: keep '
            '`model.optimizer.torch_optimizer.state_dict()` in a file, or compile with an optimizer of this package.')


class TFOptimizer(Optimizer):
    """Stands for the wrapper of TensorFlow's own optimizers, which cannot step here. Always raises TypeError."""

    def __init__(self, optimizer):
        raise TypeError(f'TFOptimizer wraps optimizers of TensorFlow, which cannot train on torch; got {optimizer!r}. '
                        'Use an optimizer of this module, or pass `compile` one of `torch.optim`.')


sgd, rmsprop, adagrad, adadelta = SGD, RMSprop, Adagrad, Adadelta
adam, adamax, nadam = Adam, Adamax, Nadam

_CLASSES = {cls.__name__.lower(): cls for cls in (SGD, RMSprop, Adagrad, Adadelta, Adam, Adamax, Nadam, TFOptimizer)}


def serialize(optimizer):
    """The config of an optimizer."""
    return serialize_keras_object(optimizer)


def deserialize(config, custom_objects=None):
    """The optimizer of a config; names of built-in ones are known in any case. Raises ValueError for an unknown one.

    As in Keras, whose tests count on it, the name of a built-in one is in lower case in `config` itself from then on.
    """
    name = config['class_name'].lower()
    if name in _CLASSES:
        config['class_name'] = name
    return deserialize_keras_object(config, _CLASSES, custom_objects, 'optimizer')


def get(identifier):
    """An optimizer from a name, a config, an optimizer of Keras or torch or a factory of torch's; else ValueError."""
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, (str, dict)):
        return deserialize({'class_name': identifier, 'config': {}} if isinstance(identifier, str) else identifier)
    is_keras_class = inspect.isclass(identifier) and issubclass(identifier, Optimizer)
    if isinstance(identifier, torch.optim.Optimizer) or (callable(identifier) and not is_keras_class):
        return TorchOptimizer(identifier)
    raise ValueError(f'Could not interpret optimizer identifier: {identifier}' + (
        f'. An instance is wanted: call the class, {identifier.__name__}().' if is_keras_class else ''))
