"""Optimizers: values of Keras 2.2.4, the in-place step beside `get_updates`, weights, configs, torch's optimizers."""
import functools
import pickle

import numpy as np
import pytest
import torch

import kfacade.backend as K
from kfacade import constraints, optimizers
from kfacade.backend import state
from kfacade.backend.variable import Layout, Variable
from kfacade.layers import Dense
from kfacade.legacy import interfaces
from kfacade.models import Sequential

# (class, arguments, what Keras 2.2.4 made of `start()` in six steps on `loss` with SCALES)
KERAS = [
    ('SGD', {'lr': 0.1},
     [0.09398318, -0.364629, 0.11136, 0.1360486, 0.05582039, -0.2696773, -0.4309015, -0.6008914]),
    ('SGD', {'lr': 0.1, 'momentum': 0.9, 'decay': 0.5},
     [-0.4456832, -0.1884025, -4.76966, -2.87433, -0.1807798, 0.01675276, -0.6321978, -0.6405666]),
    ('SGD', {'lr': 0.1, 'momentum': 0.8, 'nesterov': True, 'clipnorm': 1.0},
     [0.3155931, -0.5820397, 1.255803, 0.9515111, 0.1566914, -0.4454673, 0.1132147, -0.1891737]),
    ('RMSprop', {'lr': 0.05, 'rho': 0.7},
     [0.2044801, -0.9709442, 1.768995, 1.250215, 0.01470542, -0.682624, -0.05334048, -0.35334]),
    ('RMSprop', {'lr': 0.05, 'decay': 0.3, 'epsilon': 0.01, 'clipvalue': 0.5},
     [0.1243537, -1.03318, 1.840505, 1.247906, 0.0121603, -0.7034503, -0.0594955, -0.3516461]),
    ('Adagrad', {'lr': 0.1},
     [0.2336917, -0.9736769, 1.776407, 1.261465, 0.03290428, -0.686408, -0.0560363, -0.3560358]),
    ('Adagrad', {'lr': 0.1, 'decay': 0.2, 'epsilon': 0.1, 'clipnorm': 0.5},
     [0.3932605, -0.9275977, 1.87373, 1.35967, 0.1839976, -0.6649502, 0.08715863, -0.2091657]),
    ('Adadelta', {'lr': 1.0},
     [0.4933861, -0.9984075, 1.995789, 1.495384, 0.2423759, -0.7472938, 0.09732351, -0.2026757]),
    ('Adadelta', {'lr': 2.0, 'rho': 0.6, 'epsilon': 0.01, 'decay': 0.1, 'clipvalue': 1.0},
     [3.006346e-05, -0.5758605, 1.371819, 0.1051631, 0.00365464, -0.0003156262, -0.4471222, -0.7414848]),
    ('Adam', {'lr': 0.05},
     [0.2301476, -0.9653112, 1.791499, 1.277265, -0.01451879, -0.6693502, -0.04800189, -0.3480013]),
    ('Adam', {'lr': 0.05, 'beta_1': 0.7, 'beta_2': 0.8, 'epsilon': 0.01, 'decay': 0.2,
              'clipnorm': 2.0, 'clipvalue': 0.5},
     [0.3144045, -0.9554682, 1.918393, 1.368711, 0.08820979, -0.6670024, 0.07068256, -0.2281522]),
    ('Adam', {'lr': 0.05, 'beta_2': 0.6, 'amsgrad': True},
     [0.2426612, -0.9781439, 1.816796, 1.303987, -5.600974e-05, -0.6877182, -0.03413184, -0.3341313]),
    ('Adamax', {'lr': 0.05},
     [0.2927347, -0.9947412, 1.853739, 1.343947, 0.05037031, -0.7168982, -0.01018373, -0.3101831]),
    ('Adamax', {'lr': 0.05, 'beta_1': 0.6, 'beta_2': 0.7, 'epsilon': 0.1, 'decay': 0.1},
     [0.294774, -0.9874394, 1.845992, 1.334258, 0.04132073, -0.7025904, -0.0002303104, -0.2986438]),
    ('Nadam', {'lr': 0.05},
     [0.3064577, -0.9758211, 1.850064, 1.339194, 0.06765535, -0.6963488, -0.003282982, -0.3032824]),
    ('Nadam', {'lr': 0.05, 'beta_1': 0.8, 'beta_2': 0.9, 'schedule_decay': 0.1, 'clipnorm': 1.0},
     [0.2688648, -0.9353554, 1.859562, 1.325632, 0.0477437, -0.6743737, 0.06210417, -0.2378951]),
]
SCALES = [1., -.5, .25, 2., -1., .75]

