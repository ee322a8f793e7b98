"""The HDF5 layout of weights: what is written, what loads where, and what is refused."""
import h5py
import numpy as np
import pytest

from kfacade import layers as L
from kfacade.models import Model, Sequential, load_model
from kfacade.saving import (
    InvalidModelFile,
    load_attributes_from_hdf5_group,
    load_weights_from_hdf5_group,
    save_attributes_to_hdf5_group,
    save_weights_to_hdf5_group,
)
from kfacade.saving.trust import opened


@pytest.fixture
def f(tmp_path):
    with h5py.File(tmp_path / 'file.h5', 'w') as opened_file:
        yield opened_file


def network(units=3, names=('a', 'b'), filters=2):
    return Sequential([L.Conv2D(filters, 2, input_shape=(4, 4, 1), name=names[0]), L.Flatten(),
                       L.Dense(units, name=names[1]), L.BatchNormalization()])


def same(model, weights):
    return all(np.array_equal(got, wanted) for got, wanted in zip(model.get_weights(), weights))


# ------------------------------------------------------------ writing

def test_layout(f):
    model = network()
    save_weights_to_hdf5_group(f, model.layers)
    flatten, bn = model.layers[1].name, model.layers[3].name
    assert list(f.attrs['layer_names']) == [b'a', flatten.encode(), b'b', bn.encode()]
    assert sorted(f) == sorted(layer.name for layer in model.layers)
    assert list(f['a'].attrs['weight_names']) == [b'a/kernel:0', b'a/bias:0']
    assert [name.decode().split('/')[-1] for name in f[bn].attrs['weight_names']] == [
        'gamma:0', 'beta:0', 'moving_mean:0', 'moving_variance:0']
    kernel = f['a']['a/kernel:0']
    assert (kernel.shape, kernel.dtype, kernel.chunks, kernel.compression) == ((2, 2, 1, 2), np.float32, None, None)
    np.testing.assert_array_equal(kernel, model.get_weights()[0])


def test_attributes_have_the_types_of_keras(f):
    save_weights_to_hdf5_group(f, network().layers)
    names, version = (f.attrs.get_id(key) for key in ('layer_names', 'keras_version'))
    assert names.dtype.kind == 'S' and names.get_type().get_strpad() == h5py.h5t.STR_NULLPAD
    assert version.get_type().is_variable_str() and version.shape == ()
    assert version.get_type().get_cset() == h5py.h5t.CSET_ASCII
    assert (f.attrs['keras_version'], f.attrs['backend']) == ('2.2.4', 'tensorflow')
    empty = f[[name for name in f if name.startswith('flatten')][0]].attrs.get_id('weight_names')
    assert (empty.dtype, empty.shape) == (np.float64, (0,))


@pytest.mark.parametrize('name', ['.', './a', 'a/.', 'a//b', 'a/', '..', 'a/../b', ' ', '\u00e9'])
def test_odd_names_of_layers_come_back(tmp_path, name):
    model = Sequential([L.Dense(3, input_shape=(2,), name=name), L.Dense(2, name='other')])
    model.save(tmp_path / 'm.h5')
    again = load_model(tmp_path / 'm.h5', compile=False)
    assert same(again, model.get_weights()) and again.layers[0].name == name
    again.set_weights([np.zeros_like(w) for w in model.get_weights()])
    assert again.load_weights(tmp_path / 'm.h5', by_name=True).loaded == [name, 'other']
    assert same(again, model.get_weights())


@pytest.mark.parametrize('names, message', [
    (('/abs', 'b'), "'/abs': it begins with"), (('/', 'b'), 'begins'), (('\udc80', 'b'), 'UTF-8 has no form'),
    (('a\0', 'b'), 'holds a zero'), (('a', './a'), "the layer 'a'"), (('a/b', 'a//b/'), "the layer 'a/b'")])
