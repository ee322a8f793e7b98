"""A run that was broken off goes on as if it had not been."""
import json
import os
import random
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch

import kfacade.backend as K
from kfacade import optimizers
from kfacade.callbacks import (
    BackupAndRestore,
    Callback,
    EarlyStopping,
    LambdaCallback,
    ReduceLROnPlateau,
)
from kfacade.layers import GRU, BatchNormalization, Dense, Dropout, GaussianNoise, Input, Lambda
from kfacade.models import Model, Sequential
from kfacade.utils import Sequence, set_random_seed

X = np.random.RandomState(0).normal(size=(40, 5, 3)).astype('float32')
Y = X.sum((1, 2))[:, None]


def model(optimizer='nadam'):
    x = Input(batch_shape=(8, 5, 3))
    h = Dropout(.3)(GRU(6, stateful=True)(GaussianNoise(.1)(x)))
    h = Lambda(lambda t: t + .01 * K.random_normal(K.shape(t)))(BatchNormalization()(h))
    model = Model(x, Dense(1)(h))
    model.compile(optimizer, 'mse', metrics=['mae'])
    return model


class Drawing(Callback):
    """Draws from all generators, and holds what cannot be kept, too."""

    def __init__(self):
        super().__init__()
        self.drawn, self.function, self.pair = [], print, (1, {'a': np.float32(2)})

    def on_epoch_end(self, epoch, logs=None):
        self.drawn.append(np.array([random.random(), np.random.rand(), torch.rand(1).item()]))
        self.pair = (epoch, {'a': np.float32(epoch)})
        logs['drawn'] = self.drawn[-1].sum()


def callbacks(path, stop=None, monitor='val_loss'):
    """The callbacks of a run that is broken off after the update of epoch `stop`."""
    def on_epoch_end(epoch, logs):
        if epoch == stop:
            raise KeyboardInterrupt
    return [BackupAndRestore(path), Drawing(), ReduceLROnPlateau('loss', patience=1, factor=.7, min_delta=1.),
            EarlyStopping(monitor, patience=4, restore_best_weights=True), LambdaCallback(on_epoch_end=on_epoch_end)]


def fit(model, path, stop=None, **options):
    options = {'batch_size': 8, 'epochs': 7, 'verbose': 0, 'validation_data': (X[:8], Y[:8]), **options}
    done = callbacks(path, stop)
    history = model.fit(X, Y, callbacks=done, **options)
    return history.epoch, history.history, model.get_weights(), np.random.rand(), done[1].drawn, done[1].pair


@pytest.mark.parametrize('options', [{}, {'shuffle': 'batch'}, {'shuffle': False}, {'epochs': 60}])
@pytest.mark.parametrize('optimizer', [
    lambda: optimizers.Nadam(.05), lambda: optimizers.SGD(.01, momentum=.9, decay=.1),
    lambda: lambda parameters: torch.optim.AdamW(parameters, lr=.01)])
def test_goes_on_after_an_interruption(tmp_path, optimizer, options):
    path = str(tmp_path / 'folder' / 'backup')
    whole, broken = seeded(optimizer), seeded(optimizer)
    set_random_seed(4)
    expected = fit(whole, path, **options)
    assert not os.path.exists(path)
    set_random_seed(4)
    for stop in (2, 4):
        with pytest.raises(KeyboardInterrupt):
            fit(broken, path, stop, **options)
        broken.set_weights([0 * w for w in broken.get_weights()])
        broken.reset_states()
        set_random_seed(5)
    actual = fit(broken, path, **options)
    np.testing.assert_equal(actual, expected)
    assert len(actual[0]) > 5 and os.listdir(tmp_path / 'folder') == []


def seeded(optimizer):
    set_random_seed(3)
    return model(optimizer())


class Batches(Sequence):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return X[8 * index:8 * index + 8], Y[8 * index:8 * index + 8]


@pytest.mark.parametrize('train', [
    lambda model, **options: model.fit_generator(Batches(), shuffle=False, **options),
    lambda model, **options: model.fit(torch.utils.data.TensorDataset(*map(torch.from_numpy, (X, Y))), batch_size=8,
                                       **options)])
