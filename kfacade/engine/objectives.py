"""What `compile` makes of losses and metrics, its symbols named as Keras names them."""
import contextlib
import warnings

import torch

from .. import losses as losses_module
from .. import metrics as metrics_module
from ..backend import session as K
from ..backend import state
from ..backend.shapes import pairs_of, stand_in
from ..backend.symbolic import placeholder, record
from ..utils.generic_utils import check_for_unexpected_keys, unique_name
from . import training_utils
from .base_layer import Layer

_BY_ROWS = {losses_module.__name__, metrics_module.__name__}  # whose functions give each sample a score of its own


class TorchLoss:
    """A `torch.nn` loss module under Keras' calling order: it takes the prediction first, the target as it came."""

    def __init__(self, module):
        self.module = module
        self.__name__ = self.name = type(module).__name__
        self.reduces = getattr(module, 'reduction', 'mean') != 'none'

    def __call__(self, y_true, y_pred):
        shape = () if self.reduces else pairs_of(y_pred)[:-1]
        return record(self._apply, (y_true, y_pred), {}, metas=stand_in(shape, y_pred.dtype))

    def _apply(self, y_true, y_pred):
        value = self.module(y_pred, y_true)
        # Without a reduction an elementwise loss (MSELoss, BCELoss) keeps the last axis; Keras takes the mean.
        return value if self.reduces or value.ndim < y_pred.ndim else value.mean(-1)


def loss_function(loss):
    """The function of a loss given by name, function, config or `torch.nn` module; None stays None."""
    if isinstance(loss, torch.nn.Module) and not isinstance(loss, Layer):
        return TorchLoss(loss)
    return losses_module.get(loss)


def prepare_losses(loss, output_names):
    """One loss function (or None) per output, from what `compile` takes.

    Raises ValueError for unknown names and for lists of another length; warns of outputs that a dict leaves out.
    """
    if not isinstance(loss, (dict, list, tuple, type(None))):
        return [loss_function(loss)] * len(output_names)
    found = per_output(None if loss == [] else loss, output_names, 'loss')
    for name in output_names if isinstance(loss, dict) else ():
        if name not in loss:
            warnings.warn(f'Output "{name}" missing from loss dictionary. We assume this was done on purpose, and we '
                          f'will not be expecting any data to be passed to "{name}" during training.', stacklevel=4)
    return list(map(loss_function, found))


def per_output(value, output_names, what, default=None):
    """A list with one entry per output out of None, a list, or a dict by output name. Raises ValueError, TypeError."""
    if value is None:
        return [default] * len(output_names)
    if isinstance(value, dict):
        check_for_unexpected_keys(what, value, output_names)
        return [value.get(name, default) for name in output_names]
    if isinstance(value, (list, tuple)):
        if len(value) != len(output_names):
            raise ValueError(f'When passing a list as {what}, it should have one entry per model outputs. The model '
                             f'has {len(output_names)} outputs, but you passed {what}={value}')
        return list(value)
    raise TypeError(f'Could not interpret {what} argument: {value} - expected a list of dicts.')


def prepare_sample_weight_modes(modes, output_names, used):
    """The sample weight mode of each output: None or 'temporal'. A dict must have those with the indices `used`."""
    found = per_output(modes, output_names, 'sample_weight_mode') if isinstance(modes, (dict, list)) else (
        [modes] * len(output_names))
    for i in used:
        if isinstance(modes, dict) and output_names[i] not in modes:
            raise ValueError(f'Output "{output_names[i]}" missing from sample_weight_modes dictionary')
    unknown = [mode for mode in found if mode not in (None, 'temporal')]
    if unknown:
        warnings.warn(f'`sample_weight_mode` may be None or "temporal". Received {unknown}, which counts as None.',
                      stacklevel=4)
    return ['temporal' if mode == 'temporal' else None for mode in found]


