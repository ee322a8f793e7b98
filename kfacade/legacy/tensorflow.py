"""A stand-in for TensorFlow 1: what Keras scripts and libraries take from it, over `kfacade.backend`.

`NAMES` is all there is of it, whatever the path (``tf.nn.relu``, ``tensorflow.python.ops.nn_ops.relu``). Arguments have
TensorFlow's names and order, a `name` becomes the symbol's, and data has the channels last. Hints about memory and
parallel iterations are taken and change nothing. There is no graph to edit, no `tf.data` and no estimator; any other
name is an error that says so.
"""
import functools
import importlib
import inspect
import logging
import sys
import types
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

import numpy as np
import torch

from .. import backend as K
from ..backend import devices, state
from ..backend.dtypes import dtype_name
from ..backend.face import Dimension, DType, Shape
from ..backend.session import Session
from ..backend.symbolic import SymbolicTensor, TensorFace, as_tensor
from ..backend.trees import map_leaves
from ..backend.variable import Variable
from ..callbacks.tensorboard import writer_class
from . import tf_control as control
from . import tf_ops as ops
from .tf_ops import torch_op

# Other spellings of arguments: TensorFlow's older ones, and its names for what the backend calls otherwise.
_SPELLINGS = {
    **dict.fromkeys(('reduction_indices', 'dim', 'dimension', 'squeeze_dims', 'concat_dim', 'class_dim'), 'axis'),
    'keep_dims': 'keepdims', 'perm': 'pattern', 'multiples': 'n', 'begin': 'start', 'box_indices': 'box_ind',
    **dict.fromkeys(('filter', 'filters', 'ksize'), 'window'), 'axis': 'axes', 'y': 'a',
    'device_name_or_function': 'name'}
_FIRST = set('input input_ input_tensor x tensor tensors value values features logits a t images params elems'.split())
_HINTS = {'_sentinel', 'parallel_iterations', 'swap_memory', 'infer_shape', 'validate_indices', 'expand_nested'}


def _entry(fn):
    """`fn` as TensorFlow's function: with a `name`, older spellings of arguments, and hints."""
    if isinstance(fn, (type, functools.partial)) or not callable(fn):
        return fn
    signature = inspect.signature(fn)
    parameters = signature.parameters

    @functools.wraps(fn)
    def call(*args, name=None, back_prop=True, **kwargs):
        if len(args) > len(parameters) and isinstance(args[-1], str):
            *args, name = args
        if 'name' in parameters and name is not None:
            kwargs['name'] = name
        for key in list(kwargs):
            if key not in parameters:
                new = _SPELLINGS.get(key, key)
                new = new if new in parameters else next(iter(parameters)) if key in _FIRST else key
                kwargs[new] = kwargs.pop(key)
                if new in _HINTS:
                    del kwargs[new]
        bound = signature.bind(*args, **kwargs)
        if 'seed' in parameters and bound.arguments.get('seed') is None:
            bound.arguments['seed'] = state.op_seed()
        result = map_leaves(control.dependent, fn(*bound.args, **bound.kwargs))
        if name and 'name' not in parameters and isinstance(result, SymbolicTensor):
            result._name = f'{state.unique_scope(name)}:0'
        return result if back_prop else K.stop_gradient(result)
    return call


# ---------------------------------------------------------------- tensors

def _placeholder(dtype, shape=None, name=None):
    if shape is None:
        raise ValueError('tf.placeholder needs a `shape` here, of sizes or None: the number of axes must be known.')
    return K.placeholder(tuple(shape), dtype=dtype, name=name)


def _dtype(value):
    """The data type that TensorFlow gives to a value."""
    return value.dtype if isinstance(value, (TensorFace, torch.Tensor, np.ndarray)) else as_tensor(value).dtype


def _constant(value, dtype=None, shape=None, name=None):
    return K.constant(value, dtype or _dtype(value), shape, name)


def _convert(value, dtype=None):
    return value if isinstance(value, (TensorFace, torch.Tensor)) and dtype is None else K.cast(
        value, dtype or _dtype(value))


def _known(value):
    """A list of what a symbol of constants holds, for what must be known beforehand."""
    return K.eval(value).tolist() if isinstance(value, SymbolicTensor) else value


class _AnyVariable(type):
    def __instancecheck__(cls, x):
        return isinstance(x, Variable)


