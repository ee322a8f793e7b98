"""compile, fit, evaluate, predict: names, order, weighting, and what is refused."""
import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade import layers, losses, metrics, optimizers
from kfacade.callbacks import Callback, LambdaCallback
from kfacade.engine import Input
from kfacade.models import Model, Sequential


@pytest.fixture(autouse=True)
def seeded():
    np.random.seed(0)


def linear(units=1, **kwargs):
    """A model that computes ``sum(x)`` in each of its units, and does not learn."""
    model = Sequential([layers.Dense(units, kernel_initializer='ones', input_shape=(2,))])
    model.compile(**{'optimizer': optimizers.SGD(0.), 'loss': 'mse', **kwargs})
    return model


def two_outputs(**kwargs):
    x = Input((2,), name='x')
    model = Model(x, [layers.Dense(1, kernel_initializer='ones', name='p')(x),
                      layers.Dense(3, activation='softmax', kernel_initializer='zeros', name='q')(x)])
    model.compile(optimizers.SGD(0.), **kwargs)
    return model


X = np.array([[1., 2.], [3., 4.], [5., 6.], [0., 0.]])
Y = np.array([[1.], [1.], [1.], [1.]])
SQUARES = np.array([4., 36., 100., 1.])


# ---------------------------------------------------------------- names and values

def test_metric_names_of_one_output():
    model = linear(metrics=['acc', 'mae', metrics.mean_squared_error, lambda t, p: K.mean(p)], weighted_metrics=['mae'])
    assert model.metrics_names == ['loss', 'acc', 'mean_absolute_error', 'mean_squared_error', '<lambda>',
                                   'weighted_mean_absolute_error']


def test_metric_names_of_several_outputs():
    model = two_outputs(loss=['mse', 'categorical_crossentropy'], metrics={'q': ['acc', 'acc'], 'p': 'mae'})
    assert model.metrics_names == ['loss', 'p_loss', 'q_loss', 'p_mean_absolute_error', 'q_acc', 'q_acc_1']


def test_an_output_without_loss_needs_no_target():
    with pytest.warns(UserWarning, match='Output "q" missing from loss dictionary'):
        model = two_outputs(loss={'p': 'mse'}, metrics=['acc'])
    assert model.metrics_names == ['loss', 'p_loss', 'p_acc']
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0)[:2], [SQUARES.mean()] * 2)
    np.testing.assert_allclose(model.evaluate(X, {'p': Y}, verbose=0)[0], SQUARES.mean())


def test_loss_weights_and_dicts():
    model = two_outputs(loss={'p': 'mse', 'q': 'categorical_crossentropy'}, loss_weights={'p': 0.5, 'q': 2})
    loss, p, q = model.evaluate(X, {'q': np.eye(3)[[0, 1, 2, 0]], 'p': Y}, verbose=0)
    assert (p, q, loss) == pytest.approx((SQUARES.mean(), np.log(3), 0.5 * p + 2 * q))


@pytest.mark.parametrize('sample_weight', [np.array([1., 2., 0., 0.]), np.array([2., 2., 2., 2.])])
def test_sample_weights_are_divided_by_the_share_that_is_not_zero(sample_weight):
    model = linear(metrics=['mse'], weighted_metrics=['mse'])
    expected = (SQUARES * sample_weight).sum() / (sample_weight != 0).sum()
    loss, plain, weighted = model.evaluate(X, Y, sample_weight=sample_weight, verbose=0)
    assert (loss, plain, weighted) == pytest.approx((expected, SQUARES.mean(), expected))


def test_class_weights_follow_the_target():
    model = linear()
    y = np.array([[0.], [1.], [1.], [0.]])
    weights = np.array([3., 1., 1., 3.])
    expected = ((X.sum(1) - y[:, 0]) ** 2 * weights).mean()
    assert model.train_on_batch(X, y, class_weight={0: 3., 1: 1.}) == pytest.approx(expected)
    history = model.fit(X, y, class_weight={0: 3., 1: 1.}, verbose=0)
    assert history.history['loss'] == pytest.approx([expected])


