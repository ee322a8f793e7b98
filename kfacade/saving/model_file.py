"""Whole models and weights in HDF5 files: ``save_model``, ``load_model`` and their weights-only counterparts."""
import contextlib
import json
import os
import secrets
import shutil
import warnings

import h5py

from ..utils.io_utils import ask_to_proceed_with_overwrite
from .hdf5 import (
    load_weights_from_hdf5_group,
    load_weights_from_hdf5_group_by_name,
    read_arrays,
    save_weights_to_hdf5_group,
    stamp,
    write_arrays,
)
from .text import model_config, model_from_config, parse_json, plain
from .training_state import compile_from, set_optimizer_weights, training_config
from .trust import InvalidModelFile, opened


def save_model(model, filepath, overwrite=True, include_optimizer=True):
    """Saves architecture, weights, compile arguments and optimizer state of ``model`` as one HDF5 file.

    The file is written beside its place and then moved there: whatever interrupts the saving, an older file stays
    whole.

    # Arguments
        model: a built model.
        filepath: path of the file, or an open ``h5py.Group`` to write to.
        overwrite: replace an existing file without asking.
        include_optimizer: save the compile arguments and the optimizer's state too.
    """
    if not _may_write(filepath, overwrite):
        return
    config = json.dumps(model_config(model), default=plain)
    training = training_config(model) if include_optimizer and model.optimizer else None
    with _written_whole(filepath) as f:
        stamp(f)
        f.attrs['model_config'] = config.encode()
        save_weights_to_hdf5_group(f.require_group('model_weights'), model.layers)
        if training is not None:
            f.attrs['training_config'] = training.encode()
            if model.optimizer.weights:
                write_arrays(f.require_group('optimizer_weights'), model.optimizer.weights)


def load_model(filepath, custom_objects=None, compile=True, safe_mode=True):
    """The model that ``save_model`` (ours or Keras') wrote.

    # Arguments
        filepath: path of the file, or an open ``h5py.Group``.
        custom_objects: dict from names in the file to the classes and functions they stand for.
        compile: compile the model as it was when saved, and give its optimizer the saved state.
        safe_mode: refuse to run code that the file holds (the body of a ``Lambda`` layer). Only turn this off for a
            file that you trust as much as a program.

    # Returns
        The model: compiled, if the file says how and ``compile`` is set. If the file does not say, there is a warning.

    # Raises
        InvalidModelFile: (a ValueError) if the file is damaged or holds no model.
        ValueError: for unknown layers, losses or metrics, and for weights that do not fit.
    """
    with opened(filepath) as reader, code_allowed(not safe_mode):
        text = reader.text('model_config')
        if text is None:
            hint = 'It holds weights: build the model, then call `load_weights`.' if _holds_weights(reader) else ''
            raise InvalidModelFile(f'No model found in config. {reader.where()} has no attribute model_config. {hint}')
        config = parse_json(text, f'the attribute model_config of {reader.where()}')
        model = model_from_config(config, custom_objects=custom_objects)
        load_weights_from_hdf5_group(reader.child('model_weights'), model.layers)
        if compile:
            _restore_training(model, reader, custom_objects)
    return model


def save_weights(model, filepath, overwrite=True):
    """Saves the weights of ``model`` alone, as an HDF5 file (written whole, as in :func:`save_model`)."""
    if _may_write(filepath, overwrite):
        with _written_whole(filepath) as f:
            save_weights_to_hdf5_group(f, model.layers)


def load_weights(model, filepath, by_name=False, skip_mismatch=False, reshape=False):
    """Loads weights into ``model`` from a file of weights or of a whole model; a failure changes none of them.

    # Arguments
        model: a built model.
        filepath: path of the file, or an open ``h5py.Group``.
        by_name: pair the layers by name rather than by position.
        skip_mismatch: with ``by_name``, warn about what does not fit rather than raise.
        reshape: let a convolution take a kernel of the same size in another shape.

    # Raises
        InvalidModelFile: (a ValueError) if the file is damaged or holds no weights.
        ValueError: if the weights do not fit.
    """
    with opened(filepath) as reader:
        if not _holds_weights(reader):
            if 'model_weights' not in reader:
                raise InvalidModelFile(f'{reader.where()} holds no Keras weights: it has neither an attribute '
                                       'layer_names nor a group model_weights.')
            reader = reader.child('model_weights')
        if by_name:
            load_weights_from_hdf5_group_by_name(reader, model.layers, skip_mismatch=skip_mismatch, reshape=reshape)
        else:
            load_weights_from_hdf5_group(reader, model.layers, reshape=reshape)


def _restore_training(model, reader, custom_objects):
    text = reader.text('training_config')
    if text is None:
        warnings.warn('No training configuration found in save file: the model was *not* compiled. Compile it '
                      'manually.', stacklevel=3)
        return
    compile_from(model, text, f'the attribute training_config of {reader.where()}', custom_objects)
    if 'optimizer_weights' in reader:
        set_optimizer_weights(model, read_arrays(reader.child('optimizer_weights')))


def _holds_weights(reader):
    return 'layer_names' in reader.group.attrs or 'layer_names0' in reader.group.attrs


def code_allowed(allowed=True):
    """The context in which layers may run code that their configs hold; one that changes nothing if not ``allowed``."""
    if not allowed:
        return contextlib.nullcontext()
    from ..layers.core import unsafe_deserialization
    return unsafe_deserialization()


def _may_write(filepath, overwrite):
    return (overwrite or isinstance(filepath, h5py.Group) or not os.path.isfile(filepath)
            or ask_to_proceed_with_overwrite(filepath))


@contextlib.contextmanager
def _written_whole(filepath):
    """An open HDF5 file that takes the place of ``filepath`` when the block ends well and vanishes when it does not.

    An ``h5py.Group`` is handed on as it is.
    """
    if isinstance(filepath, h5py.Group):
        yield filepath
        filepath.file.flush()
        return
    target = os.path.realpath(filepath)
    temporary = os.path.join(os.path.dirname(target), f'.{secrets.token_hex(8)}.h5.tmp')
    try:
        with h5py.File(temporary, 'w') as f:
            yield f
        if os.path.exists(target):
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        raise