class TFVariable(metaclass=_AnyVariable):
    """``tf.Variable(...)`` makes a Variable of the backend. `trainable` has no bearing on it: layers list weights."""

    def __new__(cls, initial_value, trainable=True, name=None, dtype=None):
        value = initial_value() if callable(initial_value) else initial_value
        return K.variable(value, dtype or _dtype(value), name)


class TensorShape(Shape):
    """A shape with None for what is unknown; without `dims`, for arrays of tensors, one of which nothing is known."""

    def __new__(cls, dims=None):
        return super().__new__(cls, [getattr(size, 'value', size) for size in dims or ()])


def _set_random_seed(seed):
    """Seeds what is made from now on, and torch; numpy's generator stays where it is, as with TensorFlow."""
    state.set_graph_seed(seed)
    torch.manual_seed(seed)


# ---------------------------------------------------------------- sessions, settings, logs

class Settings:
    """A message of settings: ``tf.ConfigProto`` and what is in it. Raises AttributeError for an unknown field."""

    _fields = ('gpu_options', 'allow_growth', 'per_process_gpu_memory_fraction', 'visible_device_list',
               'allow_soft_placement', 'log_device_placement', 'intra_op_parallelism_threads',
               'inter_op_parallelism_threads', 'device_count', 'graph_options', 'optimizer_options', 'rewrite_options',
               'opt_level', 'disable_meta_optimizer')

    def __init__(self, **fields):
        for name, value in fields.items():
            setattr(self, name, value)

    def __getattr__(self, name):
        self._check(name)
        if not name.endswith('_options'):
            return 0
        setattr(self, name, Settings())
        return getattr(self, name)

    def _check(self, name):
        if name not in self._fields:
            raise AttributeError(f'There is no setting {name!r} here. There are {", ".join(self._fields)}.')

    def __setattr__(self, name, value):
        self._check(name)
        if name in ('per_process_gpu_memory_fraction', 'log_device_placement') and value:
            warnings.warn(f'{name} has no meaning on torch, which takes memory as it needs it and computes where the '
                          'weights are.', stacklevel=3)
        if name == 'allow_soft_placement':
            devices.soft_placement = bool(value)
        if name == 'device_count' and 'GPU' in value:
            devices.visible = range(value['GPU'])
        if name == 'visible_device_list' and value:
            devices.visible = [int(number) for number in value.split(',')]
        if name == 'intra_op_parallelism_threads' and value:
            torch.set_num_threads(value)
        super().__setattr__(name, value)


def _file_writer(logdir, graph=None, max_queue=10, flush_secs=120):
    if graph is not None:
        warnings.warn('The graph is not written: the callback TensorBoard does that.', stacklevel=3)
    return writer_class()(logdir, max_queue=max_queue, flush_secs=flush_secs)


def _summary():
    writer_class()  # tells what to install
    return importlib.import_module('tensorboard.compat.proto.summary_pb2').Summary


# ---------------------------------------------------------------- the names

def _windowed(fn):
    """The entry of a function of the backend that moves a window (a kernel, or four sizes) over images."""
    def slide(value, window, strides, padding, data_format='NHWC'):
        axes, layout = (slice(2, 4), 'channels_first') if data_format == 'NCHW' else (slice(1, 3), 'channels_last')
        sizes = tuple(map(int, window[axes])) if isinstance(window, (list, tuple)) else window
        return fn(value, sizes, tuple(map(int, strides[axes])), padding.lower(), layout)
    return slide


def _from(place, names, prefix='', tensors=None):
    """What a module has under these names; with `tensors`, ops of its functions of that many (see `torch_op`)."""
    found = {prefix + name: getattr(place, name) for name in names.split()}
    return found if tensors is None else {name: torch_op(fn, tensors) for name, fn in found.items()}


