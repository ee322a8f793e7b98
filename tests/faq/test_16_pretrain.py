"""How can I use pre-trained models? With `keras.applications`.

Their weights are large files in the net: here the networks have weights of their own. `tests/applications` has the
numbers of all networks, and the files.
"""
import faq_harness as faq
import pytest

LOAD, = faq.blocks('pretrain')
MENDED = [("weights='imagenet'", 'weights=None')]  # nothing is fetched in tests


def test_vgg16():
    names = {}
    faq.run(LOAD, names, MENDED)
    model = names['model']
    assert model.name == 'vgg16' and len(model.layers) == 23 and model.count_params() == 138357544
    assert [layer.name for layer in model.layers[-4:]] == ['flatten', 'fc1', 'fc2', 'predictions']
    assert model.input_shape == (None, 224, 224, 3) and model.output_shape == (None, 1000)


@pytest.mark.parametrize('network, without_top, features', [
    ('VGG16', 14714688, 512), ('VGG19', 20024384, 512), ('ResNet50', 23587712, 2048), ('InceptionV3', 21802784, 2048)])
def test_features_of_each(network, without_top, features):
    names = {}
    *imports, _ = LOAD.strip().splitlines()
    faq.run('\n'.join(imports), names)
    model = names[network](weights=None, include_top=False, pooling='avg')
    assert model.count_params() == without_top and model.output_shape == (None, features)
