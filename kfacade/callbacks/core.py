"""What a callback is, and the list that calls them."""
import statistics
import time
import warnings
from collections import deque

_SLOW = 0.1  # seconds; hooks that take less are never reported


class Callback:
    """Base of callbacks: objects whose hooks `fit` calls. Override the hooks that matter.

    `params` (dict: epochs, steps, samples, batch_size, verbose, do_validation, metrics) and `model` are set before the
    first hook, `validation_data` (list of arrays) after `on_train_begin`. Batch logs hold ``batch`` and ``size``, and
    at the end the loss and metrics of this batch; epoch logs hold their means over the epoch, and ``val_`` ones. All
    callbacks share one dict, so what one adds the later ones see.
    """

    def __init__(self):
        self.validation_data = self.model = None

    def set_params(self, params):
        self.params = params

    def set_model(self, model):
        self.model = model

    def on_train_begin(self, logs=None):
        """Called once, before the first epoch."""

    def on_train_end(self, logs=None):
        """Called once, after the last epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        """Called before epoch `epoch` (from 0)."""

    def on_epoch_end(self, epoch, logs=None):
        """Called after epoch `epoch` and its validation."""

    def on_batch_begin(self, batch, logs=None):
        """Called before batch `batch` (from 0 in each epoch)."""

    def on_batch_end(self, batch, logs=None):
        """Called after batch `batch`."""


class LambdaCallback(Callback):
    """A callback made of functions: hooks of the epoch and of the batch get (index, logs), those of the run (logs).

    Further keyword arguments become attributes.
    """

    def __init__(self, on_epoch_begin=None, on_epoch_end=None, on_batch_begin=None, on_batch_end=None,
                 on_train_begin=None, on_train_end=None, **kwargs):
        hooks = {name: hook for name, hook in locals().items() if name.startswith('on_') and hook is not None}
        super().__init__()
        self.__dict__.update(kwargs, **hooks)


class _BatchHook:
    """The callbacks that have something to do at one of the two batch hooks, and how long they take."""

    def __init__(self, name, callbacks, queue_length):
        self.name = name
        hooks = [getattr(callback, name) for callback in callbacks]
        self.hooks = [hook for hook in hooks if getattr(hook, '__func__', None) is not getattr(Callback, name)]
        self.seconds = deque(maxlen=queue_length)

    def __call__(self, batch, logs, batch_seconds):
        """Calls the hooks; returns the seconds of device work in `logs` that they waited for."""
        waited = getattr(logs, 'waited', 0.)
        start = time.time()
        for hook in self.hooks:
            hook(batch, logs)
        waited = getattr(logs, 'waited', 0.) - waited
        self.seconds.append(time.time() - start - waited)
        if max(self.seconds) > _SLOW and batch_seconds > 0:
            median = statistics.median(self.seconds)
            if median > max(_SLOW, 0.95 * (batch_seconds + waited)):
                warnings.warn(f'Method {self.name}() is slow compared to the batch update ({median:f}). Check your '
                              'callbacks.', stacklevel=3)
        return waited


class CallbackList:
    """Calls the hooks of a list of callbacks in turn, and warns when those of the batch slow the training down.

    `queue_length`: over how many batches the time of the hooks is looked at.
    """

    def __init__(self, callbacks=None, queue_length=10):
        self.callbacks = list(callbacks or [])
        self.queue_length = queue_length
        self._batch_start = time.time()
        self._batch_seconds = 0.
        self._find_batch_hooks()

    def _find_batch_hooks(self):
        self._batch_begin = _BatchHook('on_batch_begin', self.callbacks, self.queue_length)
        self._batch_end = _BatchHook('on_batch_end', self.callbacks, self.queue_length)

    def _call(self, method, *arguments):
        for callback in self.callbacks:
            getattr(callback, method)(*arguments)

    def append(self, callback):
        self.callbacks.append(callback)
        self._find_batch_hooks()

    def set_params(self, params):
        self._call('set_params', params)

    def set_model(self, model):
        self._call('set_model', model)

    def set_validation_data(self, arrays):
        """Gives all callbacks the arrays (inputs, targets, weights) that each epoch is validated on."""
        for callback in self.callbacks:
            callback.validation_data = arrays

    def on_train_begin(self, logs=None):
        self._call('on_train_begin', logs or {})

    def on_train_end(self, logs=None):
        self._call('on_train_end', logs or {})

    def on_epoch_begin(self, epoch, logs=None):
        self._call('on_epoch_begin', epoch, logs or {})
        self._batch_seconds = 0.
        self._find_batch_hooks()

    def on_epoch_end(self, epoch, logs=None):
        self._call('on_epoch_end', epoch, logs or {})

    def on_batch_begin(self, batch, logs=None):
        if self._batch_begin.hooks:
            self._batch_begin(batch, logs or {}, self._batch_seconds)
        self._batch_start = time.time()

    def on_batch_end(self, batch, logs=None):
        self._batch_seconds = time.time() - self._batch_start
        if self._batch_end.hooks:
            self._batch_seconds += self._batch_end(batch, logs or {}, self._batch_seconds)

    def epochs_left(self, batches, epochs):
        """The epochs to do: all, or what a callback leaves of them that brings back an earlier run."""
        for callback in self.callbacks:
            if hasattr(callback, '_epochs_left'):
                epochs = callback._epochs_left(self, batches, epochs)
        return epochs

    def __iter__(self):
        return iter(self.callbacks)
