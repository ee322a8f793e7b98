"""Old paths, and names that Keras' modules had from their own imports: scripts reach for both, by `import *` too.

One table for modules that are another one here, and one for names; what a name stands for is in `_MEANINGS`, or is the
module of that name, ours or Python's.
"""
import importlib
import sys
from types import ModuleType

_PACKAGE = __name__.split('.')[0]

MODULES = {'backend.tensorflow_backend': 'backend', 'backend.load_backend': 'backend', 'backend.common': 'config'}

_MEANINGS = {
    'K': 'backend', 'np': 'numpy', 'python_types': 'types', 'mp': 'multiprocessing', 'cbks': 'callbacks',
    'layer_module': 'layers', 'metrics_module': 'metrics', 'interfaces': 'legacy.interfaces',
    'conv_utils': 'utils.conv_utils', 'recurrent': 'layers.recurrent', 'common': 'config',
    'tensorflow_backend': 'backend',
    **{name: f'engine.{name}' for name in ('base_layer', 'input_layer', 'network', 'sequential', 'training',
                                           'training_arrays', 'training_generator', 'training_utils')},
    **{name: f'preprocessing.{name}' for name in ('image', 'sequence', 'text')},
    **{f'py_{name}': f'builtins:{name}' for name in ('all', 'any', 'slice', 'sum')},
    **{name: f'collections:{name}' for name in ('OrderedDict', 'defaultdict', 'deque', 'namedtuple')},
    'Iterable': 'collections.abc:Iterable', 'closing': 'contextlib:closing', 'abstractmethod': 'abc:abstractmethod',
    'HTTPError': 'urllib.error:HTTPError', 'URLError': 'urllib.error:URLError', 'urlopen': 'urllib.request:urlopen',
    'ThreadPool': 'multiprocessing.pool:ThreadPool', 'saving': 'engine.saving',
    'print_layer_summary': 'utils.layer_utils:print_summary', 'count_params': 'utils.layer_utils:count_params',
    'get_source_inputs': 'utils.layer_utils:get_source_inputs', 'load_batch': 'datasets.cifar:load_batch',
    'ask_to_proceed_with_overwrite': 'utils.io_utils:ask_to_proceed_with_overwrite',
    **{name: f'engine.base_layer:{name}' for name in ('InputSpec', 'Layer')},
    **{name: f'legacy.layers:{name}' for name in ('ConvRecurrent2D', 'Recurrent')},
    **{name: f'utils.generic_utils:{name}' for name in ('Progbar', 'has_arg', 'is_all_none', 'object_list_uid',
                                                        'slice_arrays', 'to_list', 'unpack_singleton')},
    **{name: f'engine.training_utils:{name}' for name in (
        'check_array_length_consistency', 'check_loss_and_target_compatibility', 'collect_metrics',
        'standardize_class_weights', 'standardize_input_data', 'standardize_sample_weights', 'standardize_weights',
        'weighted_masked_objective')},
    **{name: f'engine.training_generator:GeneratorMethods.{name}' for name in (
        'evaluate_generator', 'fit_generator', 'predict_generator')},
}

_PARTS = 'activations constraints initializers regularizers'

