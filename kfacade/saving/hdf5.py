"""Weights in the Keras HDF5 layout: a group per layer, a dataset per weight, and attributes that give their order.

Datasets hold what ``layer.weights`` hold, in Keras' own shapes. Loading goes by position, or by the names of layers;
the names of weights matter within nested models alone. All arrays are checked, and read if they have to be converted,
before the first weight changes.
"""
import warnings

from ..backend.dtypes import on_host
from ..utils.generic_utils import unique_name
from ..utils.io_utils import save_attributes_to_hdf5_group
from .conversions import inner_layers, is_model, places_by_name, preprocess_weights_for_loading
from .report import LoadReport
from .stored import StoredArray
from .trust import Reader, shortened

KERAS_VERSION = '2.2.4'
BACKEND = 'tensorflow'  # what files say of us: kernels are correlated, as TensorFlow's are


def load_attributes_from_hdf5_group(group, name):
    """The list of names that :func:`save_attributes_to_hdf5_group` wrote, in one piece or several."""
    return _reader(group).names(name)


def check_names(layers):
    """Raises ValueError, which names the layer, where HDF5 has no place of its own for the weights of one."""
    places = {}
    for layer in layers:
        name, other = layer.name, places.setdefault(_place(layer.name), layer)
        wrong = ('it begins with "/"' if name.startswith('/') else
                 'it holds a zero' if '\0' in name else
                 'UTF-8 has no form for it' if name.encode('utf-8', 'ignore').decode() != name else
                 f'it says the same as that of the layer {other.name!r}' if other is not layer else None)
        if wrong:
            raise ValueError(f'HDF5 cannot hold a layer of the name {shortened(ascii(name))}: {wrong}.')


def _place(name):
    """The path that HDF5 takes ``name`` for, relative to where it is used."""
    return '/'.join(part for part in name.split('/') if part not in ('', '.')) or '.'


def write_arrays(group, names, arrays):
    """Writes ``arrays`` to ``group`` under their ``names``, made unique, with their order as ``weight_names``."""
    names = unique_names(names)
    save_attributes_to_hdf5_group(group, 'weight_names', [name.encode() for name in names])
    for name, array in zip(names, arrays):
        group.create_dataset(name, data=array)


def write_variables(group, variables):
    """Writes the values of ``variables`` as :func:`write_arrays` does, under their names."""
    names = (str(variable.name or f'param_{i}') for i, variable in enumerate(variables))
    names = (_place(name).encode('utf-8', 'replace').decode().replace('\0', '?') for name in names)
    # written from where they lie, wherever that is in Keras' order: `Variable.numpy` would copy them
    write_arrays(group, names, (on_host(variable.value).contiguous().numpy() for variable in variables))


def read_arrays(reader, later=False):
    """The arrays of the group behind ``reader``, in the order of its ``weight_names``; see `Reader.array`."""
    return [reader.array(name, later) for name in reader.names('weight_names')]


def save_weights_to_hdf5_group(f, layers):
    """Writes the weights of ``layers`` to the ``h5py.Group`` ``f``. Raises ValueError where `check_names` does."""
    check_names(layers)
    save_attributes_to_hdf5_group(f, 'layer_names', [layer.name.encode('utf-8') for layer in layers])
    stamp(f)
    for layer in layers:
        write_variables(f.require_group(_place(layer.name)), layer.weights)


def stamp(group):
    """Notes in ``group`` which Keras, on which backend, its contents are for."""
    group.attrs['backend'] = BACKEND.encode()
    group.attrs['keras_version'] = KERAS_VERSION.encode()


def load_weights_from_hdf5_group(f, layers, reshape=False):
    """Loads weights by position: the n-th layer of the file that has weights into the n-th of ``layers`` that has.

    ``f`` is an ``h5py.Group`` in the layout that :func:`save_weights_to_hdf5_group` writes; with ``reshape``, a
    convolution takes a kernel of the same size in another shape. Raises ValueError where the numbers of layers or
    weights or the shapes differ; no weight has changed then.
    """
    reader = _reader(f)
    groups = [(name, reader.child(name)) for name in reader.names('layer_names')]
    groups = [(name, group) for name, group in groups if group.names('weight_names')]
    layers = [layer for layer in layers if layer.weights]
    if len(groups) != len(layers):
        raise ValueError(f'You are trying to load a weight file containing {len(groups)} layers into a model with '
                         f'{len(layers)} layers.' + ('' if layers else ' It is not built: make it with the shape of '
                                                     'its input, then call `load_weights` with this file.'))
    pairs = []
    for k, ((name, group), layer) in enumerate(zip(groups, layers)):
        arrays, _ = _arrays_of(layer, group, reader, reshape)
        if len(arrays) != len(layer.weights):
            raise ValueError(f'Layer #{k} (named "{layer.name}" in the current model) was found to correspond to layer '
                             f'{name} in the save file. However the new layer {layer.name} expects '
                             f'{len(layer.weights)} weights, but the saved weights have {len(arrays)} elements.')
        pairs += _fitting(k, layer, arrays)
    _assign(pairs)