def test_other_sources_of_batches(tmp_path, train):
    def fit(stop=None):
        done = callbacks(tmp_path / 'backup', stop, 'loss')
        return train(trained, epochs=6, verbose=0, callbacks=done).history

    trained = seeded(optimizers.Adam)
    set_random_seed(4)
    expected = fit()
    trained = seeded(optimizers.Adam)
    set_random_seed(4)
    with pytest.raises(KeyboardInterrupt):
        fit(stop=3)
    set_random_seed(5)
    np.testing.assert_equal(fit(), expected)


SCRIPT = """
    import json, sys, time
    import numpy as np
    import keras
    from keras.callbacks import BackupAndRestore, LambdaCallback, ModelCheckpoint
    from keras.layers import Dense, Dropout
    from keras.models import Sequential

    keras.utils.set_random_seed(3)
    x = np.random.normal(size=(40, 4))
    model = Sequential([Dense(8, activation='relu', input_shape=(4,)), Dropout(.5), Dense(1)])
    model.compile('adam', 'mse')
    def slowly(epoch, logs):
        print(epoch, flush=True)
        time.sleep(.05)
    history = model.fit(x, x[:, :1], batch_size=8, epochs=20, verbose=0, validation_split=.2, callbacks=[
        BackupAndRestore('backup'), ModelCheckpoint('best.h5', save_best_only=True),
        LambdaCallback(on_epoch_end=slowly)])
    print('history', json.dumps([history.epoch, {k: list(map(float, v)) for k, v in history.history.items()},
                                 [w.tolist() for w in model.get_weights()], np.random.rand()]))
"""


def test_killed_process_goes_on(tmp_path, request):
    environment = {**os.environ, 'PYTHONPATH': str(request.config.rootpath), 'OMP_NUM_THREADS': '1'}
    environment.pop('KERAS_HOME', None)

    def start(folder, kill_after=None):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / 'train.py').write_text(textwrap.dedent(SCRIPT))
        process = subprocess.Popen([sys.executable, '-m', 'kfacade', 'train.py'], cwd=tmp_path / folder, text=True,
                                   env=environment, stdout=subprocess.PIPE)
        lines = []
        with process:
            for line in process.stdout:
                lines.append(line.rstrip())
                if len(lines) == kill_after:
                    time.sleep(random.random() * .1)
                    process.kill()
                    break
        return lines
    expected = start('whole')
    first = start('broken', 4)
    second = start('broken', 5)
    rest = start('broken')
    assert first[0] == expected[0] == '0' and 3 <= int(second[0]) <= 6 and 7 <= int(rest[0]) <= 12
    assert rest[-1] == expected[-1] and json.loads(rest[-1].split(' ', 1)[1])[0] == list(range(20))
    assert not (tmp_path / 'broken' / 'backup').exists()
    whole, broken = ((tmp_path / folder / 'best.h5').read_bytes() for folder in ('whole', 'broken'))
    assert len(whole) == len(broken)


@pytest.mark.parametrize('content', [b'', b'anything', b'\x89HDF\r\n'])
def test_file_that_is_no_backup(tmp_path, content):
    (tmp_path / 'backup').write_bytes(content)
    with pytest.raises(ValueError, match='backup is no backup of a training run. Remove it'):
        fit(model(), tmp_path / 'backup')
    assert (tmp_path / 'backup').read_bytes() == content


def test_backup_runs_no_code(tmp_path):
    torch.save({'variables': Trap()}, tmp_path / 'backup')
    with pytest.raises(ValueError, match='is no backup'):
        fit(model(), tmp_path / 'backup')


class Trap:
    def __reduce__(self):
        return pytest.fail, ('code was run',)


def small(units, optimizer='adam', samples=10, path=None, stop=None):
    model = Sequential([Dense(units, input_shape=(3,)), Dense(1)])
    model.compile(optimizer, 'mse')
    model.fit(X[:samples, 0], Y[:samples], verbose=0, epochs=3, callbacks=callbacks(path, stop, 'loss'))


@pytest.mark.parametrize('other', [{'units': 5}, {'optimizer': 'sgd'}, {'samples': 20}])
def test_backup_of_another_run(tmp_path, other):
    arguments = {'units': 4, 'path': tmp_path / 'backup'}
    with pytest.raises(KeyboardInterrupt):
        small(**arguments, stop=1)
    with pytest.raises(ValueError, match='backup of a run with another model, optimizer or data'):
        small(**{**arguments, **other})
