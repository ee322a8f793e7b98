"""What `fit` and its kin check and prepare: arrays, targets, weights, batches; and the weighting of losses."""
import functools
import math
import warnings

import numpy as np
import torch

from .. import backend as K
from .. import losses
from ..backend.symbolic import TensorFace
from ..utils.generic_utils import to_list

# ---------------------------------------------------------------- arrays

def standardize_single_array(x):
    """`x` with at least two dimensions: a vector becomes a column. Symbols must have a static batch size."""
    if x is None:
        return None
    if isinstance(x, TensorFace):
        if not x._keras_shape or x._keras_shape[0] is None:
            raise ValueError('When feeding symbolic tensors to a model, we expect the tensors to have a static batch '
                             f'size. Got tensor with shape: {x._keras_shape}')
        return x
    if x.ndim == 1:
        return x[:, None] if isinstance(x, torch.Tensor) else np.expand_dims(x, 1)
    return x


def standardize_input_data(data, names, shapes=None, check_batch_axis=True, exception_prefix=''):
    """The arrays for `names`, in this order, out of an array, or a list or dict of arrays.

    Arguments:
        data: array-likes with ``shape`` and ``ndim`` (numpy, torch, scipy.sparse, `HDF5Matrix`), pandas frames, or
            plain lists of numbers for a single name.
        shapes: for each name a tuple to check against (None: unknown), or None.
        check_batch_axis: whether the first axis is checked, too.
        exception_prefix: 'input' or 'target', for messages.

    Raises ValueError or TypeError that tell what was expected and what came.
    """
    where = 'Error when checking model ' + exception_prefix
    if not names:
        if data is not None and hasattr(data, '__len__') and len(data):
            raise ValueError(f'{where}: expected no data, but got: {_cut(data)}')
        return []
    if data is None:
        return [None] * len(names)
    arrays = [x.values if type(x).__name__ == 'DataFrame' else x for x in _in_order(data, names)]
    if len(arrays) != len(names):
        _refuse_number_of_arrays(arrays, names, where)
    if not all(x is None or hasattr(x, 'ndim') for x in arrays):
        raise TypeError(f'{where}: data should be a Numpy array, or list/dict of Numpy arrays. '
                        f'Found: {_cut(arrays)}...')
    arrays = [standardize_single_array(x) for x in arrays]
    for array, name, shape in zip(arrays, names, shapes or ()):
        if shape is not None and not isinstance(array, TensorFace):
            _check_shape(array, name, shape, check_batch_axis, exception_prefix)
    return arrays


def _in_order(data, names):
    if isinstance(data, dict):
        missing = [name for name in names if name not in data]
        if missing:
            raise ValueError(f'No data provided for "{missing[0]}". Need data for each key in: {names}')
        return [data[name] for name in names]
    if not isinstance(data, list):
        return [data]
    if data and isinstance(data[0], list):
        return [np.asarray(x) for x in data]
    if data and len(names) == 1 and isinstance(data[0], (float, int)):
        return [np.asarray(data)]
    return data


def _cut(data):
    return str(data)[:200]


def _refuse_number_of_arrays(arrays, names, where):
    if arrays and hasattr(arrays[0], 'shape'):
        raise ValueError(f'{where}: the list of Numpy arrays that you are passing to your model is not the size the '
                         f'model expected. Expected to see {len(names)} array(s), but instead got the following list '
                         f'of {len(arrays)} arrays: {_cut(arrays)}...')
    raise ValueError(f'{where}: you are passing a list as input to your model, but the model expects a list of '
                     f'{len(names)} Numpy arrays instead. The list you passed was: {_cut(arrays)}')


