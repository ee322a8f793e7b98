"""The examples run, at a reduced size, and learn something."""
import os
import re
import subprocess
import sys

import numpy as np
import pytest


def numbers(output, *labels):
    """The number that follows each label in the output."""
    return [float(re.search(re.escape(label) + r':? +(-?[\d.]+)', output)[1]) for label in labels]


@pytest.fixture
def run(tmp_path, request):
    """Runs an example, shortened to `share`, and gives its output."""
    environment = {**os.environ, 'PYTHONPATH': str(request.config.rootpath), 'OMP_NUM_THREADS': '1'}

    def run(name, share, *options):
        command = [sys.executable, '-W', 'error', '-m', 'kfacade', '-m', f'kfacade.examples.{name}', str(share),
                   *options]
        return subprocess.check_output(command, cwd=tmp_path, text=True, env=environment)
    return run


def test_text_classification(run):
    output = run('text_classification', .25)
    accuracy, = numbers(output, 'Test accuracy')
    assert accuracy > .7 and 'the plot was not good' in output


def test_stateful_lstm(run):
    variance, stateless, stateful = numbers(run('stateful_lstm', .2), 'Variance of the targets',
                                            'Mean squared error, stateless', 'Mean squared error, stateful')
    assert stateful < 1.2 * variance and stateless < 1.2 * variance


def test_augmentation(run):
    for package in ('sklearn', 'PIL', 'scipy'):
        pytest.importorskip(package)
    plain, augmented = numbers(run('augmentation', .1), 'images as they are', 'images augmented')
    assert plain > .5 and augmented > .4


def test_sums(run):
    output = run('sums', .02)
    assert 0 <= numbers(output, 'Right answers to new questions')[0] <= 1
    losses = [float(loss) for loss in re.findall(r' - loss: ([\d.]+)', output)]
    assert losses[0] < 2.49  # ln 12: what guessing gives


def test_vae(run):
    pytest.importorskip('sklearn')
    output = run('vae', .06)
    assert numbers(output, 'the same digit')[0] > .2
    losses = [float(loss) for loss in re.findall(r' - loss: ([\d.]+)', output)]
    assert losses[-1] < .9 * losses[0]


def test_siamese(run):
    pytest.importorskip('sklearn')
    assert numbers(run('siamese', .2), 'Pairs told apart')[0] > .75


def test_fine_tune(run, tmp_path):
    pytest.importorskip('sklearn')
    output = run('fine_tune', .2)
    top, tuned = numbers(output, 'Accuracy with a new top', 'Accuracy after fine-tuning')
    assert top > .5 and tuned > .75
    assert numbers(output, 'Frozen weights moved by', 'Weights below it moved by') == [0, 0]
    assert numbers(output, 'Weights of the last block moved by')[0] > .001
    assert numbers(output, 'Predictions of the loaded network differ by') == [0]
    assert (tmp_path / 'fine_tuned.h5').exists()


def picture(path):
    """Height and width of a picture that is not of one colour."""
    image = np.asarray(pytest.importorskip('PIL.Image').open(path))
    assert image.std() > 10
    return image.shape[:2]


def test_bottleneck_features(run, tmp_path):
    pytest.importorskip('sklearn')
    top, joined = numbers(run('bottleneck_features', .4), 'of the top on features', 'of both on images')
    assert top > .6 and joined == top
    assert picture(tmp_path / 'bottleneck_features.png') == (640, 640)


def test_grad_cam(run, tmp_path):
    pytest.importorskip('sklearn')
    found, heat = numbers(run('grad_cam', .5), 'Digits found', 'the digit (a quarter by chance)')
    assert found > .4 and heat > .5
    assert picture(tmp_path / 'grad_cam.png') == (4 * 132, 3 * (3 * 128 + 4))


def test_filters(run, tmp_path):
    pytest.importorskip('sklearn')
    assert numbers(run('filters', .1), 'Filters whose answer rises') == [36]
    assert picture(tmp_path / 'filters.png') == (4 * 68, 9 * 68)


def test_deep_dream(run, tmp_path):
    pytest.importorskip('sklearn')
    losses = re.findall(r'loss from ([\d.]+) to ([\d.]+)', run('deep_dream', .16))
    assert len(losses) == 3 and all(float(last) > 1.05 * float(first) for first, last in losses)
    assert picture(tmp_path / 'deep_dream.png') == (42, 128)


def test_style_transfer(run, tmp_path):
    pytest.importorskip('sklearn')
    losses = re.findall(r'loss ([\d.]+) \(at first ([\d.]+)\)', run('style_transfer', .2))
    assert len(losses) == 2 and float(losses[-1][0]) < .3 * float(losses[-1][1])
    assert picture(tmp_path / 'style_transfer.png') == (42, 192)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['fine_tune', 'bottleneck_features', 'filters', 'deep_dream', 'style_transfer',
                                  'grad_cam'])
def test_examples_with_vgg16(run, tmp_path, name):
    """The file here has the layout of Keras' file, and random weights."""
    pytest.importorskip('sklearn')
    from kfacade.applications.vgg16 import VGG16
    VGG16(weights=None, include_top=name == 'grad_cam', input_shape=(224, 224, 3)).save_weights(tmp_path / 'vgg16.h5')
    output = run(name, .02, '--vgg16', str(tmp_path / 'vgg16.h5'))
    if name == 'fine_tune':
        assert numbers(output, 'Frozen weights moved by', 'Weights below it moved by') == [0, 0]
    else:
        assert picture(tmp_path / f'{name}.png')


@pytest.mark.slow
@pytest.mark.parametrize('name, label, least', [
    ('text_classification', 'Test accuracy', .97), ('augmentation', 'images augmented', .93),
    ('sums', 'Right answers to new questions', .9), ('vae', 'the same digit', .6), ('siamese', 'Pairs told apart', .9),
    ('fine_tune', 'after fine-tuning', .88), ('bottleneck_features', 'of both on images', .85),
    ('grad_cam', 'the digit (a quarter by chance)', .75)])
def test_examples_at_full_size(run, name, label, least):
    assert numbers(run(name, 1), label)[0] > least


@pytest.mark.slow
def test_stateful_network_learns_what_a_stateless_one_cannot(run):
    stateless, stateful = numbers(run('stateful_lstm', 1), 'Mean squared error, stateless',
                                  'Mean squared error, stateful')
    assert stateful < .5 * stateless
