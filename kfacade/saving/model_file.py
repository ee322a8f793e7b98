"""Whole models and weights in files: ``save_model``, ``load_model`` and their weights-only counterparts."""
import contextlib
import json

import h5py

from ..backend import state
from .atomic import is_zip, may_write, replacing
from .conversions import is_model
from .hdf5 import check_names, load_weights_from_hdf5_group, save_weights_to_hdf5_group, stamp
from .hdf5 import load_weights_from_hdf5_group_by_name as load_by_name
from .keras_archive import by_paths, holds_paths, translated
from .text import model_config, model_from_stored_config, parse_json, plain
from .torch_files import is_torch_file, load_state, save_state
from .training_state import restore_training, training_config, write_training
from .trust import InvalidModelFile, opened, refusing, unsafe_deserialization


def save_model(model, filepath, overwrite=True, include_optimizer=True):
    """Saves architecture, weights, compile arguments and optimizer state of the built ``model`` as one HDF5 file.

    Without ``include_optimizer``, of architecture and weights alone. ``filepath`` may be an open ``h5py.Group``. A file
    is written beside its place and then moved there: whatever interrupts the saving, an older one stays whole; without
    ``overwrite``, the terminal is asked before.
    """
    if not may_write(filepath, overwrite):
        return
    check_names(model.saved_as.layers)
    config = json.dumps(model_config(model), default=plain)
    training = training_config(model) if include_optimizer and model.optimizer else None
    with _written_whole(filepath) as f:
        stamp(f)
        f.attrs['model_config'] = config.encode()
        save_weights_to_hdf5_group(f.require_group('model_weights'), model.saved_as.layers)
        if training is not None:
            write_training(f, model, training)


def load_model(filepath, custom_objects=None, compile=True, safe_mode=True):
    """The model that ``save_model`` (ours or Keras') wrote.

    # Arguments
        filepath: path of the HDF5 file, or an open ``h5py.Group``; also a ``.keras`` archive of Keras 3.
        custom_objects: dict from names in the file to the classes and functions they stand for.
        compile: compile the model as it was when saved, and give its optimizer the saved state.
        safe_mode: refuse to run code that the file holds (the body of a ``Lambda`` layer). Only turn this off for a
            file that you trust as much as a program.

    With ``compile``, there is a warning where the file does not say how. Raises InvalidModelFile (a ValueError) if the
    file is damaged or holds no model, ValueError for unknown layers, losses or metrics, and weights that do not fit.
    """
    allowing_code = contextlib.nullcontext() if safe_mode else unsafe_deserialization()
    with opened_model(filepath) as reader, allowing_code:
        text = reader.text('model_config')
        if text is None:
            hint = 'It holds weights: build the model, then call `load_weights`.' if _holds_weights(reader) else ''
            raise InvalidModelFile(f'No model found in config. {reader.where()} has no attribute model_config. {hint}')
        config = parse_json(text, f'the attribute model_config of {reader.where()}')
        with state.WeightClaims(64 * reader.file_size, 'the size of its file', blank=True):
            model = model_from_stored_config(config, custom_objects, reader.text('keras_version'))
        with refusing(f'The weights of {reader.where()}'):
            load_weights_from_hdf5_group(reader.child('model_weights'), model.layers)
        if compile:
            restore_training(model, reader, custom_objects)
    return model


def save_weights(model, filepath, overwrite=True):
    """Saves the weights of ``model`` alone, written whole as in :func:`save_model`.

    The file is of HDF5, or, where it is called ``.safetensors``, ``.pt`` or ``.pth``, holds ``model.state_dict()``.
    """
    if not may_write(filepath, overwrite):
        return
    if is_torch_file(filepath):
        save_state(model, filepath)
    else:
        with _written_whole(filepath) as f:
            save_weights_to_hdf5_group(f, model.saved_as.layers)


def load_weights(model, filepath, by_name=False, skip_mismatch=False, reshape=False):
    """Loads weights into ``model`` from a file of weights or of a whole model; a failure changes none of them.

    # Arguments
        filepath: path of an HDF5 file, a Keras 3 archive or (``.safetensors``, ``.pt``, ``.pth``) a file of the
            tensors of ``model.state_dict()``; or an open ``h5py.Group``.
        by_name: pair the layers (or tensors) by name rather than by position.
        skip_mismatch: with ``by_name``, warn about what does not fit rather than raise.
        reshape: let a convolution take a kernel of the same size in another shape; not for tensors.

    With ``by_name``, returns a `LoadReport` of what was loaded and what was not; it is logged (``logging``, at INFO)
    too. Raises InvalidModelFile (a ValueError) if the file is damaged or holds no weights, ValueError for misfits.
    """
    if is_torch_file(filepath):
        if reshape:
            raise ValueError('`reshape` is for Keras files: torch tensors keep their shapes.')
        return load_state(model, filepath, by_name, skip_mismatch)
    with opened_model(filepath) as reader:
        if _holds_weights(reader):
            holding = contextlib.nullcontext(reader)
        elif 'model_weights' in reader:
            holding = contextlib.nullcontext(reader.child('model_weights'))
        elif holds_paths(reader):
            holding = by_paths(model, reader)
        else:
            raise InvalidModelFile(f'{reader.where()} holds no Keras weights: it has neither an attribute layer_names '
                                   'nor a group model_weights (of Keras 2) or layers (of Keras 3).')
        with holding as weights:
            if by_name:
                return load_by_name(weights, model.saved_as.layers, skip_mismatch, reshape)
            return load_weights_from_hdf5_group(weights, _as_saved(model.saved_as, weights), reshape)


def _holds_weights(reader):
    return reader.has_attribute('layer_names') or reader.has_attribute('layer_names0')


def _as_saved(model, weights):
    """The layers of `model`, or, where Keras saved a model that `multi_gpu_model` made of it, all of it as one."""
    names = weights.names('layer_names')
    with_weights = [name for name in names if weights.child(name).names('weight_names')]
    parallel = len(with_weights) == 1 and sum(name.startswith('lambda_') for name in names) > 1
    nested = any(is_model(layer) for layer in model.layers)
    return [model] if parallel and not nested and len(
        weights.child(with_weights[0]).names('weight_names')) == len(model.weights) else model.layers


@contextlib.contextmanager
def _written_whole(filepath):
    """An open HDF5 file that becomes ``filepath`` when the block ends well; an ``h5py.Group`` is handed on as it is."""
    if isinstance(filepath, h5py.Group):
        yield filepath
        filepath.file.flush()
        return
    with replacing(filepath) as file, h5py.File(file, 'w') as f:
        yield f


def opened_model(filepath):
    """The context of a Reader of an HDF5 file or group, or of what a Keras 3 archive holds in the place of one."""
    return translated(filepath) if not isinstance(filepath, h5py.Group) and is_zip(filepath) else opened(filepath)
