"""State dicts: a model's own as .safetensors and .pt, and those of plain PyTorch models."""
import os
import pickle
import sys

import numpy as np
import pytest
import torch
from torch import nn

from kfacade import layers as L
from kfacade.models import Model, Sequential
from kfacade.saving import InvalidModelFile, load_torch_weights

X = np.random.RandomState(0).randn(2, 8, 12, 3).astype('float32')


class VGG(nn.Module):
    """Convolutions, then Linear layers on the image flattened with the channels first."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.classifier = nn.Sequential(nn.BatchNorm1d(36), nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 2))
        for tensor in self.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(.1, 1.)

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))

    def predict(self, x):
        with torch.no_grad():
            return self.eval()(torch.tensor(x).permute(0, 3, 1, 2)).numpy()


def convolutions(**arguments):
    return [L.Conv2D(4, 3, padding='same', name='first', **arguments), L.BatchNormalization(epsilon=1e-5, name='norm'),
            L.Activation('relu'), L.MaxPooling2D(),
            L.Conv2D(6, 3, padding='same', activation='relu', name='second'), L.MaxPooling2D()]


def classifier():
    return [L.Flatten(), L.Dropout(.5), L.BatchNormalization(epsilon=1e-5), L.Dense(5, activation='relu'), L.Dense(2)]


def vgg():
    return Sequential([*convolutions(input_shape=(8, 12, 3)), *classifier()])


def nested_vgg():
    """The base a model of its own, and so the layers after Flatten."""
    _, *rest = classifier()
    base = Sequential([*convolutions(input_shape=(8, 12, 3)), L.Flatten()])
    features = L.Input((36,))
    x = features
    for layer in rest:
        x = layer(x)
    return Sequential([base, Model(features, x)])


# ------------------------------------------------------------ plain PyTorch models

@pytest.mark.parametrize('make', [vgg, nested_vgg])
def test_vgg(make):
    module, model = VGG(), make()
    report = load_torch_weights(model, module.state_dict())
    assert len(report.loaded) == 16
    assert (report.unused, report.missing) == ([], [])
    np.testing.assert_allclose(model.predict(X), module.predict(X), rtol=1e-5)


def test_channels_last_flattened():
    """The same Linear layers, after the channels have been moved: then nothing is reordered."""
    module, model = VGG(), vgg()
    module.forward = lambda x: module.classifier(module.features(x).permute(0, 2, 3, 1).flatten(1))
    load_torch_weights(model, module.state_dict(), channels_first=False)
    np.testing.assert_allclose(model.predict(X), module.predict(X), rtol=1e-5)


def test_layers_of_every_kind():
    module = nn.Sequential(
        nn.Embedding(9, 4), nn.Linear(4, 6), nn.Unflatten(2, (6, 1)), nn.ConvTranspose2d(5, 2, (3, 1), stride=(2, 1)),
        nn.Conv2d(2, 6, (3, 1), groups=2, bias=False), nn.Conv2d(6, 3, 1)).eval()
    model = Sequential([
        L.Embedding(9, 4, input_length=5), L.Dense(6), L.Reshape((5, 6, 1)), L.Permute((2, 3, 1)),
        L.Conv2DTranspose(2, (3, 1), strides=(2, 1)), L.SeparableConv2D(3, (3, 1), depth_multiplier=3)])
    load_torch_weights(model, module.state_dict())
    x = np.random.randint(0, 9, (2, 5))
    with torch.no_grad():
        np.testing.assert_allclose(model.predict(x), module(torch.tensor(x)).permute(0, 2, 3, 1), rtol=1e-4, atol=1e-6)


def test_names():
    module, model = VGG(), vgg()
    before = model.get_layer('first').get_weights()
    report = load_torch_weights(model, module.state_dict(), {'features.4': 'second', 'features.1': 'norm'})
    assert report.loaded == ['features.4.weight', 'features.4.bias', *(
        f'features.1.{name}' for name in ('weight', 'bias', 'running_mean', 'running_var'))]
    assert len(report.unused) == len(report.missing) == 10
    assert report.missing[:2] == [weight.name for weight in model.get_layer('first').weights]
    kernel = model.get_layer('second').get_weights()[0]
    np.testing.assert_array_equal(kernel, module.features[4].weight.detach().permute(2, 3, 1, 0))
    np.testing.assert_array_equal(model.get_layer('first').get_weights()[0], before[0])


@pytest.mark.parametrize('change, names, message', [
    (lambda state: state.pop('features.0.bias'), None, 'holds 15 tensors .* the model 16 weights .* pass `names`'),
    (lambda state: state.update({'classifier.3.bias': torch.zeros(3)}), None,
     r'classifier.3.bias of shape \(3,\) does not fit dense.*bias:0 .* stores as \(2,\)'),
    (lambda state: None, {'features.0': 'none'}, 'no layer "none". It has "first"'),
    (lambda state: None, {'features.0': 'norm'}, 'holds 2 tensors of "features.0" .* "norm" has 4 weights'),
    (lambda state: None, {'feature': 'norm'}, 'holds 0 tensors of "feature"'),
])
def test_what_does_not_fit_changes_nothing(change, names, message):
    model, state = vgg(), VGG().state_dict()
    change(state)
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        load_torch_weights(model, state, names)
    for ours, theirs in zip(model.get_weights(), before):
        np.testing.assert_array_equal(ours, theirs)


def test_flattened_images_joined_with_other_features():
    image, extra = L.Input((2, 3, 4)), L.Input((2,))
    model = Model([image, extra], L.Dense(3)(L.concatenate([L.Flatten()(image), extra])))
    state = nn.Linear(26, 3).state_dict()
    with pytest.raises(ValueError, match='joins flattened images with other features'):
        load_torch_weights(model, state)
    load_torch_weights(model, state, channels_first=False)
    np.testing.assert_array_equal(model.get_weights()[0], state['weight'].T)


# ------------------------------------------------------------ files

def network():
    return Sequential([L.Conv2D(4, 3, input_shape=(8, 12, 3)), L.BatchNormalization(), L.Flatten(), L.Dense(2)])


@pytest.fixture(params=['.safetensors', '.pt'])
def path(request, tmp_path):
    if request.param == '.safetensors':
        pytest.importorskip('safetensors')
    return tmp_path / f'weights{request.param}'


def test_weights_come_back(path):
    model, other = network(), network()
    model.compile('sgd', 'mse')
    model.fit(X, np.zeros((2, 2)), verbose=0)
    model.save_weights(path)
    assert other.load_weights(path) is None
    for ours, theirs in zip(other.state_dict().values(), model.state_dict().values()):
        assert torch.equal(ours, theirs)
    assert other.layers[1].moving_mean.debias_steps == 1
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    assert os.listdir(path.parent) == [path.name]


def test_shared_layers(path):
    shared, x = L.Dense(3), L.Input((3,))
    model = Sequential([Model(x, shared(x)), Model(x, shared(x))])
    model.save_weights(path)
    before = model.get_weights()
    model.set_weights([weight * 0 for weight in before])
    model.load_weights(path)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_by_name(path):
    model = network()
    model.save_weights(path)
    other = Sequential([L.Conv2D(4, 3, input_shape=(8, 12, 3)), L.Flatten(), L.Dense(3)])
    with pytest.raises(ValueError, match=r'dense._params.kernel has shape \(3, 240\), .* shape \(2, 240\)'):
        other.load_weights(path, by_name=True)
    report = other.load_weights(path, by_name=True, skip_mismatch=True)
    assert report.loaded == ['conv2d._params.kernel', 'conv2d._params.bias']
    assert report.skipped == ['dense._params.kernel', 'dense._params.bias']
    np.testing.assert_array_equal(other.get_weights()[0], model.get_weights()[0])


def test_another_model_changes_nothing(path):
    network().save_weights(path)
    other = Sequential([L.Conv2D(4, 3, input_shape=(8, 12, 3)), L.Flatten(), L.Dense(2)])
    before = other.get_weights()
    with pytest.raises(ValueError, match='not of this model: 4 loaded; 5 not in the model.*load_torch_weights'):
        other.load_weights(path)
    np.testing.assert_array_equal(other.get_weights()[0], before[0])
    with pytest.raises(ValueError, match='`reshape` is for Keras files'):
        other.load_weights(path, reshape=True)


def test_failed_save_leaves_the_old_file(path, monkeypatch):
    model = network()
    model.save_weights(path)
    before = path.read_bytes()
    monkeypatch.setattr(os, 'replace', lambda *paths: (_ for _ in ()).throw(OSError('no space left')))
    with pytest.raises(OSError, match='no space left'):
        model.save_weights(path)
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]
    with pytest.raises(FileExistsError):
        model.save_weights(path, overwrite=False)


@pytest.mark.parametrize('content', [b'', b'nothing', pickle.dumps([1], 2),
                                     b'\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.'])
def test_files_of_something_else(path, content):
    path.write_bytes(content)
    with pytest.raises(InvalidModelFile, match='weights'):
        network().load_weights(path)


def test_pickled_objects_are_refused(tmp_path):
    for i, content in enumerate([{'model': 3}, [torch.zeros(1)], {'model': nn.Linear(1, 1)}]):
        torch.save(content, tmp_path / f'{i}.pt')
        with pytest.raises(InvalidModelFile):
            network().load_weights(tmp_path / f'{i}.pt')


def test_missing_file(path):
    with pytest.raises(FileNotFoundError):
        network().load_weights(path)


def test_without_the_package_safetensors(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    with pytest.raises(ImportError, match=r'kfacade\[safetensors\]'):
        network().save_weights(tmp_path / 'weights.safetensors')