def test_temporal_weights_and_masks():
    model = Sequential([layers.Masking(input_shape=(3, 1)),
                        layers.TimeDistributed(layers.Dense(1, kernel_initializer='ones'))])
    model.compile(optimizers.SGD(0.), 'mse', sample_weight_mode='temporal')
    x = np.array([[[1.], [2.], [0.]]])
    assert model.evaluate(x, np.zeros((1, 3, 1)), verbose=0) == pytest.approx((1 + 4) / 2)
    weighted = model.evaluate(x, np.zeros((1, 3, 1)), sample_weight=np.array([[2., 0., 1.]]), verbose=0)
    assert weighted == pytest.approx((2 * 1) * 1.5 / 3 / (2 / 3))


def test_regularization_is_in_the_loss_but_not_in_the_metrics():
    model = Sequential([layers.Dense(1, kernel_initializer='ones', kernel_regularizer='l2', input_shape=(2,))])
    model.compile(optimizers.SGD(0.), 'mse', metrics=['mse'])
    loss, mse = model.evaluate(X, Y, verbose=0)
    assert loss == pytest.approx(mse + 0.02)


def test_evaluate_weighs_the_last_batch_by_its_size():
    assert linear().evaluate(X, Y, batch_size=3, verbose=0) == pytest.approx(SQUARES.mean())


def test_custom_losses_may_take_any_target():
    def first_columns(y_true, y_pred):
        return K.square(y_true[:, :1] - y_pred) * y_true[:, 1:2] * K.mean(y_true[:, 2:], axis=-1, keepdims=True)
    model = linear(loss=first_columns)
    y = np.concatenate([Y, 2 * Y, 3 * Y, 5 * Y], axis=1)
    assert model.evaluate(X, y, verbose=0) == pytest.approx(8 * SQUARES.mean())


def test_a_custom_loss_may_have_no_samples_and_other_targets():
    def per_chosen(y_true, y_pred):
        chosen = K.cast(K.equal(y_true[:, :, -1:], 1), 'float32')
        return K.sum(chosen * K.square(y_true[:, :, :-1] - y_pred)) / K.maximum(1., K.sum(chosen))
    model = Sequential([layers.Conv1D(2, 1, kernel_initializer='ones', input_shape=(3, 2))])
    model.compile(optimizers.SGD(.1), per_chosen)
    y = np.concatenate([np.ones((2, 3, 2)), np.arange(6).reshape(2, 3, 1) % 2], -1)
    assert model.train_on_batch(np.arange(12.).reshape(2, 3, 2) / 10, y) == pytest.approx(1.0333332)  # as Keras 2.2.4
    np.testing.assert_allclose(model.get_weights()[0], [[[.9213333] * 2, [.91533333] * 2]], rtol=1e-6)


def test_a_target_has_the_rank_that_the_layer_declares():
    class Narrow(layers.Layer):
        def call(self, inputs):
            return inputs[0] * 0 + inputs[1]

        def compute_output_shape(self, shapes):
            return shapes[0][0], 1
    x = Input((2, 3))
    model = Model(x, Narrow()([x, layers.Dense(3)(x)]))
    model.compile('sgd', lambda y_true, y_pred: y_true + 0 * K.sum(y_pred))
    assert model.train_on_batch(np.ones((4, 2, 3)), np.arange(4.).reshape(4, 1)) == 1.5


def test_sparse_targets_may_be_a_vector():
    model = two_outputs(loss=[None, 'sparse_categorical_crossentropy'], metrics=['acc'])
    results = dict(zip(model.metrics_names, model.evaluate(X, np.array([0, 1, 2, 0]), verbose=0)))
    assert results['loss'] == pytest.approx(np.log(3)) and results['q_acc'] == 0.5


def test_target_tensors_replace_fed_targets():
    model = linear(target_tensors=K.constant(np.ones((4, 1))))
    assert model.train_on_batch(X, None) == pytest.approx(SQUARES.mean())


def two_targets(**options):
    x = Input((3,))
    model = Model(x, [layers.Dense(n, kernel_initializer='ones', name=name)(x) for n, name in ((1, 'a'), (2, 'b'))])
    model.compile(optimizers.SGD(.1), 'mse', **options)
    return model