_log = logging.getLogger('tensorflow')
NAMES = {
    '__version__': '1.13.2',
    **{name: DType(name) for name in 'float16 float32 float64 int8 int16 int32 int64 uint8 bool complex64'.split()},
    **_from(K, 'abs square exp log sin cos tanh sigmoid sign round equal not_equal greater greater_equal less '
             'less_equal maximum minimum pow expand_dims stack reshape tile stop_gradient zeros_like ones_like foldl '
             'foldr cast name_scope reverse slice identity random_normal truncated_normal'),
    **_from(K, 'sum mean max min prod all any logsumexp', 'reduce_'),
    **_from(K, 'relu elu softplus softsign tanh sigmoid softmax bias_add in_top_k', 'nn.'),
    **_from(torch, 'sqrt rsqrt log1p expm1 floor ceil tan asin acos atan erf reciprocal lgamma digamma logical_not',
            tensors=1),
    **{f'is_{name}': torch_op(getattr(torch, f'is{name}')) for name in ('nan', 'inf', 'finite')},
    **_from(torch.nn.functional, 'relu6 selu', 'nn.', tensors=1),
    **_from(torch, 'add subtract multiply logical_and logical_or logical_xor atan2', tensors=2),
    **dict.fromkeys(('truediv', 'realdiv', 'divide'), torch_op(ops.truediv, 2)),
    **dict.fromkeys(('mod', 'floormod'), torch_op(torch.remainder, 2)),
    'floordiv': torch_op(torch.floor_divide, 2), 'negative': torch_op(torch.neg),
    **_from(ops, 'eye fill meshgrid einsum', tensors=0),
    **_from(ops, 'where unique split unstack squeeze matrix_band_part one_hot count_nonzero norm cumsum depth_to_space '
                 'space_to_depth extract_image_patches sort argsort', tensors=1),
    **_from(ops, 'gather gather_nd scatter_nd boolean_mask matmul div squared_difference', tensors=2),
    **_from(ops, 'l2_normalize moments', 'nn.', tensors=1),
    **_from(ops, 'sigmoid_cross_entropy_with_logits weighted_cross_entropy_with_logits '
                 'softmax_cross_entropy_with_logits_v2 sparse_softmax_cross_entropy_with_logits', 'nn.', tensors=2),
    'nn.batch_normalization': torch_op(ops.batch_normalization, 3),
    'image.resize_images': torch_op(ops.resize_images),
    'image.non_max_suppression': torch_op(ops.non_max_suppression, 2, shape=lambda *args: (None,),
                                          dtype=lambda *args: torch.int32),
    'image.crop_and_resize': torch_op(ops.crop_and_resize, 3),
    'sets.set_intersection': torch_op(ops.set_intersection, 2, shape=lambda a, b: (*a.shape[:-1], None)),
    'sparse_tensor_to_dense': lambda sp_input: K.identity(sp_input),  # what is sparse in TensorFlow is dense here
    **_from(control, 'while_loop cond map_fn scan py_func TensorArray control_dependencies gradients'),
    'Print': control.print_values, 'Assert': control.check,
    'add_n': lambda inputs: sum(inputs[1:], inputs[0]),
    'clip_by_value': lambda t, clip_value_min, clip_value_max: K.clip(t, clip_value_min, clip_value_max),
    'argmax': lambda input, axis=None, output_type='int64': K.cast(K.argmax(input, axis or 0), output_type),
    'argmin': lambda input, axis=None, output_type='int64': K.cast(K.argmin(input, axis or 0), output_type),
    'cumprod': torch_op(lambda x, axis=0, exclusive=False, reverse=False: ops.cumsum(
        x, axis, exclusive, reverse, torch.cumprod)),
    'tensordot': torch_op(lambda a, b, axes: torch.tensordot(a, b, axes), 2),
    'concat': lambda values, axis: K.concatenate(values, axis),
    'transpose': lambda a, perm=None: K.transpose(a) if perm is None else K.permute_dimensions(a, perm),
    'shape': lambda input, out_type=None: K.shape(input) if out_type in (None, 'int32') else K.cast(
        K.shape(input), out_type),
    'size': torch_op(lambda input: input.numel()),
    'rank': lambda input: K.ndim(as_tensor(input) if isinstance(input, (list, np.ndarray)) else input),
    'range': torch_op(ops.arange, 0),
    'pad': lambda tensor, paddings, mode='CONSTANT', constant_values=0: _pad(
        tensor, _known(paddings), mode, constant_values),
    'linspace': torch_op(lambda start, stop, num: torch.linspace(start, stop, int(num)), 0),
    **{f'to_{name}': lambda x, dtype=dtype: K.cast(x, dtype) for name, dtype in (
        ('float', 'float32'), ('double', 'float64'), ('int32', 'int32'), ('int64', 'int64'))},
    'zeros': lambda shape, dtype='float32': NAMES['fill'](shape, 0, dtype=dtype),
    'ones': lambda shape, dtype='float32': NAMES['fill'](shape, 1, dtype=dtype),
    'constant': _constant, 'convert_to_tensor': _convert, 'placeholder': _placeholder, 'Variable': TFVariable,
    'Tensor': SymbolicTensor, 'TensorShape': TensorShape, 'Dimension': Dimension, 'DType': DType,
    'as_dtype': lambda type_value: DType(dtype_name(type_value)),
    'assign': K.update, 'assign_add': K.update_add, 'assign_sub': K.update_sub,
    'assign_moving_average': K.moving_average_update, 'variable_scope': K.name_scope,
    'random_uniform': lambda shape, minval=0, maxval=None, dtype='float32', seed=None: K.random_uniform(
        shape, minval, 1 if maxval is None else maxval, dtype, seed),
    'random_shuffle': lambda value, seed=None: K.gather(value, NAMES['argsort'](K.random_uniform(
        K.shape(value)[:1], seed=seed))),
    'set_random_seed': _set_random_seed,
    'executing_eagerly': lambda: False,
    'nn.log_softmax': torch_op(lambda logits, axis=-1: torch.log_softmax(logits, axis)),
    'nn.leaky_relu': lambda features, alpha=.2: K.relu(features, alpha),
    'nn.swish': lambda features: features * K.sigmoid(features),
    'nn.l2_loss': torch_op(lambda t: torch.sum(t * t) / 2),
    'nn.dropout': lambda x, keep_prob=None, noise_shape=None, seed=None, rate=None: K.dropout(
        x, 1 - keep_prob if rate is None else rate, noise_shape, seed),
    'nn.conv2d': _windowed(K.conv2d), 'nn.max_pool': _windowed(K.pool2d),
    'nn.avg_pool': _windowed(functools.partial(K.pool2d, pool_mode='avg')),
    'nn.embedding_lookup': torch_op(ops.gather, 2),
    'nn.top_k': lambda input, k=1, sorted=True: ops.TopK(*_top_k(input, k, sorted)),
    'nn.softmax_cross_entropy_with_logits': lambda labels, logits, axis=-1: NAMES[
        'nn.softmax_cross_entropy_with_logits_v2'](K.stop_gradient(labels), logits, axis),
    'image.resize_bilinear': lambda images, size, align_corners=False: _resize(images, size, 0, align_corners),
    'image.resize_nearest_neighbor': lambda images, size, align_corners=False: _resize(images, size, 1, align_corners),
    'image.ResizeMethod': types.SimpleNamespace(BILINEAR=0, NEAREST_NEIGHBOR=1, BICUBIC=2, AREA=3),
    **dict.fromkeys(('Session', 'InteractiveSession'), Session),
    **dict.fromkeys(('ConfigProto', 'GPUOptions'), Settings),
    'Graph': type(SymbolicTensor.graph), 'get_default_graph': lambda: SymbolicTensor.graph,
    'get_default_session': K.get_session, 'reset_default_graph': K.clear_session,
    **dict.fromkeys(('global_variables_initializer', 'local_variables_initializer', 'initialize_all_variables',
                     'tables_initializer', 'no_op'), lambda: None),
    **dict.fromkeys(('device', 'device_scope'), devices.device_scope),
    'Summary': functools.partial(_summary),
    'newaxis': functools.partial(lambda: None),
    'summary.FileWriter': _file_writer,
    'logging.set_verbosity': _log.setLevel,
    **_from(_log, 'debug info warning warn error fatal', 'logging.'),
    **_from(logging, 'DEBUG INFO WARN ERROR FATAL', 'logging.'),
    'list_local_devices': lambda: devices.list_devices(''),
    'test.is_gpu_available': lambda: '/gpu:0' in devices.available_devices(),
    'test.gpu_device_name': lambda: '/device:GPU:0' if '/gpu:0' in devices.available_devices() else '',
}
NAMES['unique'] = (lambda unique: lambda x, out_idx='int32': ops.Unique(*unique(x, out_idx)))(NAMES['unique'])
_top_k, _pad, _resize = torch_op(ops.top_k), torch_op(ops.pad), NAMES['image.resize_images']
NAMES = {path: _entry(thing) for path, thing in NAMES.items()}
NAMES.update({f'math.{name}': NAMES[name] for name in (
    'abs square sqrt exp log floor ceil maximum minimum pow add subtract multiply divide argmax argmin cumsum is_nan '
    'is_inf is_finite logical_and logical_or logical_not reduce_sum reduce_mean reduce_max reduce_min').split()})
