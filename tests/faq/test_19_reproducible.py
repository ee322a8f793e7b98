"""How can I obtain reproducible results? With the page's seeds, its lines on TensorFlow included."""
import os
import subprocess
import sys

import faq_harness as faq
import pytest

RECIPE, = faq.blocks('reproduce')
REST = """
import hashlib
from keras.layers import Dense, Dropout, GaussianNoise
from keras.models import Sequential

x, y = np.random.standard_normal((40, 6)), np.random.standard_normal((40, 2))
print(x[0, 0])
model = Sequential([Dense(16, input_shape=(6,), activation='relu'), Dropout(.3), GaussianNoise(.1), Dense(2)])
model.compile('adam', 'mse')
hist = model.fit(x, y, epochs=3, batch_size=8, validation_split=.2, verbose=0)
hashed = hashlib.sha256(b''.join(w.tobytes() for w in model.get_weights())).hexdigest()
print(hashed, hist.history, rn.random(), K.eval(K.random_uniform((2,))))
"""


@pytest.fixture
def run(tmp_path, request):
    def run(recipe):
        assert '# Rest of code follows ...' in recipe
        (tmp_path / 'script.py').write_text(recipe + REST)
        environment = {**os.environ, 'PYTHONPATH': str(request.config.rootpath)}
        process = subprocess.run([sys.executable, '-W', 'error', '-m', 'kfacade', 'script.py'], cwd=tmp_path,
                                 env=environment, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        return process.stdout
    return run


def test_two_processes_train_alike(run):
    first = run(RECIPE)
    assert len(first.split()[1]) == 64 and first == run(RECIPE)
    other = run(RECIPE.replace('set_random_seed(1234)', 'set_random_seed(1235)'))
    assert first.splitlines()[0] == other.splitlines()[0] == '0.4967141530112327'  # numpy's own, after its seed 42
    assert first.split()[1] != other.split()[1]


def test_one_process_trains_alike_run_after_run(run):
    """K.clear_session between them, as TensorFlow's graph would count on."""
    first, once, second, again = run(RECIPE + REST + '\nK.clear_session()\n' + RECIPE).splitlines()
    assert (first, once) == (second, again) and len(once.split()[0]) == 64
