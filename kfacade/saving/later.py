"""Configurations of Keras 2.3 and of tf.keras, as Keras 2.2.4 would have written them.

Later versions renamed a few classes and added arguments. Where such an argument has the value that changes nothing, it
is dropped; any other value asks for something that these layers do not do, and is refused by name.
"""
import inspect
import warnings

from .. import initializers, metrics, optimizers
from ..registry import known
from ..utils.generic_utils import to_snake_case
from .trust import InvalidModelFile

_CLASSES = {'Functional': 'Model', 'BatchNormalizationV1': 'BatchNormalization',
            'BatchNormalizationV2': 'BatchNormalization', 'LSTMV2': 'LSTM', 'GRUV2': 'GRU', 'L1': 'L1L2',
            'L2': 'L1L2'}
# argument -> the value that changes nothing
_NEUTRAL = {'autocast': True, 'groups': 1, 'data_format': 'channels_last', **dict.fromkeys((
    'ragged', 'time_major', 'keepdims', 'zero_output_for_mask', 'synchronized', 'renorm', 'optional'), False),
    **dict.fromkeys(('renorm_clipping', 'virtual_batch_size', 'quantization_config', 'input_axes', 'output_axes'))}

# arguments that only tune another one, or how random numbers are drawn
_TUNING = ('renorm_momentum', 'seed')

# arguments of later optimizers that name them or tune how they compute
_UNIMPORTANT = ('name', 'jit_compile', 'is_legacy_optimizer', 'ema_momentum')

# argument of a loss or metric -> the values that make it what its function computes; others tell nothing
_PLAIN_OBJECTIVE = {'reduction': ('auto', 'sum_over_batch_size'), 'from_logits': (False,), 'label_smoothing': (0,),
                    'axis': (-1,), 'ignore_class': (None,), 'threshold': (0.5,), 'k': (5,)}
_NAMING = ('name', 'dtype', 'fn')
_OBJECTIVES = {'KLDivergence': 'kullback_leibler_divergence', 'LogCosh': 'logcosh'}
_CHANGED_OBJECTIVES = ('hinge', 'squared_hinge')  # later versions turn labels 0 and 1 to -1 and 1


def as_before(config, custom_objects=None):
    """The layer or model ``config`` with nothing in it that came after Keras 2.2.4; what need not change is not copied.

    Classes in ``custom_objects`` keep their configurations. Raises InvalidModelFile for an argument, new since then, at
    a value that makes a difference.
    """
    if isinstance(config, (list, tuple)):
        items = [as_before(item, custom_objects) for item in config]
        return config if all(new is old for new, old in zip(items, config)) else type(config)(items)
    if not isinstance(config, dict):
        return config
    found = {key: as_before(value, custom_objects) for key, value in config.items()}
    kind, inner = found.get('class_name'), found.get('config')
    if isinstance(kind, str) and isinstance(inner, dict) and kind not in (custom_objects or {}):
        kind = found['class_name'] = _CLASSES.get(kind, kind)
        inner = found['config'] = {k: v for k, v in inner.items() if not _is_neutral(kind, inner, k, v)}
        if isinstance(inner.get('dtype'), dict):  # a policy
            inner['dtype'] = inner['dtype'].get('config', {}).get('name', 'float32')
        if str(inner.get('dtype')).startswith('mixed_'):
            raise InvalidModelFile(f'The {kind} layer "{inner.get("name")}" asks for the dtype policy '
                                   f'{inner["dtype"]!r}, which came after Keras 2.2.4 and is not supported.')
        if kind == 'BatchNormalization' and isinstance(inner.get('axis'), list) and len(inner['axis']) == 1:
            inner['axis'] = inner['axis'][0]
    return found


def _is_neutral(kind, config, key, value):
    """Whether the argument is one that 2.2.4 lacks, at a value that changes nothing."""
    if key == 'dtype' and hasattr(initializers, kind):
        return True
    cls = known().get(kind) or getattr(initializers, kind, None)
    if key not in (*_NEUTRAL, *_TUNING) or cls is None or key in inspect.signature(cls.__init__).parameters:
        return False
    if key in _TUNING or value == _NEUTRAL[key]:
        return True
    raise InvalidModelFile(f'The {kind} layer "{config.get("name")}" asks for {key}={value!r}, which came after Keras '
                           f'2.2.4 and is not supported (only {key}={_NEUTRAL[key]!r} is).')


def as_before_optimizer(saved, custom_objects=None):
    """``{'class_name', 'config'}`` of an optimizer, with ``lr`` under its old name and without later arguments.

    What is left out at a value that may matter is named in a warning.
    """
    kind = saved['class_name'].split('>')[-1]
    cls = getattr(optimizers, kind, None)
    if cls is None or kind in (custom_objects or {}):
        return saved
    taken = {*inspect.signature(cls.__init__).parameters, 'clipnorm', 'clipvalue'}
    config = {'lr' if key == 'learning_rate' else key: value for key, value in saved['config'].items()}
    if isinstance(config.get('lr'), dict):
        raise InvalidModelFile(f'The optimizer {kind} was saved with the learning rate schedule {config["lr"]}, which '
                               'came after Keras 2.2.4. compile=False loads the model without it.')
    lost = {key: value for key, value in config.items() if key not in taken and value and key not in _UNIMPORTANT}
    if lost:
        warnings.warn(f'The optimizer {kind} was saved with {lost}, which came after Keras 2.2.4 and was left out.',
                      stacklevel=5)
    return {'class_name': kind, 'config': {key: value for key, value in config.items() if key in taken
                                           and not (key.startswith('clip') and value is None)}}


def as_before_objective(saved):
    """The name of the function that a loss or metric, saved as an object, computes; None where there is none."""
    kind, config = saved['class_name'].split('>')[-1], saved['config']
    function = config.get('fn') or _OBJECTIVES.get(kind) or to_snake_case(kind)
    plain = all(key in _NAMING or value in _PLAIN_OBJECTIVE.get(key, ()) for key, value in config.items())
    if not plain or function in _CHANGED_OBJECTIVES or function not in metrics.public_objects(vars(metrics)):
        return None
    return 'accuracy' if config.get('name') in ('acc', 'accuracy') else function