NAMES.update({'linalg.norm': NAMES['norm'], 'linalg.band_part': NAMES['matrix_band_part'],
              'random.normal': NAMES['random_normal'], 'random.uniform': NAMES['random_uniform'],
              'random.set_random_seed': NAMES['set_random_seed']})


# ---------------------------------------------------------------- the modules

_FLAT = {path.rpartition('.')[2]: thing for path, thing in reversed(NAMES.items())}  # of TensorFlow's inner modules
_INNER = set('python ops framework client platform training util lib eager core protobuf nn dtypes tensor_shape '
             'device_lib variables session moving_averages deprecation tf_logging random_seed variable_scope summary '
             'image'.split())
_ADVICE = ('this is kfacade\'s stand-in for TensorFlow 1, which has what Keras scripts commonly use. Write it with '
           'keras.backend or torch, or run with --tensorflow real where TensorFlow is installed.')
_KERAS_ADVICE = ('kfacade is Keras 2.2.4, not tf.keras. Write `from keras...`, or run with --tensorflow-keras, which '
                 'lets tensorflow.keras mean kfacade.')
_KERAS_WARNING = ('tensorflow.keras means kfacade here, which is Keras 2.2.4. What differs from tf.keras: defaults of '
                  'recurrent layers (GRU has reset_after=False, the recurrent activation is hard_sigmoid), '
                  'BatchNormalization in frozen layers (still trains its moving averages), and resizing (UpSampling2D '
                  'interpolates from corners, not from centres of pixels).')


