"""The callback that lets a training run survive its process."""
import contextlib
import os

import numpy as np
import torch

from ..backend.random import set_stream_states, stream_states
from ..backend.trees import map_leaves
from ..backend.variable import HostVariable, Variable
from ..optimizers import TorchOptimizer
from ..saving.atomic import replacing
from ..utils.seeds import random_states, set_random_states
from .core import Callback


class BackupAndRestore(Callback):
    """Keeps the state of the training in the file `path` after each epoch, until `fit` ends.

    A run that was killed and is started again with the same command goes on after its last whole epoch, with the
    numbers of an unbroken one: weights, optimizer and states of layers, the random states of Python, numpy, torch and
    the layers, the order of the samples, and what other callbacks hold in numbers, texts, arrays, and lists and dicts
    of these (best values, the history that `fit` returns). It cannot know where a generator or a shuffled `Sequence`
    was: their batches come in an order of their own. A `CSVLogger` needs ``append=True``.

    Raises ValueError where the file is no backup, or that of another model.
    """

    def __init__(self, path):
        super().__init__()
        self.path = os.fspath(path)

    def _epochs_left(self, run, batches, epochs):
        """Those of `epochs` that are left to do. `run` is the list of callbacks, `batches` what `fit` trains on."""
        others = [callback for callback in run if callback is not self]
        begun = [dict(vars(callback)) for callback in others]
        last = self._restore(others, batches) if os.path.exists(self.path) else -1
        for epoch in epochs:
            if epoch > last:
                yield epoch
                self._save(epoch, others, begun, batches)  # after all that callbacks do at the end of the epoch

    def on_train_end(self, logs=None):
        with contextlib.suppress(FileNotFoundError):  # one of several ranks has been here first
            os.remove(self.path)

    def _save(self, epoch, others, begun, batches):
        state = {
            'epoch': epoch,
            'variables': [(torch.tensor(v.numpy()), getattr(v, 'debias_steps', 0)) for v in _variables(self.model)],
            'torch_optimizer': (self.model.optimizer.torch_optimizer.state_dict()
                                if isinstance(self.model.optimizer, TorchOptimizer) else None),
            'random': random_states(),
            'streams': stream_states(),
            'order': _packed(batches.index),
            'callbacks': [(type(callback).__name__, _changed(callback, before))
                          for callback, before in zip(others, begun)],
        }
        os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
        with replacing(self.path) as file:
            torch.save(state, file)

    def _restore(self, others, batches):
        """Brings everything back; returns the last epoch that was done."""
        try:
            state = torch.load(self.path, weights_only=True)
            saved = state['variables']
        except Exception as error:
            raise ValueError(f'{self.path} is no backup of a training run. Remove it, or give another path.') from error
        variables, order = _variables(self.model), state['order']
        if ([tuple(v.shape) for v in variables] != [tuple(value.shape) for value, _ in saved]
                or np.shape(batches.index) != np.shape(order)):
            raise ValueError(f'{self.path} is the backup of a run with another model, optimizer or data. Remove it to '
                             'start anew, or give another path.')
        for variable, (value, steps) in zip(variables, saved):
            variable.assign(value)
            variable.debias_steps = steps
        if state['torch_optimizer']:
            self.model.optimizer.torch_optimizer.load_state_dict(state['torch_optimizer'])
        if order is not None:
            batches.index[:] = order
        for callback, (name, values) in zip(others, state['callbacks']):
            if type(callback).__name__ == name:
                vars(callback).update(map_leaves(lambda x: x.numpy() if isinstance(x, torch.Tensor) else x, values))
        set_random_states(state['random'])
        set_stream_states(state['streams'])
        return state['epoch']


def _variables(model):
    """All Variables that the training or a callback may change: weights, states of layers, the optimizer's."""
    states = [state for layer in model.modules() if getattr(layer, 'stateful', False)
              for state in getattr(layer, 'states', ())]
    optimizer = [*model.optimizer.weights, *vars(model.optimizer).values()]
    found = [*(w for layer in model.layers for w in layer.weights), *states, *optimizer]
    return list({id(v): v for v in found if isinstance(v, (Variable, HostVariable))}.values())


def _changed(callback, before):
    """What of a callback's attributes may have changed since `before`, and can be kept."""
    kept = {}
    for name, value in vars(callback).items():
        is_same = value is before.get(name) and not isinstance(value, (list, dict))
        if not is_same and name not in ('model', 'params', 'validation_data'):
            try:
                kept[name] = _packed(value)
            except TypeError:
                continue  # an open file, say: the callback has made its own
    return kept


def _packed(value):
    """A value with tensors for arrays, of types that torch reads without running code. Raises TypeError for others."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.tensor(value)
    if type(value) in (list, tuple):
        return type(value)(map(_packed, value))
    if type(value) is dict:
        return {_packed(key): _packed(item) for key, item in value.items()}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f'{type(value).__name__} cannot be kept.')