def _check_shape(array, name, shape, check_batch_axis, prefix):
    if array is None:
        raise ValueError(f'Error when checking {prefix}: expected {name} to have shape {tuple(shape)} but got None')
    got = tuple(array.shape)
    if len(got) != len(shape):
        raise ValueError(f'Error when checking {prefix}: expected {name} to have {len(shape)} dimensions, but got '
                         f'array with shape {got}')
    if not check_batch_axis:
        got, shape = got[1:], shape[1:]
    for size, wanted in zip(got, shape):
        if size != wanted and wanted:
            raise ValueError(f'Error when checking {prefix}: expected {name} to have shape {tuple(shape)} but got '
                             f'array with shape {got}')


def check_array_length_consistency(inputs, targets, weights=None):
    """Raises ValueError unless all arrays of the three lists have one number of samples (None counts as 0)."""
    x, y, w = ({0} if arrays is None else {0 if a is None else int(a.shape[0]) for a in arrays}
               for arrays in (inputs, targets, weights))
    for lengths, kind, arrays in ((x, 'input arrays (x)', inputs), (y, 'target arrays (y)', targets),
                                  (w, 'sample_weight arrays', weights)):
        if len(lengths) > 1:
            shapes = [None if a is None else tuple(a.shape) for a in arrays]
            raise ValueError(f'All {kind} should have the same number of samples. Got array shapes: {shapes}')
    if x and y and x != y:
        raise ValueError('Input arrays should have the same number of samples as target arrays. '
                         f'Found {x.pop()} input samples and {y.pop()} target samples.')
    if y and w and y != w:
        raise ValueError('Sample_weight arrays should have the same number of samples as target arrays. '
                         f'Got {y.pop()} input samples and {w.pop()} target samples.')


def check_loss_and_target_compatibility(targets, loss_fns, output_shapes):
    """Raises ValueError where a target does not suit Keras' own loss on an output. Other losses take any target."""
    same_shape = (losses.mean_squared_error, losses.binary_crossentropy, losses.categorical_crossentropy)
    for y, loss, shape in zip(targets, loss_fns, output_shapes):
        if y is None or not any(loss is fn for fn in same_shape):
            continue
        got = tuple(y.shape)
        if loss is losses.categorical_crossentropy and got[-1] == 1:
            raise ValueError(
                f'You are passing a target array of shape {got} while using as loss `categorical_crossentropy`. '
                '`categorical_crossentropy` expects targets to be binary matrices (1s and 0s) of shape (samples, '
                'classes). If your targets are integer classes, you can convert them to the expected format via:\n'
                '```\nfrom keras.utils import to_categorical\ny_binary = to_categorical(y_int)\n```\n\n'
                'Alternatively, you can use the loss function `sparse_categorical_crossentropy` instead, which does '
                'expect integer targets.')
        if any(wanted is not None and size != wanted for size, wanted in zip(got[1:], shape[1:])):
            raise ValueError(f'A target array with shape {got} was passed for an output of shape {shape} while using '
                             f'as loss `{loss.__name__}`. This loss expects targets to have the same shape as the '
                             'output.')


def count(value, name):
    """`value` as an int, rounded up: Keras goes on while it has done less. None stays None.

    Scripts give whole floats (``np.ceil(n / 32)``) and others (``n / 32``). Raises TypeError for what is no number.
    """
    try:
        return None if value is None else math.ceil(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f'`{name}` must be a whole number. Received: {value!r}') from None


def check_num_samples(ins, batch_size=None, steps=None, steps_name='steps'):
    """The number of samples in a list of arrays; None where `steps` count instead, as they must for symbols.

    Raises ValueError where both, or neither, say how long to go on. `steps_name` is the argument's name in messages.
    """
    if steps is not None and batch_size is not None:
        raise ValueError(f'If {steps_name} is set, the `batch_size` must be None.')
    if not ins or any(isinstance(x, TensorFace) for x in ins):
        if steps is None:
            raise ValueError(f'If your data is in the form of symbolic tensors, you should specify the `{steps_name}` '
                             'argument (instead of the `batch_size` argument, because symbolic tensors are expected to '
                             'produce batches of input data).')
        return None
    return int(ins[0].shape[0]) if hasattr(ins[0], 'shape') else None


