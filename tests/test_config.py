"""keras.json and the session-wide settings."""
import os

import numpy as np
import pytest

from kfacade import backend as K
from kfacade import config, layers
from kfacade.models import Sequential


@pytest.fixture(autouse=True)
def restored():
    before = dict(config.settings)
    yield
    config.settings.update(before)


def test_a_missing_file_is_written_with_the_defaults(tmp_path):
    config._load(str(tmp_path / 'home'))
    assert (tmp_path / 'home' / 'keras.json').read_text() == """\
{
    "floatx": "float32",
    "epsilon": 1e-07,
    "backend": "tensorflow",
    "image_data_format": "channels_last"
}"""  # what Keras 2.2.4 writes at its first import: any other backend's name, other Kerases refuse or obey
    assert K.backend() == 'torch'


def test_an_existing_file_is_read_and_never_rewritten(tmp_path):
    text = '{"backend": "tensorflow", "floatx": "float64", "epsilon": 1e-5, "image_data_format": "channels_first", ' \
           '"device": "cuda:1"}'
    (tmp_path / 'keras.json').write_text(text)
    config._load(str(tmp_path))
    assert (K.floatx(), K.epsilon(), K.image_data_format()) == ('float64', 1e-5, 'channels_first')
    assert K.backend() == 'torch' and K.image_dim_ordering() == 'th' and config.device() == 'cuda:1'
    assert (tmp_path / 'keras.json').read_text() == text


@pytest.mark.parametrize('text', ['{"floatx": ', '[]', '{"floatx": "float31"}', '{"image_data_format": 3}'])
def test_a_broken_file_is_reported_and_passed_over(tmp_path, text):
    (tmp_path / 'keras.json').write_text(text)
    with pytest.warns(UserWarning, match='Could not read the Keras configuration file'):
        config._load(str(tmp_path))
    assert K.floatx() == 'float32' and K.image_data_format() == 'channels_last'
    assert (tmp_path / 'keras.json').read_text() == text


def test_where_the_file_is_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv('KERAS_HOME', str(tmp_path))
    assert config.keras_dir() == str(tmp_path)
    monkeypatch.delenv('KERAS_HOME')
    monkeypatch.setattr(os.path, 'expanduser', lambda path: str(tmp_path))
    assert config.keras_dir() == str(tmp_path / '.keras')
    monkeypatch.setattr(os, 'access', lambda path, mode: False)
    assert config.keras_dir() == '/tmp/.keras'


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path):
    (tmp_path / 'file').write_text('')
    config._write_defaults(str(tmp_path / 'file' / 'keras.json'))


@pytest.mark.parametrize('setter, value', [(K.set_floatx, 'float31'), (K.set_image_data_format, 'last'),
                                           (K.set_image_dim_ordering, 'nhwc'), (K.normalize_data_format, 'nhwc')])
def test_unknown_settings_are_refused(setter, value):
    with pytest.raises(ValueError, match=value):
        setter(value)


def test_float64_models_compute_and_train_in_float64():
    K.set_floatx('float64')
    model = Sequential([layers.Dense(2, activation='tanh', input_shape=(3,)), layers.BatchNormalization(),
                        layers.Dense(1)])
    model.compile('adam', 'mse', metrics=['mae'])
    x = np.random.RandomState(0).randn(6, 3)
    model.fit(x, x[:, :1], verbose=0)
    assert model.predict(x).dtype == np.float64 and all(w.dtype == np.float64 for w in model.get_weights())


def test_channels_first_is_the_default_of_layers_made_under_it():
    K.set_image_dim_ordering('th')
    model = Sequential([layers.Conv2D(4, 3, input_shape=(2, 8, 8))])
    assert model.output_shape == (None, 4, 6, 6)
