"""Keras' place for the functions of :mod:`kfacade.saving`."""
from ..saving import (HDF5_OBJECT_HEADER_LIMIT, load_attributes_from_hdf5_group, load_model,
                      load_weights_from_hdf5_group, load_weights_from_hdf5_group_by_name, model_from_config,
                      model_from_json, model_from_yaml, pickle_model, preprocess_weights_for_loading,
                      save_attributes_to_hdf5_group, save_model, save_weights_to_hdf5_group, unpickle_model)
from ..utils.io_utils import ask_to_proceed_with_overwrite, h5dict

__all__ = ['HDF5_OBJECT_HEADER_LIMIT', 'ask_to_proceed_with_overwrite', 'h5dict', 'load_attributes_from_hdf5_group',
           'load_model', 'load_weights_from_hdf5_group', 'load_weights_from_hdf5_group_by_name', 'model_from_config',
           'model_from_json', 'model_from_yaml', 'pickle_model', 'preprocess_weights_for_loading',
           'save_attributes_to_hdf5_group', 'save_model', 'save_weights_to_hdf5_group', 'unpickle_model']