# ---------------------------------------------------------------- weights

def standardize_sample_or_class_weights(x_weight, output_names, weight_type):
    """One weight (or None) per output, out of None, one weight, or a list or dict of them."""
    if x_weight is None or len(x_weight) == 0:
        return [None] * len(output_names)
    if len(output_names) == 1:
        if isinstance(x_weight, list) and len(x_weight) == 1:
            return x_weight
        if isinstance(x_weight, dict) and output_names[0] in x_weight:
            return [x_weight[output_names[0]]]
        return [x_weight]
    if isinstance(x_weight, list):
        if len(x_weight) != len(output_names):
            raise ValueError(f'Provided `{weight_type}` was a list of {len(x_weight)} elements, but the model has '
                             f'{len(output_names)} outputs. You should provide one `{weight_type}`array per model '
                             'output.')
        return x_weight
    if isinstance(x_weight, dict):
        return [x_weight.get(name) for name in output_names]
    raise TypeError(f'The model has multiple outputs, so `{weight_type}` should be either a list or a dict. '
                    f'Provided `{weight_type}` type not understood: {x_weight}')


def standardize_class_weights(class_weight, output_names):
    """One class weight (or None) per output."""
    return standardize_sample_or_class_weights(class_weight, output_names, 'class_weight')


def standardize_sample_weights(sample_weight, output_names):
    """One array of sample weights (or None) per output."""
    return standardize_sample_or_class_weights(sample_weight, output_names, 'sample_weight')


def standardize_weights(y, sample_weight=None, class_weight=None, sample_weight_mode=None):
    """The weight array of a target: (samples,), or (samples, timesteps) where `sample_weight_mode` is 'temporal'.

    `class_weight` counts only as a dict {class: weight}; without any weights the result is `unit_weights`.
    """
    rank = len(y.shape)
    if sample_weight is not None and not isinstance(sample_weight, torch.Tensor):
        sample_weight = np.asarray(sample_weight)
    _check_weight_rank(y, sample_weight, sample_weight_mode)
    if sample_weight is not None:
        if class_weight is not None:
            warnings.warn('Found both `sample_weight` and `class_weight`: `class_weight` argument will be ignored.',
                          stacklevel=3)
        got = tuple(sample_weight.shape)
        if len(got) > rank:
            raise ValueError(f'Found a sample_weight with shape {got}. Expected sample_weight with rank less than or '
                             f'equal to {rank}')
        if tuple(y.shape[:len(got)]) != got:
            raise ValueError(f'Found a sample_weight array with shape {got} for an input with shape {tuple(y.shape)}. '
                             'sample_weight cannot be broadcast.')
        return sample_weight
    if isinstance(class_weight, dict):
        return _weights_of_classes(y, class_weight)
    return unit_weights(tuple(y.shape[:1 if sample_weight_mode is None else 2]))


def _check_weight_rank(y, sample_weight, mode):
    got = None if sample_weight is None else tuple(sample_weight.shape)
    if mode is None:
        if got is not None and len(got) != 1:
            raise ValueError(f'Found a sample_weight array with shape {got}. In order to use timestep-wise sample '
                             'weights, you should specify sample_weight_mode="temporal" in compile(). If you just mean '
                             'to use sample-wise weights, make sure your sample_weight array is 1D.')
        return
    if mode != 'temporal':
        raise ValueError(f'"sample_weight_mode should be None or "temporal". Found: {mode}')
    if len(y.shape) < 3:
        raise ValueError(f'Found a sample_weight array for an input with shape {tuple(y.shape)}. Timestep-wise sample '
                         'weighting (use of sample_weight_mode="temporal") is restricted to outputs that are at least '
                         '3D, i.e. that have a time dimension.')
    if got is not None and len(got) != 2:
        raise ValueError(f'Found a sample_weight array with shape {got}. In order to use timestep-wise sample '
                         'weighting, you should pass a 2D sample_weight array.')


