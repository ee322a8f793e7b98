"""What loading weights by name says, returns and reaches."""
import logging

import numpy as np
import pytest

from kfacade import layers as L
from kfacade.models import Sequential


def dense(name, units=3):
    return L.Dense(units, name=name, input_shape=(3,))


def saved(tmp_path, *layers):
    path = str(tmp_path / 'weights.h5')
    model = Sequential(list(layers))
    model.set_weights([np.random.rand(*weight.shape) for weight in model.get_weights()])
    model.save_weights(path)
    return path, model


def assert_same(layer, other):
    for ours, theirs in zip(layer.get_weights(), other.get_weights()):
        np.testing.assert_array_equal(ours, theirs)


def test_report(tmp_path, caplog):
    path, source = saved(tmp_path, dense('a'), dense('b'), dense('c', 2), L.Activation('relu'))
    model = Sequential([dense('a'), dense('new'), dense('c')])
    with caplog.at_level(logging.INFO, 'kfacade'), pytest.warns(UserWarning, match='Skipping .* layer c due to'):
        report = model.load_weights(path, by_name=True, skip_mismatch=True)
    assert (report.loaded, report.unused, report.missing, report.skipped) == (['a'], ['b'], ['new'], ['c'])
    assert str(report) == ('1 loaded; 1 not in the model: "b"; 1 not in the file: "new"; 1 of another shape: "c"')
    assert str(report) in caplog.text
    assert path in caplog.text
    assert_same(model.get_layer('a'), source.get_layer('a'))


def test_by_position_there_is_none(tmp_path):
    path, model = saved(tmp_path, dense('a'))
    assert model.load_weights(path) is None


def test_nothing_matched(tmp_path):
    path, _ = saved(tmp_path, dense('a'), dense('c'))
    model = Sequential([Sequential([dense('b')])])
    with pytest.warns(UserWarning, match='loaded. The file holds "a", "c"; the model has "b"') as caught:
        report = model.load_weights(path, by_name=True)
    assert caught[0].filename == __file__
    assert not report.loaded


def test_nested_models_are_reached(tmp_path):
    path, source = saved(tmp_path, dense('a'), dense('b'), dense('gone'))
    inner = Sequential([dense('b'), dense('own')], name='inner')
    model = Sequential([Sequential([inner], name='middle'), dense('a')])
    report = model.load_weights(path, by_name=True)
    assert (report.loaded, report.unused, report.missing) == (['a', 'b'], ['gone'], ['own'])
    assert_same(inner.get_layer('b'), source.get_layer('b'))


def test_own_layers_come_before_nested_ones(tmp_path):
    path, source = saved(tmp_path, dense('a'))
    inner = Sequential([dense('a')])
    before = inner.get_weights()
    model = Sequential([inner, dense('a')])
    report = model.load_weights(path, by_name=True)
    assert (report.loaded, report.missing) == (['a'], ['a'])
    assert_same(model.get_layer('a'), source.get_layer('a'))
    np.testing.assert_array_equal(inner.get_weights()[0], before[0])


def test_nested_layer_that_does_not_fit_is_left_alone(tmp_path):
    """Keras does not look into nested models, so what is there must not make a script fail that worked."""
    path, _ = saved(tmp_path, dense('a', 2))
    model = Sequential([Sequential([dense('a')])])
    with pytest.warns(UserWarning, match='Skipping loading of weights for layer a'):
        assert model.load_weights(path, by_name=True).skipped == ['a']


def test_whole_nested_model_by_its_name(tmp_path):
    path, source = saved(tmp_path, Sequential([dense('a'), dense('b')], name='inner'))
    model = Sequential([Sequential([dense('c'), dense('d')], name='inner')])
    report = model.load_weights(path, by_name=True)
    assert (report.loaded, report.missing) == (['inner'], [])
    assert_same(model, source)
