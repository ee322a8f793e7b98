"""Custom objects, configs, stored functions and small helpers."""
import marshal

import numpy as np
import pytest

from kfacade import regularizers
from kfacade.utils import generic_utils
from kfacade.utils.generic_utils import (
    CustomObjectScope,
    check_for_unexpected_keys,
    custom_object_scope,
    deserialize_keras_object,
    func_dump,
    func_load,
    get_custom_objects,
    has_arg,
    is_all_none,
    object_list_uid,
    public_objects,
    serialize_keras_object,
    slice_arrays,
    to_list,
    transpose_shape,
    unpack_singleton,
)


def mine():
    return 'mine'


class Plain:
    """Made from its config by a call."""

    def __init__(self, size=1):
        self.size = size
        self.seen = dict(get_custom_objects())


class Configured(Plain):
    """Made by ``from_config``."""

    def get_config(self):
        return {'size': self.size}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class Nested(Configured):
    """Wants to know the custom objects."""

    @classmethod
    def from_config(cls, config, custom_objects=None):
        made = cls(**config)
        made.custom_objects = custom_objects
        return made


# ---------------------------------------------------------------- custom objects

def test_scope_restores_what_was_there():
    get_custom_objects()['before'] = mine
    try:
        with custom_object_scope({'a': mine}, {'b': Plain}) as scope:
            assert isinstance(scope, CustomObjectScope)
            assert get_custom_objects() == {'before': mine, 'a': mine, 'b': Plain}
            get_custom_objects()['inside'] = mine
            del get_custom_objects()['before']
        assert get_custom_objects() == {'before': mine}
    finally:
        get_custom_objects().clear()


def test_scope_restores_after_an_error():
    with pytest.raises(KeyError):
        with CustomObjectScope({'a': mine}):
            raise KeyError
    assert get_custom_objects() == {}


def test_custom_objects_come_before_the_module():
    def other():
        return None
    module = {'mine': mine}
    assert deserialize_keras_object('mine', module) is mine
    assert deserialize_keras_object('mine', module, {'mine': other}) is other
    with custom_object_scope({'mine': other}):
        assert deserialize_keras_object('mine', module) is other
        assert deserialize_keras_object('mine', module, {'mine': mine}) is mine


# ---------------------------------------------------------------- configs

def test_serialize():
    assert serialize_keras_object(None) is None
    assert serialize_keras_object(mine) == 'mine'
    assert serialize_keras_object(Configured(3)) == {'class_name': 'Configured', 'config': {'size': 3}}
    with pytest.raises(ValueError, match='Cannot serialize 3'):
        serialize_keras_object(3)


def test_deserialize_makes_objects():
    objects = {'Plain': Plain, 'Configured': Configured, 'Nested': Nested}

    def made(name, **custom):
        return deserialize_keras_object({'class_name': name, 'config': {'size': 4}}, objects, custom)
    for name in objects:
        assert type(made(name)) is objects[name] and made(name).size == 4
    assert made('Plain', a=mine).seen == made('Configured', a=mine).seen == {'a': mine}
    with custom_object_scope({'b': mine}):
        nested = made('Nested', a=mine)
    assert nested.custom_objects == {'a': mine, 'b': mine} and nested.seen == {'b': mine}


@pytest.mark.parametrize('identifier, message', [
    ('mina', "Unknown thing:mina. Did you mean 'mine'"),
    ('xyz', 'Unknown thing:xyz. If it is your own, pass it in `custom_objects`'),
    ({'class_name': 'xyz', 'config': {}}, 'Unknown thing: xyz'),
    ({'class_name': 'mine'}, 'Improper config format: '),
    ({'class_name': ['mine'], 'config': {}}, 'Improper config format: '),
    ({'config': {}}, 'Improper config format: '),
    (3, 'Could not interpret serialized thing: 3'),
])
def test_deserialize_errors(identifier, message):
    with pytest.raises(ValueError, match=message):
        deserialize_keras_object(identifier, {'mine': mine}, printable_module_name='thing')


def test_without_module_objects():
    with pytest.raises(ValueError, match='Unknown object:mine'):
        deserialize_keras_object('mine')


def test_public_objects_leaves_helpers_and_modules_out():
    names = public_objects(vars(regularizers))
    assert set(names) == {'Regularizer', 'L1L2', 'l1', 'l2', 'l1_l2'}
    assert set(public_objects({'_hidden': mine, 'mine': mine, 'number': 3})) == {'mine'}


# ---------------------------------------------------------------- stored functions