def test_names_that_hdf5_cannot_hold_are_refused_before_anything_is_written(tmp_path, f, names, message):
    model, path = network(names=names), tmp_path / 'm.h5'
    path.write_bytes(b'old')
    for target in (path, f):
        for save in (model.save, model.save_weights):
            with pytest.raises(ValueError, match=message):
                save(target)
    with pytest.raises(ValueError, match=message):
        save_weights_to_hdf5_group(f, model.layers)
    assert path.read_bytes() == b'old' and not len(f) and not len(f.attrs)
    model.save_weights(str(tmp_path / 'm.pt'))  # which names nothing after layers


@pytest.mark.parametrize('name', ['/abs', '\udc80', 'a\0', './a', '//'])
def test_odd_names_of_inner_layers_come_back(tmp_path, name):
    inner = Sequential([L.Dense(3, input_shape=(2,), name=name)], name='inner')
    model = Sequential([inner, L.Dense(2)])
    model.save(tmp_path / 'm.h5')
    again = load_model(tmp_path / 'm.h5', compile=False)
    assert same(again, model.get_weights()) and again.layers[0].layers[0].name == name
    with h5py.File(tmp_path / 'm.h5') as file:
        assert sorted(file) == ['model_weights']


def test_long_lists_of_names_are_split(f):
    names = [b'%04d' % i + b'x' * 2001 for i in range(41)]
    save_attributes_to_hdf5_group(f, 'layer_names', names)
    assert {key: value.shape for key, value in f.attrs.items()} == {'layer_names0': (21,), 'layer_names1': (20,)}
    assert load_attributes_from_hdf5_group(f, 'layer_names') == [name.decode() for name in names]
    with pytest.raises(RuntimeError, match='cannot be saved to HDF5 file because they are larger than 64512 bytes'):
        save_attributes_to_hdf5_group(f, 'other', [b'x' * 64513])


@pytest.mark.parametrize('stored', [np.array([b'a', b'bc']), np.array(['a', 'bc'], dtype=h5py.string_dtype()),
                                    np.array([b'a', b'bc'], dtype=h5py.string_dtype('ascii'))])
def test_names_are_read_in_every_form(f, stored):
    f.attrs['names'] = stored
    assert load_attributes_from_hdf5_group(f, 'names') == ['a', 'bc']
    assert load_attributes_from_hdf5_group(f, 'absent') == []
    f.attrs['none'] = []
    assert load_attributes_from_hdf5_group(f, 'none') == []


def test_names_with_slashes_and_repeated_weight_names(f):
    layer, other = L.Dense(2, name='block/dense'), L.Dense(2, name='block')
    model = Sequential([L.InputLayer((3,)), layer, other])
    for weight in layer.weights:
        weight.name = 'same:0'
    save_weights_to_hdf5_group(f, model.layers)
    assert list(f['block/dense'].attrs['weight_names']) == [b'same:0', b'same:0_1']
    weights = model.get_weights()
    model.set_weights([w + 1 for w in weights])
    load_weights_from_hdf5_group(f, model.layers)
    assert same(model, weights)


# ------------------------------------------------------------ loading

def test_by_position_passes_over_layers_without_weights(path):
    saved = network()
    saved.save_weights(path)
    x = L.Input((4, 4, 1))
    y = L.Conv2D(2, 2)(x)
    y = L.Dense(3)(L.Dropout(.5)(L.Flatten()(L.Activation('relu')(y))))
    other = Model(x, L.BatchNormalization()(y))
    other.load_weights(path)
    assert same(other, saved.get_weights())


