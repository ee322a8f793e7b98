"""What Keras' own tests ask of Lambda, clones, regularizers, targets and symbolic preprocessing, with Keras' values.

The situations are those of tests/keras of Keras 2.2.4 (`test_lambda`, `test_clone_*`, `regularizers_test`,
`test_target_tensors`, `test_preprocess_input_symbolic`), the data fixed; the values are what Keras 2.2.4 gives for it.
"""
import numpy as np
import pytest

from kfacade import backend as K
from kfacade import layers, optimizers, regularizers
from kfacade.applications.imagenet_utils import preprocess_input
from kfacade.layers import Average, BatchNormalization, Dense, Dropout, Input, Lambda
from kfacade.models import Model, Sequential, clone_model
from kfacade.utils.test_utils import layer_test

# ---------------------------------------------------------------- Lambda

def antirectifier(x):
    x -= K.mean(x, axis=1, keepdims=True)
    x = K.l2_normalize(x, axis=1)
    return K.concatenate([K.relu(x), K.relu(-x)], axis=1)


def squares_beside(x):
    return K.concatenate([K.square(x), x])


def doubled_shape(shape):
    return tuple(list(shape)[:-1] + [2 * shape[-1]])


@pytest.mark.parametrize('kwargs', [
    {'function': lambda x: x + 1}, {'function': lambda x, a, b: x * a + b, 'arguments': {'a': .6, 'b': .4}},
    {'function': antirectifier, 'output_shape': doubled_shape}])
def test_lambda_in_the_test_of_layers(kwargs):
    layer_test(Lambda, kwargs=kwargs, input_shape=(3, 2))


def test_lambda_values():
    x = Input((2,))
    model = Model(x, Lambda(antirectifier, output_shape=doubled_shape)(x))
    np.testing.assert_allclose(model.predict(np.array([[1., 3.], [-2, 5]])), [[0, .7071, .7071, 0]] * 2, rtol=1e-4)


def test_lambda_of_several_outputs():
    x = Input((3, 2, 1))
    outputs = Lambda(lambda t: [t * .2, t * .3], output_shape=lambda shape: [shape, shape],
                     mask=lambda inputs, mask=None: [None, None])(x)
    assert [K.int_shape(y) for y in outputs] == [(None, 3, 2, 1)] * 2
    for y, factor in zip(Model(x, outputs).predict(np.ones((4, 3, 2, 1))), (.2, .3)):
        np.testing.assert_allclose(y, np.full((4, 3, 2, 1), factor), rtol=1e-6)


@pytest.mark.parametrize('layer', [
    lambda: Lambda(squares_beside), lambda: Lambda(squares_beside, output_shape=doubled_shape),
    lambda: Lambda(lambda x: K.concatenate([K.square(x), x]), output_shape=lambda s: (*s[:-1], 2 * s[-1]))])
def test_lambda_is_made_again(layer):
    again = layers.deserialize({'class_name': 'Lambda', 'config': layer().get_config()})
    x = Input((2,))
    np.testing.assert_array_equal(Model(x, again(x)).predict(np.array([[2., 3.]])), [[4, 9, 2, 3]])
    assert again.compute_output_shape((None, 2)) == (None, 4)


# ---------------------------------------------------------------- clones

ONES = np.ones((2, 4))


def functional():
    a, b = Input((4,)), Input((4,))
    shared = Dense(4)
    x = Dropout(.5)(BatchNormalization()(Dropout(.5)(shared(a))))
    return Model([a, b], Dense(4)(layers.Add()([x, shared(b)])))


def sequential():
    return Sequential([Dense(4, input_shape=(4,)), BatchNormalization(), Dropout(.5), Dense(4)])


@pytest.mark.parametrize('model, tensors, data', [
    (functional, lambda: None, [ONES, ONES]), (functional, lambda: [Input((4,)), Input((4,))], [ONES, ONES]),
    (functional, lambda: [K.variable(ONES), K.variable(ONES)], None), (sequential, lambda: None, ONES),
    (sequential, lambda: Input((4,)), ONES), (sequential, lambda: K.variable(ONES), None)])
def test_clones_are_trained(model, tensors, data):
    clone = clone_model(model(), input_tensors=tensors())
    clone.compile('rmsprop', 'mse')
    before = clone.get_weights()
    assert np.isfinite(clone.train_on_batch(data, ONES))
    assert any((new != old).any() for new, old in zip(clone.get_weights(), before))


def test_a_sequential_clone_has_one_input():
    with pytest.raises(ValueError, match='at most one tensor'):
        clone_model(sequential(), input_tensors=[K.variable(ONES), K.variable(ONES)])
    with pytest.raises(ValueError, match='other than an `InputLayer`'):
        clone_model(sequential(), input_tensors=Dense(4)(Input((4,))))


# ---------------------------------------------------------------- regularizers

def regularized(name='l1'):
    return Dense(2, kernel_regularizer=name, activity_regularizer=name, kernel_initializer='ones')


