"""What the version of a file says about its meaning, for HDF5, JSON, YAML and ``.keras`` alike.

Keras 1 and 2 mean what we mean. Configurations of tf.keras and Keras 3 are turned into what Keras 2.2.4 would have
written: later versions renamed a few classes and added arguments. Where such an argument has the value that changes
nothing, it is dropped; any other value asks for something that these layers do not do, and is refused by name. What
layers of those files compute otherwise from the same configuration, they are told by `state.building` while the model
is built. What the caller registers under a name comes before all that.
"""
import inspect
import re
import warnings

from .. import initializers, metrics, optimizers
from ..config import floatx
from ..registry import known
from ..utils.generic_utils import get_custom_objects, to_snake_case
from .keras_3 import as_keras_2, coordinates
from .trust import InvalidModelFile

_PACKAGE = __name__.partition('.')[0]
_CLASSES = {'Functional': 'Model', 'BatchNormalizationV1': 'BatchNormalization',
            'BatchNormalizationV2': 'BatchNormalization', 'LSTMV2': 'LSTM', 'GRUV2': 'GRU', 'L1': 'L1L2',
            'L2': 'L1L2'}
# argument -> the value that changes nothing
_NEUTRAL = {'autocast': True, 'groups': 1, 'data_format': 'channels_last', **dict.fromkeys((
    'ragged', 'time_major', 'keepdims', 'zero_output_for_mask', 'synchronized', 'renorm', 'optional'), False),
    **dict.fromkeys(('renorm_clipping', 'virtual_batch_size', 'quantization_config', 'input_axes', 'output_axes'))}

# arguments that only tune another one, or how random numbers are drawn
_TUNING = ('renorm_momentum', 'seed')

# what later versions write beside a class and its configuration
_ORIGINS = 'module', 'registered_name', 'shared_object_id', 'build_config'

# layer -> arguments that say where functions come from, or how a kernel is stored
_NOTES = {'Lambda': ('module', 'output_shape_module'), 'LocallyConnected1D': ('implementation',),
          'LocallyConnected2D': ('implementation',)}

# arguments of later optimizers that name them or tune how they compute
_UNIMPORTANT = ('name', 'jit_compile', 'is_legacy_optimizer', 'ema_momentum', 'ema_overwrite_frequency')

# argument of a loss or metric -> the values that make it what its function computes; others tell nothing
_PLAIN_OBJECTIVE = {'reduction': ('auto', 'sum_over_batch_size'), 'from_logits': (False,), 'label_smoothing': (0,),
                    'axis': (-1,), 'ignore_class': (None,), 'threshold': (0.5,), 'k': (5,)}
_NAMING = ('name', 'dtype', 'fn')
_FUNCTIONS = {'kl_divergence': 'kullback_leibler_divergence', 'log_cosh': 'logcosh'}
_CHANGED_OBJECTIVES = ('hinge', 'squared_hinge')  # later versions turn labels 0 and 1 to -1 and 1


def origin(version, config=None):
    """Who wrote a file of ``version``: 'Keras' (1 and 2), 'tf.keras' or 'Keras 3', whose JSON tells no version."""
    if version is None and 'registered_name' in (config or ()):
        return 'Keras 3'
    numbers = [int(number) for number in re.findall(r'\d{1,9}', version or '')[:2]]
    if numbers >= [3]:
        return 'Keras 3'
    return 'tf.keras' if numbers >= [2, 4] or 'tf' in (version or '') else 'Keras'


def registered(custom_objects=None):
    """Name -> object, for what the caller gave and what a ``CustomObjectScope`` around the call holds."""
    return {**get_custom_objects(), **(custom_objects or {})}


def as_before(config, custom_objects=None, version=None):
    """The layer or model ``config``, of a file of ``version``, as Keras 2.2.4 would have written it.

    Raises InvalidModelFile for an argument, new since then, at a value that makes a difference.
    """
    own, by = registered(custom_objects), origin(version, config)
    return _Translation(own, by != 'Keras').object(
        as_keras_2(config, own, is_whole=True) if by == 'Keras 3' else config)