ONES, A, B = np.ones((4, 3)), np.zeros((4, 1)), np.ones((4, 2))


@pytest.mark.parametrize('targets, y', [
    (lambda: [K.constant(A), K.constant(B)], None), (lambda: [K.constant(A), K.constant(B)], []),
    (lambda: {'a': K.constant(A), 'b': K.constant(B)}, None), (lambda: {'a': K.constant(A)}, [B]),
    (lambda: {'a': K.constant(A)}, {'b': B}), (lambda: [K.placeholder((None, 1)), K.constant(B)], A)])
def test_target_tensors_of_several_outputs(targets, y):
    """The values are of Keras 2.2.4."""
    model = two_targets(target_tensors=targets())
    np.testing.assert_allclose(model.evaluate(ONES, y, batch_size=4, verbose=0), [13., 9., 4.])
    np.testing.assert_allclose(model.fit(ONES, y, 4, 2, verbose=0).history['loss'], [13., 1.8], rtol=1e-6)
    assert model.train_on_batch(ONES, y)[0] == pytest.approx(.5328, rel=1e-5)


def of_ones():
    model = Sequential([layers.Dense(1, input_shape=(3,), kernel_initializer='ones')])
    model.compile(optimizers.SGD(.1), 'mse', metrics=['mae'])
    return model


@pytest.mark.parametrize('x, y', [
    (lambda: K.ones((4, 3)), lambda: K.zeros((4, 1))), (lambda: K.constant(ONES), lambda: K.ones((4, 1)) - 1.),
    (lambda: K.ones((4, 3)), A.copy), (ONES.copy, lambda: K.zeros((4, 1)))])
def test_symbols_as_data(x, y):
    """The values are of Keras 2.2.4."""
    model = of_ones()
    np.testing.assert_allclose(model.evaluate(x(), y(), steps=2, verbose=0), [9., 3.])
    assert model.test_on_batch(x(), y()) == [9., 3.]
    history = model.fit(x(), y(), epochs=2, steps_per_epoch=2, verbose=0, validation_data=(x(), y()),
                        validation_steps=3).history
    np.testing.assert_allclose(history['loss'], [4.68, .0074880], rtol=1e-4)
    np.testing.assert_allclose(history['mean_absolute_error'], [1.8, .072], rtol=1e-4)
    np.testing.assert_allclose(history['val_loss'], [.0144, 2.304e-5], rtol=1e-3)
    assert of_ones().train_on_batch(x(), y()) == [9., 3.]
    weighted = of_ones().fit(x(), y(), sample_weight=np.arange(4.), steps_per_epoch=2, verbose=0)
    np.testing.assert_allclose(weighted.history['loss'], [12.24], rtol=1e-5)


def test_symbols_to_predict():
    assert of_ones().predict(K.ones((4, 3)), steps=2).tolist() == [[3.]] * 8
    assert of_ones().predict_on_batch(K.ones((4, 3))).tolist() == [[3.]] * 4
    assert len(np.unique(of_ones().predict(K.random_uniform((1, 3)), steps=5))) == 5  # computed anew at each step


def test_symbols_say_no_number_of_samples():
    for method in (of_ones().evaluate, of_ones().fit):
        with pytest.raises(ValueError, match='If your data is in the form of symbolic tensors, you should specify the'):
            method(K.ones((4, 3)), K.zeros((4, 1)))
    with pytest.raises(ValueError, match='form of symbolic tensors, you cannot use `validation_split`'):
        of_ones().fit(K.ones((4, 3)), K.zeros((4, 1)), steps_per_epoch=2, validation_split=.5)
    with pytest.raises(ValueError, match='expect the tensors to have a static batch size'):
        of_ones().train_on_batch(K.placeholder((None, 3)), A)
    with pytest.raises(ValueError, match='You must feed a value for the placeholder'):
        of_ones().predict_on_batch(K.placeholder((4, 3)))


@pytest.mark.parametrize('value, whole', [(2., 2), (np.ceil(5 / 3.), 2), (np.float32(2), 2), (np.int64(2), 2), (1.5, 2),
                                          (torch.tensor(2.), 2)])
