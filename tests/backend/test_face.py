"""What libraries ask a symbol or a variable, answered as Keras 2.2.4 on TensorFlow answers."""
import numbers
from collections.abc import Callable, Hashable, Iterable, Sequence, Sized

import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade.layers import LSTM, Dense, Dropout, Input, Lambda, Layer, TimeDistributed
from kfacade.models import Model, Sequential


@pytest.fixture(params=['input', 'output', 'placeholder', 'expression', 'variable', 'learning phase'])
def tensor(request):
    x = Input((3, 4))
    return {'input': x, 'output': Dense(2)(x), 'placeholder': K.placeholder((None, 3)), 'expression': K.sum(x, -1) * 2,
            'variable': K.variable([1., 2.]), 'learning phase': K.learning_phase()}[request.param]


def test_what_a_tensor_has_not(tensor):
    for name in ('__len__', '__array__', '__float__', '__int__', '__index__', '__contains__', '__call__', '__next__',
                 '__deepcopy__', '__array_interface__', '__complex__', 'item', 'data'):
        assert not hasattr(tensor, name), name
    for kind in (Sized, Sequence, Callable, numbers.Number):
        assert not isinstance(tensor, kind)
    assert isinstance(tensor, Iterable) and isinstance(tensor, Hashable)
    assert not np.isscalar(tensor)


@pytest.mark.parametrize('use, advice', [
    (len, 'no len'), (float, 'float'), (int, 'int'), (range, 'integer'), (list, '`K.map_fn`'), (np.asarray, '`K.eval`'),
    (lambda x: np.array([x, x]), '`K.eval`'), (lambda x: 3 in x, 'not iterable')])
def test_what_needs_a_value_is_refused(tensor, use, advice):
    with pytest.raises(TypeError, match=advice):
        use(tensor)


def test_truth():
    """``if self.bias:`` asks whether there is one; of a symbol the question is a mistake."""
    assert K.variable(0.)
    with pytest.raises(TypeError, match='`K.switch`'):
        bool(K.variable(0.) > 1)


def test_operations():
    x = K.placeholder((None, 3), name='spam')
    assert (x.op.name, x.op.type, x.op.inputs) == ('spam', 'placeholder', [])
    y = K.square(x)
    assert y.op.name == y.name[:-2] and y.op.inputs == [x] and y.op.outputs == [y]
    assert K.variable(1., name='eggs').op.name == 'eggs'
    assert x.graph is y.graph is K.variable(1.).graph is K.get_session().graph
    with K.get_session().graph.as_default() as graph:
        assert graph is x.graph


def test_eval():
    v, x = K.variable([1., 2.]), K.placeholder((None, 2))
    np.testing.assert_array_equal(v.eval(session=K.get_session()), [1, 2])
    np.testing.assert_array_equal((v * 2).eval(session=K.get_session()), [2, 4])
    np.testing.assert_array_equal((x * v).eval({x: [[3., 4.]]}), [[3, 8]])
    with pytest.raises(ValueError, match='must feed a value'):
        x.eval()


def test_set_shape():
    x = K.placeholder((None, None, 5)) * 1
    x.set_shape((None, 7, None))
    assert K.int_shape(x) == K.int_shape(x * 2) == (None, 7, 5) and x.shape.as_list() == [None, 7, 5]
    for shape in ((None, 8, 5), (None, 7)):
        with pytest.raises(ValueError, match='does not fit'):
            x.set_shape(shape)

    def known(z):
        z = K.reshape(z, (-1, K.shape(z)[1], 4))
        z.set_shape((None, 3, 4))
        return z
    assert K.int_shape(Lambda(known)(Input((3, 4)))) == (None, 3, 4)


def test_rank_is_that_of_the_tensor():
    """A "loss in a Lambda layer" gives (batch,), and has to declare (1,)."""
    x = Input((3, 4))
    loss = Lambda(lambda z: K.sum(z, (1, 2)), output_shape=(1,))(x)
    assert K.ndim(loss) == 1 and K.int_shape(loss) == (None, 1)
    assert loss.shape.as_list() == loss.get_shape().as_list() == [None]

    class Sum(Layer):
        def call(self, z):
            return K.sum(z, -1)

        def compute_output_shape(self, shape):
            return shape
    y = Sum()(x)
    assert K.ndim(y) == K.ndim(y * 1) == 2 and K.int_shape(y) == (None, 3, 4) and K.int_shape(y * 1) == (None, 3)