CONFIGS = {
    'SGD': {'lr': 0.009999999776482582, 'momentum': 0.0, 'decay': 0.0, 'nesterov': False},
    'RMSprop': {'lr': 0.0010000000474974513, 'rho': 0.8999999761581421, 'decay': 0.0, 'epsilon': 1e-07},
    'Adagrad': {'lr': 0.009999999776482582, 'decay': 0.0, 'epsilon': 1e-07},
    'Adadelta': {'lr': 1.0, 'rho': 0.95, 'decay': 0.0, 'epsilon': 1e-07},
    'Adam': {'lr': 0.0010000000474974513, 'beta_1': 0.8999999761581421, 'beta_2': 0.9990000128746033, 'decay': 0.0,
             'epsilon': 1e-07, 'amsgrad': False},
    'Adamax': {'lr': 0.0020000000949949026, 'beta_1': 0.8999999761581421, 'beta_2': 0.9990000128746033, 'decay': 0.0,
               'epsilon': 1e-07},
    'Nadam': {'lr': 0.0020000000949949026, 'beta_1': 0.8999999761581421, 'beta_2': 0.9990000128746033, 'epsilon': 1e-07,
              'schedule_decay': 0.004},
}
VARIANTS = [('SGD', {}), ('SGD', {'momentum': .9}), ('SGD', {'momentum': .9, 'nesterov': True}),
            ('SGD', {'nesterov': True}), ('RMSprop', {}), ('Adagrad', {}), ('Adadelta', {}), ('Adam', {}),
            ('Adam', {'amsgrad': True}), ('Adamax', {}), ('Nadam', {})]
EXTRAS = [{}, {'decay': .1}, {'clipnorm': 1.}, {'clipvalue': .2}, {'clipnorm': 2., 'clipvalue': .3}]


# ---------------------------------------------------------------- one small problem

def start():
    return [Variable([[.5, -1., 2.], [1.5, .25, -.75]]), Variable([.1, -.2], constraint=constraints.MaxNorm(.9))]


def loss(p, b, c):
    return (p * p * p).sum() * c + b.exp().sum() * 2. * c + (p * p).sum()


def train_by_updates(optimizer, params, scales):
    c = K.placeholder(shape=())
    function = K.function([c], [], optimizer.get_updates(loss(*params, c), params))
    for scale in scales:
        function([scale])


def train_by_step(step, params, scales):
    for scale in scales:
        for p in params:
            p.param.grad = None
        loss(*[p.value for p in params], scale).backward()
        step()


def flat(params):
    return np.concatenate([K.get_value(p).ravel() for p in params])


@pytest.mark.parametrize('name, kwargs, expected', KERAS)
@pytest.mark.parametrize('fast', [False, True])
def test_values_of_keras(name, kwargs, expected, fast):
    optimizer, params = getattr(optimizers, name)(**kwargs), start()
    if fast:
        train_by_step(optimizer.make_step(params), params, SCALES)
    else:
        train_by_updates(optimizer, params, SCALES)
    np.testing.assert_allclose(flat(params), expected, rtol=2e-5, atol=1e-6)
    assert K.get_value(optimizer.iterations) == len(SCALES)


# ---------------------------------------------------------------- the step is get_updates

def layouts():
    """A transposed kernel, a channels-last convolution kernel and a vector."""
    transposed = Layout(lambda t: t.t(), lambda t: t.t().contiguous())
    channels_last = Layout(lambda t: t.permute(2, 3, 1, 0),
                           lambda t: t.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last))
    random = np.random.RandomState(0)
    norm = constraints.MaxNorm(1.5, axis=[0, 1, 2])
    return [Variable(random.randn(5, 3), layout=transposed, constraint=constraints.NonNeg()),
            Variable(random.randn(3, 3, 2, 4), layout=channels_last, constraint=norm),
            Variable(random.randn(3))]


@pytest.mark.parametrize('name, kwargs, extra', [
    (name, kwargs, extra) for name, kwargs in VARIANTS for extra in EXTRAS if name != 'Nadam' or 'decay' not in extra])