def target_placeholder(output, loss_fn, name):
    """The symbol for the target of an output: Keras knows its declared rank alone, shape inference more."""
    shape, declared = pairs_of(output), output._keras_shape
    if len(shape) != len(declared):
        shape = [None] * len(declared)
    if loss_fn is losses_module.sparse_categorical_crossentropy:
        shape[-1] = 1
    return _fed(shape, output.dtype, f'{name}_target')


def weights_placeholder(output, mode, name):
    """The symbol for the sample weights of an output: (samples,), or (samples, time) in mode 'temporal'."""
    return _fed(pairs_of(output)[:2 if mode == 'temporal' else 1], None, f'{name}_sample_weights')


def _fed(shape, dtype, name):
    symbol = placeholder(shape, dtype, name)
    symbol._keras_shape = (None,) * len(shape)
    return symbol


def scores(fn, y_true, y_pred, mask):
    """``fn(y_true, y_pred)`` under the output's mask, recorded.

    Where the function fits no target of the output's sizes, none of them is known, as in Keras. If it cannot be
    recorded then either, it is kept as one live call.
    """
    try:
        score = fn(y_true, y_pred)
        if getattr(fn, '__module__', '') in _BY_ROWS and K.is_placeholder(y_true) and K.ndim(score):
            score._by_rows = score.shape[0].value is None
        return training_utils.masked(score, mask)
    except ValueError:
        if isinstance(fn, Layer):
            raise
    with contextlib.suppress(ValueError):
        free = record(K.identity_of, (y_true,), {}, metas=stand_in([None] * y_true.ndim, y_true.dtype))
        return training_utils.masked(fn(free, y_pred), mask)
    metas = stand_in(pairs_of(y_pred)[:-1], y_pred.dtype)
    return training_utils.masked(record(fn, (y_true, y_pred), {}, metas=metas), mask)


def add_metric(model, index, metric, weights, mask):
    """Adds the symbol of one metric of output number `index`; `weights` is that of its sample weights, or None."""
    output, loss_fn = model.outputs[index], model.loss_functions[index]
    function, name = _metric_function(metric, output, loss_fn)
    with state.name_scope(name):
        value = training_utils.weighted_mean(scores(function, model.targets[index], output, mask), weights)
    name = f'weighted_{name}' if weights is not None else name
    name = f'{model.output_names[index]}_{name}' if len(model.output_names) > 1 else name
    name = unique_name(name, model.metrics_names.__contains__)
    model.metrics_names.append(name)
    model.metrics_tensors.append(value)
    if isinstance(function, Layer) and function.stateful:
        model.stateful_metric_names.append(name)
        model.stateful_metric_functions.append(function)
        model.metrics_updates += function.updates


def _metric_function(metric, output, loss_fn):
    """The function of a metric, and the name that Keras reports it under."""
    short = {'accuracy': 'acc', 'acc': 'acc', 'crossentropy': 'ce', 'ce': 'ce'}.get(metric) if isinstance(
        metric, str) else None
    if short is None:
        function = metrics_module.get(metric)
        return function, getattr(function, 'name', None) or function.__name__
    if K.int_shape(output)[-1] == 1 or loss_fn is losses_module.binary_crossentropy:
        prefix = 'binary'
    else:
        prefix = 'sparse_categorical' if loss_fn is losses_module.sparse_categorical_crossentropy else 'categorical'
    return getattr(metrics_module, f'{prefix}_accuracy' if short == 'acc' else f'{prefix}_crossentropy'), short


def check_metrics(metrics, output_names):
    """The metrics of each output as lists; names that are no output raise ValueError."""
    if isinstance(metrics, dict):
        unknown = [name for name in metrics if name not in output_names]
        if unknown:
            names = ', '.join(f'"{name}"' for name in unknown)
            warnings.warn(f'Unknown entry in metrics dictionary: {names}. Only expected the following keys: '
                          f'{output_names}', stacklevel=5)
    return training_utils.collect_metrics(metrics, output_names)