def _weights_of_classes(y, class_weight):
    if len(y.shape) > 2:
        raise ValueError('`class_weight` not supported for 3+ dimensional targets.')
    y = y.cpu().numpy() if isinstance(y, torch.Tensor) else np.asarray(y)
    classes, index = np.unique(y.argmax(1) if y.shape[1:] > (1,) else y.ravel(), return_inverse=True)
    missing = set(classes.tolist()) - set(class_weight)
    if missing:
        raise ValueError(f'`class_weight` must contain all classes in the data. The classes {missing} exist in the '
                         'data but not in `class_weight`.')
    return np.array([class_weight[c] for c in classes.tolist()], K.floatx())[index]


def unit_weights(shape):
    """Ones of the given shape: a read-only array that takes the memory of one number. See `are_unit_weights`."""
    return np.ndarray(shape, K.floatx(), _one(K.floatx()), strides=(0,) * len(shape))


@functools.cache
def _one(dtype):
    return np.ones((), dtype).tobytes()


def are_unit_weights(weights):
    """Whether an array comes from `unit_weights` (or a slice of one): then nothing needs to be weighted."""
    return (isinstance(weights, np.ndarray) and not weights.flags.writeable and not any(weights.strides)
            and weights.size > 0 and weights.flat[0] == 1)


# ---------------------------------------------------------------- losses and metrics

def weighted_masked_objective(fn):
    """The scalar objective ``(y_true, y_pred, weights, mask=None)`` of a loss or metric ``fn(y_true, y_pred)``.

    With scores s = fn(...), mask m and weights w, each part only where it is given:
    mean over all of  s * m / mean(m),  averaged down to the rank of w,  times  w / mean(w != 0).
    So masked steps and samples of weight zero do not count, and other weights are not normalised.
    """
    if fn is None:
        return None

    def weighted(y_true, y_pred, weights, mask=None):
        return weighted_mean(masked(fn(y_true, y_pred), mask), weights)
    return weighted


def weighted_mean(score, weights):
    """The mean of scores under sample weights (None: all of them one); see `weighted_masked_objective`."""
    if weights is None:
        return K.mean(score)
    inner = list(range(K.ndim(weights), K.ndim(score)))
    score = K.mean(score, axis=inner) if inner else score
    return K.mean(score * weights / K.mean(K.cast(K.not_equal(weights, 0), K.floatx())))


def masked(score, mask):
    """Scores under a mask, so that their mean is that of what the mask keeps; see `weighted_masked_objective`."""
    if mask is None:
        return score
    mask = K.cast(mask, K.floatx())
    return score * mask / K.mean(mask)


def collect_metrics(metrics, output_names):
    """A list of metrics for each output, out of one list for all, or a dict by output name."""
    if not metrics:
        return [[] for _ in output_names]
    if isinstance(metrics, list):
        return [list(metrics) for _ in output_names]
    if isinstance(metrics, dict):
        return [to_list(metrics.get(name, [])) for name in output_names]
    raise TypeError(f'Type of `metrics` argument not understood. Expected a list or dictionary, found: {metrics}')


# ---------------------------------------------------------------- batches

def make_batches(size, batch_size):
    """(start, stop) of each batch of `size` samples; the last one may be shorter."""
    return [(start, min(size, start + batch_size)) for start in range(0, size, batch_size)]


def batch_shuffle(index_array, batch_size):
    """The indices with whole batches permuted by numpy's global generator; what fills no batch stays at the end."""
    whole = len(index_array) // batch_size * batch_size
    batches = index_array[:whole].reshape(-1, batch_size).copy()
    np.random.shuffle(batches)
    return np.append(batches.ravel(), index_array[whole:])


def iter_sequence_infinite(seq):
    """The batches of a `Sequence`, over and over."""
    while True:
        yield from seq
