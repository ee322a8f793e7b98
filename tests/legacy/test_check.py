"""`python -m kfacade check`: every gap by its line, and no false one."""
import json
import pathlib
import re
import subprocess
import sys

import pytest

from kfacade import examples
from kfacade.legacy.check import Script, main

HERE = pathlib.Path(__file__).parent
EXAMPLES = sorted(pathlib.Path(examples.__path__[0]).glob('*.py'))
GAPS = sorted((HERE / 'gaps').glob('*.py'))


def marked(text, mark):
    """Numbers of the lines that end in a comment."""
    return {i for i, line in enumerate(text.splitlines(), start=1) if line.endswith(f'# {mark}')}


def lines(found):
    return {line for line, _ in found}


@pytest.mark.parametrize('path', EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_have_all_they_take(path, capsys):
    assert main([str(path)]) == 0
    output = capsys.readouterr().out
    assert 'missing:' not in output and 'covered:' not in output
    assert path.stem in ('__init__', 'photographs') or re.search(r'keras\.\w+.*: here \(line \d', output)


@pytest.mark.parametrize('path', GAPS, ids=lambda path: path.stem)
def test_every_gap_is_found_by_its_line(path, capsys):
    text = path.read_text()
    assert main([str(path)]) == 1
    output = capsys.readouterr().out
    for title in ('missing', 'covered'):
        found = {int(line) for line in re.findall(rf'^{re.escape(str(path))}:(\d+): {title}: ', output, re.MULTILINE)}
        assert found == marked(text, title)


def test_there_are_ten_scripts_with_gaps():
    assert len(GAPS) == 10


def test_what_is_said_of_a_gap():
    script = Script('from keras import layers as L, backend as K\n'
                    'L.Dens(2, actvation="relu")\n'
                    'L.Dense(2, activaton="relu")\n'
                    'L.LayerNormalization()\n'
                    'import tensorflow.keras\n'
                    'L.Dense(2, activation="relo")')
    assert {line: why for (line, _), why in script.missing.items()} == {
        2: 'there is no keras.layers.Dens; is it Dense?',
        3: 'it has no argument activaton; is it activation?',
        4: 'there is no keras.layers.LayerNormalization; it is a layer of tf.keras or Keras 3',
        5: 'there is no tensorflow.keras; kfacade is Keras 2.2.4, not tf.keras. Write `from keras...`, or run with '
           '--tensorflow-keras, which lets tensorflow.keras mean kfacade.',
        6: "kfacade.activations has no 'relo'; is it relu?"}
    assert script.names == {'keras.layers': {1}, 'keras.backend': {1}, 'keras.layers.Dens': {2}, 'keras.layers.Dense':
                            {3, 6}, 'keras.layers.LayerNormalization': {4}, 'tensorflow.keras': {5}}


def test_what_differs_in_numbers():
    script = Script('import tensorflow as tf\n'
                    'from keras import backend as K\n'
                    'from keras.layers import Dense, Dropout\n'
                    'x = K.random_normal((2,))\n'
                    'tf.set_random_seed(2)\n'
                    'model.optimizer.lr = .1\n')
    assert not script.missing and lines(script.differing) == {3, 4, 5, 6}
    assert "numpy's seed" in script.differing[3, 'keras.layers.Dropout']


def test_tensorflow_keras_and_the_real_tensorflow():
    text = (HERE / 'gaps' / 'tf_keras.py').read_text() + 'y = tf.keras.layers.LayerNormalization()\ntf.not_there\n'
    script = Script(text, tensorflow_keras=True)
    assert {name for _, name in script.missing} == {'tensorflow.keras.layers.LayerNormalization',
                                                    'tensorflow.not_there'}
    assert 'reset_after' in script.differing[4, 'tensorflow.keras.layers.Dense']
    assert not Script(text, tensorflow='real').missing
    condition = 'from keras import backend as K\nif K.backend() == {!r}:\n    K.not_there\n'
    assert lines(Script(condition.format('torch')).covered) == {3}
    assert lines(Script(condition.format('torch'), tensorflow='real').missing) == {3}


def test_names_of_keras_are_not_gaps():
    names = json.loads((HERE / 'keras_names.json').read_text())  # all that the real Keras exports
    text = '\n'.join(f'from keras{"." * bool(room)}{room} import {", ".join(names[room].split())}'
                     for room in names if names[room])
    assert Script(text).missing == {}


def test_strings_may_mean_what_a_script_says_they_mean():
    text = 'from keras.layers import Activation\nActivation("mine")\n'
    assert lines(Script(text).missing) == {2}
    assert not Script('from keras.utils import get_custom_objects\n' + text).missing


def test_nothing_of_the_script_runs_and_bad_files_are_told(tmp_path, capsys):
    script = tmp_path / 'script.py'
    script.write_text('import keras, missing_package\nraise SystemExit(7)\nif 9 ** 9 ** 9 ** 9:\n    keras.no\n')
    run = subprocess.run([sys.executable, '-W', 'error', '-m', 'kfacade', 'check', str(script)], text=True,
                         capture_output=True, timeout=60)
    assert run.returncode == 1 and f'{script}:4: missing: keras.no: there is no keras.no' in run.stdout
    script.write_text('x = 1\nprint "Python 2"\n')
    assert main([str(script)]) == 1
    assert f'{script}:2: missing: Python 3 cannot read this' in capsys.readouterr().out
    with pytest.raises(SystemExit) as error:
        main([str(tmp_path / 'none.py')])
    assert error.value.code == 2 and 'none.py' in capsys.readouterr().err