def test_counts_may_be_floats(value, whole):
    model = of_ones()
    history = model.fit(ONES, A, epochs=value, steps_per_epoch=value, validation_data=(ONES, A), validation_steps=value,
                        verbose=0)
    assert history.epoch == list(range(whole)) and history.params['steps'] == whole
    assert len(model.predict(ONES, steps=value)) == 4 * whole
    assert np.isfinite(model.evaluate(ONES, A, steps=value, verbose=0)).all()
    if value % 1 == 0:
        assert history.epoch == model.fit(ONES, A, value, value, 0).epoch and len(model.predict(ONES, value)) == 4
    else:
        with pytest.raises(ValueError, match='`batch_size` must be a positive integer. Got: 1.5'):
            model.fit(ONES, A, value)


@pytest.mark.parametrize('value', ['2', float('nan'), float('inf'), [2]])
@pytest.mark.parametrize('name', ['epochs', 'initial_epoch', 'steps_per_epoch'])
def test_counts_that_are_no_numbers(name, value):
    with pytest.raises(TypeError, match=f'`{name}` must be a whole number. Received: '):
        of_ones().fit(ONES, A, **{name: value})
    with pytest.raises(TypeError, match=f'`{name}` must be a whole number. Received: '):
        of_ones().fit_generator(iter([]), **{'steps_per_epoch': 1, name: value})


class Counted(layers.Layer):
    """A stateful metric: the sum of what `number` gives for the predictions of each batch."""

    def __init__(self, name, dtype, number):
        super().__init__(name=name)
        self.stateful, self.number = True, number
        self.count = K.variable(0, dtype=dtype, name='count')

    def reset_states(self):
        K.set_value(self.count, 0)

    def __call__(self, y_true, y_pred):
        found = self.number(y_pred)
        self.add_update(K.update_add(self.count, found), inputs=[y_true, y_pred])
        return self.count + found


def test_stateful_metrics_are_reset_each_epoch_and_not_averaged():
    model = linear(metrics=[Counted('positives', 'float32', lambda y: K.sum(K.cast(K.greater(y, 3.5), 'float32')))])
    assert model.stateful_metric_names == ['positives']
    history = model.fit(X, Y, batch_size=2, epochs=2, verbose=0)
    assert history.history['positives'] == [2., 2.]
    assert model.evaluate(X, Y, batch_size=2, verbose=0)[1] == 2


def test_a_stateful_metric_that_counts_gives_whole_numbers():
    model = linear(metrics=[Counted('samples', 'int32', lambda y: K.shape(y)[0])])
    history = model.fit(X, Y, batch_size=3, verbose=0, validation_data=(X[:3], Y[:3])).history
    assert [str(history[name][0]) for name in ('samples', 'val_samples')] == ['4', '3']


# ---------------------------------------------------------------- fit

class Recorder(Callback):
    """Notes what the batches held."""

    def __init__(self):
        super().__init__()
        self.batches, self.epochs = [], []

    def on_batch_end(self, batch, logs=None):
        self.batches.append((logs['batch'], logs['size']))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((epoch, dict(logs)))


def test_shuffle_is_numpys_and_cumulative():
    order = []
    model = linear()
    model._make_train_function()
    model.train_function = lambda ins: order.append(ins[0][:, 0].tolist()) or [np.float32(0)]
    x = np.stack([np.arange(7.)] * 2, 1)
    np.random.seed(5)
    model.fit(x, np.zeros((7, 1)), batch_size=3, epochs=2, verbose=0)
    np.random.seed(5)
    index = np.arange(7)
    for epoch in range(2):
        np.random.shuffle(index)
        assert sum(order[3 * epoch:3 * epoch + 3], []) == index.tolist()


def test_batch_shuffle_keeps_batches_together_and_the_rest_last():
    order = []
    model = linear()
    model._make_train_function()
    model.train_function = lambda ins: order.append(ins[0][:, 0].tolist()) or [np.float32(0)]
    x = np.stack([np.arange(8.)] * 2, 1)
    model.fit(x, np.zeros((8, 1)), batch_size=3, shuffle='batch', verbose=0)
    assert sorted(order[:2]) == [[0, 1, 2], [3, 4, 5]] and order[2] == [6, 7]