@pytest.mark.parametrize('make, message', [
    (lambda: Sequential([L.Dense(2, input_shape=(3,))]),
     'You are trying to load a weight file containing 3 layers into a model with 1 layers'),
    (lambda: Sequential([L.Dense(2)]), 'into a model with 0 layers. It is not built: make it with the shape'),
    (lambda: Sequential([L.Conv2D(2, 2, input_shape=(4, 4, 1), use_bias=False, name='q'), L.Flatten(), L.Dense(3),
                         L.BatchNormalization()]),
     r'Layer #0 \(named "q" in the current model\) was found to correspond to layer a in the save file. However the '
     'new layer q expects 1 weights, but the saved weights have 2 elements'),
    (lambda: network(units=5),
     r'Layer #1 \(named "b"\), weight .*kernel:0 has shape \(18, 5\), but the saved weight has shape \(18, 3\)'),
])
@pytest.mark.parametrize('whole_model', [False, True])
def test_what_does_not_fit_changes_no_weight(path, make, message, whole_model):
    saved = network()
    (saved.save if whole_model else saved.save_weights)(path)
    model = make()
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        model.load_weights(path)
    assert same(model, before)


def test_by_name(path):
    saved, model = network(names=('a', 'b')), network(units=7, names=('a', 'c'))
    saved.save_weights(path)
    before = model.get_weights()
    model.load_weights(path, by_name=True)
    assert same(model, saved.get_weights()[:2] + before[2:])


def test_by_name_mismatches(path):
    network(names=('a', 'b')).save_weights(path)
    model = network(units=7, names=('a', 'b'))
    before = model.get_weights()
    with pytest.raises(ValueError, match=r'Layer #2 \(named "b"\), weight .* has shape \(18, 7\), but the saved weight '
                                         r'has shape \(18, 3\)'):
        model.load_weights(path, by_name=True)
    assert same(model, before)
    fewer = Sequential([L.Dense(3, input_shape=(18,), use_bias=False, name='b')])
    with pytest.raises(ValueError, match=r'Layer #2 \(named "b"\) expects 1 weight\(s\), but the saved weights have 2 '
                                         r'element\(s\)'):
        fewer.load_weights(path, by_name=True)
    with pytest.warns(UserWarning, match=r'layer b due to mismatch in number of weights \(1 vs 2\)'):
        fewer.load_weights(path, by_name=True, skip_mismatch=True)


def test_skip_mismatch_skips_single_weights(path):
    saved = Sequential([L.Dense(3, input_shape=(4,), name='d')])
    saved.set_weights([np.ones((4, 3)), np.arange(3)])
    saved.save_weights(path)
    model = Sequential([L.Dense(3, input_shape=(5,), name='d')])
    kernel = model.get_weights()[0]
    with pytest.warns(UserWarning, match=r'layer d due to mismatch in shape \(\(5, 3\) vs \(4, 3\)\)'):
        model.load_weights(path, by_name=True, skip_mismatch=True)
    assert same(model, [kernel, np.arange(3)])


def test_reshape(path):
    saved = Sequential([L.Conv2D(2, (1, 3), input_shape=(4, 4, 1), name='c')])
    saved.save_weights(path)
    model = Sequential([L.Conv2D(2, (3, 1), input_shape=(4, 4, 1), name='c')])
    for by_name in (False, True):
        with pytest.raises(ValueError, match='has shape'):
            model.load_weights(path, by_name=by_name)
        model.load_weights(path, by_name=by_name, reshape=True)
        np.testing.assert_array_equal(model.get_weights()[0], saved.get_weights()[0].reshape(3, 1, 1, 2))


def test_frozen_layers_keep_their_place(path):
    """In a nested model the frozen layers' weights come last, in a file and in the model that reads it."""
    def nested():
        inner = Sequential([L.Dense(3, input_shape=(3,), trainable=False), L.BatchNormalization(), L.Dense(3)])
        return Sequential([inner, L.Dense(1)])
    saved, model = nested(), nested()
    saved.set_weights([np.full(w.shape, i) for i, w in enumerate(saved.get_weights())])
    saved.save_weights(path)
    model.load_weights(path)
    assert same(model, saved.get_weights())
    with h5py.File(path) as file:
        names = [name.decode().split('/')[-1] for name in file[saved.layers[0].name].attrs['weight_names']]
    assert names == ['gamma:0', 'beta:0', 'kernel:0', 'bias:0', 'kernel:0', 'bias:0', 'moving_mean:0',
                     'moving_variance:0']


