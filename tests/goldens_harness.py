"""Runs one golden (what real Keras 2.2.4 computed for one model) through kfacade and compares every stage.

`python tests/goldens_harness.py [PATTERN...]` runs the goldens whose names hold one of the patterns (all by default)
and prints one line for each that misses.
"""
import contextlib
import functools
import gzip
import io
import json
import pathlib
import re
import sys
import tarfile
import tempfile
import warnings

import h5py
import numpy as np

import kfacade as keras
from kfacade import backend as K

FOLDER = pathlib.Path(__file__).parent / 'goldens'
EXACT = {'rtol': 0, 'atol': 0}

# What Keras keeps out of a configuration: the case was trained with this nested model frozen.
FROZEN = {'nested__frozen_inner_model': 'sequential_1'}
# A Sequential saved without its InputLayer does not know its input shape; it is built by hand here.
BUILD_BY_HAND = {'core__explicit_input_layer_sequential'}
# Warnings that Keras gives in these cases, too; but that it starts an optimizer anew it does not say.
KNOWN_WARNINGS = {
    'core__uncompiled_model': 'No training configuration found',
    'nested__frozen_inner_model': 'Error in loading the saved optimizer state',
    'weights__class_and_sample_weight': 'Found both `sample_weight` and `class_weight`',
    'fit__history_cw': 'Found both `sample_weight` and `class_weight`',
    **{f'optimizers__{name}': r"The saved state of the optimizer Nadam lacks \['m_schedule'\]"
       for name in ('nadam_default', 'nadam_betas_eps', 'nadam_clipvalue', 'constrained_nadam')},
    'optimizers__adagrad_lr_decay': r"The saved state of the optimizer Adagrad lacks \['iterations'\]",
    'legacy_keras1_real': '(Update your `|The `|`implementation=0` has|No training configuration|Error in loading)',
}
# What kfacade adds to files where Keras forgets it: attributes of the optimizer's group and of the file, and a key of
# training_config.
ADDED = {'/optimizer_weights': {'optimizer_numbers'}, '/': {'debias_steps'}}
UNCOMPARED = ('backend', 'weighted_metrics')


@functools.lru_cache(maxsize=2)
def _members(category):
    with tarfile.open(FOLDER / f'{category}.tar.xz') as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


class Golden:
    """One case: its line of the index (`spec`) and its files, read from the category's archive."""

    def __init__(self, spec):
        self.spec = spec
        self.name = spec['name']
        self.category, self.stem = self.name.split('__', 1)

    def read(self, suffix):
        """The bytes of the member with this suffix, or None when the case has none."""
        return _members(self.category).get(f'{self.stem}.{suffix}')

    def write(self, suffix, folder):
        """The path of a copy of that member in `folder`, or None."""
        content = self.read(suffix)
        if content is None:
            return None
        path = pathlib.Path(folder) / f'golden.{suffix}'
        path.write_bytes(content)
        return str(path)

    @functools.cached_property
    def arrays(self):
        with np.load(io.BytesIO(self.read('npz'))) as stored:
            return dict(stored)

    def numbered(self, prefix):
        """The arrays `prefix0, prefix1, ...` in order."""
        keys = [key for key in self.arrays if re.fullmatch(prefix + r'\d+', key)]
        return [self.arrays[key] for key in sorted(keys, key=lambda key: int(key[len(prefix):]))]

    def sample_weights(self, prefix, step=...):
        """Sample weights as Keras takes them: None, an array, or a list with None for the outputs that have none."""
        given = [self.arrays.get(f'{prefix}{i}') for i in range(self.spec['n_outputs'])]
        given = [None if array is None else array[step] for array in given]
        if all(array is None for array in given):
            return None
        return _one_or_list(given)

    def close(self, what, got, wanted, tolerance='train'):
        """Asserts that an array, or each of a list of arrays, agrees within the index's tolerance of this kind."""
        limits = self.spec['tolerances'][tolerance] if isinstance(tolerance, str) else tolerance
        if isinstance(wanted, list):
            got = got if isinstance(got, list) else [got]
            assert len(got) == len(wanted), f'{what}: {len(got)} arrays, Keras has {len(wanted)}'
            for i, (one, other) in enumerate(zip(got, wanted)):
                self.close(f'{what}[{i}]', one, other, limits)
            return
        got = np.asarray(got)
        assert got.shape == wanted.shape, f'{what}: shape {got.shape}, Keras has {wanted.shape}'
        np.testing.assert_allclose(got, wanted, **limits, err_msg=what)


def goldens():
    """Every case of the index, by name."""
    with open(FOLDER / 'index.json', encoding='utf-8') as file:
        return {spec['name']: Golden(spec) for spec in json.load(file)['cases']}


