"""The examples run, at a reduced size, and learn something."""
import os
import re
import subprocess
import sys

import pytest


def numbers(output, *labels):
    """The number that follows each label in the output."""
    return [float(re.search(re.escape(label) + r':? +(-?[\d.]+)', output)[1]) for label in labels]


@pytest.fixture
def run(tmp_path, request):
    """Runs an example, shortened to `share`, and gives its output."""
    environment = {**os.environ, 'PYTHONPATH': str(request.config.rootpath), 'OMP_NUM_THREADS': '1'}

    def run(name, share):
        command = [sys.executable, '-W', 'error', '-m', 'kfacade', '-m', f'kfacade.examples.{name}', str(share)]
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


@pytest.mark.slow
@pytest.mark.parametrize('name, label, least', [
    ('text_classification', 'Test accuracy', .97), ('augmentation', 'images augmented', .93),
    ('sums', 'Right answers to new questions', .9), ('vae', 'the same digit', .6), ('siamese', 'Pairs told apart', .9)])
def test_examples_at_full_size(run, name, label, least):
    assert numbers(run(name, 1), label)[0] > least


@pytest.mark.slow
def test_stateful_network_learns_what_a_stateless_one_cannot(run):
    stateless, stateful = numbers(run('stateful_lstm', 1), 'Mean squared error, stateless',
                                  'Mean squared error, stateful')
    assert stateful < .5 * stateless