def test_epochs_validation_and_history():
    model, seen = linear(metrics=['mae']), Recorder()
    history = model.fit(X, Y, batch_size=2, epochs=5, initial_epoch=3, validation_split=0.25, verbose=0, shuffle=False,
                        callbacks=[seen])
    assert history.epoch == [3, 4] and seen.batches == [(0, 2), (1, 1)] * 2
    assert list(history.history) == ['val_loss', 'val_mean_absolute_error', 'loss', 'mean_absolute_error']
    assert history.history['val_loss'] == [1., 1.]
    assert history.history['loss'] == pytest.approx([SQUARES[:3].mean()] * 2)
    assert [epoch for epoch, _ in seen.epochs] == [3, 4] and len(seen.validation_data) == 3


def test_validation_data_takes_precedence_and_may_be_weighted():
    history = linear().fit(X, Y, validation_split=0.5, validation_data=(X, Y, np.array([1., 0., 0., 0.])), verbose=0)
    assert history.history['val_loss'] == [4.]


def test_steps_take_the_whole_arrays():
    seen = Recorder()
    linear().fit(X, Y, steps_per_epoch=3, validation_data=(X, Y), validation_steps=2, verbose=0, callbacks=[seen])
    assert seen.batches == [(0, 1), (1, 1), (2, 1)]


@pytest.mark.parametrize('last', [1, 2])
@pytest.mark.parametrize('how, validated', [('arrays', []), ('steps', [1, 2]), ('generator', [2])])
def test_validation_of_an_epoch_that_a_callback_stopped(how, validated, last):
    model = linear()
    stop = LambdaCallback(on_batch_end=lambda batch, logs: setattr(model, 'stop_training', batch == last))
    common = dict(epochs=2, validation_data=(X, Y), verbose=0, callbacks=[stop])
    if how == 'arrays':
        history = model.fit(X[:3], Y[:3], batch_size=1, **common)
    elif how == 'steps':
        history = model.fit(X, Y, steps_per_epoch=3, validation_steps=1, **common)
    else:
        history = model.fit_generator(iter([(X, Y)] * 9), 3, **common)
    assert history.epoch == [0] and ('val_loss' in history.history) == (last in validated)


def test_stopping_inside_an_epoch_skips_its_validation():
    model, seen = linear(), Recorder()

    def stop(batch, logs):
        model.stop_training = True
    history = model.fit(X, Y, batch_size=1, epochs=3, validation_data=(X, Y), verbose=0,
                        callbacks=[LambdaCallback(on_batch_end=stop), seen])
    assert seen.batches == [(0, 1)] and list(history.history) == ['loss'] and history.epoch == [0]


def test_fit_prints_and_returns_history(capsys):
    model = linear()
    assert model.fit(X, Y, validation_data=(X, Y), verbose=2) is model.history
    assert capsys.readouterr().out.startswith('Train on 4 samples, validate on 4 samples\nEpoch 1/1\n')


@pytest.mark.parametrize('x', [X.astype('float16'), X.astype('int64'), X.astype('uint8'), torch.tensor(X),
                               X[::-1][::-1], X.astype('>f8')])
def test_input_types(x):
    model = linear()
    np.testing.assert_allclose(model.predict(x), X.sum(1, keepdims=True))
    assert model.fit(x, Y, verbose=0, batch_size=2).history['loss'] == pytest.approx([SQUARES.mean()])


def test_inputs_by_name_and_data_frames():
    model = two_outputs(loss=['mse', None])
    np.testing.assert_allclose(model.predict({'x': X})[0], X.sum(1, keepdims=True))
    with pytest.raises(ValueError, match="""No data provided for "x". Need data for each key in: \\['x'\\]"""):
        model.predict({'y': X})


def test_predict_keeps_order_over_batches_and_steps():
    model = linear()
    np.testing.assert_allclose(model.predict(X, batch_size=3), X.sum(1, keepdims=True))
    np.testing.assert_allclose(model.predict(X, steps=2), np.concatenate([X.sum(1, keepdims=True)] * 2))
    assert model.predict_on_batch(X).shape == (4, 1)