def test_learning_phase_of_outputs():
    """All outputs of a model that uses it do, as in Keras."""
    a, b = Input((4,)), Input((4,))
    model = Model([a, b], [Dense(2)(a), Dropout(.5)(b)])
    assert [x._uses_learning_phase for x in model.outputs] == [False, True] and model.uses_learning_phase
    outputs = model([Input((4,)), Input((4,))])
    assert [x._uses_learning_phase for x in outputs] == [True, True]
    data = [np.ones((2, 4)), np.ones((2, 4))]
    function = K.function([*model.inputs, K.learning_phase()], model.outputs)
    test, train = function([*data, 0]), function([*data, 1])
    np.testing.assert_array_equal(test[0], train[0])
    assert (test[1] != train[1]).any()
    after = Model(a, Dense(2)(a))(Dropout(.3)(Input((4,))))
    assert after._uses_learning_phase and not Dense(2)(a)._uses_learning_phase
    assert Sequential([Dense(2, input_shape=(4,)), Dropout(.4)])(a)._uses_learning_phase

    class Own(Layer):
        uses_learning_phase = True

        def call(self, x):
            return x * 2
    assert Own()(a)._uses_learning_phase
    x = Input((3, 4))
    assert [y._uses_learning_phase for y in (LSTM(2, dropout=.2)(x), LSTM(2)(x), TimeDistributed(Dropout(.2))(x))] == [
        True, False, True]


def test_name_of_the_backend():
    assert K._BACKEND == K.backend()
    with pytest.raises(AttributeError, match='no attribute'):
        assert K._NO_SUCH_NAME


# ---------------------------------------------------------------- shapes and data types

def test_shapes():
    shape = Input((3, 4)).shape
    assert [size.value for size in shape] == [shape[i].value for i in range(3)] == [None, 3, 4]
    assert shape.as_list() == [None, 3, 4] and shape == (None, 3, 4) and tuple(shape) == (None, 3, 4)
    assert shape[1:].as_list() == [3, 4] and shape[:1].concatenate(7).concatenate((8,)).as_list() == [None, 7, 8]
    assert shape.ndims == shape.rank == len(shape) == len(shape.dims) == 3 and not shape.is_fully_defined()
    assert shape.num_elements() is None and shape[1:].num_elements() == 12 and shape[:0].num_elements() == 1
    assert shape.is_compatible_with((None, 3, None)) and shape.is_compatible_with([7, 3, 4])
    assert not shape.is_compatible_with((None, 3)) and not shape.is_compatible_with((None, 3, 5))
    batch, rows, columns = shape
    assert (rows * 2).value == 6 and (columns // 2).value == 2 and (1 + rows).value == 4 and (columns - 1).value == 3
    assert rows == 3 and columns > 3 and int(columns) == 4 and list(range(rows)) == [0, 1, 2] and rows / 2 == 1.5
    assert batch is not None and batch.value is (batch * 2).value is (3 + batch).value is (rows * batch).value is None
    assert not batch == 3 and not batch != 3 and not batch > 1 and not batch and repr(batch) == '?'
    with pytest.raises(TypeError, match='unknown.*`K.shape'):
        int(batch)
    v = K.variable(np.zeros((2, 5)))
    assert [size.value for size in v.shape] == [2, 5] and v.get_shape()[1].value == 5 and K.int_shape(v) == (2, 5)
    assert all(type(size) is int for size in (*K.int_shape(v), *K.int_shape(K.placeholder((3, 4)) * 2)))


def test_sizes_are_used_as_numbers():
    x = K.placeholder((None, 3, 4))
    assert K.int_shape(K.reshape(x, [-1, x.shape[1] * x.shape[2]])) == (None, 12)
    assert K.int_shape(K.zeros((x.shape[-1], 2))) == (4, 2) and Dense(x.shape[-1]).get_config()['units'] == 4
    assert K.int_shape(K.tile(x, (1, x.shape[1], 1))) == (None, 9, 4)
    y = Lambda(lambda t: t / t.shape[-1].value + K.cast(t.shape[1], 'float32'))(Input((3, 4)))
    assert Model(y._keras_history[0].input, y).predict(np.ones((1, 3, 4))).ravel()[0] == 3.25


@pytest.mark.parametrize('dtype', ['float32', 'float16', 'float64', 'int32', 'int64', 'uint8', 'bool'])
def test_data_types(dtype):
    assert K.variable([1, 0], dtype=dtype).dtype is getattr(torch, dtype)
    for x in (K.placeholder((2,), dtype=dtype), K.variable([1, 0], dtype=dtype)[:2]):
        assert x.dtype.name == x.dtype.base_dtype.name == x.dtype == dtype == K.dtype(x) == str(x.dtype)
        assert x.dtype == getattr(torch, dtype) and getattr(torch, dtype) == x.dtype and x.dtype == np.dtype(dtype)
        assert x.dtype != 'complex64' and x.dtype != torch.complex64 and x.dtype not in (None, 3)
        assert x.dtype.as_numpy_dtype is np.dtype(dtype).type and x.dtype.size == np.dtype(dtype).itemsize
        assert [x.dtype.is_floating, x.dtype.is_integer, x.dtype.is_bool] == [
            dtype.startswith('float'), 'int' in dtype, dtype == 'bool']
        assert K.dtype(K.cast(K.placeholder((2,)), x.dtype)) == K.dtype(K.zeros((2,), dtype=x.dtype.name)) == dtype
        assert K.dtype(K.placeholder((2,)).to(x.dtype)) == dtype and np.zeros(2, x.dtype.as_numpy_dtype).dtype == dtype
    if dtype != 'bool':
        limits = (np.finfo if dtype.startswith('float') else np.iinfo)(dtype)
        assert (x.dtype.min, x.dtype.max) == (limits.min, limits.max)