def _path(name):
    """A full name without the package, and whether it is below TensorFlow's inner modules."""
    path = name.partition('.')[2]
    path = path.removeprefix('compat.v1').lstrip('.')
    return path, path.partition('.')[0] in ('python', 'core')


def _is_keras(path):
    return path.removeprefix('python.').partition('.')[0] == 'keras'


def _is_module(name):
    path, inner = _path(name)
    if inner:
        return all(part in _INNER or part.endswith(('_ops', '_op', '_pb2')) for part in path.split('.'))
    return path in ('', 'compat') or any(key.startswith(path + '.') for key in NAMES)


def _refusal(name):
    """What is wrong with asking for a name, where a script does, and what to do."""
    frame = sys._getframe(1)
    while frame.f_back and ('importlib' in frame.f_code.co_filename or frame.f_code.co_filename == __file__):
        frame = frame.f_back
    advice = _KERAS_ADVICE if _is_keras(_path(name)[0]) else _ADVICE
    return f'There is no {name} ({frame.f_code.co_filename}:{frame.f_lineno}): {advice}'


class _Module(types.ModuleType):
    """A module of the stand-in, or one of its namespaces: everything is looked up in `NAMES`."""

    def __getattr__(self, name):
        full = f'{self.__name__}.{name}'
        path, inner = _path(full)
        found = _FLAT.get(name) if inner else NAMES.get(path)
        if found is None and _is_keras(path) and keras_alias is not None:
            return importlib.import_module(full)
        if found is None and (not _is_module(full) or name[:2] == '__'):
            raise AttributeError(_refusal(full))
        found = module(full) if found is None else found
        return found() if isinstance(found, functools.partial) else found


@functools.cache
def module(name):
    """The module of that name, whether or not it has been installed."""
    made = _Module(name, __doc__)
    made.__path__ = []
    return made


@functools.cache
def _warn_of_keras():
    warnings.warn(_KERAS_WARNING, stacklevel=3)


keras_alias = None  # the package that tensorflow.keras means, if any


class Finder(MetaPathFinder, Loader):
    """Finds `tensorflow` and what is below it."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition('.')[0] != 'tensorflow':
            return None
        if not (_is_keras(_path(fullname)[0]) and keras_alias) and not _is_module(fullname):
            raise ModuleNotFoundError(_refusal(fullname))
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec):
        return None if _is_keras(_path(spec.name)[0]) else module(spec.name)

    def exec_module(self, made):
        path = _path(made.__name__)[0]
        if _is_keras(path):
            _warn_of_keras()
            sys.modules[made.__name__] = importlib.import_module(path.removeprefix('python.').replace(
                'keras', keras_alias, 1))


def install(keras=None):
    """Lets ``import tensorflow`` mean the stand-in, and ``tensorflow.keras`` the package `keras`, if that is named."""
    global keras_alias
    keras_alias = keras
    for name in [n for n in sys.modules if n.partition('.')[0] == 'tensorflow']:
        del sys.modules[name]
    sys.meta_path.insert(0, Finder())
    sys.modules['tensorboard.compat.notf'] = types.ModuleType('tensorboard.compat.notf')  # it then uses its own stub
