"""Model files that real projects published give the predictions stored beside them.

They are other people's files and not part of the project: the environment variable KFACADE_REALMODELS names their
folder, which holds an INDEX.json: sources, each with `files`; a file's entry names its path and `oracle`, an .npz of
inputs x0.. and predictions y0..).
"""
import json
import os
import pathlib
import re

import numpy as np
import pytest

import kfacade as keras
from kfacade import backend as K
from kfacade.layers import LSTM, Input
from kfacade.models import Model

FOLDER = pathlib.Path(os.environ.get('KFACADE_REALMODELS') or '.')
pytestmark = [
    pytest.mark.skipif(not os.environ.get('KFACADE_REALMODELS'), reason='KFACADE_REALMODELS is not set'),
    # What Keras says, too, about files of Keras 1, files without training, and optimizer state of other versions.
    pytest.mark.filterwarnings(
        'ignore:Update your `', 'ignore:No training configuration found', 'ignore:Error in loading the saved optimizer',
        'ignore:The `dropout` argument is no', 'ignore:The `input_dim` and `input_length` arguments',
        'ignore:`implementation=0` has been', 'ignore:The `implementation` argument in `SimpleRNN`',
        # One was saved in the middle of a decay by RMSprop, whose step count Keras loses without a word.
        r"ignore:The saved state of the optimizer RMSprop lacks \['iterations'\]"),
]

# Files that are refused, and what the error says.
REFUSED = {
    'dl4j/weights/keras-attention.h5': 'Unknown layer: Attention',
    'dl4j/weights/space_to_depth_graph_tensorflow_2.h5': 'safe_mode',
    'dl4j/weights/space_to_depth_simple_tensorflow_1.h5': 'safe_mode',
    'dl4j/weights/space_to_depth_simple_tensorflow_2.h5': 'safe_mode',
}


def _files():
    if not (FOLDER / 'INDEX.json').exists():
        return {}
    sources = json.loads((FOLDER / 'INDEX.json').read_text(encoding='utf-8'))
    return {entry['path']: entry for source in sources for entry in source['files']}


FILES = _files()
WHOLE = [path for path, entry in FILES.items()
         if entry['oracle'] and not entry.get('weights_only') and path not in REFUSED]
HLS4ML = [path for path in FILES if path.startswith('hls4ml_examples/')]
DL4J_PAIRS = [path for path in FILES if re.search('^dl4j/examples/.*_weights.h5$', path)]


@pytest.fixture(autouse=True)
def fresh_session():
    K.clear_session()


def assert_predicts(model, entry):
    """The stored predictions, to 1e-5 (of the largest, where that is over 1) and to 1% of their spread."""
    for stored in filter(None, [entry['oracle'], entry.get('genuine_keras224', {}).get('npz')]):
        with np.load(FOLDER / stored) as arrays:
            inputs = [arrays[f'x{i}'] for i in range(len(model.inputs))]
            wanted = [arrays[f'y{i}'] for i in range(len(model.outputs))]
        got = model.predict(inputs)
        for one, other in zip(got if len(wanted) > 1 else [got], wanted, strict=True):
            assert one.shape == other.shape
            limit = 1e-5 * max(1, np.abs(other).max())
            assert np.abs(one - other).max() <= min(limit, 0.01 * other.std() or limit)


@pytest.mark.parametrize('path', WHOLE)
def test_whole_model_file(path):
    assert_predicts(keras.models.load_model(FOLDER / path), FILES[path])


@pytest.mark.parametrize('path', REFUSED)
def test_file_that_cannot_be_read_is_refused(path):
    with pytest.raises(ValueError, match=REFUSED[path]):
        keras.models.load_model(FOLDER / path)


@pytest.mark.parametrize('path', HLS4ML)
def test_json_and_weights(path):
    model = keras.models.model_from_json((FOLDER / path.replace('_weights.h5', '.json')).read_text())
    model.load_weights(FOLDER / path)
    assert_predicts(model, FILES[path])


@pytest.mark.parametrize('path', DL4J_PAIRS)
def test_config_and_weights_beside_a_model_file(path):
    model = keras.models.model_from_json((FOLDER / path.replace('_weights.h5', '_config.json')).read_text())
    model.load_weights(FOLDER / path)
    assert_predicts(model, FILES[path.replace('_weights.h5', '_model.h5')])


@pytest.mark.parametrize('units', [50, 100])
def test_weights_into_the_network_of_the_script(units):
    path = f'chars2vec_lstm/eng_{units}_weights.h5'
    letters = Input((None, 59))
    model = Model(letters, LSTM(units)(LSTM(units, return_sequences=True)(letters)))
    model.load_weights(FOLDER / path)
    assert_predicts(model, FILES[path])


def test_project_with_its_own_layer():
    class Bias(keras.layers.Layer):
        def build(self, input_shape):
            self.W = self.add_weight(name=f'{self.name}_W', shape=input_shape[1:], initializer='zeros')
            super().build(input_shape)

        def call(self, x):
            return x + self.W

    config = json.loads((FOLDER / 'rocalphago_go/minimodel_policy.json').read_text())['keras_model']
    model = keras.models.model_from_json(config, custom_objects={'Bias': Bias})
    fresh = model.get_weights()
    model.load_weights(FOLDER / 'rocalphago_go/random_minimodel_policy_weights.hdf5')
    assert any(np.any(one != other) for one, other in zip(fresh, model.get_weights(), strict=True))
    board = np.random.RandomState(0).rand(2, *K.int_shape(model.inputs[0])[1:])
    np.testing.assert_allclose(model.predict(board).sum(axis=-1), 1, rtol=1e-5)
