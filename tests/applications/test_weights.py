"""Where weights come from: files in the Keras home, their original addresses, paths, and torchvision's networks."""
import sys

import numpy as np
import pytest
import torch
from torch_networks import VGG, DenseNet, randomized

import kfacade as keras
from kfacade.applications import (
    VGG16,
    DenseNet121,
    InceptionV3,
    MobileNet,
    MobileNetV2,
    NASNetMobile,
    ResNet50,
    Xception,
    _weights,
    imagenet_utils,
)
from kfacade.saving import InvalidModelFile

SMALL = {'include_top': False, 'alpha': .25, 'input_shape': (128, 128, 3)}


@pytest.fixture
def mobilenet(tmp_path):
    """A small network, and the bytes of a file of its weights."""
    model = MobileNet(weights=None, **SMALL)
    model.save_weights(tmp_path / 'weights.h5')
    return model, (tmp_path / 'weights.h5').read_bytes()


def published(monkeypatch, network, address, md5):
    monkeypatch.setitem(_weights.FILES, network, [(address, md5), (address, md5)])


def test_weights_of_imagenet_are_fetched_once(monkeypatch, mobilenet, served, keras_home):
    model, content = mobilenet
    address, md5 = served('mobilenet_2_5_128_tf_no_top.h5', content)
    published(monkeypatch, 'mobilenet', address.replace('2_5_128', '{}_{}'), md5)
    for _ in range(2):
        for got, expected in zip(MobileNet(**SMALL).get_weights(), model.get_weights()):
            np.testing.assert_array_equal(got, expected)
        published(monkeypatch, 'mobilenet', 'http://127.0.0.1:9/mobilenet_{}_{}_tf_no_top.h5', md5)
    assert (keras_home / 'models' / 'mobilenet_2_5_128_tf_no_top.h5').read_bytes() == content


def test_mobilenet_v2_takes_the_file_of_its_width_and_size(monkeypatch, served, keras_home, tmp_path):
    model = MobileNetV2((96, 96, 3), .35, include_top=False, weights=None)
    model.save_weights(tmp_path / 'weights.h5')
    name = 'mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5'
    address, md5 = served(name, (tmp_path / 'weights.h5').read_bytes())
    published(monkeypatch, 'mobilenetv2', address.replace('0.35_96', '{}_{}'), md5)
    fetched = MobileNetV2((96, 96, 3), .35, include_top=False)
    np.testing.assert_array_equal(fetched.get_weights()[0], model.get_weights()[0])
    assert (keras_home / 'models' / name).exists()


def test_other_sizes_take_the_weights_of_224_with_a_warning(monkeypatch, mobilenet, served, keras_home):
    address, md5 = served('mobilenet_2_5_224_tf_no_top.h5', mobilenet[1])
    published(monkeypatch, 'mobilenet', address.replace('2_5_224', '{}_{}'), md5)
    with pytest.warns(UserWarning, match=r'Weights for input shape \(224, 224\) will be loaded'):
        MobileNet((100, 100, 3), .25, include_top=False)


def test_without_a_network_the_file_its_address_hash_and_place_are_named(monkeypatch, keras_home):
    address = 'http://127.0.0.1:9/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5'
    published(monkeypatch, 'densenet121', address, '0' * 32)
    with pytest.raises(Exception, match=address) as error:
        DenseNet121(include_top=False)
    assert '0' * 32 in str(error.value) and str(keras_home / 'models') in str(error.value)
    assert not list(keras_home.glob('models/*'))