def run(golden, folder):
    """Runs every stage of a case, with files in `folder`; raises AssertionError at the first difference."""
    with _session(golden):
        _FORMS.get(golden.category, _ordinary)(golden, folder)


def trained(golden, folder):
    """The model of a case (any but the initializers) as Keras had it when it saved its files: trained, if it was."""
    with _session(golden):
        if golden.category in ('fit', 'legacy_keras1_real'):
            return keras.models.load_model(golden.write('h5', folder))
        model = _build(golden)
        if golden.category.startswith('legacy'):
            model.load_weights(golden.write('weights.h5', folder))
        elif golden.spec.get('compile'):
            _compile(golden, model)
            _train(golden, model, golden.spec['steps'], 'train_logs')
        return model


def compiled(golden):
    """The model of a case before it is trained, and the inputs, targets and weights of its first step."""
    with _session(golden):
        model = _build(golden)
        _compile(golden, model)
    inputs, targets = ([array[0] for array in golden.numbered(key)] for key in ('train_x', 'train_y'))
    return model, (inputs, targets, golden.sample_weights('train_sw', 0), _class_weight(
        golden.spec.get('class_weight')))


@contextlib.contextmanager
def _session(golden):
    """A fresh session, in which no warning passes but those that Keras gives too."""
    K.clear_session()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        known = KNOWN_WARNINGS.get(golden.name) or KNOWN_WARNINGS.get(golden.category)
        if known:
            warnings.filterwarnings('ignore', message=known)
        warnings.filterwarnings('ignore', message='RNN module weights')  # of cuDNN
        yield


def _ordinary(golden, folder):
    """Config, predict, train step by step, evaluate, predict, save; then load Keras' own file and train on."""
    if golden.read('yaml'):
        model = keras.models.model_from_yaml(golden.read('yaml').decode())
        _same_json('from_yaml', model.to_json(), golden.read('json').decode())
        K.clear_session()
    model = _build(golden)
    _check_before(golden, model)
    if golden.spec['compile']:
        _compile(golden, model)
        assert model.metrics_names == golden.spec['metrics_names']
        if 'eval_before' in golden.arrays:
            model.reset_states()
            golden.close('eval_before', _evaluate(golden, model, None), golden.arrays['eval_before'])
        if 'train_logs' in golden.arrays:
            _train(golden, model, golden.spec['steps'], 'train_logs')
        if 'eval' in golden.arrays:
            model.reset_states()
            golden.close('eval', _evaluate(golden, model, golden.sample_weights('sw')), golden.arrays['eval'])
    _check_predictions(golden, model, 'pred_after')
    if golden.numbered('wa'):
        golden.close('weights after training', model.get_weights(), golden.numbered('wa'))
    if golden.numbered('ow'):
        golden.close('optimizer weights', model.optimizer.get_weights(), golden.numbered('ow'))
    if golden.name in BUILD_BY_HAND:
        model.load_weights(golden.write('h5', folder))
        golden.close('weights of the file', model.get_weights(), golden.numbered('wa'), EXACT)
        return
    _check_files(golden, model, folder)
    _resume(golden, folder)


def _fit(golden, folder):
    """The History of a `fit` without shuffling, the weights and the predictions after it."""
    model = _build(golden)
    _compile(golden, model)
    arrays, options = golden.arrays, dict(golden.spec['fit_kwargs'])
    options['validation_data'] = (arrays['xv'], arrays['yv'])
    if 'sample_weight' in options:
        options['sample_weight'] = arrays['sw']
    if 'class_weight' in options:
        options['class_weight'] = _class_weight(options['class_weight'])
    if 'callbacks' in options:
        callbacks = keras.callbacks
        options['callbacks'] = [
            callbacks.ReduceLROnPlateau(monitor='val_loss', factor=.2, patience=1, min_delta=.05),
            callbacks.EarlyStopping(monitor='val_loss', patience=3, min_delta=.02)]
    history = model.fit(arrays['x'], arrays['y'], **options).history
    assert sorted(history) == golden.spec['history_keys']
    for key, values in history.items():
        golden.close(f'history of {key}', values, arrays[f'hist_{key}'])
    golden.close('weights after fit', model.get_weights(), golden.numbered('wa'))
    golden.close('pred_after', model.predict(arrays['x']), arrays['pred_after0'])
    loaded = keras.models.load_model(golden.write('h5', folder))
    golden.close('weights of the file', loaded.get_weights(), golden.numbered('wa'), EXACT)


