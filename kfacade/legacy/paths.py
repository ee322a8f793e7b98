"""Old paths, and names that Keras' modules had from their own imports: scripts reach for both, by `import *` too."""
import fnmatch
import importlib
import sys
from types import ModuleType

_PACKAGE = __name__.split('.')[0]

# Modules that are another one here.
MODULES = {'backend.tensorflow_backend': 'backend', 'backend.load_backend': 'backend', 'backend.common': 'config',
           'utils.training_utils': 'utils.multi_gpu_utils'}

# The names that each module has besides its own: patterns of modules, and names.
NAMES = {
    'activations constraints initializers losses metrics objectives optimizers regularizers models config':
        'copy h5py interfaces K np warnings',
    'backend': 'common ctc defaultdict importlib json np os py_all py_any py_slice py_sum sys tensorflow_backend',
    'callbacks': 'csv deque io Iterable json K np OrderedDict os sys time warnings',
    'datasets.*': 'gzip json K load_batch np os sys warnings',
    'engine engine.*':
        'ask_to_proceed_with_overwrite base_layer cbks check_array_length_consistency '
        'check_loss_and_target_compatibility collect_metrics conv_utils copy count_params get_source_inputs h5py '
        'has_arg initializers input_layer interfaces is_all_none json K Layer layer_module losses metrics_module '
        'network np object_list_uid optimizers os print_layer_summary Progbar re saving sequential slice_arrays '
        'standardize_class_weights standardize_input_data standardize_sample_weights standardize_weights to_list '
        'training training_arrays training_generator training_utils unpack_singleton warnings '
        'weighted_masked_objective yaml',
    'layers layers.[!_]* legacy.layers':
        'activations advanced_activations constraints conv_utils convolutional convolutional_recurrent '
        'ConvRecurrent2D copy core cudnn_recurrent embeddings has_arg initializers InputSpec interfaces K Layer local '
        'merge namedtuple noise normalization np object_list_uid pooling python_types recurrent Recurrent regularizers '
        'to_list transpose_shape warnings wrappers',
    'preprocessing preprocessing.*': 'backend image inspect sequence text utils',
    'utils': 'multi_gpu_model',
    'utils.*':
        'abstractmethod binascii closing codecs collections h5py hashlib HTTPError inspect K marshal mp np os pickle '
        'python_types queue random shutil sys tarfile threading ThreadPool time URLError urlopen warnings zipfile',
    'wrappers.*': 'copy np types',
}

# What they stand for, where that has another name, and where things are that are no modules.
_RENAMED = {'K': 'backend', 'np': 'numpy', 'python_types': 'types', 'mp': 'multiprocessing', 'cbks': 'callbacks',
            'layer_module': 'layers', 'metrics_module': 'metrics', 'common': 'config', 'tensorflow_backend': 'backend',
            'print_layer_summary': 'print_summary'}
_FOLDERS = ('', '.utils', '.legacy', '.engine', '.layers', '.preprocessing', '.backend')
_PLACES = (*(f'{_PACKAGE}.{name}' for name in (
    'engine.base_layer', 'legacy.layers', 'engine.training_utils', 'utils.layer_utils', 'utils.io_utils',
    'utils.generic_utils', 'utils.multi_gpu_utils', 'datasets.cifar')), 'collections', 'collections.abc', 'contextlib',
    'abc', 'urllib.error', 'urllib.request', 'multiprocessing.pool')


def meaning(name):
    """What a name of the table stands for: a module of ours, something in one, or a module of Python's or numpy."""
    if name.startswith('py_'):
        return __builtins__[name[3:]]
    name = _RENAMED.get(name, name)
    for folder in _FOLDERS:
        if f'{_PACKAGE}{folder}.{name}' in sys.modules:
            return sys.modules[f'{_PACKAGE}{folder}.{name}']
    for place in _PLACES:
        value = getattr(importlib.import_module(place), name, None)
        if value is not None and not isinstance(value, ModuleType):
            return value
    return importlib.import_module(name)


def install():
    """Makes the modules and the names importable; what a module imports for itself otherwise stays its own."""
    for old, new in MODULES.items():
        module = sys.modules[f'{_PACKAGE}.{old}'] = importlib.import_module(f'{_PACKAGE}.{new}')
        setattr(sys.modules[f'{_PACKAGE}.{old}'.rpartition('.')[0]], old.rpartition('.')[2], module)
    for rooms, names in NAMES.items():
        names = {name: meaning(name) for name in names.split()}
        for room in rooms.split():
            for path in fnmatch.filter(list(sys.modules), f'{_PACKAGE}.{room}'):
                _give(sys.modules[path], names)


def _give(module, names):
    for name, value in names.items():
        if not hasattr(module, name):
            setattr(module, name, value)
    public = getattr(module, '__all__', None) or [
        name for name, value in vars(module).items() if name[0] != '_' and not isinstance(value, ModuleType)]
    module.__all__ = list(dict.fromkeys([*public, *names]))
