"""``python -m kfacade inspect FILE`` and ``python -m kfacade convert IN OUT``."""
import argparse
import os
import warnings

from .. import losses, metrics, optimizers, registry
from .atomic import may_write, replacing, suffix_of
from .later import as_before, as_before_objective, as_before_optimizer
from .model_file import load_model, load_weights, opened_model, save_model, save_weights
from .text import model_from_json, model_from_yaml, parse_json, parse_yaml, to_json, to_yaml
from .torch_files import is_torch_file, read_state
from .torch_source import to_torch_source
from .training_state import saved_numbers, starts_anew
from .trust import refusing

_YAML = parse_yaml, model_from_yaml, to_yaml
_TEXTS = {'.json': (parse_json, model_from_json, to_json), '.yaml': _YAML, '.yml': _YAML}
_MODELS = ('Model', 'Sequential', 'Functional')
_GENERAL = ('acc', 'accuracy', 'ce', 'crossentropy')  # metrics that the loss picks a function for


def main(command, arguments):
    """Runs ``inspect`` or ``convert``; what is wrong with a file is the message of a SystemExit."""
    parser = argparse.ArgumentParser(prog=f'python -m kfacade {command}')
    parser.add_argument('file', help='.h5, .keras, .safetensors, .pt, .json or .yaml')
    if command == 'convert':
        parser.add_argument('out', help='.h5, .safetensors, .pt, .json or .yaml; .py for the source of a torch module')
        parser.add_argument('--model', help='the file with the architecture, where FILE holds weights alone')
        parser.add_argument('--keep-layout', action='store_true', help='with .py: images keep the axes of Keras')
    options = vars(parser.parse_args(arguments))
    try:
        for line in {'inspect': described, 'convert': convert}[command](**options):
            print(line)
    except (OSError, ValueError, ImportError) as error:
        raise SystemExit(f'{type(error).__name__}: {error}') from None


def convert(file, out, model=None, keep_layout=False):
    """Writes to ``out`` what is in ``file`` and has a place there; ``model`` is a file with the architecture."""
    target = suffix_of(out)
    if keep_layout and target != '.py':
        raise ValueError(f'--keep-layout is for a Python module, not for {out!r}.')
    built = _load(model or file, source=target == '.py')
    if model:
        load_weights(built, file)
    elif suffix_of(file) in _TEXTS and target not in _TEXTS:
        raise ValueError(f'{file!r} holds no weights to write to {out!r}.')
    if target in _TEXTS:
        if may_write(out, overwrite=False):
            with replacing(out) as f:
                f.write(_TEXTS[target][2](built).encode())
    elif target == '.py':
        to_torch_source(built, out, keep_layout, overwrite=False)
    elif is_torch_file(out):
        save_weights(built, out, overwrite=False)
    elif target in ('.h5', '.hdf5'):
        save_model(built, out, overwrite=False)
    else:
        raise ValueError(f'Files are written as .h5, .safetensors, .pt, .json, .yaml or .py, not as {out!r}.')
    return [f'{file} -> {out}']


def _load(file, source=False):
    suffix = suffix_of(file)
    if suffix in _TEXTS:
        with open(file, 'rb') as f:
            return _TEXTS[suffix][1](f.read())
    if is_torch_file(file):
        raise ValueError(f'{file!r} holds weights alone: name a file with the architecture with --model.')
    try:
        return load_model(file)
    except ValueError:  # the source of a module needs no loss that only a script knows
        if not source:
            raise
        return load_model(file, compile=False)


# ---------------------------------------------------------------- inspect

def described(file):
    """Lines about the contents of ``file`` and what loading it would do; nothing in it is built or run."""
    size = f'{os.path.getsize(file):,} bytes'
    if is_torch_file(file):
        tensors = read_state(file)
        yield f'{file}: {len(tensors)} torch tensors, {size}'
        yield from _table([(name, str(tensor.dtype), str(tuple(tensor.shape)), f'{tensor.nbytes:,} bytes', '')
                           for name, tensor in tensors.items()])
    elif suffix_of(file) in _TEXTS:
        with open(file, 'rb') as f:
            config = _TEXTS[suffix_of(file)][0](f.read(), repr(file))
        yield (f'{file}: architecture without weights, {size}, by Keras {config.get("keras_version")} on '
               f'{config.get("backend")}')
        yield from _table(_rows(config, {}, config.get('keras_version')))
    else:
        with opened_model(file) as reader:
            yield from _described_hdf5(file, size, reader)