def _application(golden, folder):
    """The layers, shapes and weight shapes of a published architecture, built from Keras' JSON."""
    model = _build(golden)
    wanted = json.loads(gzip.decompress(golden.read('weights.json.gz')))['layers']
    for layer, expected in zip(model.layers, wanted):
        weights = [[weight.name, list(K.int_shape(weight))] for weight in layer.weights]
        assert {'name': layer.name, 'class_name': type(layer).__name__, 'weights': weights,
                'output_shape': list(layer.output_shape)} == expected
    assert len(model.layers) == len(wanted)
    assert model.count_params() == golden.spec['count_params']


def _initializers(golden, folder):
    """Values of the initializers that do not draw from TensorFlow's random stream."""
    for key, spec in golden.spec['initializers'].items():
        initializer = keras.initializers.deserialize({'class_name': spec['class_name'], 'config': spec['config']})
        value, wanted = initializer(tuple(spec['shape'])), golden.arrays[key]
        value = value if isinstance(value, np.ndarray) else K.eval(value)
        if spec['class_name'] == 'Orthogonal':  # each singular vector has the sign that this LAPACK gives it
            value = value * np.sign((value * wanted).sum(axis=tuple(range(value.ndim - 1))))
        golden.close(key, value, wanted, 'pred')


def _foreign_weights(golden, folder):
    """A weights file in an older or another backend's layout, read into the model of the JSON."""
    model = _build(golden)
    model.load_weights(golden.write('weights.h5', folder))
    _check_foreign(golden, model)


def _keras1(golden, folder):
    """Model, weights and JSON files that Keras 1.2.2 wrote."""
    _check_foreign(golden, keras.models.load_model(golden.write('h5', folder)))
    K.clear_session()
    model = keras.models.model_from_json(golden.read('json').decode())
    model.load_weights(golden.write('weights.h5', folder))
    _check_foreign(golden, model)
    _same_json('to_json', model.to_json(), golden.read('keras2.json').decode())


_FORMS = {'fit': _fit, 'applications': _application, 'initializers': _initializers, 'legacy_keras1': _foreign_weights,
          'legacy_theano': _foreign_weights, 'legacy_cudnn': _foreign_weights, 'legacy_keras1_real': _keras1}


def _build(golden):
    model = keras.models.model_from_json(golden.read('json').decode())
    if golden.name in BUILD_BY_HAND:
        model.build((None,) + golden.arrays['x0'].shape[1:])
    if golden.name in FROZEN:
        model.get_layer(FROZEN[golden.name]).trainable = False
    if golden.category != 'applications' and not golden.category.startswith('legacy'):
        model.set_weights(golden.numbered('wb'))
    return model


def _compile(golden, model):
    spec = dict(golden.spec['compile'])
    optimizer = spec['optimizer']
    if spec.pop('optimizer_passed_as_string', False):
        spec['optimizer'] = optimizer['class_name'].lower()
    else:
        spec['optimizer'] = keras.optimizers.deserialize(optimizer)
    model.compile(**spec)
    config, wanted = model.optimizer.get_config(), optimizer['config']
    difference = _difference(sorted(config.items()), sorted(wanted.items()), 'optimizer config')
    assert difference is None, difference


def _check_before(golden, model):
    if golden.name not in BUILD_BY_HAND:
        _same_json('to_json', model.to_json(), golden.read('json').decode())
    if golden.name not in FROZEN:
        trained_last = golden.spec.get('model_weights_order')
        if trained_last:
            assert [weight.name for weight in model.weights] == trained_last
    _check_predictions(golden, model, 'pred_before', 'pred')


def _check_predictions(golden, model, key, tolerance='train'):
    wanted = golden.numbered(key)
    if not wanted:
        return
    model.reset_states()
    inputs, batch_size = _one_or_list(golden.numbered('x')), golden.spec['predict_batch_size']
    golden.close(key, model.predict(inputs, batch_size=batch_size), wanted, tolerance)
    again = golden.numbered(f'{key}_nostatereset')
    if again:
        golden.close(f'{key}, states kept', model.predict(inputs, batch_size=batch_size), again, tolerance)


def _check_foreign(golden, model):
    golden.close('weights of the file', model.get_weights(), golden.numbered('wb'), 'pred')
    predictions = model.predict(_one_or_list(golden.numbered('x')))
    golden.close('predictions', predictions, golden.numbered('pred_before'), 'pred')


def _evaluate(golden, model, sample_weight):
    return np.atleast_1d(model.evaluate(
        _one_or_list(golden.numbered('x')), _one_or_list(golden.numbered('y')), sample_weight=sample_weight,
        batch_size=golden.spec['eval_batch_size'], verbose=0))