class _Translation:
    """Turns objects of later configurations into what 2.2.4 has; those of ``own`` classes keep what these take."""

    def __init__(self, own, is_later):
        self.own, self.is_later = own, is_later
        self.classes = {**vars(initializers), **known(), **own}

    def object(self, config):
        """``config``, in lists and dicts too; what need not change is not copied."""
        if isinstance(config, (list, tuple)):
            items = [self.object(item) for item in config]
            return config if all(new is old for new, old in zip(items, config)) else type(config)(items)
        if not isinstance(config, dict):
            return config
        if config.get('class_name') == 'function' and isinstance(config.get('config'), str):
            return config['config']
        left_out = _ORIGINS if self.is_later and 'class_name' in config else ()
        found = {key: self.object(value) for key, value in config.items() if key not in left_out}
        kind, inner = found.get('class_name'), found.get('config')
        if isinstance(kind, str) and isinstance(inner, dict):
            if kind not in self.own:
                kind = kind.rpartition('>')[2]
                kind = found['class_name'] = kind if kind in self.own else _CLASSES.get(kind, kind)
            cls = self.classes.get(kind)
            is_layer = isinstance(cls, type) and issubclass(cls, self.classes['Layer'])
            if is_layer or kind not in self.own:
                found['config'] = self.settings(kind, cls, is_layer, inner)
        return found

    def settings(self, kind, cls, is_layer, config):
        """The configuration of one object of the class ``cls``, called ``kind``."""
        config = {key: value for key, value in config.items() if not self.is_neutral(kind, cls, config, key, value)}
        if isinstance(config.get('dtype'), dict):  # a policy
            config['dtype'] = config['dtype'].get('config', {}).get('name', 'float32')
        dtype = str(config.get('dtype'))
        if kind == 'InputLayer' and self.is_later and 'float' in dtype:
            config['dtype'] = floatx()  # which the first layer would make of it
        elif dtype.startswith('mixed_') or self.is_later and is_layer and 'float' in dtype and dtype != floatx():
            raise InvalidModelFile(f'The {kind} layer "{config.get("name")}" asks for the dtype policy {dtype!r}, '
                                   f'which came after Keras 2.2.4 and is not supported: here layers compute in '
                                   f'{floatx()}, as `keras.backend.set_floatx` says.')
        if kind == 'BatchNormalization' and isinstance(config.get('axis'), list) and len(config['axis']) == 1:
            config['axis'] = config['axis'][0]
        if self.is_later and kind in _CHANGES and kind not in self.own:
            _CHANGES[kind](config)
        return config

    def is_neutral(self, kind, cls, config, key, value):
        """Whether the argument is one that 2.2.4 lacks, at a value that changes nothing."""
        if key in _NOTES.get(kind, ()) or key == 'dtype' and hasattr(initializers, kind):
            return True
        if key not in (*_NEUTRAL, *_TUNING) or cls is None or _takes(cls, key):
            return False
        if key in _TUNING or value == _NEUTRAL[key]:
            return True
        raise InvalidModelFile(f'The {kind} layer "{config.get("name")}" asks for {key}={value!r}, which came after '
                               f'Keras 2.2.4 and is not supported (only {key}={_NEUTRAL[key]!r} is).')


def _takes(cls, argument):
    """Whether a class, one of ours or of the caller's on top of ours, has the argument."""
    for base in getattr(cls, '__mro__', (cls,)):
        if argument in inspect.signature(base.__init__ if isinstance(base, type) else base).parameters:
            return True
        if base.__module__.partition('.')[0] == _PACKAGE:
            break
    return argument == 'zero_output_for_mask' and hasattr(cls, argument)


# ---------------------------------------------------------------- what later versions mean by the same class

def _mirrored(config):
    """Keras 2 has no backward layer of its own. That masked steps give zeros, all such layers of these files mean."""
    if not isinstance(config.get('layer'), dict):
        return
    there, back = config['layer']['config'], config.pop('backward_layer', None)
    for inner in (there, back['config'] if back else {}):
        if inner.get('return_sequences'):  # TensorFlow 1 has it for last outputs, too
            inner.pop('zero_output_for_mask', None)
    if back:
        mirrored = {**there, 'name': None, 'go_backwards': not there['go_backwards']}
        if {**back['config'], 'name': None} != mirrored:
            raise InvalidModelFile(f'The Bidirectional layer "{config.get("name")}" has a backward layer of its own, '
                                   'which Keras 2 has no form for.')


def _shape_with_first_layer(config):
    """Keras 2 has the input's shape with the first layer, and loses that of an InputLayer."""
    first, *rest = config.get('layers') or [{}]
    if first.get('class_name') == 'InputLayer' and rest and 'layers' not in rest[0]['config']:
        given = {key: first['config'][key] for key in ('batch_input_shape', 'dtype') if key in first['config']}
        config['layers'] = [{**rest[0], 'config': {**rest[0]['config'], **given}}, *rest[1:]]


def _channels_last(config):
    if config.get('data_format') == 'channels_first':
        raise InvalidModelFile(f'The LocallyConnected1D layer "{config.get("name")}" has its channels first, which '
                               'Keras 2.2.4 has no form for.')


def _listed_ends(config):
    for end in {'input_layers', 'output_layers'} & config.keys():
        config[end] = coordinates(config[end])


_CHANGES = {'BatchNormalization': lambda config: config.update(zero_debias=False), 'Bidirectional': _mirrored,
            'LocallyConnected1D': _channels_last, 'Model': _listed_ends, 'Sequential': _shape_with_first_layer}


# ---------------------------------------------------------------- arguments of `compile`

def as_before_optimizer(saved, custom_objects=None):
    """``{'class_name', 'config'}`` of an optimizer, with ``lr`` under its old name and without later arguments.

    The caller's own optimizers, and names, are given back as they are. What is left out at a value that may matter is
    named in a warning.
    """
    own = registered(custom_objects)
    if isinstance(saved, str) or saved['class_name'] in own:
        return saved
    kind = saved['class_name'].rpartition('>')[2]
    cls = getattr(optimizers, kind, None)
    if cls is None or kind in own:
        return {**saved, 'class_name': kind}
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
    """The name of the function that a loss or metric, saved as an object or name, is; None where there is none."""
    if isinstance(saved, str):
        return _FUNCTIONS.get(saved, saved)
    kind, config = saved['class_name'].rpartition('>')[2], saved['config']
    function = config.get('fn') or as_before_objective(to_snake_case(kind))
    plain = all(key in _NAMING or value in _PLAIN_OBJECTIVE.get(key, ()) for key, value in config.items())
    if not plain or function in _CHANGED_OBJECTIVES or function not in metrics.public_objects(vars(metrics)):
        return None
    return 'accuracy' if config.get('name') in ('acc', 'accuracy') else function