@pytest.mark.parametrize('axis, keepdims', [(0, True), (None, False)])
def test_an_output_that_is_one_for_a_batch_counts_for_each_of_its_samples(axis, keepdims):
    x = Input((2,))
    model = Model(x, layers.Lambda(lambda t: K.mean(t, axis=axis, keepdims=keepdims))(x))
    means = [X[:3].mean(axis)] * 3 + [X[3:].mean(axis)]
    np.testing.assert_allclose(model.predict(X, batch_size=3), means, rtol=1e-6)


def test_predictions_are_not_views_of_the_input():
    model = Sequential([layers.Flatten(input_shape=(2, 1))])
    x = np.ones((1, 2, 1), 'float32')
    model.predict_on_batch(x)[:] = 5
    assert x.max() == 1


# ---------------------------------------------------------------- torch's own optimizers and losses

@pytest.mark.parametrize('loss, y', [
    (torch.nn.CrossEntropyLoss(), np.array([0, 2, 1, 0])),
    (torch.nn.CrossEntropyLoss(reduction='none'), np.array([0, 2, 1, 0])),
    (torch.nn.MSELoss(), np.eye(3)[[0, 2, 1, 0]]), (torch.nn.SmoothL1Loss(), np.eye(3)[[0, 2, 1, 0]]),
    (torch.nn.BCEWithLogitsLoss(reduction='none'), np.eye(3)[[0, 2, 1, 0]])])
def test_torch_losses_take_the_prediction_first(loss, y):
    model = Sequential([layers.Dense(3, input_shape=(2,))])
    model.compile('sgd', loss)
    target = torch.tensor(y) if y.dtype.kind == 'i' else torch.tensor(y, dtype=torch.float32)
    expected = loss(torch.tensor(model.predict(X)), target).mean().item()
    assert model.evaluate(X, y, verbose=0) == pytest.approx(expected, rel=1e-5)
    assert model.fit(X, y, epochs=5, verbose=0).history['loss'][4] < expected


def test_a_keras_loss_may_follow_a_torch_loss():
    model = linear(loss=torch.nn.MSELoss())
    for loss in ('mse', lambda y_true, y_pred: K.mean(K.square(y_true - y_pred), axis=-1), torch.nn.MSELoss()):
        expected = model.evaluate(X, Y, verbose=0)
        model.compile('sgd', loss)
        assert model.evaluate(X, Y, verbose=0) == pytest.approx(expected)


def test_a_reducing_torch_loss_takes_no_sample_weights():
    with pytest.raises(ValueError, match='reduction="none"'):
        linear(loss=torch.nn.MSELoss()).fit(X, Y, sample_weight=np.array([1., 2., 3., 4.]), verbose=0)


@pytest.mark.parametrize('make', [lambda m: torch.optim.SGD(m.parameters(), lr=0.01),
                                  lambda m: lambda params: torch.optim.SGD(params, lr=0.01)])
def test_torch_optimizers_step_the_parameters(make, tmp_path):
    model, reference = (Sequential([layers.Dense(1, kernel_initializer='ones', input_shape=(2,))]) for _ in range(2))
    reference.compile(optimizers.SGD(0.01), 'mse')
    model.compile(make(model), 'mse')
    for m in (model, reference):
        m.fit(X, Y, epochs=2, batch_size=2, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), reference.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    with pytest.warns(UserWarning):
        model.save(str(tmp_path / 'm.h5'))


# ---------------------------------------------------------------- what is refused

@pytest.mark.parametrize('arguments, error, message', [
    (dict(loss='nonsense'), ValueError, 'Unknown loss function:nonsense'),
    (dict(loss='mse', metrics=['nonsense']), ValueError, 'Unknown metric function:nonsense'),
    (dict(optimizer='nonsense', loss='mse'), ValueError, 'Unknown optimizer: nonsense'),
    (dict(loss={'z': 'mse'}), ValueError, 'Unknown entry in loss dictionary: "z". Only expected the following keys'),
    (dict(loss=['mse', 'mse']), ValueError, 'it should have one entry per model outputs'),
    (dict(loss='mse', loss_weights=3), TypeError, 'Could not interpret loss_weights argument'),
    (dict(loss=None), ValueError, 'The model cannot be compiled because it has no loss to optimize'),
    (dict(loss='mse', sample_weight_mode={'z': 'temporal'}), ValueError, 'Unknown entry in sample_weight_mode'),
    (dict(loss='mse', options=1), ValueError, 'Invalid argument "options"')])