def load_weights_from_hdf5_group_by_name(f, layers, skip_mismatch=False, reshape=False):
    """Loads weights into those of ``layers`` whose names the file holds, and warns when there are none.

    Layers that share a name all take the same weights. A name that none of ``layers`` has is looked for in the models
    nested among them; layers there with another number of weights, and weights of another shape, are left alone with
    a warning, as all such are with ``skip_mismatch``. Arguments and errors are otherwise those of
    :func:`load_weights_from_hdf5_group`. Returns a `LoadReport` with the names of the layers, which is logged too.
    """
    reader, report, pairs, reached = _reader(f), LoadReport(), [], set()
    for k, name in enumerate(reader.names('layer_names')):
        targets = _named(name, layers)
        if not targets and reader.child(name).names('weight_names'):
            report.unused.append(name)
        for layer in targets:
            reached.add(layer)
            strict = not skip_mismatch and layer in layers
            arrays, by_place = _arrays_of(layer, reader.child(name), reader, reshape)
            if len(arrays) != len(layer.weights):
                if strict:
                    raise ValueError(f'Layer #{k} (named "{layer.name}") expects {len(layer.weights)} weight(s), but '
                                     f'the saved weights have {len(arrays)} element(s).')
                warnings.warn(f'Skipping loading of weights for layer {layer.name} due to mismatch in number of '
                              f'weights ({len(layer.weights)} vs {len(arrays)}).', stacklevel=4)
                report.skipped.append(name)
                continue
            fitting = _fitting(k, layer, arrays, strict)
            pairs += fitting
            if arrays:
                (report.loaded if len(fitting) == len(arrays) else report.skipped).append(name)
                report.by_position += [name] * by_place
    report.missing += [layer.name for layer in _unreached(layers, reached) if layer.weights]
    _assign(pairs)
    return report.published(reader.where(), stacklevel=4)


def _arrays_of(layer, group, reader, reshape):
    """The arrays of ``layer`` from its group of a file, made ours; and whether a nested model's are paired in order.

    A file that does not say its version is of Keras 1.
    """
    arrays, places = read_arrays(group, later=True), None
    if inner_layers(layer) and len(arrays) == len(layer.weights):
        places = places_by_name(layer, group.names('weight_names'))
    return preprocess_weights_for_loading(
        layer, arrays if places is None else [arrays[place] for place in places], reader.text('keras_version') or '1',
        reader.text('backend'), reshape), places is None and is_model(layer)


def _nested(layers):
    """The layers of the models among ``layers``."""
    return [inner for layer in layers if is_model(layer) for inner in layer.layers]


def _named(name, layers):
    """The layers called ``name``: of ``layers`` themselves, else the nearest inside them; ``[]`` for none."""
    found = []
    while layers and not found:
        found, layers = [layer for layer in layers if layer.name == name], _nested(layers)
    return found


def _unreached(layers, reached):
    """The plain layers among ``layers``, and inside the models among them, that ``reached`` does not reach."""
    left = [layer for layer in layers if layer not in reached]
    plain = [layer for layer in left if not _nested([layer])]
    return plain + (_unreached(_nested(left), reached) if left else [])


def _reader(group):
    return group if isinstance(group, Reader) else Reader(group)


def _fitting(k, layer, arrays, strict=True):
    """The (weight, array) of one shape; others raise ValueError if ``strict``, else a warning tells of them."""
    pairs = []
    for weight, array in zip(layer.weights, arrays):
        shape = tuple(weight.shape)
        if shape == array.shape:
            pairs.append((weight, array))
        elif strict:
            raise ValueError(f'Layer #{k} (named "{layer.name}"), weight {weight.name} has shape {shape}, but the '
                             f'saved weight has shape {array.shape}.')
        else:
            warnings.warn(f'Skipping loading of weights for layer {layer.name} due to mismatch in shape ({shape} vs '
                          f'{array.shape}).', stacklevel=5)
    return pairs


def _assign(pairs):
    for weight, array in pairs:
        if isinstance(array, StoredArray):
            array.copy_to(weight)
        else:
            weight.assign(array)


def unique_names(names):
    """``names``, each made different from those before it by a suffix ``_1``, ``_2``, ..."""
    found = {}
    for name in names:
        found[unique_name(name, found.__contains__)] = True
    return list(found)
