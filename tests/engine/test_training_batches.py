"""Single batches: those like the ones before are not checked again, and train as those that are."""
import numpy as np
import pytest

from kfacade import layers, optimizers
from kfacade.callbacks import LambdaCallback
from kfacade.models import Model, Sequential

_random = np.random.RandomState(0)
X, Y = _random.randn(24, 4).astype('float32'), np.eye(3, dtype='float32')[_random.randint(3, size=24)]
BATCHES = [(X[i:i + 8], Y[i:i + 8]) for i in (0, 8, 16)]


def classifier(**kwargs):
    model = Sequential([layers.Dense(5, activation='tanh', input_shape=(4,)), layers.BatchNormalization(),
                        layers.Dense(3, activation='softmax')])
    random = np.random.RandomState(1)
    model.set_weights([random.rand(*w.shape) for w in model.get_weights()])
    model.compile(**{'optimizer': optimizers.SGD(.1), 'loss': 'categorical_crossentropy', 'metrics': ['acc'], **kwargs})
    return model


@pytest.fixture
def checks(monkeypatch):
    """The inputs that were standardized."""
    found, standardize = [], Model._standardize_user_data
    monkeypatch.setattr(Model, '_standardize_user_data', lambda self, x, *args, **kwargs: (
        found.append(x) or standardize(self, x, *args, **kwargs)))
    return found


TASKS = {
    'train_on_batch': lambda model, batches: [model.train_on_batch(*batch) for batch in batches],
    'test_on_batch': lambda model, batches: [model.test_on_batch(*batch) for batch in batches],
    'fit_generator': lambda model, batches: model.fit_generator(iter(batches), len(batches), verbose=0).history['loss'],
    'evaluate_generator': lambda model, batches: model.evaluate_generator(iter(batches), len(batches)),
    'predict_generator': lambda model, batches: model.predict_generator(iter([x for x, _ in batches]), len(batches)),
}


@pytest.mark.parametrize('dtype', ['float32', 'float64', 'uint8'])
@pytest.mark.parametrize('task', TASKS)
def test_batches_like_the_one_before_are_not_checked(task, dtype, checks):
    batches = [(x.astype(dtype), y) for x, y in BATCHES]
    model, checked = classifier(), classifier()
    found = TASKS[task](model, batches)
    assert len(checks) == 1
    expected = TASKS[task](checked, [([x], y) for x, y in batches])
    assert len(checks) == 4
    np.testing.assert_array_equal(found, expected)
    for a, b in zip(model.get_weights(), checked.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_what_is_no_such_batch_is_checked(checks):
    model = classifier()
    x, y = BATCHES[0]
    model.train_on_batch(x, y)
    for data, message in (((x[:, :3], y), 'expected dense_.* to have shape'), ((x, y[:, :2]), 'to have shape'),
                          ((x, y[:4]), 'same number of samples'), ((x[0], y), 'to have shape'),
                          ((x, None), 'expected|You must feed|no data')):
        with pytest.raises((ValueError, AttributeError), match=message):
            model.train_on_batch(*data)
    checks.clear()
    model.train_on_batch(x, y)
    assert not checks
    weights = np.arange(8.)
    for arguments in ({'sample_weight': weights}, {'class_weight': {0: 0., 1: 2., 2: 1.}}):
        same, other = classifier(), classifier()
        assert other.train_on_batch(x, y) == same.train_on_batch([x], y)
        assert other.train_on_batch(x, y, **arguments) == same.train_on_batch([x], y, **arguments)
        assert same.test_on_batch(x, y) == other.test_on_batch(x, y)
        assert same.test_on_batch(x, y, weights) != same.test_on_batch(x, y)
        assert same.test_on_batch(x, y, weights) == other.test_on_batch(x, y, weights)


def test_other_objectives_and_weighted_metrics_are_counted():
    x, y = BATCHES[0]
    for more in ({'weighted_metrics': ['acc']}, {'loss': 'mse'}):
        model, other = classifier(), classifier(**more)
        model.train_on_batch(x, y)
        model.set_weights(classifier().get_weights())
        model.compile(optimizers.SGD(.1), **{'loss': 'categorical_crossentropy', 'metrics': ['acc'], **more})
        for x, y in BATCHES:
            assert model.train_on_batch(x, y) == other.train_on_batch([x], y)


def test_a_batch_is_computed_where_and_as_the_weights_are_now():
    model, x, y = classifier(metrics=[]), *BATCHES[0]
    loss = model.test_on_batch(x, y)
    model.double()
    found = model.test_on_batch(x, y)
    assert loss != found and abs(loss - found) < 1e-5
    assert model.predict_on_batch(x).dtype == np.float64
    model.float()
    assert model.test_on_batch(x, y) == loss


def test_frozen_layers_are_told_of_at_each_batch():
    model = classifier()
    model.train_on_batch(*BATCHES[0])
    model.trainable = False
    for _ in range(2):
        with pytest.warns(UserWarning, match='Discrepancy'):
            model.train_on_batch(*BATCHES[0])


def test_each_epoch_of_a_generator_looks_the_weights_up_anew():
    """As `fit` does: parameters may have been replaced by others in between."""
    def endless():
        while True:
            yield from BATCHES

    def halve(epoch, logs=None):
        params = model.layers[0]._params
        params.kernel = type(params.kernel)(params.kernel.detach() / 2)
    found = []
    for method, data in (('fit', {'x': X, 'y': Y, 'batch_size': 8, 'shuffle': False}),
                         ('fit_generator', {'generator': endless(), 'steps_per_epoch': 3})):
        model = classifier()
        getattr(model, method)(**data, epochs=3, verbose=0, callbacks=[LambdaCallback(on_epoch_end=halve)])
        found.append(model.get_weights())
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-6)
