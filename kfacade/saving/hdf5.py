"""Weights in the Keras HDF5 layout: a group per layer, a dataset per weight, and attributes that give their order.

Datasets hold what ``layer.weights`` hold, in Keras' own shapes. Loading goes by position, or by the names of layers;
the names of weights never matter. All arrays are read, converted and checked before the first weight changes.
"""
import itertools
import warnings

import numpy as np

from ..utils.io_utils import HDF5_OBJECT_HEADER_LIMIT
from .conversions import preprocess_weights_for_loading
from .trust import Reader

KERAS_VERSION = '2.2.4'
BACKEND = 'tensorflow'  # what files say of us: kernels are correlated, as TensorFlow's are


def save_attributes_to_hdf5_group(group, name, data):
    """Writes a list of names (bytes) as the attribute ``name``: an array of fixed-length strings.

    Where that is more than HDF5's header takes, it is split in equal pieces ``name0``, ``name1``, ... Raises
    RuntimeError for a single name that is too long by itself.
    """
    too_long = [item for item in data if len(item) > HDF5_OBJECT_HEADER_LIMIT]
    if too_long:
        raise RuntimeError('The following attributes cannot be saved to HDF5 file because they are larger than '
                           f'{HDF5_OBJECT_HEADER_LIMIT} bytes: {", ".join(str(item) for item in too_long)}')
    pieces, count = [np.asarray(data)], 1
    while any(piece.nbytes > HDF5_OBJECT_HEADER_LIMIT for piece in pieces):
        count += 1
        pieces = np.array_split(np.asarray(data), count)
    for i, piece in enumerate(pieces):
        group.attrs[name if count == 1 else f'{name}{i}'] = piece


def load_attributes_from_hdf5_group(group, name):
    """The list of names that :func:`save_attributes_to_hdf5_group` wrote, in one piece or several."""
    return _reader(group).names(name)


def write_arrays(group, variables):
    """Writes the values of ``variables`` to ``group`` under their names, and their order as ``weight_names``."""
    names = _unique_names(variables)
    save_attributes_to_hdf5_group(group, 'weight_names', [name.encode('utf-8') for name in names])
    for name, variable in zip(names, variables):
        group.create_dataset(name, data=variable.numpy())


def read_arrays(reader):
    """The arrays of the group behind ``reader``, in the order of its ``weight_names``."""
    return [reader.array(name) for name in reader.names('weight_names')]


def save_weights_to_hdf5_group(f, layers):
    """Writes the weights of ``layers`` to the ``h5py.Group`` ``f``."""
    save_attributes_to_hdf5_group(f, 'layer_names', [layer.name.encode('utf-8') for layer in layers])
    stamp(f)
    for layer in layers:
        write_arrays(f.require_group(layer.name), layer.weights)


def stamp(group):
    """Notes in ``group`` which Keras, on which backend, its contents are for."""
    group.attrs['backend'] = BACKEND.encode()
    group.attrs['keras_version'] = KERAS_VERSION.encode()


def load_weights_from_hdf5_group(f, layers, reshape=False):
    """Loads weights by position: the n-th layer of the file that has weights into the n-th of ``layers`` that has.

    # Arguments
        f: ``h5py.Group`` in the layout that :func:`save_weights_to_hdf5_group` writes.
        layers: list of built layers.
        reshape: let a convolution take a kernel of the same size in another shape.

    # Raises
        ValueError: where the numbers of layers or weights or the shapes differ; no weight has changed then.
    """
    reader = _reader(f)
    groups = [(name, reader.child(name)) for name in reader.names('layer_names')]
    groups = [(name, group) for name, group in groups if group.names('weight_names')]
    layers = [layer for layer in layers if layer.weights]
    if len(groups) != len(layers):
        raise ValueError(f'You are trying to load a weight file containing {len(groups)} layers into a model with '
                         f'{len(layers)} layers.')
    pairs = []
    for k, ((name, group), layer) in enumerate(zip(groups, layers)):
        arrays = _converted(read_arrays(group), layer, reader, reshape)
        if len(arrays) != len(layer.weights):
            raise ValueError(f'Layer #{k} (named "{layer.name}" in the current model) was found to correspond to layer '
                             f'{name} in the save file. However the new layer {layer.name} expects '
                             f'{len(layer.weights)} weights, but the saved weights have {len(arrays)} elements.')
        for weight, array in zip(layer.weights, arrays):
            _check_shape(k, layer, weight, array)
            pairs.append((weight, array))
    _assign(pairs)


