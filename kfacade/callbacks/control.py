"""Callbacks that act on the training: stop it, save the model, set the learning rate."""
import math
import warnings

import numpy as np

from .. import backend as K
from ..utils.generic_utils import keep_arguments, unknown_arguments
from ..utils.ranks import tell
from .core import Callback


def _direction(title, mode, larger_is_better):
    """(comparison, worst value) of a monitored quantity. 'auto' follows `larger_is_better`, guessed from its name."""
    if mode not in ('auto', 'min', 'max'):
        warnings.warn(f'{title} mode {mode} is unknown, fallback to auto mode.', RuntimeWarning, stacklevel=3)
        mode = 'auto'
    if mode == 'max' or mode == 'auto' and larger_is_better:
        return np.greater, -np.inf
    return np.less, np.inf


def _watched(callback, logs, message):
    """The value of what `callback` monitors; None where there is none, of which the first epoch warns."""
    value = logs.get(callback.monitor)
    if value is None and not getattr(callback, '_has_warned', False):
        callback._has_warned = True
        warnings.warn(f'{message} Available metrics are: {",".join(logs)}', RuntimeWarning, stacklevel=3)
    return value


class TerminateOnNaN(Callback):
    """Stops the training when the loss of a batch is NaN or infinite. Reads the loss of every batch."""

    def on_batch_end(self, batch, logs=None):
        loss = (logs or {}).get('loss')
        if loss is not None and not math.isfinite(loss):
            tell(f'Batch {batch}: Invalid loss, terminating training')
            self.model.stop_training = True


class ModelCheckpoint(Callback):
    """Saves the model, or with `save_weights_only` its weights, every `period` epochs.

    `filepath` is a format string in ``epoch`` (from 1) and the logs: ``'{epoch:02d}-{val_loss:.2f}.hdf5'``. With
    `save_best_only` a model is saved only if the log `monitor` improved: `mode` is 'min', 'max' or 'auto' ('max' for
    names with 'acc' and those that start with 'fmeasure'). `verbose`: 1 tells of each saving.
    """

    def __init__(self, filepath, monitor='val_loss', verbose=0, save_best_only=False, save_weights_only=False,
                 mode='auto', period=1):
        super().__init__()
        keep_arguments(self, locals())
        self.epochs_since_last_save = 0
        larger_is_better = 'acc' in monitor or monitor.startswith('fmeasure')
        self.monitor_op, self.best = _direction('ModelCheckpoint', mode, larger_is_better)

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        self.epochs_since_last_save += 1
        if self.epochs_since_last_save < self.period:
            return
        self.epochs_since_last_save = 0
        try:
            filepath = self.filepath.format(epoch=epoch + 1, **logs)
        except KeyError as error:
            raise KeyError(f'{error} of the path {self.filepath} is not among the logs. Available are: epoch,'
                           f'{",".join(logs)}') from None
        saves, message = True, f'saving model to {filepath}'
        if self.save_best_only:
            current = _watched(self, logs, f'Can save best model only with {self.monitor} available, skipping.')
            if current is None:
                return
            saves = self.monitor_op(current, self.best)
            if saves:
                message = f'{self.monitor} improved from {self.best:.5f} to {current:.5f}, {message}'
                self.best = current
            else:
                message = f'{self.monitor} did not improve from {self.best:.5f}'
        if self.verbose > 0:
            tell(f'\nEpoch {epoch + 1:05d}: {message}')
        if saves:
            save = self.model.save_weights if self.save_weights_only else self.model.save
            save(filepath, overwrite=True)


class EarlyStopping(Callback):
    """Stops the training after `patience` epochs (at least 1) in which the log `monitor` did not improve.

    `min_delta` is the smallest change that counts as an improvement, `baseline` the value that the first one has to
    beat; `mode` is 'min', 'max' or 'auto' ('max' for names with 'acc'). With `restore_best_weights` the model goes back
    to the weights of the best epoch. `verbose`: 1 tells of it.
    """

    def __init__(self, monitor='val_loss', min_delta=0, patience=0, verbose=0, mode='auto', baseline=None,
                 restore_best_weights=False):
        super().__init__()
        keep_arguments(self, locals())
        self.best_weights = None
        self.wait = self.stopped_epoch = 0
        self.monitor_op, self._worst = _direction('EarlyStopping', mode, 'acc' in monitor)
        self.min_delta = min_delta if self.monitor_op is np.greater else -min_delta

    def on_train_begin(self, logs=None):
        self.wait = self.stopped_epoch = 0
        self.best = self._worst if self.baseline is None else self.baseline

    def on_epoch_end(self, epoch, logs=None):
        current = self.get_monitor_value(logs)
        if current is None:
            return
        if self.monitor_op(current - self.min_delta, self.best):
            self.best = current
            self.wait = 0
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            return
        self.wait += 1
        if self.wait >= self.patience:
            self.stopped_epoch = epoch
            self.model.stop_training = True
            if self.best_weights is not None:
                if self.verbose > 0:
                    tell('Restoring model weights from the end of the best epoch')
                self.model.set_weights(self.best_weights)

    def on_train_end(self, logs=None):
        if self.stopped_epoch > 0 and self.verbose > 0:
            tell(f'Epoch {self.stopped_epoch + 1:05d}: early stopping')

    def get_monitor_value(self, logs):
        """The watched value in `logs`; warns and gives None where there is none."""
        return _watched(self, logs or {}, f'Early stopping conditioned on metric `{self.monitor}` which is not '
                        'available.')