def losses_of(first, second):
    """Number of losses and their sum, for two branches of which the second has some more."""
    a, b = Input((3,)), Input((3,))
    other = second(b)
    model = Model([a, b], Average()([first(a), other]))
    model.add_loss(K.mean(other))
    model.add_loss(1)
    model.add_loss(1)
    model.compile('sgd', 'mse')
    value = model.evaluate([np.ones((4, 3)), np.full((4, 3), 2.)], np.zeros((4, 2)), verbose=0)
    return len(model.losses), pytest.approx(value)


def test_regularization_of_shared_layers_and_models():
    shared, x = regularized(), Input((3,))
    assert losses_of(shared, shared) == (6, 29.03)
    model = Model(x, regularized()(x))
    assert losses_of(model, model) == (6, 29.03)


def test_regularization_of_a_layer_shared_by_models():
    shared, models = regularized(), []
    for _ in range(2):
        x = Input((3,))
        models.append(Model(x, shared(Dense(3, kernel_regularizer='l1', kernel_initializer='ones')(x))))
    assert losses_of(*models) == (8, 204.65)


@pytest.mark.parametrize('regularizer, count, expected', [
    (None, 0, 9.), ('l1', 2, 9.3), ('l2', 2, 9.78), (regularizers.l1_l2(.1, .2), 2, 27.6)])
def test_regularization(regularizer, count, expected):
    model = Sequential([Dense(2, kernel_regularizer=regularizer, activity_regularizer=regularizer,
                              kernel_initializer='ones', input_shape=(3,))])
    model.compile('sgd', 'mse')
    assert len(model.losses) == count
    assert model.evaluate(np.ones((4, 3)), np.zeros((4, 2)), verbose=0) == pytest.approx(expected)


# ---------------------------------------------------------------- targets that are tensors

X, Y = np.arange(8.).reshape(2, 4) / 8, np.ones((2, 4))


def one_output(target_tensors):
    model = Sequential([Dense(4, input_shape=(4,), name='dense', kernel_initializer='ones')])
    model.compile(optimizers.SGD(.01), 'mse', target_tensors=target_tensors)
    return model


@pytest.mark.parametrize('form', [lambda t: [t], lambda t: t, lambda t: {'dense': t}])
def test_one_target_tensor(form):
    for target, y in ((K.variable(Y), None), (K.constant(Y), None), (K.placeholder((None, 4)), Y)):
        model = one_output(form(target))
        assert model.test_on_batch(X, y) == pytest.approx(1.5625)
        assert model.train_on_batch(X, y) == pytest.approx(1.5625) != model.test_on_batch(X, y)


def test_target_tensors_that_do_not_fit():
    with pytest.raises(ValueError, match='expected no data'):
        one_output(K.variable(Y)).train_on_batch(X, Y)
    with pytest.raises(ValueError, match='Unknown entry in `?target_tensors`? dictionary: "x"'):
        one_output({'x': K.variable(Y)})
    with pytest.raises(ValueError, match='one entry per model output'):
        one_output([K.variable(Y)] * 2)


def two_outputs(target_tensors, **kwargs):
    x = Input((4,))
    model = Model(x, [Dense(4, name='a', kernel_initializer='ones')(x),
                      Dense(4, name='b', kernel_initializer='zeros')(x)])
    model.compile(optimizers.SGD(.01), 'mse', target_tensors=target_tensors, **kwargs)
    return model


def test_target_tensors_of_two_outputs():
    first, second = K.variable(Y), K.variable(2 * Y)
    whole, partly = [5.5625, 1.5625, 4.], [2.5625, 1.5625, 1.]
    for tensors, y, expected in (([first, second], None, whole), ({'a': first, 'b': second}, None, whole),
                                 ([None, second], Y, whole), ({'a': first}, [Y], partly),
                                 ({'a': first}, {'b': Y}, partly)):
        assert two_outputs(tensors).train_on_batch(X, y) == pytest.approx(expected)
    weighted = two_outputs([first, second]).train_on_batch(X, None, sample_weight={'a': np.array([1., 3.])})
    assert weighted == pytest.approx(whole)
    assert two_outputs([first, second], metrics=['mae']).test_on_batch(X, None) == pytest.approx([*whole, 1, 2])
    with pytest.raises(ValueError, match='2 outputs'):
        two_outputs(first)


# ---------------------------------------------------------------- preprocessing of symbols

@pytest.mark.parametrize('mode, last', [('caffe', [[76.061, 54.221, 38.32], [103.061, 81.221, 65.32]]),
                                        ('tf', [[.2706, .3412, .4118], [.4824, .5529, .6235]])])
def test_preprocess_input_of_symbols(mode, last):
    images = (np.arange(24) * 9.).reshape(2, 2, 2, 3)
    x, y = Input((2, 2, 3)), Input((3, 2, 2))
    model = Model(x, Lambda(lambda t: preprocess_input(t, mode=mode))(x))
    np.testing.assert_allclose(model.predict(images)[1, 1], last, rtol=1e-3)
    first = Model(y, Lambda(lambda t: preprocess_input(t, 'channels_first', mode=mode))(y))
    np.testing.assert_allclose(first.predict(images.transpose(0, 3, 1, 2)), model.predict(images).transpose(0, 3, 1, 2),
                               rtol=1e-6)
    np.testing.assert_allclose(preprocess_input(images.copy(), mode=mode), model.predict(images), rtol=1e-5)