def test_a_wrong_hash_or_half_a_file_is_refused_and_not_kept(monkeypatch, mobilenet, served, keras_home):
    _, content = mobilenet
    _, md5 = served('whole.h5', content)
    address, _ = served('mobilenet_2_5_128_tf_no_top.h5', content[:len(content) // 2])
    published(monkeypatch, 'mobilenet', address.replace('2_5_128', '{}_{}'), md5)
    with pytest.raises(Exception, match='hash'):
        MobileNet(**SMALL)
    assert not list(keras_home.glob('models/*'))


def test_a_file_that_is_no_file_of_weights(tmp_path):
    path = tmp_path / 'weights.h5'
    path.write_bytes(b'<html>not found</html>')
    with pytest.raises(InvalidModelFile):
        MobileNet(**SMALL | {'weights': str(path)})


@pytest.mark.parametrize('kept, wanted, said', [
    ({'include_top': True}, {'include_top': False}, 'does not hold the weights of mobilenet without its top'),
    ({'include_top': False}, {'include_top': True}, 'does not hold the weights of mobilenet with its top for 1000'),
    ({'include_top': True, 'classes': 10}, {'include_top': True}, 'with its top for 1000 classes'),
    ({'include_top': True, 'alpha': .5}, {'include_top': True}, 'does not hold the weights of mobilenet'),
])
def test_files_of_another_variant_are_named(tmp_path, kept, wanted, said):
    common = {'input_shape': (128, 128, 3), 'alpha': .25}
    MobileNet(weights=None, **common | kept).save_weights(tmp_path / 'weights.h5')
    with pytest.raises(ValueError, match=said):
        MobileNet(weights=str(tmp_path / 'weights.h5'), **common | wanted)


def test_by_name_a_file_without_top_goes_into_a_full_network_and_the_reverse(tmp_path):
    without, full = MobileNet(weights=None, **SMALL), MobileNet((128, 128, 3), .25, weights=None)
    for source, target in ((without, full), (full, without)):
        source.set_weights([np.random.RandomState(i).rand(*w.shape) for i, w in enumerate(source.get_weights())])
        source.save_weights(tmp_path / 'weights.h5')
        top = [w.copy() for w in target.get_weights()[len(without.get_weights()):]]
        report = target.load_weights(tmp_path / 'weights.h5', by_name=True)
        assert not report.skipped and 'conv_pw_13' in report.loaded
        count = len(without.get_weights())
        for got, expected in zip(target.get_weights()[:count], source.get_weights()):
            np.testing.assert_array_equal(got, expected)
        for got, expected in zip(target.get_weights()[count:], top):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize('application, network', [(VGG16, lambda: VGG(2, 2, 3, 3, 3)),
                                                  (DenseNet121, lambda: DenseNet(6, 12, 24, 16))])
def test_networks_of_torchvision_give_equal_outputs(application, network):
    network = randomized(network())
    images = np.random.RandomState(0).uniform(0, 255, (1, 224, 224, 3)).astype('float32')
    images = imagenet_utils.preprocess_input(images, mode='torch')
    with torch.no_grad():
        expected = network(torch.as_tensor(images).permute(0, 3, 1, 2)).softmax(1).numpy()
    np.testing.assert_allclose(application(weights=network).predict(images), expected, rtol=1e-4, atol=1e-6)


def test_features_of_torchvision(monkeypatch):
    network = randomized(DenseNet(6, 12, 24, 16))
    models = type(sys)('torchvision.models')
    models.densenet121 = lambda weights: network
    monkeypatch.setitem(sys.modules, 'torchvision', type(sys)('torchvision'))
    sys.modules['torchvision'].models = models
    monkeypatch.setitem(sys.modules, 'torchvision.models', models)
    images = np.random.RandomState(0).standard_normal((1, 64, 64, 3)).astype('float32')
    model = DenseNet121(include_top=False, weights='torchvision')
    with torch.no_grad():
        expected = torch.relu(network.features(torch.as_tensor(images).permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
    np.testing.assert_allclose(model.predict(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('application, said', [(ResNet50, 'v1.5'), (InceptionV3, 'scales in its normalizations'),
                                               (MobileNetV2, 'both sides'), (Xception, 'has no xception')])
def test_other_networks_of_torchvision_are_refused(application, said):
    with pytest.raises(ValueError, match=said):
        application(weights='torchvision', include_top=False, pooling='avg')


@pytest.mark.filterwarnings('ignore:This model usually expects 1 or 3')
@pytest.mark.parametrize('application, arguments, said', [
    (VGG16, {'weights': 'imagenot'}, 'should be either'),
    (VGG16, {'classes': 10}, '`classes` should be 1000'),
    (VGG16, {'input_shape': (100, 100, 3)}, r'`input_shape` should be \(224, 224, 3\)'),
    (VGG16, {'weights': None, 'include_top': False, 'input_shape': (20, 40, 3)}, 'at least 32x32'),
    (InceptionV3, {'weights': None, 'include_top': False, 'input_shape': (74, 80, 3)}, 'at least 75x75'),
    (Xception, {'weights': None, 'include_top': False, 'input_shape': (70, 80, 3)}, 'at least 71x71'),
    (VGG16, {'include_top': False, 'input_shape': (224, 224, 4)}, 'must have 3 channels'),
    (VGG16, {'weights': None, 'input_shape': (224, 224)}, 'tuple of three integers'),
    (VGG16, {'weights': None, 'input_shape': (None, None, 3)}, 'static `input_shape`'),
    (VGG16, {'weights': None, 'include_top': False, 'pooling': 'mean'}, '`pooling` should be'),
    (NASNetMobile, {'input_shape': (None, None, 3)}, 'must be static'),
    (MobileNet, {'depth_multiplier': 2}, 'depth multiplier must be 1'),
    (MobileNet, {'alpha': .3}, 'alpha can be one of'),
    (MobileNetV2, {'alpha': .3}, 'alpha can be one of'),
])
def test_arguments_that_do_not_go_together(application, arguments, said):
    with pytest.raises(ValueError, match=said):
        application(**arguments)


def test_unknown_arguments_and_modules():
    with pytest.raises(TypeError, match="Invalid keyword argument: 'weigths'"):
        VGG16(weigths=None)
    with pytest.raises(ValueError, match='leave it out'):
        VGG16(weights=None, layers=torch)


def test_input_tensors(tmp_path):
    images = keras.layers.Input((32, 32, 3), name='images')
    scaled = keras.layers.Lambda(lambda x: x / 255.)(images)
    model = MobileNet(input_shape=(32, 32, 3), input_tensor=scaled, weights=None, include_top=False, pooling='max')
    assert model.inputs == [images] and model.output_shape == (None, 1024)
    model = MobileNetV2(input_tensor=keras.layers.Input((96, 96, 3)), weights=None)
    assert model.name == 'mobilenetv2_1.00_96'
    with pytest.raises(ValueError, match='do not meet the same shape'):
        MobileNetV2((128, 128, 3), input_tensor=keras.layers.Input((96, 96, 3)), weights=None)
    with pytest.raises(ValueError, match='rank|dim'):
        MobileNet(input_tensor=keras.layers.Input((32,)), weights=None, include_top=False)


def test_other_numbers_of_channels_are_warned_of():
    with pytest.warns(UserWarning, match='usually expects 1 or 3 input channels'):
        model = VGG16(weights=None, include_top=False, input_shape=(32, 32, 5))
    assert model.input_shape == (None, 32, 32, 5)