def test_compile_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        linear(**arguments)


@pytest.mark.parametrize('arguments, error, message', [
    (dict(x=X[:, :1], y=Y), ValueError, r'Error when checking input: expected dense_1_input to have shape \(2,\) but '
                                        r'got array with shape \(1,\)'),
    (dict(x=X[:, :, None], y=Y), ValueError, 'expected dense_1_input to have 2 dimensions, but got array with shape'),
    (dict(x=X, y=np.ones((4, 2))), ValueError, r'Error when checking target: expected dense_1 to have shape'),
    (dict(x=[X, X], y=Y), ValueError, 'the list of Numpy arrays that you are passing to your model is not the size the '
                                      'model expected'),
    (dict(x=X, y=Y[:3]), ValueError, 'Found 4 input samples and 3 target samples'),
    (dict(x=X, y=Y, sample_weight=np.ones((4, 2))), ValueError, 'Found a sample_weight array with shape'),
    (dict(x=X, y=Y, validation_data=(X,)), ValueError, 'however it contains 1 items'),
    (dict(x=X, y=Y, batch_size=2, steps_per_epoch=3), ValueError, 'If steps_per_epoch is set, the `batch_size` must'),
    (dict(x=X, y=Y, validation_data=(X, Y), steps_per_epoch=3), ValueError, 'Must specify `validation_steps`'),
    (dict(x=X, y=Y, validation_steps=3), ValueError, 'Can only use `validation_steps`'),
    (dict(x=X, y=Y, validation_steps=3, steps_per_epoch=2), ValueError, 'what to validate on as `validation_data`'),
    (dict(x=X), ValueError, "no data for .'dense_1_target:0'.. Pass targets as `y`"),
    (dict(x=X, y=Y, batch_size=0), ValueError, '`batch_size` must be a positive integer. Got: 0'),
    (dict(x=X, y=Y, batch_size=-1), ValueError, '`batch_size` must be a positive integer. Got: -1'),
    (dict(x=X[:0], y=Y[:0]), ValueError, 'empty arrays'),
    (dict(x=X, y=Y, epoch=3), TypeError, 'Unrecognized keyword arguments'),
    (dict(), ValueError, 'you should specify the `steps_per_epoch` argument')])
def test_fit_refuses_and_changes_no_weight(arguments, error, message):
    model = linear(optimizer='sgd')
    with pytest.raises(error, match=message):
        model.fit(verbose=0, **arguments)
    np.testing.assert_array_equal(model.get_weights()[0], np.ones((2, 1)))


def test_an_uncompiled_model_predicts_and_does_not_train():
    model = Sequential([layers.Dense(1, kernel_initializer='ones', input_shape=(2,))])
    assert model.predict(X).shape == (4, 1)
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(RuntimeError, match='You must compile a model before training/testing'):
            call(X, Y)


def test_a_weight_without_a_gradient_is_an_error_that_changes_nothing():
    x = Input((2,))
    y = layers.Lambda(lambda t: K.stop_gradient(t))(layers.Dense(1, kernel_initializer='ones')(x))
    model = Model(x, layers.Dense(1, kernel_initializer='ones')(y))
    model.compile('sgd', 'mse')
    with pytest.raises(ValueError, match='An operation has `None` for gradient'):
        model.fit(X, Y, verbose=0)
    assert all((w == 1).all() for w in model.get_weights()[::2])


class Branches(layers.Layer):
    def __init__(self, choose):
        super().__init__()
        self.choose = choose

    def build(self, input_shape):
        self.u, self.v = (self.add_weight(n, (3, 2), initializer='ones') for n in 'uv')
        super().build(input_shape)

    def call(self, inputs):
        x, sign = inputs
        return self.choose(sign, lambda: K.dot(x, self.u), lambda: K.dot(x, self.v))

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], 2)


