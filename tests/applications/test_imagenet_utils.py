"""Images and predictions of ImageNet; values are those of Keras 2.2.4 with keras_applications 1.0.8."""
import json

import numpy as np
import pytest
import torch

import kfacade as keras
from kfacade import backend as K
from kfacade.applications import imagenet_utils
from kfacade.layers import Input, Lambda
from kfacade.models import Model

IMAGES = np.random.RandomState(0).randint(0, 256, (2, 2, 2, 3))
CAFFE = [13.060997009277344, -69.77899932861328, 48.31999969482422, 147.06100463867188, -49.77899932861328,
         68.31999969482422]
TF = [0.3490196466445923, -0.6313725709915161, -0.08235293626785278, 0.5058823823928833, -0.4745097756385803,
      0.9686274528503418]
TORCH = [0.8275537490844727, -1.2128850221633911, 0.23477131128311157, 1.1700488328933716, -0.8627449870109558,
         2.5702831745147705]
OF_FAMILY = {'vgg16': CAFFE, 'vgg19': CAFFE, 'resnet50': CAFFE, 'inception_v3': TF, 'inception_resnet_v2': TF,
             'xception': TF, 'mobilenet': TF, 'mobilenet_v2': TF, 'densenet': TORCH, 'nasnet': TF}
MODES = {'caffe': CAFFE, 'tf': TF, 'torch': TORCH}


def first_six(x):
    return np.asarray(x).ravel()[:6]


@pytest.mark.parametrize('family', OF_FAMILY)
def test_each_family_has_its_own_form(family):
    preprocess = getattr(keras.applications, family).preprocess_input
    np.testing.assert_allclose(first_six(preprocess(IMAGES.astype('float32'))), OF_FAMILY[family], rtol=1e-6)


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('data_format', ['channels_last', 'channels_first'])
@pytest.mark.parametrize('dtype', ['float32', 'float64', 'uint8', 'int64'])
@pytest.mark.parametrize('rank', [3, 4])
def test_arrays_symbols_and_tensors(mode, data_format, dtype, rank):
    last = imagenet_utils.preprocess_input(IMAGES.astype('float64'), mode=mode)
    np.testing.assert_allclose(first_six(last), MODES[mode], rtol=1e-6)
    x, expected = IMAGES.astype(dtype), last
    if data_format == 'channels_first':
        x, expected = x.transpose(0, 3, 1, 2).copy(), expected.transpose(0, 3, 1, 2)
    if rank == 3:
        x, expected = x[0], expected[0]
    arguments = {'data_format': data_format, 'mode': mode}
    placeholder = K.placeholder(x.shape, dtype=dtype)
    symbolic = K.function([placeholder], [imagenet_utils.preprocess_input(placeholder, **arguments)])([x])[0]
    np.testing.assert_allclose(symbolic, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(imagenet_utils.preprocess_input(torch.as_tensor(x.copy()), **arguments), expected,
                               rtol=1e-4, atol=1e-5)
    result = imagenet_utils.preprocess_input(x.copy(), **arguments)
    assert result.dtype == (dtype if dtype.startswith('float') else 'float32')
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('mode', MODES)
def test_inside_a_lambda(mode):
    images = Input((2, 2, 3))
    model = Model(images, Lambda(lambda x: imagenet_utils.preprocess_input(x, mode=mode))(images))
    np.testing.assert_allclose(first_six(model.predict(IMAGES)), MODES[mode], rtol=1e-5)


def test_arrays_of_floats_are_overwritten_as_in_keras():
    x = IMAGES.astype('float32')
    result = imagenet_utils.preprocess_input(x)
    np.testing.assert_array_equal(x, result[..., ::-1])


def test_unknown_formats_modes_and_arguments():
    with pytest.raises(ValueError, match='Unknown data_format'):
        imagenet_utils.preprocess_input(IMAGES, data_format='channels')
    with pytest.raises(ValueError, match='Unknown mode'):
        imagenet_utils.preprocess_input(IMAGES, mode='theano')
    with pytest.raises(TypeError, match="Invalid keyword argument: 'dataformat'"):
        imagenet_utils.preprocess_input(IMAGES, dataformat='channels_last')
    with pytest.raises(ValueError, match='leave it out'):
        imagenet_utils.preprocess_input(IMAGES, backend=np)
    np.testing.assert_array_equal(imagenet_utils.preprocess_input(IMAGES, backend=K),
                                  imagenet_utils.preprocess_input(IMAGES))


@pytest.fixture
def class_index(monkeypatch):
    monkeypatch.setattr(imagenet_utils, 'CLASS_INDEX', {str(i): [f'n{i:08}', f'thing_{i}'] for i in range(1000)})


def test_predictions_are_named_best_first(class_index):
    scores = np.zeros((2, 1000), 'float32')
    scores[0, [3, 999, 5]] = .25, .5, .125
    scores[1, 0] = 1
    first, second = keras.applications.resnet50.decode_predictions(scores, top=3)
    assert first == [('n00000999', 'thing_999', .5), ('n00000003', 'thing_3', .25), ('n00000005', 'thing_5', .125)]
    assert second[0] == ('n00000000', 'thing_0', 1.)
    assert len(imagenet_utils.decode_predictions(scores)[0]) == 5


@pytest.mark.parametrize('shape', [(1000,), (2, 10), (2, 1000, 1)])
def test_predictions_of_another_shape(shape):
    with pytest.raises(ValueError, match='expects a batch of predictions'):
        imagenet_utils.decode_predictions(np.zeros(shape))


def test_names_of_classes_are_fetched_once(monkeypatch, served, keras_home):
    text = json.dumps({str(i): [f'n{i}', f'name{i}'] for i in range(1000)}).encode()
    address, md5 = served('imagenet_class_index.json', text)
    monkeypatch.setattr(imagenet_utils, 'CLASS_INDEX', None)
    monkeypatch.setattr(imagenet_utils, 'CLASS_INDEX_PATH', address)
    monkeypatch.setattr(imagenet_utils, 'CLASS_INDEX_HASH', md5)
    scores = np.eye(1000)[:1]
    assert imagenet_utils.decode_predictions(scores, top=1) == [[('n0', 'name0', 1.)]]
    assert (keras_home / 'models' / 'imagenet_class_index.json').read_bytes() == text
    monkeypatch.setattr(imagenet_utils, 'CLASS_INDEX', None)
    monkeypatch.setattr(imagenet_utils, 'CLASS_INDEX_PATH', 'http://127.0.0.1:9/none')
    assert imagenet_utils.decode_predictions(scores, top=1) == [[('n0', 'name0', 1.)]]


@pytest.mark.parametrize('sizes,size,padding', [
    ((5, 6), 3, ((1, 1), (0, 1))), ((8, 7), (5, 2), ((1, 2), (1, 1))), ((None, None), (5, 2), ((1, 2), (0, 1)))])
def test_padding_as_keras_applications_has_it(sizes, size, padding):
    assert keras.applications.correct_pad(K, Input((*sizes, 1)), size) == padding
