"""What a wrong call says: the argument, what was given, and what was meant."""
import re
import warnings

import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade import callbacks, constraints, initializers, optimizers, regularizers
from kfacade.engine import Input
from kfacade.layers import Conv2D, Dense, Lambda, LeakyReLU, add
from kfacade.models import Model, Sequential, model_from_json, model_from_yaml

X, Y = np.ones((4, 3)), np.ones((4, 1))


def net(loss='mse', units=1, activation=None, **options):
    model = Sequential([Dense(units, activation=activation, input_shape=(3,), name='out')])
    model.compile('sgd', loss, **options)
    return model


def classes():
    return net('sparse_categorical_crossentropy', 3, 'softmax')


def batches():
    while True:
        yield X, Y


def graph_of(make):
    x = Input((3,))
    return Model(x, make(x))


LAMBDA = 'What is computed outside of layers belongs into one: `Lambda(lambda x: ...)(tensor)`'


@pytest.mark.parametrize('call, error, message', [
    # arguments that do not exist: all of them
    (lambda: net(metric=['acc'], loss_weight=1., other=2), ValueError,
     "`compile` has no argument 'metric' (did you mean 'metrics'?), 'loss_weight' (did you mean 'loss_weights'?), "
     "'other'."),
    (lambda: net().fit(X, Y, batchsize=3, callback=[]), TypeError,
     "'batchsize' (did you mean 'batch_size'?), 'callback' (did you mean 'callbacks'?)"),
    (lambda: net().fit_generator(batches(), step_per_epoch=3), TypeError,
     "`fit_generator` has no argument 'step_per_epoch' (did you mean 'steps_per_epoch'?)"),
    (lambda: net().evaluate(X, Y, batchsize=3), TypeError, "'batchsize' (did you mean 'batch_size'?)"),
    (lambda: net().predict(X, step=3), TypeError, "`predict` has no argument 'step' (did you mean 'steps'?)"),
    (lambda: Dense(2, activaton='relu', input_shap=(3,)), TypeError,
     "'activaton' (did you mean 'activation'?), 'input_shap' (did you mean 'input_shape'?)"),
    (lambda: Conv2D(2, 3, stride=2), TypeError, "'stride' (did you mean 'strides'?)"),
    (lambda: optimizers.SGD(learning_rate=.1, momentun=.9), TypeError,
     "'learning_rate' (did you mean 'lr'?), 'momentun' (did you mean 'momentum'?)"),
    (lambda: Input(shap=(3,)), TypeError, "`Input` has no argument 'shap' (did you mean 'shape'?)"),
    # a model without layers
    (lambda: Sequential(name='s').predict(X), ValueError, 'Sequential model "s" has no layers yet'),
    (lambda: Sequential(name='s').build((None, 3)), ValueError, 'Sequential model "s" has no layers yet'),
    # labels
    (lambda: classes().fit(X, np.array([0, 5, 2, 7]), verbose=0), ValueError,
     'The targets hold labels that are out of bounds: 5, 7. Predictions for 3 classes need integers from 0 to 2.'),
    (lambda: classes().evaluate(X, np.array([0, -1, 2, 1]), verbose=0), ValueError, 'that are out of bounds: -1.'),
    # names
    (lambda: net(metrics=['acuracy']), ValueError, "Unknown metric function:acuracy. Did you mean 'accuracy'?"),
    (lambda: net(metrics=['binary_acuracy']), ValueError, "Did you mean 'binary_accuracy'?"),
    # tensors between layers
    (lambda: graph_of(lambda x: Dense(1, name='d')(K.square(Dense(2)(x)))), ValueError, LAMBDA),
    (lambda: graph_of(lambda x: Dense(1, name='d')(Dense(2)(x) * 2)), ValueError, 'Layer "d" was called on '),
    (lambda: graph_of(lambda x: add([Dense(2)(x), K.ones((1, 2))])), ValueError, LAMBDA),
    (lambda: graph_of(lambda x: K.square(Dense(2)(x))), ValueError, LAMBDA),
    # data to validate on
    *((lambda found=found: net().fit(X, Y, validation_data=found, verbose=0), ValueError,
       '`validation_data` must be a tuple (x_val, y_val) or (x_val, y_val, val_sample_weights). Received: ')
      for found in (K.ones((4, 3)), X, torch.ones(2, 3), (b for b in [(X, Y)]))),
    *((lambda found=found: net().fit_generator(batches(), 1, validation_data=found, verbose=0), ValueError,
       '`validation_data` should be a tuple `(val_x, val_y, val_sample_weight)` or `(val_x, val_y)`')
      for found in (K.ones((4, 3)), X)),
    (lambda: net().fit(X, Y, validation_split='a'), ValueError, '`validation_split` of `fit` must be a number'),
    # classes and single callbacks
    *((lambda found=found: net().fit(X, Y, callbacks=found, verbose=0), TypeError,
       '`callbacks` must be a list of instances of `keras.callbacks.Callback`. Received: <')
      for found in (callbacks.TerminateOnNaN(), callbacks.TerminateOnNaN, [callbacks.TerminateOnNaN], [lambda: 0])),
    (lambda: net().fit_generator(batches(), 1, callbacks=callbacks.TerminateOnNaN()), TypeError, 'must be a list'),
    (lambda: Sequential([Dense(1, input_shape=(3,))]).compile(optimizers.SGD, 'mse'), ValueError,
     'An instance is wanted: call the class, SGD().'),
    (lambda: Dense(2, kernel_initializer=initializers.Zeros), ValueError, 'must be an instance, not the class Zeros'),
    (lambda: Dense(2, kernel_regularizer=regularizers.L1L2), ValueError, 'must be an instance, not the class L1L2'),
    (lambda: Dense(2, kernel_constraint=constraints.MaxNorm), ValueError, 'must be an instance, not the class MaxNorm'),
    (lambda: Dense(2, activation=LeakyReLU), ValueError, 'must be an instance, not the class LeakyReLU'),
    # texts
    (lambda: model_from_json(None), TypeError, '`model_from_json` reads the text that `model.to_json()` gave'),
    (lambda: model_from_yaml(None), TypeError, '`model_from_yaml` reads the text that `model.to_yaml()` gave'),
    # paths
    (lambda: net().fit(X, Y, callbacks=[callbacks.ModelCheckpoint('{val_acc}.h5')], verbose=0), KeyError,
     "'val_acc' of the path {val_acc}.h5 is not among the logs. Available are: epoch,loss"),
])
def test_errors(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


@pytest.mark.parametrize('call, message', [
    *((lambda share=share: net().fit(X, Y, validation_split=share, verbose=0),
       '`validation_split` is a share of the samples, in [0, 1). Received ') for share in (1., 1.5, -.1, 20)),
    (lambda: net(sample_weight_mode='temporel'), '`sample_weight_mode` may be None or "temporal". Received ['),
    (lambda: net(sample_weight_mode={'out': 'time'}), "Received ['time'], which counts as None"),
    (lambda: net(metrics={'nope': 'acc', 'out': 'mae', 'dense': 'acc'}),
     'Unknown entry in metrics dictionary: "nope", "dense". Only expected the following keys: [\'out\']'),
    *((lambda callback=callback: net(metrics=['acc']).fit(X, Y, epochs=3, callbacks=[callback], verbose=0),
       f'Available metrics are: loss,acc{more}') for callback, more in (
        (callbacks.EarlyStopping('val_acc'), ''), (callbacks.ReduceLROnPlateau('val_los'), ',lr'),
        (callbacks.ModelCheckpoint('never.h5', save_best_only=True), ''))),
])
def test_one_warning(call, message):
    """As Keras, which said nothing, it goes on."""
    with pytest.warns(Warning) as caught:
        call()
    assert len(caught) == 1 and message in str(caught[0].message)


def test_what_is_right_says_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for share in (None, 0., .5):
            net().fit(X, Y, validation_split=share, verbose=0, callbacks=None)
        net(sample_weight_mode=None, metrics={'out': 'acc'}).fit(X, Y, verbose=0, callbacks=(callbacks.History(),))
        net().fit(X, Y, verbose=0, callbacks=[], validation_data=[])
        assert graph_of(lambda x: Lambda(K.square)(Dense(2)(x))).predict(X).shape == (4, 2)