# What Keras 2.2.4 makes of the weights u and v in three steps, of which the first takes the branch of u.
BY_INPUT = [(.7, 1.), (.43, .7), (.187, .22)]
BY_PHASE = [(.7, 1.), (.22, 1.), (-.278, 1.)]


@pytest.mark.parametrize('choose, expected', [
    (lambda sign, u, v: K.switch(K.sum(sign) > 0, u, v), BY_INPUT),
    (lambda sign, u, v: K.in_train_phase(u, v), BY_PHASE)])
@pytest.mark.parametrize('weights', [None, np.ones(2)])
def test_the_branch_that_a_step_does_not_take_has_gradients_of_zero(choose, expected, weights):
    x, sign = Input((3,)), Input((1,))
    model = Model([x, sign], Branches(choose)([x, sign]))
    model.compile(optimizers.SGD(.1, momentum=.9), 'mse')
    for value, wanted in zip((1, -1, -1), expected):
        model.train_on_batch([np.ones((2, 3)), np.full((2, 1), value)], np.zeros((2, 2)), sample_weight=weights)
        np.testing.assert_allclose([w[0, 0] for w in model.get_weights()], wanted, rtol=1e-5)


def test_nb_epoch_is_renamed():
    with pytest.warns(UserWarning, match='`nb_epoch` argument in `fit` has been renamed `epochs`'):
        assert linear().fit(X, Y, nb_epoch=2, verbose=0).epoch == [0, 1]


def test_losses_module_functions_are_what_names_mean():
    assert linear().loss_functions[0] is losses.mean_squared_error


# ---------------------------------------------------------------- data of any type, gradients that are none

def _one_unit():
    model = Sequential([layers.Dense(1, kernel_initializer='ones', input_shape=(3,))])
    model.compile(optimizers.SGD(.01), 'mse')
    return model


OBJECTS = np.array([[1, 2.5, True], [4, '5', False]], dtype=object)


@pytest.mark.parametrize('x, expected', [
    (OBJECTS, [4.5, 9]), (np.array([['1', '2', '3.5']] * 2), [6.5, 6.5]), (np.ones((2, 3), np.longdouble), [3, 3]),
    (np.ones((2, 3), 'm8[s]'), [3, 3]), (np.array([[1, None, 2]] * 2, object), [np.nan, np.nan])],
    ids=['objects', 'text', 'long', 'times', 'missing'])
def test_data_of_other_types(x, expected):
    model = _one_unit()
    np.testing.assert_array_equal(model.predict(x), np.transpose([expected]))
    np.testing.assert_array_equal(model.predict_on_batch(x), np.transpose([expected]))


def test_mixed_frames():
    pandas = pytest.importorskip('pandas')
    x = pandas.DataFrame({'a': [1, 4], 'b': [2.5, 5], 'c': [True, False]})
    assert x.values.dtype == object
    np.testing.assert_array_equal(_one_unit().predict(x), [[4.5], [9]])
    integers = pandas.DataFrame({name: pandas.array([1, 2], dtype='Int64') for name in 'abc'})
    np.testing.assert_array_equal(_one_unit().predict(integers), [[3], [6]])
    losses = _one_unit().fit(x, pandas.Series([1, '2'], dtype=object), epochs=2, verbose=0).history['loss']
    assert losses == pytest.approx([30.625, 7.8463], rel=1e-4)  # Keras 2.2.4's


def test_data_that_are_no_numbers_are_named():
    with pytest.raises(ValueError, match="dense.*_input.* must be numbers that make float32.*'x'"):
        _one_unit().predict(np.array([[1, 2, 'x']], object))
    with pytest.raises(ValueError, match="dense.*_target.* must be numbers that make float32.*'a'"):
        _one_unit().fit(OBJECTS, np.array(['a', 'b']), verbose=0)


@pytest.mark.parametrize('loss', [lambda t, p: K.mean(K.round(p)), lambda t, p: K.mean(t * K.zeros_like(p))])
def test_training_without_a_gradient_says_so(loss):
    model = Sequential([layers.Dense(2, input_shape=(2,))])
    model.compile('adam', loss)
    with pytest.raises(ValueError, match='`None` for gradient(?s:.*)K.argmax, K.round'):
        model.train_on_batch(np.ones((1, 2)), np.ones((1, 2)))