class LearningRateScheduler(Callback):
    """Sets the learning rate at the start of each epoch to the float that `schedule` gives.

    It is a function of the epoch (from 0) and, if it takes a second argument, the present rate. `verbose`: 1 tells of
    each setting.
    """

    def __init__(self, schedule, verbose=0):
        super().__init__()
        keep_arguments(self, locals())

    def on_epoch_begin(self, epoch, logs=None):
        optimizer = self.model.optimizer
        if not hasattr(optimizer, 'lr'):
            raise ValueError('Optimizer must have a "lr" attribute.')
        try:
            lr = self.schedule(epoch, float(K.get_value(optimizer.lr)))
        except TypeError:  # a schedule of the epoch alone
            lr = self.schedule(epoch)
        if not isinstance(lr, (float, np.float32)):
            raise ValueError(f'The output of the "schedule" function should be float. Got: {lr!r}')
        K.set_value(optimizer.lr, lr)
        if self.verbose > 0:
            tell(f'\nEpoch {epoch + 1:05d}: LearningRateScheduler setting learning rate to {lr}.')

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs['lr'] = K.get_value(self.model.optimizer.lr)


class ReduceLROnPlateau(Callback):
    """Multiplies the learning rate by `factor`, below 1, after `patience` epochs without improvement.

    `monitor`, `verbose`, `mode` and `min_delta` (``epsilon`` is its old name) are as in `EarlyStopping`. The next
    `cooldown` epochs are not counted, and the rate does not fall below `min_lr`.
    """

    def __init__(self, monitor='val_loss', factor=0.1, patience=10, verbose=0, mode='auto', min_delta=1e-4, cooldown=0,
                 min_lr=0, **kwargs):
        super().__init__()
        if factor >= 1.0:
            raise ValueError('ReduceLROnPlateau does not support a factor >= 1.0.')
        if 'epsilon' in kwargs:
            min_delta = kwargs.pop('epsilon')
            warnings.warn('`epsilon` argument is deprecated and will be removed, use `min_delta` instead.',
                          stacklevel=2)
        if kwargs:
            unknown = unknown_arguments(sorted(kwargs), type(self))
            warnings.warn(f'ReduceLROnPlateau has no arguments {unknown}: they make no difference.', stacklevel=2)
        keep_arguments(self, locals())
        better, self._worst = _direction('Learning Rate Plateau Reducing', mode, 'acc' in monitor)
        margin = min_delta if better is np.greater else -min_delta
        self.monitor_op = lambda value, best: better(value, best + margin)
        self._reset()

    def _reset(self):
        self.best = self._worst
        self.cooldown_counter = self.wait = 0

    def on_train_begin(self, logs=None):
        self._reset()

    def on_epoch_end(self, epoch, logs=None):
        logs = {} if logs is None else logs
        optimizer = self.model.optimizer
        logs['lr'] = K.get_value(optimizer.lr)
        current = _watched(self, logs, f'Reduce LR on plateau conditioned on metric `{self.monitor}` which is not '
                           'available.')
        if current is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self.monitor_op(current, self.best):
            self.best = current
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            rate = float(logs['lr'])
            if self.wait >= self.patience and rate > self.min_lr:
                lowered = max(rate * self.factor, self.min_lr)
                K.set_value(optimizer.lr, lowered)
                if self.verbose > 0:
                    tell(f'\nEpoch {epoch + 1:05d}: ReduceLROnPlateau reducing learning rate to {lowered}.')
                self.cooldown_counter = self.cooldown
                self.wait = 0

    def in_cooldown(self):
        """Whether the last lowering is less than `cooldown` epochs ago."""
        return self.cooldown_counter > 0
