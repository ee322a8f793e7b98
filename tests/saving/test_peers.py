"""Files that kfacade writes, read by another Keras: the same predictions and the same state of the optimizer.

The peer is tf_keras where it is installed; KFACADE_PEER_PYTHON and KFACADE_PEER (keras or tf_keras) choose that of
another interpreter, Keras 2.2.4 itself for one. For every golden's architecture, what the peer makes of our files has
to be what kfacade computes. Where it is not, a row of MISSES says why, and the file of Keras 2.2.4 has to miss too.
"""
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from goldens_harness import goldens, trained

from kfacade import backend as K

MODULE = os.environ.get('KFACADE_PEER', 'tf_keras')
PYTHON = os.environ.get('KFACADE_PEER_PYTHON', sys.executable)
CASES = {name: golden for name, golden in goldens().items()  # of the applications, the small one
         if golden.category != 'initializers' and golden.spec.get('count_params', 0) < 3e6}
CHECKS = ['model.h5', 'model.h5 training', 'weights.h5', 'weights.h5 config', 'model.yaml config']
READ, WITHOUT_CONFIG = r'model\.h5|weights\.h5( config)?', r'model\.h5|weights\.h5'
EVERY = r'(model|weights)\.h5( training)?'
FROZEN = 'model.h5 training', 'nested__frozen_inner_model', 1, 'files do not say that a nested model is frozen'

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.skipif(
    PYTHON == sys.executable and not importlib.util.find_spec(MODULE), reason=f'{MODULE} is not installed')]

# What a peer makes of some files of Keras 2.2.4, ours and Keras' own alike. A row: the checks, what the cases or their
# messages say (both patterns), the number of cases, and why.
MISSES = {
    ('keras', '2'): [
        FROZEN,
        ('.*', 'nested__sequential_in_model_in_sequential', 1, 'mixes up the weights of a model nested twice'),
    ],
    ('tf_keras', '2'): [
        FROZEN,
        (READ, "Unknown layer: 'Highway'", 1, 'has no Highway and no MaxoutDense'),
        ('model.h5 training', "Unknown layer: 'Highway'", 1, 'has no Highway and no MaxoutDense'),
        (READ, 'spatial__upsampling2d_bilinear', 2, 'places the centres of pixels as TensorFlow 2'),
        (READ, 'masking__leading_mask_initial', 1, 'has other outputs before the first step that is not masked'),
        (READ, 'wrappers__bidir_stateful', 1, 'a Bidirectional drops its states after each batch'),
        ('model.h5 training', "Unknown (loss|metric) function: 'cosine", 3, 'has no cosine of Keras 2.2.4'),
        ('model.h5 training', r"SGD.*'momentum': 0\.0.* arrays, not", 64, 'has moments only where there is momentum'),
        ('model.h5 training', 'Nadam.* arrays, not', 4, 'keeps its momentum schedule too, which 2.2.4 does not save'),
    ],
    ('keras', '3'): [
        ('weights.h5 config', "not locate class '(Model|Sequential)'", 387, 'JSON has to name the modules of classes'),
        ('model.h5 training', "not recognized: {'lr'", 239, 'optimizers take learning_rate alone'),
        ('model.h5 training', ': Sequential,', 113, 'the row after this'),
        (WITHOUT_CONFIG, ': Sequential,', 185, 'takes batch_input_shape for a shape without the batch'),
        (EVERY, 'Could not locate class', 22, 'layers in wrappers, and cells, have to name their modules'),
        (EVERY, 'Unknown layer', 4, 'has no LocallyConnected and no ThresholdedReLU'),
        (EVERY, 'loops or disconnected nodes', 2, 'counts the calls of a nested model from 0, not from 1'),
        (EVERY, r'expects 1 input\(s\), but', 3, 'finds no states among the inputs of a recurrent layer'),
        (EVERY, 'cannot contain character `/`', 1, 'allows no such names'),
        (EVERY, 'unexpected keyword argument .trainable', 1, 'does not take `trainable` there'),
        (WITHOUT_CONFIG, 'masking__masks_concat_axis1', 1, 'gives operations of masks the names of layers'),
        (WITHOUT_CONFIG, 'spatial__upsampling2d_bilinear', 1, 'places the centres of pixels as TensorFlow 2'),
        (WITHOUT_CONFIG, 'Differs', 23, 'hard_sigmoid has another slope'),
    ],
}