def _train(golden, model, steps, key):
    model.reset_states()
    inputs, targets = golden.numbered('train_x'), golden.numbered('train_y')
    wanted = golden.arrays.get(key)
    for step in range(steps):
        logs = model.train_on_batch(
            _one_or_list([array[step] for array in inputs]), _one_or_list([array[step] for array in targets]),
            sample_weight=golden.sample_weights('train_sw', step),
            class_weight=_class_weight(golden.spec.get('class_weight')))
        golden.close(f'{key} of step {step}', np.atleast_1d(logs), wanted[step])


def _resume(golden, folder):
    """Keras' own file of the trained model: its weights, its predictions, training on from its optimizer's state."""
    path = golden.write('h5', folder)
    K.clear_session()
    model = keras.models.load_model(path)
    saved = golden.numbered('wa') or golden.numbered('wb')
    golden.close('weights of the file', model.get_weights(), saved, EXACT)
    _check_predictions(golden, model, 'pred_after')
    if 'resume_logs' in golden.arrays:
        assert model.metrics_names == golden.spec['resume_metrics_names']
        _train(golden, model, len(golden.arrays['resume_logs']), 'resume_logs')
        golden.close('weights after resuming', model.get_weights(), golden.numbered('wr'))
        _check_predictions(golden, model, 'pred_resume')
    path = golden.write('weights.h5', folder)
    if path:
        model.load_weights(path)
        golden.close('weights of the weights file', model.get_weights(), saved, EXACT)


def _check_files(golden, model, folder):
    """What kfacade saves has the same tree, names, types, attributes and configurations as the file of Keras."""
    ours, theirs = str(pathlib.Path(folder) / 'ours.h5'), golden.write('h5', folder)
    model.save(ours)
    with h5py.File(ours, 'r') as got, h5py.File(theirs, 'r') as wanted:
        _same_tree(golden, got, wanted)


def _same_tree(golden, got, wanted):
    kept = {*got.attrs} - ADDED.get(got.name, set())
    assert kept == {*wanted.attrs}, f'attributes of {wanted.name} in the file'
    for key, value in wanted.attrs.items():
        if key.endswith('_config'):
            _same_json(key, _text(got.attrs[key]), _text(value))
        else:
            assert _text(got.attrs[key]) == _text(value), f'attribute {key} of {wanted.name} in the file'
    if isinstance(wanted, h5py.Dataset):
        assert got.dtype == wanted.dtype, f'dtype of {wanted.name} in the file'
        golden.close(f'{wanted.name} in the file', got[()], wanted[()])
        return
    assert sorted(got) == sorted(wanted), f'members of {wanted.name} in the file'
    for key in wanted:
        _same_tree(golden, got[key], wanted[key])


def _text(value):
    if isinstance(value, np.ndarray):
        return [_text(item) for item in value.tolist()]
    return value.decode() if isinstance(value, bytes) else value


def _same_json(what, got, wanted):
    """The same document with keys in the same order, but for the backend's name and floats that were float32."""
    got, wanted = (json.loads(text, object_pairs_hook=lambda pairs: [(k, v) for k, v in pairs if k not in UNCOMPARED])
                   for text in (got, wanted))
    difference = _difference(got, wanted, what)
    assert difference is None, difference


def _difference(got, wanted, path):
    if isinstance(got, (list, tuple)) and isinstance(wanted, (list, tuple)) and len(got) == len(wanted):
        found = (_difference(one, other, f'{path}.{i}') for i, (one, other) in enumerate(zip(got, wanted)))
        return next(filter(None, found), None)
    if isinstance(got, float) and isinstance(wanted, float) and np.float32(got) == np.float32(wanted):
        return None
    return None if type(got) is type(wanted) and got == wanted else f'{path}: {got!r}, Keras has {wanted!r}'


def _class_weight(stored):
    """JSON's string keys back to class numbers."""
    if not isinstance(stored, dict):
        return stored
    return {int(key) if key.isdigit() else key: _class_weight(value) for key, value in stored.items()}


def _one_or_list(values):
    return values[0] if len(values) == 1 else values


def main(patterns):
    """Runs the cases that match and prints the misses; the exit code tells whether there were any."""
    misses, count = 0, 0
    for name, golden in goldens().items():
        if patterns and not any(pattern in name for pattern in patterns):
            continue
        count += 1
        with tempfile.TemporaryDirectory() as folder:
            try:
                run(golden, folder)
            except Exception as error:
                misses += 1
                lines = [line.strip() for line in f'{type(error).__name__}: {error}'.splitlines() if line.strip()]
                print(f'{name}: {" | ".join(lines)[:300]}')
    print(f'{count - misses} passed, {misses} failed')
    return 1 if misses else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