def test_step_equals_get_updates(name, kwargs, extra):
    by_updates, by_step = (getattr(optimizers, name)(lr=.02, **kwargs, **extra) for _ in range(2))
    recorded, stepped = layouts(), layouts()
    factors = [K.placeholder(shape=tuple(p.shape)) for p in recorded]
    total = sum(K.sum(x * p * p * (1 + p)) for x, p in zip(factors, recorded))
    function = K.function(factors, [], by_updates.get_updates(total, recorded))
    step = by_step.make_step(stepped)
    random = np.random.RandomState(1)
    for i in range(5):
        if i == 3:
            K.set_value(by_updates.lr, .01)
            by_step.lr = .01
        arrays = [random.randn(*p.shape).astype('float32') for p in stepped]
        function(arrays)
        for p in stepped:
            p.param.grad = None
        sum((torch.as_tensor(x) * p.value * p.value * (1 + p.value)).sum() for x, p in zip(arrays, stepped)).backward()
        step()
    np.testing.assert_allclose(flat(stepped), flat(recorded), rtol=1e-5, atol=2e-6)
    assert len(by_step.get_weights()) == len(by_updates.get_weights())
    for mine, reference in zip(by_step.get_weights(), by_updates.get_weights()):
        np.testing.assert_allclose(mine, reference, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('name, kwargs', VARIANTS)
def test_other_dtypes_and_strides_take_the_same_values(name, kwargs):
    """float64 parameters, ones in strange strides (where no fused kernel may go), and gradients in other strides."""
    results = []
    for make in (lambda a: torch.tensor(a), lambda a: torch.tensor(a, dtype=torch.float64),
                 lambda a: torch.tensor(np.repeat(a, 2, axis=1))[:, ::2]):
        optimizer, p = getattr(optimizers, name)(lr=.05, **kwargs), Variable(np.zeros((2, 3)))
        p.owner.value = torch.nn.Parameter(make(np.float32([[.5, -1., 2.], [1.5, .25, -.75]])))
        step = optimizer.make_step([p])
        for scale in SCALES:
            p.param.grad = (p.param.detach().t() * scale).contiguous().t().to(p.dtype)
            step()
        results.append(flat([p]))
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name, kwargs', VARIANTS)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_parameters_of_16_bits_take_the_same_values(name, kwargs, dtype):
    """Enough numbers for the vectors of a CPU, with which torch's fused SGD changes no parameter of these types."""
    starts, ends = np.random.RandomState(0).randn(5, 8).astype('float32'), []
    kwargs = kwargs if name == 'SGD' else {**kwargs, 'epsilon': 1e-3}  # others are 0 in 16 bits
    for kind in (torch.float32, dtype):
        optimizer = getattr(optimizers, name)(lr=1. if name == 'Adadelta' else .05, **kwargs)
        p = Variable(starts)
        p.owner.value = torch.nn.Parameter(torch.tensor(starts, dtype=kind))
        step = optimizer.make_step([p])
        for scale in SCALES:
            step([p.param.detach() * scale])
        ends.append(p.param.detach().float().numpy())
    assert np.abs(ends[0] - starts).max(1).min() > .02
    np.testing.assert_allclose(ends[1], ends[0], rtol=.02, atol=.03 if dtype == torch.bfloat16 else .004)


def test_clipnorm_is_of_all_gradients_at_once():
    params = [Variable([0., 0.]), Variable([0.])]
    step = optimizers.SGD(lr=1., clipnorm=1.).make_step(params)
    params[0].param.grad, params[1].param.grad = torch.tensor([3., 0.]), torch.tensor([4.])
    step()
    np.testing.assert_allclose(flat(params), [-.6, 0., -.8], rtol=1e-6)


@pytest.mark.parametrize('clip', [{'clipnorm': 1.}, {'clipvalue': 1.}])
def test_gradients_may_be_one_tensor_or_parts_of_one(clip):
    gradient = torch.tensor([3., 4., -5.])
    gradients = [gradient, gradient, gradient[:2], gradient[2:]]
    params = [Variable(np.zeros(len(g))) for g in gradients]
    optimizers.SGD(lr=1., **clip).make_step(params)(gradients)
    whole = np.concatenate(gradients)
    expected = whole / np.linalg.norm(whole) if 'clipnorm' in clip else whole.clip(-1, 1)
    np.testing.assert_allclose(flat(params), -expected, rtol=1e-6)
    np.testing.assert_array_equal(gradient, [3., 4., -5.])


@pytest.mark.parametrize('n, expected', [(.5, 3.), (2., 3.), (4., 1.5)])
def test_clip_norm(n, expected):
    assert K.eval(optimizers.clip_norm(K.variable(3.), 2., K.variable(n))) == pytest.approx(expected)
    assert optimizers.clip_norm('g', 0, n) == 'g'


# ---------------------------------------------------------------- what a step follows

@pytest.mark.parametrize('assign', [lambda o: K.set_value(o.lr, .5), lambda o: setattr(o, 'lr', .5)])
def test_lr_changes_count_from_the_next_step(assign):
    optimizer, p = optimizers.SGD(lr=.1), Variable([1.])
    step = optimizer.make_step([p])
    p.param.grad = torch.ones(1)
    step()
    assign(optimizer)
    step()
    np.testing.assert_allclose(flat([p]), [.4], rtol=1e-6)
    assert K.get_value(optimizer.lr) == np.float32(.5)
    assert optimizer.get_config()['lr'] == .5


@pytest.mark.parametrize('move, dtype', [
    (lambda p: p.owner.double(), torch.float64),
    (lambda p: setattr(p.owner, p.key, torch.nn.Parameter(p.value.detach().clone())), torch.float32)])
def test_parameters_that_were_moved_or_replaced_are_followed_after_refresh(move, dtype):
    optimizer, p = optimizers.SGD(lr=1., momentum=.5), Variable([1.])
    step = optimizer.make_step([p])
    p.param.grad = torch.ones(1)
    step()
    move(p)
    p.param.grad = torch.ones(1, dtype=dtype)
    assert step.refresh() and not step.refresh()
    step()
    assert optimizer.weights[1].dtype == dtype
    np.testing.assert_allclose(flat([p, optimizer.weights[1]]), [-1.5, -1.5])


def test_two_models_may_share_an_optimizer():
    """As in a GAN recipe: slots are each model's own, the step count is common, `weights` are those made last."""
    optimizer, first, second = optimizers.Adam(), Variable([1.]), Variable([1.])
    steps = [optimizer.make_step([p]) for p in (first, second)]
    for p, step in zip((first, second), steps):
        p.param.grad = torch.ones(1)
        step()
    assert K.get_value(optimizer.iterations) == 2
    assert optimizer.weights[1].param is steps[1].state[second.param]['m']


def test_missing_gradient_changes_nothing():
    optimizer, params = optimizers.Adam(), [Variable([1.]), Variable([2.])]
    step = optimizer.make_step(params)
    params[0].param.grad = torch.ones(1)
    with pytest.raises(ValueError, match='An operation has `None` for gradient'):
        step()
    np.testing.assert_array_equal(flat(params), [1., 2.])
    assert K.get_value(optimizer.iterations) == 0
    with pytest.raises(ValueError, match='An operation has `None` for gradient'):
        optimizer.get_updates(K.sum(K.square(params[0])), params)


def test_no_parameters_at_all():
    optimizer = optimizers.Adam(clipnorm=1.)
    optimizer.make_step([])()
    assert K.get_value(optimizer.iterations) == 1


def test_subclassed_and_patched_optimizers_have_no_step(monkeypatch):
    class Mine(optimizers.SGD):
        def get_updates(self, loss, params):
            return super().get_updates(loss, params)

    class Renamed(optimizers.SGD):
        pass

    params = start()
    assert Mine().make_step(params) is None
    assert Renamed().make_step(params) is not None
    patched = optimizers.SGD()
    patched.get_gradients = lambda loss, params: []
    assert patched.make_step(params) is None
    scaled = optimizers.SGD()
    scaled.lr = scaled.lr * 2.
    assert scaled.make_step(params) is None
    monkeypatch.setattr(optimizers.Optimizer, 'get_gradients', lambda self, loss, params: [])
    assert optimizers.Adam().make_step(params) is None


def test_custom_optimizer_in_keras_style():
    class Sign(optimizers.Optimizer):
        def __init__(self, lr=0.01, **kwargs):
            super().__init__(**kwargs)
            with K.name_scope(self.__class__.__name__):
                self.iterations = K.variable(0, dtype='int64', name='iterations')
                self.lr = K.variable(lr, name='lr')

        @interfaces.legacy_get_updates_support
        def get_updates(self, loss, params):
            grads = self.get_gradients(loss, params)
            self.updates = [K.update_add(self.iterations, 1)]
            self.weights = [self.iterations]
            for p, g in zip(params, grads):
                self.updates.append(K.update(p, p - self.lr * K.sign(g)))
            return self.updates

    optimizer, p = Sign(lr=.25), Variable([1., -1.])
    target = K.sum(K.square(p))
    for updates in (optimizer.get_updates(target, [p]), optimizer.get_updates([p], {}, target)):
        K.function([], [], updates)([])
    optimizer.lr = .125
    K.function([], [], optimizer.get_updates(target, [p]))([])
    np.testing.assert_array_equal(flat([p]), [.375, -.375])
    assert K.get_value(optimizer.iterations) == 3


# ---------------------------------------------------------------- weights, names and configs

WEIGHTS = {'SGD': (['iterations'], 1), 'RMSprop': ([], 1), 'Adagrad': ([], 1), 'Adadelta': ([], 2),
           'Adam': (['iterations'], 3), 'Adamax': (['iterations'], 2), 'Nadam': (['iterations'], 2)}


@pytest.mark.parametrize('name', WEIGHTS)
def test_weights_and_their_names(name):
    state.clear_session()
    first, optimizer, params = getattr(optimizers, name)(), getattr(optimizers, name)(), start()
    assert (first.iterations.name, optimizer.iterations.name) == (f'{name}/iterations:0', f'{name}_1/iterations:0')
    with K.name_scope('training'), K.name_scope(name):
        optimizer.make_step(params)
    head, kinds = WEIGHTS[name]
    names = [f'{name}_1/{n}:0' for n in head]
    names += [f'training/{name}/Variable{f"_{i}" if i else ""}:0' for i in range(kinds * len(params))]
    assert [w.name for w in optimizer.weights] == names
    shapes = [()] * len(head) + [(2, 3), (2,)] * kinds
    if name == 'Adam':
        shapes[-2:] = [(1,), (1,)]
    assert [tuple(w.shape) for w in optimizer.weights] == shapes
    if head:
        assert optimizer.get_weights()[0].dtype == np.int64


def test_set_weights_goes_on_where_get_weights_left():
    optimizer, params = optimizers.Adam(lr=.1, amsgrad=True), start()
    step = optimizer.make_step(params)
    train_by_step(step, params, SCALES[:3])
    weights, values = optimizer.get_weights(), [K.get_value(p) for p in params]
    train_by_step(step, params, SCALES[3:])
    again, copies = optimizers.Adam(lr=.1, amsgrad=True), start()
    step = again.make_step(copies)
    K.batch_set_value(list(zip(copies, values)))
    again.set_weights(weights)
    train_by_step(step, copies, SCALES[3:])
    np.testing.assert_array_equal(flat(copies), flat(params))


def test_set_weights_refuses_other_counts_and_shapes():
    optimizer = optimizers.SGD()
    optimizer.make_step(start())
    with pytest.raises(ValueError, match=r'weight list \(1\) does not match the number of weights of the optimizer'):
        optimizer.set_weights([np.zeros(())])
    with pytest.raises(ValueError, match=r'shape \(2, 3\) not compatible with provided weight shape \(3, 2\)'):
        optimizer.set_weights([np.zeros(()), np.zeros((3, 2)), np.zeros(2)])


@pytest.mark.parametrize('name', CONFIGS)
def test_configs(name):
    optimizer = getattr(optimizers, name)()
    assert list(optimizer.get_config().items()) == list(CONFIGS[name].items())
    clipped = getattr(optimizers, name)(clipnorm=1., clipvalue=.5)
    assert list(clipped.get_config().items()) == [('clipnorm', 1.), ('clipvalue', .5), *CONFIGS[name].items()]
    config = optimizers.serialize(clipped)
    again = optimizers.deserialize(config)
    assert type(again) is type(clipped) and again.get_config() == clipped.get_config()
    assert config == {'class_name': name.lower(), 'config': clipped.get_config()}
    assert type(optimizers.get(name)) is type(optimizers.get(name.lower())) is type(optimizer)
    assert getattr(optimizers, name.lower()) is type(optimizer)


def test_get():
    adam = optimizers.Adam()
    assert optimizers.get(adam) is adam
    config = {'class_name': 'SGD', 'config': {'lr': .5}}
    assert optimizers.get(config).get_config()['lr'] == .5
    assert config['class_name'] == 'sgd'  # Keras changes what it is given
    for wrong in (3, None, optimizers.Adam):
        with pytest.raises(ValueError, match='Could not interpret optimizer identifier'):
            optimizers.get(wrong)
    with pytest.raises(ValueError, match='Unknown optimizer'):
        optimizers.get('adamski')


def test_errors_of_construction():
    with pytest.raises(TypeError, match='Unexpected keyword argument passed to optimizer: learning_rate'):
        optimizers.SGD(learning_rate=.1)
    with pytest.raises(TypeError, match='torch.optim'):
        optimizers.TFOptimizer(object())
    with pytest.raises(NotImplementedError, match='get_updates'):
        optimizers.Optimizer().get_updates(None, [])


# ---------------------------------------------------------------- torch's side

def test_torch_schedulers_set_the_learning_rate():
    optimizer, p = optimizers.SGD(lr=1.), Variable([1.])
    step = optimizer.make_step([p])
    assert isinstance(step, torch.optim.Optimizer) and optimizer.torch_optimizer is step
    scheduler = torch.optim.lr_scheduler.ExponentialLR(step, gamma=.5)
    p.param.grad = torch.ones(1)
    step()
    scheduler.step()
    assert K.get_value(optimizer.lr) == .5
    step()
    np.testing.assert_allclose(flat([p]), [-.5])
    assert step.step(lambda: 3.) == 3.
    with pytest.raises(NotImplementedError, match='set_weights'):
        step.load_state_dict(step.state_dict())


def test_factory_of_a_torch_optimizer():
    optimizer, params = optimizers.get(functools.partial(torch.optim.SGD, lr=.5)), start()
    optimizer.bind(params)
    step = optimizer.make_step(params)
    expected = optimizers.SGD(lr=.5), start()
    train_by_step(expected[0].make_step(expected[1]), expected[1], SCALES)
    train_by_step(step, params, SCALES)
    np.testing.assert_allclose(flat(params), flat(expected[1]), rtol=1e-6)
    assert K.get_value(optimizer.lr) == .5 and K.get_value(optimizer.iterations) == len(SCALES)
    K.set_value(optimizer.lr, .25)
    assert optimizer.torch_optimizer.param_groups[0]['lr'] == .25


def test_instance_of_a_torch_optimizer():
    trained, frozen = Variable([1.]), Variable([1.])
    inner = torch.optim.SGD([{'params': [trained.param], 'lr': 1.}, {'params': [frozen.param], 'lr': .5}])
    optimizer = optimizers.get(inner)
    optimizer.bind([trained], others=[frozen])
    step = optimizer.make_step([trained])
    trained.param.grad = frozen.param.grad = torch.ones(1)
    step()
    np.testing.assert_array_equal(flat([trained, frozen]), [0., 1.])
    inner.load_state_dict(inner.state_dict())
    optimizer.lr = .5
    assert [group['lr'] for group in inner.param_groups] == [.5, .25]
    assert optimizer.get_weights() == []
    with pytest.raises(NotImplementedError, match=r'keep `model.optimizer.torch_optimizer.state_dict\(\)`'):
        optimizer.get_config()


def test_torch_optimizers_that_cannot_train_the_model():
    p, other = Variable([1.]), Variable([[1., 2.]])
    with pytest.raises(ValueError, match=r'not made from the parameters of this model.*\(1, 2\)'):
        optimizers.get(torch.optim.SGD([p.param, other.param], lr=.1)).bind([p])
    with pytest.raises(ValueError, match='0 of the 1 that are to be trained'):
        optimizers.get(torch.optim.SGD([other.param], lr=.1)).bind([p], others=[other])
    with pytest.raises(ValueError, match="needs the argument 'closure'"):
        optimizers.get(torch.optim.LBFGS).bind([p])
    with pytest.raises(TypeError, match='a function that makes a torch.optim.Optimizer'):
        optimizers.get(lambda params: 'adam').bind([p])


def test_optimizers_can_be_pickled_before_training():
    again = pickle.loads(pickle.dumps(optimizers.Adam(lr=.5)))
    assert again.get_config() == optimizers.Adam(lr=.5).get_config()


@pytest.mark.parametrize('units, calls', [(1, [1, 2, 1, 2]), (40000, [])])
def test_the_step_of_a_small_model_wakes_no_second_thread(units, calls, monkeypatch):
    model = Sequential([Dense(units, input_shape=(2,))])
    model.compile('adam', 'mse')
    before, found, set_threads = torch.get_num_threads(), [], torch.set_num_threads
    set_threads(2)
    try:
        monkeypatch.setattr(torch, 'set_num_threads', lambda n: found.append(n) or set_threads(n))
        model.fit(np.zeros((4, 2)), np.zeros((4, units)), batch_size=2, verbose=0)
        assert (found, torch.get_num_threads()) == (calls, 2)
    finally:
        set_threads(before)