def written(golden, folder):
    """Writes kfacade's files of a case; returns the predictions and optimizer's arrays that they stand for."""
    folder.mkdir(parents=True)
    model = trained(golden, folder)
    model.save(folder / 'model.h5')
    model.save_weights(folder / 'weights.h5')
    (folder / 'model.json').write_text(model.to_json())
    (folder / 'model.yaml').write_text(model.to_yaml())
    if golden.category == 'applications':
        inputs = [np.random.RandomState(0).rand(1, *(size or 96 for size in model.input_shape[1:])).astype('float32')]
    else:
        inputs = golden.numbered('x') or [golden.arrays['x']]
    batch_size = golden.spec.get('predict_batch_size', 32)
    np.savez(folder / 'inputs.npz', batch_size=batch_size, **{f'x{i}': array for i, array in enumerate(inputs)})
    model.reset_states()
    predictions = model.predict(inputs if len(inputs) > 1 else inputs[0], batch_size=batch_size)
    optimizer = model.optimizer
    return {'about': f'{golden.name}: {type(model).__name__}, {type(optimizer).__name__}'
                     f'({optimizer.get_config() if optimizer else ""})',
            'p': predictions if isinstance(predictions, list) else [predictions],
            'o': as_read(optimizer) if optimizer else []}


def as_read(optimizer):
    """The optimizer's arrays as the peer has them after it read them."""
    arrays, kind = optimizer.get_weights(), type(optimizer).__name__
    if MODULE == 'keras' or not arrays:
        return arrays
    if kind == 'Adam' and not optimizer.amsgrad:
        return arrays[:1 + 2 * (len(arrays) // 3)]  # without the empty third slots
    if kind in ('RMSprop', 'Adagrad', 'Adadelta'):
        return [np.int64(0), *arrays]  # with the iterations that Keras 2.2.4 did not save
    return arrays


def copied(golden, source, folder):
    """Keras' own files of a case, in the place of ours."""
    folder.mkdir(parents=True)
    (folder / 'inputs.npz').write_bytes((source / 'inputs.npz').read_bytes())
    for name, suffix in {'model.h5': 'h5', 'weights.h5': 'h5', 'model.json': 'json', 'model.yaml': 'yaml'}.items():
        if golden.read(suffix):
            (folder / name).write_bytes(golden.read(suffix))


def read_by_peer(folder):
    """Has the peer read all files in ``folder``; returns its report."""
    worker = pathlib.Path(__file__).with_name('peer_worker.py')
    ended = subprocess.run([PYTHON, worker, MODULE, folder], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads((folder / 'report.json').read_text())


def missed(folder, wanted, report, kind):
    """``{check: {case: message}}`` of what the peer could not read or made something else of."""
    found = {check: {} for check in CHECKS}
    for case, arrays in wanted.items():
        for check in CHECKS:
            name, _, part = check.partition(' ')
            path, key = folder / case / name, 'o' if part == 'training' else 'p'
            if not path.exists() or name not in report['names']:
                continue
            failures = report['failures']
            message = part and failures.get(f'{path} {part}') or failures.get(str(path))
            message = message or difference(CASES[case], f'{path}.npz', key, arrays[key], kind)
            if message:
                found[check][case] = f'{arrays["about"]}: {message}'
    return found


def difference(golden, path, key, wanted, kind):
    """How the arrays of the peer differ from those of kfacade, or None."""
    with np.load(path) as stored:
        got = [stored[name] for name in sorted(stored.files) if name.startswith(key)]
    if len(got) != len(wanted):
        return f'{len(got)} arrays, not {len(wanted)}'
    limits = golden.spec['tolerances'].get(kind, {'rtol': 1e-4, 'atol': 1e-5})
    try:
        for one, other in zip(got, wanted):
            np.testing.assert_allclose(one, other, **limits)
    except AssertionError as error:
        return f'Differs: {error}'
    return None


@pytest.fixture(scope='module')
def ours(tmp_path_factory):
    folder, wanted = tmp_path_factory.mktemp('ours'), {}
    for case, golden in CASES.items():
        wanted[case] = written(golden, folder / case)
    K.clear_session()
    report = read_by_peer(folder)
    return folder, wanted, report, missed(folder, wanted, report, 'pred')


@pytest.mark.parametrize('check', CHECKS)
def test_peer_computes_the_same(ours, check):
    _, wanted, report, misses = ours
    left = misses[check]
    for checks, pattern, count, _ in MISSES[MODULE, report['version'][0]]:
        if re.fullmatch(checks, check):
            explained = {case for case, message in left.items() if re.search(pattern, message)}
            assert len(explained) == count, f'{pattern}: {sorted(explained)}'
            left = {case: message for case, message in left.items() if case not in explained}
    assert not left


def test_peer_misses_keras_own_files_alike(ours, tmp_path):
    folder, wanted, _, misses = ours
    cases = {case for found in misses.values() for case in found if CASES[case].read('h5')}
    for case in cases:
        copied(CASES[case], folder / case, tmp_path / case)
    theirs = missed(tmp_path, {case: wanted[case] for case in cases}, read_by_peer(tmp_path), 'train')
    better = {check: sorted((found.keys() & cases) - theirs[check].keys()) for check, found in misses.items()}
    assert not any(better.values()), better
