"""CuDNNGRU and CuDNNLSTM against the plain layers with converted weights."""
import numpy as np
import pytest

from kfacade import models
from kfacade.layers import GRU, LSTM, CuDNNGRU, CuDNNLSTM, Input, Masking

UNITS, FEATURES = 3, 4


def plain_weights(weights, gates):
    """The weights of the plain layer, from cuDNN's: each gate's matrices are stored the other way round there."""
    kernel, recurrent, bias = weights
    turned = [np.concatenate([block.reshape(UNITS, -1).T for block in np.split(matrix, gates, 1)], 1)
              for matrix in (kernel, recurrent)]
    return [*turned, bias.reshape(2, -1) if gates == 3 else bias.reshape(2, -1).sum(0)]


@pytest.mark.parametrize('options', [{}, {'return_sequences': True, 'return_state': True}, {'go_backwards': True}])
@pytest.mark.parametrize('cls, plain, gates', [(CuDNNGRU, GRU, 3), (CuDNNLSTM, LSTM, 4)])
def test_values(cls, plain, gates, options):
    inputs = Input((5, FEATURES))
    layer = cls(UNITS, **options)
    model = models.Model(inputs, layer(inputs))
    random = np.random.RandomState(0)
    weights = [random.normal(size=w.shape).astype('float32') for w in layer.get_weights()]
    assert [w.shape for w in weights] == [(FEATURES, gates * UNITS), (UNITS, gates * UNITS), (2 * gates * UNITS,)]
    model.set_weights(weights)
    for got, wanted in zip(model.get_weights(), weights):
        np.testing.assert_array_equal(got, wanted)
    more = {'reset_after': True} if gates == 3 else {}
    other = plain(UNITS, recurrent_activation='sigmoid', **more, **options)
    wanted = models.Model(inputs, other(inputs))
    other.set_weights(plain_weights(weights, gates))
    x = random.normal(size=(2, 5, FEATURES)).astype('float32')
    got, wanted = (m.predict(x) for m in (model, wanted))
    for a, b in zip(*([y] if not options.get('return_state') else y for y in (got, wanted))):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_bias_starts_with_open_forget_gates():
    layer = CuDNNLSTM(UNITS)
    layer(Input((5, FEATURES)))
    np.testing.assert_array_equal(layer.get_weights()[2], np.repeat([0, 0, 0, 0, 0, 1, 0, 0], UNITS))


@pytest.mark.parametrize('cls', [CuDNNGRU, CuDNNLSTM])
def test_config_and_training(cls):
    model = models.Sequential([cls(UNITS, stateful=True, batch_input_shape=(2, 5, FEATURES))])
    again = models.Sequential.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    model.compile('sgd', 'mse')
    before = model.get_weights()
    model.train_on_batch(np.ones((2, 5, FEATURES)), np.ones((2, UNITS)))
    assert not any(np.array_equal(*pair) for pair in zip(before, model.get_weights()))


def test_masks_are_refused():
    with pytest.raises(ValueError, match='Masking is not supported for CuDNN RNNs'):
        CuDNNLSTM(UNITS)(Masking()(Input((5, FEATURES))))