# ------------------------------------------------------------ distrust

def _repeated(file):
    file['w'] = np.zeros(1000)
    for i in range(20):
        file[f'w{i}'] = file['w']


def _virtual(file):
    layout = h5py.VirtualLayout((4,), 'f4')
    layout[:] = h5py.VirtualSource('other.h5', 'x', (4,))
    file.create_virtual_dataset('w', layout)


HOSTILE = {
    'external storage': (lambda f: f.create_dataset('w', (9,), 'f4', external=[('/etc/passwd', 0, 36)]), 'other files'),
    'virtual': (_virtual, 'other files'),
    'external link': (lambda f: f.update({'w': h5py.ExternalLink('other.h5', '/w')}), 'ExternalLink'),
    'soft link': (lambda f: f.update({'w': h5py.SoftLink('/elsewhere')}), 'SoftLink'),
    'huge': (lambda f: f.create_dataset('w', (10 ** 6, 10 ** 6), 'f4'), 'claims 4000000000000 bytes'),
    'huge chunks': (lambda f: f.create_dataset('w', (10 ** 5, 10 ** 5), 'f4', chunks=(1000, 1000), compression='gzip'),
                    'claims 40000000000 bytes'),
    'texts': (lambda f: f.create_dataset('w', data=[b'text']), 'Expected numbers'),
    'records': (lambda f: f.create_dataset('w', data=np.zeros(2, [('a', 'f4')])), 'Expected numbers'),
    'missing': (lambda f: f.create_group('other'), 'holds no such object'),
    'group': (lambda f: f.create_group('w'), 'Expected a dataset'),
    'the same data twice': (_repeated, 'more than belongs in a file of'),
}


@pytest.mark.parametrize('kind', HOSTILE)
def test_hostile_weights_are_refused(path, kind):
    spoil, message = HOSTILE[kind]
    names = ['w'] + [f'w{i}' for i in range(20)] * (spoil is _repeated)
    with h5py.File(path, 'w') as f:
        f.attrs['layer_names'] = [b'dense']
        f.attrs['keras_version'] = b'2.2.4'
        group = f.create_group('dense')
        group.attrs['weight_names'] = [name.encode() for name in names]
        spoil(group)
    model = Sequential([L.Dense(2, input_shape=(3,))])
    before = model.get_weights()
    with pytest.raises(InvalidModelFile, match=f'/dense.*{message}|{message}.*/dense'):
        model.load_weights(path)
    assert same(model, before)


@pytest.mark.parametrize('value, message', [
    (h5py.Empty('S1'), 'holds nothing'), (3.5, 'Expected text'), (np.array([1, 2]), 'Expected text'),
    (b'\xff\xfe', 'not UTF-8'), ([b'a', b'a'], 'repeated name')])
def test_broken_attributes_are_refused(tmp_path, value, message):
    with h5py.File(tmp_path / 'f.h5', 'w') as f:
        f.attrs['names'] = value
    with opened(tmp_path / 'f.h5') as reader, pytest.raises(InvalidModelFile, match=message) as error:
        reader.names('names')
    assert 'attribute names of "/" of' in str(error.value)


def test_files_that_are_no_model(tmp_path):
    model = Sequential([L.Dense(2, input_shape=(3,))])
    text, empty = tmp_path / 'text', tmp_path / 'empty.h5'
    text.write_text('hello')
    h5py.File(empty, 'w').close()
    with pytest.raises(InvalidModelFile, match='text.* is not a readable HDF5 file'):
        model.load_weights(text)
    with pytest.raises(InvalidModelFile, match='holds no Keras weights'):
        model.load_weights(empty)
    with pytest.raises(FileNotFoundError, match='absent.h5'):
        model.load_weights(tmp_path / 'absent.h5')


def test_truncated_file(path):
    model = network()
    model.save_weights(path)
    whole = path.read_bytes()
    before = model.get_weights()
    for length in (100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidModelFile):
            model.load_weights(path)
    assert same(model, before)