NAMES = {
    'activations': 'K warnings',
    'backend': 'common ctc defaultdict importlib json np os py_all py_any py_slice py_sum sys tensorflow_backend',
    'callbacks': 'csv deque io Iterable json K np OrderedDict os sys time warnings',
    'config': 'np',
    'constraints': 'K',
    'datasets.cifar': 'sys',
    'datasets.cifar10': 'K load_batch np os',
    'datasets.cifar100': 'K load_batch np os',
    'datasets.imdb': 'json np warnings',
    'datasets.reuters': 'json np warnings',
    'engine': 'base_layer input_layer network saving sequential training training_arrays training_generator '
              'training_utils',
    'engine.base_layer': 'copy count_params has_arg initializers interfaces is_all_none K object_list_uid re to_list '
                         'unpack_singleton',
    'engine.input_layer': 'interfaces K unpack_singleton',
    'engine.network': 'ask_to_proceed_with_overwrite copy get_source_inputs h5py interfaces json K np os '
                      'print_layer_summary saving warnings yaml',
    'engine.saving': 'conv_utils h5py json K np optimizers os warnings yaml',
    'engine.sequential': 'copy h5py K layer_module network warnings',
    'engine.training': 'check_array_length_consistency check_loss_and_target_compatibility collect_metrics copy '
                       'interfaces K Layer losses metrics_module np optimizers standardize_class_weights '
                       'standardize_input_data standardize_sample_weights standardize_weights training_arrays '
                       'training_generator warnings weighted_masked_objective',
    'engine.training_arrays': 'cbks K np Progbar slice_arrays to_list unpack_singleton',
    'engine.training_generator': 'cbks evaluate_generator fit_generator K np predict_generator Progbar warnings',
    'engine.training_utils': 'copy K losses np warnings',
    'initializers': 'K np',
    'layers': 'advanced_activations conv_utils convolutional convolutional_recurrent copy core cudnn_recurrent '
              f'embeddings interfaces K local merge namedtuple noise normalization np {_PARTS} pooling python_types '
              'recurrent warnings wrappers',
    'layers.advanced_activations': f'interfaces K {_PARTS}',
    'layers.convolutional': f'conv_utils interfaces K {_PARTS}',
    'layers.convolutional_recurrent': f'conv_utils ConvRecurrent2D interfaces K np {_PARTS} Recurrent warnings',
    'layers.core': f'conv_utils copy interfaces K np {_PARTS} python_types warnings',
    'layers.cudnn_recurrent': 'constraints initializers K namedtuple regularizers',
    'layers.embeddings': 'constraints initializers interfaces K regularizers',
    'layers.local': f'conv_utils interfaces K {_PARTS}',
    'layers.merge': 'K',
    'layers.noise': 'interfaces K np',
    'layers.normalization': 'constraints initializers interfaces K regularizers',
    'layers.pooling': 'conv_utils interfaces K',
    'layers.recurrent': f'interfaces K np {_PARTS} Recurrent warnings',
    'layers.wrappers': 'copy K recurrent',
    'legacy.layers': f'conv_utils InputSpec K Layer np {_PARTS} to_list warnings',
    'losses': 'K',
    'metrics': 'K',
    'models': 'h5py K',
    'objectives': 'K',
    'optimizers': 'copy interfaces K',
    'preprocessing': 'backend image sequence text utils',
    'preprocessing.image': 'backend image inspect utils',
    'preprocessing.sequence': 'sequence utils',
    'preprocessing.text': 'text',
    'regularizers': 'K',
    'utils.conv_utils': 'K np',
    'utils.data_utils': 'abstractmethod closing hashlib HTTPError mp np os queue random shutil sys tarfile threading '
                        'ThreadPool time URLError urlopen warnings zipfile',
    'utils.generic_utils': 'binascii codecs collections inspect marshal np python_types sys time',
    'utils.io_utils': 'h5py np pickle sys',
    'wrappers.scikit_learn': 'copy np types',
}


def meaning(name):
    """What a name of the table stands for."""
    path, _, attribute = _MEANINGS.get(name, name).partition(':')
    ours = f'{_PACKAGE}.{path}'
    module = importlib.import_module(ours if ours in sys.modules else path)
    for part in attribute.split('.') if attribute else ():
        module = getattr(module, part)
    return module


def install():
    """Makes the modules and the names importable; what a module imports for itself otherwise stays its own."""
    for old, new in MODULES.items():
        module = sys.modules[f'{_PACKAGE}.{old}'] = importlib.import_module(f'{_PACKAGE}.{new}')
        setattr(sys.modules[f'{_PACKAGE}.{old}'.rpartition('.')[0]], old.rpartition('.')[2], module)
    modules = {importlib.import_module(f'{_PACKAGE}.{path}'): names.split() for path, names in NAMES.items()}
    for module, names in modules.items():
        for name in names:
            if not hasattr(module, name):
                setattr(module, name, meaning(name))
        public = getattr(module, '__all__', None) or [
            name for name, value in vars(module).items() if name[0] != '_' and not isinstance(value, ModuleType)]
        module.__all__ = list(dict.fromkeys([*public, *names]))
