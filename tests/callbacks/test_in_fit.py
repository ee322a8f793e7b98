"""What `fit` tells its callbacks and prints, against a run of Keras 2.2.4 on the same numbers."""
import time

import numpy as np
import pytest

from kfacade.callbacks import Callback
from kfacade.layers import Dense
from kfacade.models import Sequential

X = np.arange(20.).reshape(10, 2) / 10
Y = X[:, :1] - X[:, 1:] * 2


def model():
    net = Sequential([Dense(1, input_shape=(2,))])
    net.compile('sgd', 'mse', metrics=['mae'])
    net.set_weights([np.array([[.5], [-.25]]), np.zeros(1)])
    return net


class Diary(Callback):
    """Writes down all that it is told; each batch takes 0.04 s on its clock."""

    def __init__(self, now):
        super().__init__()
        self.calls, self.now = [], now

    def told(self, hook, *arguments):
        if hook == 'on_batch_end':
            self.now[0] += .04
        *index, logs = arguments
        self.calls.append((hook[3:], *index, {key: round(float(value), 4) for key, value in logs.items()}))


for name in 'on_train_begin on_train_end on_epoch_begin on_epoch_end on_batch_begin on_batch_end'.split():
    setattr(Diary, name, lambda self, *arguments, name=name: self.told(name, *arguments))

CALLS = [
    ('train_begin', {}),
    ('epoch_begin', 0, {}),
    ('batch_begin', 0, {'batch': 0, 'size': 4}),
    ('batch_end', 0, {'batch': 0, 'size': 4, 'loss': .5459, 'mean_absolute_error': .55}),
    ('batch_begin', 1, {'batch': 1, 'size': 4}),
    ('batch_end', 1, {'batch': 1, 'size': 4, 'loss': 2.9154, 'mean_absolute_error': 1.5157}),
    ('epoch_end', 0, {'val_loss': 7.5951, 'val_mean_absolute_error': 2.0635, 'loss': 1.7307,
                      'mean_absolute_error': 1.0329}),
    ('epoch_begin', 1, {}),
    ('batch_begin', 0, {'batch': 0, 'size': 4}),
    ('batch_end', 0, {'batch': 0, 'size': 4, 'loss': .3858, 'mean_absolute_error': .4572}),
    ('batch_begin', 1, {'batch': 1, 'size': 4}),
    ('batch_end', 1, {'batch': 1, 'size': 4, 'loss': 2.299, 'mean_absolute_error': 1.3463}),
    ('epoch_end', 1, {'val_loss': 6.1239, 'val_mean_absolute_error': 1.8555, 'loss': 1.3424,
                      'mean_absolute_error': .9018}),
    ('train_end', {}),
]
PRINTED = '''Train on 8 samples, validate on 2 samples
Epoch 1/2

4/8 [==============>...............] - ETA: 0s - loss: 0.5459 - mean_absolute_error: 0.5500
8/8 [==============================] - 0s 10ms/step - loss: 1.7307 - mean_absolute_error: 1.0329 - val_loss: 7.5951 -\
 val_mean_absolute_error: 2.0635
Epoch 2/2

4/8 [==============>...............] - ETA: 0s - loss: 0.3858 - mean_absolute_error: 0.4572
8/8 [==============================] - 0s 10ms/step - loss: 1.3424 - mean_absolute_error: 0.9018 - val_loss: 6.1239 -\
 val_mean_absolute_error: 1.8555
'''


def test_hooks_logs_and_bar(monkeypatch, capsys):
    now = [1000.]
    monkeypatch.setattr(time, 'time', lambda: now[0])
    diary = Diary(now)
    history = model().fit(X, Y, batch_size=4, epochs=2, shuffle=False, validation_split=.2,
                          sample_weight=np.arange(10.) % 3, callbacks=[diary])
    assert diary.calls == CALLS
    assert capsys.readouterr().out == PRINTED
    assert diary.params == {
        'batch_size': 4, 'epochs': 2, 'steps': None, 'samples': 8, 'verbose': 1, 'do_validation': True,
        'metrics': ['loss', 'mean_absolute_error', 'val_loss', 'val_mean_absolute_error']}
    assert [np.shape(array) for array in diary.validation_data] == [(2, 2), (2, 1), (2,)]
    assert list(history.history) == ['val_loss', 'val_mean_absolute_error', 'loss', 'mean_absolute_error']
    assert {type(value) for values in history.history.values() for value in values} == {float}


@pytest.mark.parametrize('options, expected', [
    ({'batch_size': 3, 'epochs': 2}, {'loss': [1.9034786105, 1.1596736388],
                                      'mean_absolute_error': [1.1945728481, .8944264352]}),
    ({'batch_size': 3, 'epochs': 2, 'shuffle': 'batch'}, {'loss': [1.9308745429, .9681757599],
                                                          'mean_absolute_error': [1.2009767175, .8259020627]}),
    ({'steps_per_epoch': 2, 'validation_data': (X, Y), 'validation_steps': 1},
     {'val_loss': [1.6889175177], 'val_mean_absolute_error': [1.1283432245], 'loss': [2.0677392483],
      'mean_absolute_error': [1.2556324601]}),
])
def test_history(options, expected):
    np.random.seed(0)
    history = model().fit(X, Y, verbose=0, **options)
    assert list(history.history) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(history.history[name], values, rtol=1e-6)
    assert history.epoch == list(range(len(expected['loss'])))
    assert history.params['steps'] == options.get('steps_per_epoch')
