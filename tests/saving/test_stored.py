"""Big arrays of HDF5 files: read straight into the weights, whatever type, order or layout they lie in."""
import tracemalloc

import h5py
import numpy as np
import pytest
import torch

from kfacade import layers
from kfacade.models import Sequential
from kfacade.saving import hdf5, stored

BIG = 600  # units: kernels of 600 x 600 float32 have 1.4 MB

BUILT = {
    'Dense': lambda: Sequential([layers.Dense(BIG, input_shape=(BIG,))]),
    'Conv2D': lambda: Sequential([layers.Conv2D(300, 3, input_shape=(4, 4, 200))]),
    'SeparableConv1D': lambda: Sequential([layers.SeparableConv1D(BIG, 3, input_shape=(4, BIG))]),
    'Embedding': lambda: Sequential([layers.Embedding(BIG, BIG, input_length=3)]),
    'LSTM': lambda: Sequential([layers.LSTM(300, input_shape=(3, 300))]),
    'GRU': lambda: Sequential([layers.GRU(400, reset_after=True, input_shape=(3, 400))]),
    'Bidirectional': lambda: Sequential([layers.Bidirectional(layers.LSTM(300), input_shape=(3, 300))]),
}


def written(path, model, dtype='<f4', **options):
    """Writes random arrays in place of the weights of ``model`` and returns what the weights should become."""
    model.save_weights(path)
    arrays = []
    with h5py.File(path, 'r+') as f:
        for name in hdf5.load_attributes_from_hdf5_group(f, 'layer_names'):
            for weight in hdf5.load_attributes_from_hdf5_group(f[name], 'weight_names'):
                array = np.random.RandomState(len(arrays)).randn(*f[name][weight].shape).astype(dtype)
                del f[name][weight]
                f[name].create_dataset(weight, data=array, **options)
                arrays.append(array.astype('float32'))
    return arrays


def assert_weights(model, arrays):
    for weight, array in zip(model.get_weights(), arrays):
        np.testing.assert_array_equal(weight, array)


@pytest.mark.parametrize('kind', BUILT)
def test_the_weights_become_what_the_file_holds(path, kind):
    model = BUILT[kind]()
    arrays = written(path, model)
    assert max(array.nbytes for array in arrays) > stored._BIG
    params = list(model.parameters())
    model.load_weights(path)
    assert_weights(model, arrays)
    assert all(a is b for a, b in zip(params, model.parameters()))


@pytest.mark.parametrize('dtype', ['<f2', '>f4', '<f8', '<i4'])
def test_other_types_are_cast(path, dtype):
    model = BUILT['Dense']()
    arrays = written(path, model, dtype)
    model.load_weights(path, by_name=True)
    assert_weights(model, arrays)


@pytest.mark.parametrize('cast', [torch.nn.Module.double, torch.nn.Module.bfloat16])
def test_a_converted_model_keeps_its_type(path, cast):
    model = BUILT['Dense']()
    kernel, _ = written(path, model)
    cast(model)
    model.load_weights(path)
    param = next(model.parameters())
    assert torch.equal(param, torch.tensor(kernel.T).to(param.dtype))


def test_compressed_arrays_are_read_before_a_weight_changes(path):
    model = Sequential([layers.Dense(BIG, input_shape=(BIG,)), layers.Dense(BIG)])
    written(path, model, compression='gzip', compression_opts=0)
    with h5py.File(path) as f:
        damaged = f['dense_2/dense_2'].get('kernel:0') if 'dense_2' in f else None
        damaged = damaged or f[list(f)[1]][list(f[list(f)[1]])[0]]['kernel:0']
        place = damaged.id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place + 2:place + 60] = bytes(58)
    path.write_bytes(content)
    before = model.get_weights()
    with pytest.raises(ValueError, match='kernel:0'):
        model.load_weights(path)
    assert_weights(model, before)


def test_big_matrices_need_no_memory_in_between(path):
    model = Sequential([layers.Dense(2000, input_shape=(2000,))])
    kernel, _ = written(path, model)
    tracemalloc.start()
    try:
        model.load_weights(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < kernel.nbytes / 4


def test_weights_are_written_from_where_they_lie(path, monkeypatch):
    model = Sequential([layers.Dense(4, input_shape=(3,))])
    given = []
    monkeypatch.setattr(h5py.Group, 'create_dataset', lambda group, name, data: given.append(data))
    model.save_weights(path)
    for array, weight in zip(given, model.weights, strict=True):
        assert np.shares_memory(array, weight.param.detach().numpy())


@pytest.mark.parametrize('name', ['CuDNNLSTM', 'LSTM'])
def test_what_has_to_be_converted_is_read(path, name):
    def network(name):
        return Sequential([getattr(layers, name)(300, input_shape=(3, 300), name='rnn', **(
            {'recurrent_activation': 'sigmoid'} if name == 'LSTM' else {}))])
    other = network({'LSTM': 'CuDNNLSTM', 'CuDNNLSTM': 'LSTM'}[name])
    other.save_weights(path)
    model, x = network(name), np.random.RandomState(0).randn(2, 3, 300)
    model.load_weights(path)
    np.testing.assert_allclose(model.predict(x), other.predict(x), rtol=1e-5, atol=1e-6)