def test_function_round_trip():
    def f(x, y=2):
        return x * y
    g = func_load(func_dump(f))
    assert g(3) == 6 and g(3, 4) == 12 and g.__name__ == 'f'
    code, defaults, closure = func_dump(f)
    assert defaults == (2,) and closure is None
    assert func_load([code, list(defaults), closure])(5) == 10  # as JSON gives it


def test_closures_and_globals():
    def outer(factor):
        return lambda x: factor * x + offset  # noqa: F821 (comes with the globals)
    code, defaults, closure = func_dump(outer(5))
    assert closure == (5,)
    assert func_load(code, defaults, closure, globs={'offset': 1})(2) == 11
    cells = outer(7).__closure__
    assert func_load(code, defaults, cells, globs={'offset': 1})(2) == 15


def test_functions_of_keras_before_2_1_2():
    raw = marshal.dumps(mine.__code__).decode('raw_unicode_escape')
    assert func_load(raw)() == 'mine'


@pytest.mark.parametrize('code', ['', 'YWJj\n', '4wEAAAABAAAA\n', 'é'])
def test_what_is_no_bytecode(code):
    with pytest.raises(ValueError, match='another version of Python'):
        func_load(code)


def test_has_arg():
    def f(a, /, b, *args, c=1, **kwargs):
        return a, b, args, c, kwargs
    assert not has_arg(f, 'a') and has_arg(f, 'b') and has_arg(f, 'c')
    assert not has_arg(f, 'd') and has_arg(f, 'd', accept_all=True)
    assert not has_arg(lambda *args: args, 'd', accept_all=True) and not has_arg(f, 'args') and not has_arg(f, 'kwargs')


# ---------------------------------------------------------------- lists and shapes

def test_lists():
    items = [1, 2]
    assert to_list(items) is items and to_list((1, 2)) == [(1, 2)] and to_list((1, 2), allow_tuple=True) == items
    assert to_list(None) == [None]
    assert unpack_singleton([3]) == 3 and unpack_singleton(items) is items and unpack_singleton((3,)) == 3
    assert is_all_none(None) and is_all_none([None, None]) and is_all_none((None,)) and not is_all_none([None, 0])
    assert object_list_uid(mine) == object_list_uid([mine]) != object_list_uid([Plain])
    assert object_list_uid([mine, Plain]) == f'{id(mine)}, {id(Plain)}'


def test_slice_arrays():
    a, b = np.arange(6), np.arange(6) * 10
    assert slice_arrays(None) == [None]
    assert slice_arrays(a, 1, 3).tolist() == [1, 2]
    assert slice_arrays(a, np.array([0, 5])).tolist() == slice_arrays(a, [0, 5]).tolist() == [0, 5]
    part = slice_arrays([a, None, b], 4)
    assert part[0].tolist() == [4, 5] and part[1] is None and part[2].tolist() == [40, 50]
    assert [x.tolist() for x in slice_arrays([a, b], np.array([2]))] == [[2], [20]]


def test_slice_arrays_gives_hdf5_data_sets_lists_of_indices():
    class DataSet:
        def __getitem__(self, index):
            assert isinstance(index, (list, slice))
            return index
    assert slice_arrays([DataSet()], np.array([1, 2])) == [[1, 2]]
    assert slice_arrays(DataSet(), 1, 2) == slice(1, 2)


def test_transpose_shape():
    assert transpose_shape((16, 8, 9, 3), 'channels_first', (1, 2)) == (16, 3, 8, 9)
    assert transpose_shape([16, 5, 8, 9, 3], 'channels_first', (2, 3)) == [16, 5, 3, 8, 9]
    assert transpose_shape((8, 9, 3), 'channels_first', spatial_axes=(0, 1)) == (3, 8, 9)
    assert transpose_shape((16, 8, 9, 3), 'channels_last', (1, 2)) == (16, 8, 9, 3)
    with pytest.raises(ValueError, match='must be one of "channels_first", "channels_last". Received: th'):
        transpose_shape((1, 2), 'th', (0,))


def test_check_for_unexpected_keys():
    check_for_unexpected_keys('loss', {'a': 1}, ['a', 'b'])
    with pytest.raises(ValueError, match=r'Unknown entry in loss dictionary: "c". Only expected the following keys: '
                                         r"\['a', 'b'\]"):
        check_for_unexpected_keys('loss', {'a': 1, 'c': 2}, ['a', 'b'])


def test_names_of_keras():
    assert set(generic_utils.__all__) >= {'Progbar', 'CustomObjectScope'}
    assert generic_utils._GLOBAL_CUSTOM_OBJECTS is get_custom_objects()