def load_weights_from_hdf5_group_by_name(f, layers, skip_mismatch=False, reshape=False):
    """Loads weights into those of ``layers`` whose names the file holds, and warns when there are none.

    # Arguments
        f: ``h5py.Group`` in the layout that :func:`save_weights_to_hdf5_group` writes.
        layers: list of built layers; layers that share a name all take the same weights.
        skip_mismatch: warn about, and leave alone, layers with another number of weights and weights of another shape.
        reshape: let a convolution take a kernel of the same size in another shape.

    # Raises
        ValueError: where the numbers of weights or the shapes differ, unless they are to be skipped; no weight has
            changed then.
    """
    reader = _reader(f)
    names = reader.names('layer_names')
    pairs, matched = [], False
    for k, name in enumerate(names):
        targets = [layer for layer in layers if layer.name == name]
        saved = read_arrays(reader.child(name)) if targets else []
        matched = matched or bool(targets)
        for layer in targets:
            arrays = _converted(saved, layer, reader, reshape)
            if len(arrays) != len(layer.weights):
                if not skip_mismatch:
                    raise ValueError(f'Layer #{k} (named "{layer.name}") expects {len(layer.weights)} weight(s), but '
                                     f'the saved weights have {len(arrays)} element(s).')
                warnings.warn(f'Skipping loading of weights for layer {layer.name} due to mismatch in number of '
                              f'weights ({len(layer.weights)} vs {len(arrays)}).', stacklevel=4)
                continue
            for weight, array in zip(layer.weights, arrays):
                if not skip_mismatch:
                    _check_shape(k, layer, weight, array)
                elif tuple(weight.shape) != array.shape:
                    warnings.warn(f'Skipping loading of weights for layer {layer.name} due to mismatch in shape '
                                  f'({tuple(weight.shape)} vs {array.shape}).', stacklevel=4)
                    continue
                pairs.append((weight, array))
    if not matched:
        warnings.warn(f'No layer of the model has the name of a layer in {reader.where()}: no weight was loaded. The '
                      f'file holds {_some(names)}; the model has {_some([layer.name for layer in layers])}.',
                      stacklevel=4)
    _assign(pairs)


def _reader(group):
    return group if isinstance(group, Reader) else Reader(group)


def _converted(arrays, layer, reader, reshape):
    # a file that does not say its version is of Keras 1
    return preprocess_weights_for_loading(layer, arrays, reader.text('keras_version') or '1', reader.text('backend'),
                                          reshape)


def _check_shape(k, layer, weight, array):
    if tuple(weight.shape) != array.shape:
        raise ValueError(f'Layer #{k} (named "{layer.name}"), weight {weight.name} has shape {tuple(weight.shape)}, '
                         f'but the saved weight has shape {array.shape}.')


def _assign(pairs):
    for weight, array in pairs:
        weight.assign(array)


def _unique_names(variables):
    """A name for each variable: its own, made different from those before by a suffix ``_1``, ``_2``, ..."""
    names = {}
    for i, variable in enumerate(variables):
        stem = str(variable.name or f'param_{i}')
        candidates = itertools.chain([stem], (f'{stem}_{suffix}' for suffix in itertools.count(1)))
        names[next(name for name in candidates if name not in names)] = variable
    return list(names)


def _some(names, limit=5):
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return (', '.join(f'"{name}"' for name in names[:limit]) or 'none') + more
