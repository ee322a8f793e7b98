"""Model files: those of Keras 2, of torch and (read only) of Keras 3, read with distrust and written whole or not."""
from ..utils.io_utils import HDF5_OBJECT_HEADER_LIMIT, save_attributes_to_hdf5_group
from .conversions import preprocess_weights_for_loading
from .hdf5 import (
    load_attributes_from_hdf5_group,
    load_weights_from_hdf5_group,
    load_weights_from_hdf5_group_by_name,
    save_weights_to_hdf5_group,
)
from .model_file import load_model, load_weights, save_model, save_weights
from .pickling import copy_model, pickle_model, restore, unpickle_model
from .report import LoadReport
from .text import model_from_config, model_from_json, model_from_yaml, stamped, to_json, to_yaml
from .torch_files import load_torch_weights
from .trust import InvalidModelFile

__all__ = [
    'HDF5_OBJECT_HEADER_LIMIT', 'InvalidModelFile', 'LoadReport', 'copy_model', 'load_attributes_from_hdf5_group',
    'load_model', 'load_torch_weights', 'load_weights', 'load_weights_from_hdf5_group',
    'load_weights_from_hdf5_group_by_name', 'model_from_config', 'model_from_json', 'model_from_yaml', 'pickle_model',
    'preprocess_weights_for_loading', 'restore', 'save_attributes_to_hdf5_group', 'save_model', 'save_weights',
    'save_weights_to_hdf5_group', 'to_json', 'to_torch_source', 'to_yaml', 'unpickle_model',
]


def __getattr__(name):
    if name == 'to_torch_source':  # few processes convert a model
        from .torch_source import to_torch_source
        return to_torch_source
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