def _described_hdf5(file, size, reader):
    weights = reader.child('model_weights') if 'model_weights' in reader else reader
    version = reader.text('keras_version') or weights.text('keras_version') or '1'
    backend = reader.text('backend')
    config = reader.text('model_config')
    yield (f'{file}: {"model" if config else "weights without architecture"}, {size}, by Keras {version}'
           + (f' on {backend}' if backend else ''))
    if version == '1':
        yield 'Loading converts the weights of Keras 1.'
    if backend == 'theano':
        yield 'Loading flips the kernels of Theano.'
    stored = {name: _stored(weights.child(name)) for name in weights.names('layer_names')}
    if config:
        yield from _table(_rows(parse_json(config, f'model_config of {reader.where()}'), stored, version))
    else:
        yield from _table([(name, '', *entry, '') for name, entry in stored.items()])
    training = reader.text('training_config')
    if training:
        with refusing(reader.where()):
            compiled = parse_json(training, f'training_config of {reader.where()}')
            yield from (*_training(compiled), *_optimizer_state(compiled, reader))
    elif config:
        yield 'Not compiled: there is no training configuration.'


def _stored(group):
    """Shapes and bytes of the weights in the group of a layer."""
    shapes, count = [], 0
    for name in group.names('weight_names'):
        array = group.array(name)
        dtype = '' if array.dtype == 'float32' else f' {array.dtype}'
        shapes.append(f'{name.rpartition("/")[2].removesuffix(":0")}{dtype} {array.shape}')
        count += array.nbytes
    return ', '.join(shapes), f'{count:,} bytes' if shapes else ''


def _rows(entry, stored, version, depth=0):
    """(name, class, shapes, bytes, objection) of each layer in a model's config."""
    config = entry.get('config')
    for layer in config if isinstance(config, list) else config['layers']:
        kind, inner = layer['class_name'], layer['config']
        name = inner.get('name', '?') if isinstance(inner, dict) else '?'
        yield ('  ' * depth + str(name), str(kind), *stored.get(name, ('', '')), _objection(layer, version))
        if kind in _MODELS:
            yield from _rows(layer, {}, version, depth + 1)


def _objection(entry, version):
    """Why a layer in a file of ``version`` would be refused; empty where it would not."""
    kind, config = entry['class_name'], entry['config']
    if kind == 'Lambda' and config.get('function_type') == 'lambda':
        return 'REFUSED: bytecode; pass the function in custom_objects, or safe_mode=False'
    if _is_model(entry):
        return ''
    try:
        known = as_before(entry, version=version)
        if known['class_name'] not in registry.known():
            return f'REFUSED: unknown; pass {kind} in custom_objects'
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            registry.deserialize(known)  # there are no weights before it is called
    except Exception as error:  # configurations can be wrong in any way
        return f'REFUSED: {error}'
    return ''


def _is_model(entry):
    """Whether the config of a layer is that of a model, or wraps one: making it would make its weights."""
    return entry['class_name'] in _MODELS or 'layer' in entry['config'] and _is_model(entry['config']['layer'])


def _training(config):
    """Lines about what a model was compiled with, and what of it loading will not find."""
    rooms = {'optimizer_config': optimizers, 'loss': losses, 'metrics': metrics, 'weighted_metrics': metrics}
    for key, value in config.items():
        room = rooms.get(key)
        names = [_name(item, room is optimizers) for item in _items(value)] if room else []
        unknown = [name for name in names if name not in _GENERAL and not hasattr(room, name)]
        if value is not None:
            yield f'{key}: {value}' + (f'  UNKNOWN: pass {unknown} in custom_objects' if unknown else '')


def _optimizer_state(config, reader):
    """Lines about the saved state of the optimizer, and what of it loading will warn of."""
    if 'optimizer_weights' not in reader:
        yield 'optimizer state: none, it starts anew'
        return
    group, anew = reader.child('optimizer_weights'), []
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter('always')
        saved = as_before_optimizer(config['optimizer_config'])
    if isinstance(saved, dict) and hasattr(optimizers, saved['class_name']):
        optimizer = optimizers.deserialize(dict(saved))
        optimizer.make_step([])  # which tells its `weights` from what is kept outside of them
        anew = starts_anew(optimizer, saved_numbers(group))
    yield from (str(note.message) for note in notes)
    yield f'optimizer state: {len(group.names("weight_names"))} arrays' + (f'; {anew} start anew' if anew else '')


def _items(value):
    """The names, and objects with a ``class_name``, in nested lists and dicts."""
    if isinstance(value, str) or isinstance(value, dict) and 'class_name' in value:
        return [value]
    values = value.values() if isinstance(value, dict) else value or ()
    return [item for part in values for item in _items(part)]


def _name(item, is_optimizer):
    if isinstance(item, str):
        return item
    kind = item['class_name'].split('>')[-1]
    return kind if is_optimizer else as_before_objective(item) or kind


def _table(rows):
    """Lines of aligned columns."""
    with refusing('The configuration'):
        rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ['  '.join(field.ljust(width) for field, width in zip(row, widths)).rstrip() for row in rows]
