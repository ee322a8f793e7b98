"""Configurations of this process find their functions again; files find none. Values as in Keras 2.2.4."""
import copy
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from kfacade import backend as K
from kfacade import layers as L
from kfacade.models import (
    Model,
    Sequential,
    clone_model,
    load_model,
    model_from_config,
    model_from_json,
    model_from_yaml,
)
from kfacade.saving import own_functions

X = np.ones((2, 3), 'float32')


def scaled(by):
    return lambda t: t * by


def by_default(t, by=2.):
    return t * by


class Own:
    def fourfold(self, t):
        return t * 4


def model_of(function, **kwargs):
    x = L.Input((3,))
    return Model(x, L.Lambda(function, **kwargs)(x))


FROM_MEMORY = {
    'clone_model': clone_model,
    'from_config': lambda model: Model.from_config(model.get_config()),
    'model_from_config': lambda model: model_from_config({'class_name': 'Model', 'config': model.get_config()}),
    'copied config': lambda model: Model.from_config(copy.deepcopy(model.get_config())),
    'layer.from_config': lambda model: Sequential([L.InputLayer((3,)),
                                                   L.Lambda.from_config(model.layers[-1].get_config())]),
}
FROM_TEXT = {
    'to_json': lambda model: model_from_json(model.to_json()),
    'to_yaml': lambda model: model_from_yaml(model.to_yaml()),
    'a dict out of text': lambda model: model_from_config(json.loads(model.to_json())),
}


@pytest.mark.parametrize('again', [*FROM_MEMORY, *FROM_TEXT])
@pytest.mark.parametrize('function, kwargs, factor', [
    (scaled(3.), {}, [3] * 3), (by_default, {}, [2] * 3), (scaled(np.array([1., 2., 3.])), {}, [1, 2, 3]),
    (lambda t, by: t * by, {'arguments': {'by': np.array([1., 2., 3.])}}, [1, 2, 3]),
    (lambda t: t[:, :2], {'output_shape': lambda shape: (shape[0], 2)}, [1, 1]), (K.square, {}, [1] * 3)],
    ids=['closure', 'default', 'array in a closure', 'array as an argument', 'output_shape', 'backend'])
def test_functions_are_found_again(again, function, kwargs, factor):
    model = {**FROM_MEMORY, **FROM_TEXT}[again](model_of(function, **kwargs))
    np.testing.assert_array_equal(model.predict(X), [factor] * 2)
    assert model.layers[-1].function is function


@pytest.mark.parametrize('again', FROM_MEMORY)
def test_functions_that_no_text_can_hold_are_found_in_memory(again):
    v, dense = K.variable(5.), L.Dense(3, kernel_initializer='ones')
    for function, expected in ((lambda t: t * v, 5), (lambda t: dense(t), 3), (Own().fourfold, 4),
                               ((lambda inner: lambda t: inner(t) + 1)(scaled(2.)), 3)):
        found = FROM_MEMORY[again](model_of(function))
        np.testing.assert_array_equal(found.predict(X), np.full((2, 3), expected))


@pytest.mark.parametrize('again', [clone_model, *FROM_TEXT.values()])
def test_closures_and_defaults_are_told_apart(again):
    x = L.Input((3,))
    model = Model(x, [L.Lambda(f)(x) for f in (scaled(2.), scaled(3.), *[
        (lambda by: lambda t, plus=by: t + plus)(by) for by in (4., 5.)])])
    assert [y[0, 0] for y in again(model).predict(X)] == [2, 3, 5, 6]


def test_wrapped_and_nested():
    x = L.Input((2, 3))
    model = Model(x, L.TimeDistributed(L.Lambda(scaled(7.)))(x))
    inner = Sequential([L.Lambda(scaled(2.), input_shape=(3,))])
    y = L.Input((3,))
    for again in (clone_model, FROM_TEXT['to_json']):
        np.testing.assert_array_equal(again(model).predict(np.ones((1, 2, 3))), np.full((1, 2, 3), 7))
        np.testing.assert_array_equal(again(Model(y, inner(y))).predict(X), 2 * X)
    layer = L.deserialize(L.serialize(L.Lambda(by_default, name='q')))
    assert (layer.name, layer.function) == ('q', by_default)


def test_a_function_that_is_handed_over_goes_first():
    config = L.Lambda(by_default, name='q').get_config()
    assert L.Lambda.from_config(config, custom_objects={'by_default': K.exp}).function is K.exp


def test_what_is_not_data_is_not_looked_for_in_text():
    """Names would not tell these functions apart."""
    model = model_of((lambda inner: lambda t: inner(t) + 1)(scaled(2.)))
    with pytest.raises(ValueError, match='stored as Python bytecode'):
        model_from_json(model.to_json())


    def keyword(by):
        def function(t, *, factor=by):
            return t * factor
        return function
    with pytest.raises(ValueError, match='stored as Python bytecode'):
        model_from_json(model_of(keyword(2.)).to_json())
    np.testing.assert_array_equal(clone_model(model_of(keyword(2.))).predict(X), 2 * X)


def test_array_arguments_come_back_as_lists_from_files(tmp_path):
    """As in Keras, whose operands they are all the same."""
    model = model_of(lambda t, by, minus: (t - minus) * by,
                     arguments={'by': np.array([1., 2., 3.]), 'minus': (0, 1, 0)})
    model.save(tmp_path / 'model.h5')
    loaded = load_model(tmp_path / 'model.h5', compile=False, safe_mode=False)
    assert loaded.layers[1].arguments == {'by': [1, 2, 3], 'minus': [0, 1, 0]}
    np.testing.assert_array_equal(loaded.predict(X), [[1, 0, 3]] * 2)


# ---------------------------------------------------------------- the boundary

def test_files_find_no_functions_though_this_process_wrote_them(tmp_path):
    model = model_of(scaled(3.))
    assert model_from_json(model.to_json())  # it is known
    model.save(tmp_path / 'model.h5')
    with pytest.raises(ValueError, match='stored as Python bytecode'):
        load_model(tmp_path / 'model.h5', compile=False)
    np.testing.assert_array_equal(load_model(tmp_path / 'model.h5', compile=False, safe_mode=False).predict(X), 3 * X)


def test_what_was_out_of_the_process_is_plain():
    config = L.Lambda(scaled(3.), name='threefold').get_config()
    for outside in (json.loads(json.dumps(config)), pickle.loads(pickle.dumps(config))):
        assert type(outside['function']) in (list, tuple)
        with pytest.raises(ValueError, match='"threefold" is stored as Python bytecode'):
            L.Lambda.from_config(outside)


def test_another_process_finds_nothing():
    text = model_of(scaled(3.)).to_json()
    code = 'import sys; from kfacade.models import model_from_json; model_from_json(sys.stdin.read())'
    run = subprocess.run([sys.executable, '-c', code], input=text, capture_output=True, text=True)
    assert run.returncode and 'stored as Python bytecode' in run.stderr


def test_code_of_a_text_is_never_run():
    """Neither bytecode that was changed, nor that of a function whose defaults or closure were."""
    known = json.loads(model_of(scaled(3.)).to_json())
    stored = known['config']['layers'][1]['config']['function']
    assert own_functions.found(stored) is None  # not asked for text
    with own_functions.text_of_this_process():
        assert own_functions.found(stored)(2) == 6
        for changed in ([stored[0], stored[1], [4.]], [stored[0], [1.], stored[2]],
                        ['4wAA' + stored[0][4:], *stored[1:]], stored[0], None, [object()]):
            assert own_functions.found(changed) is None
