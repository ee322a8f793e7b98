"""Torch state dicts: a model's own in ``.safetensors`` and ``.pt`` files, and those of plain PyTorch models.

Weights lie in layers as torch has them, so tensors are copied as they are; only the order in which an image is
flattened differs.
"""
import io
import os
import pickle
import pickletools
import tarfile
import zipfile
from collections import OrderedDict

import torch

from ..utils.extras import optional
from .atomic import is_zip, replacing, suffix_of
from .conversions import is_model
from .report import LoadReport, some
from .trust import InvalidModelFile, reading

# layers that treat every element by itself, and have no weights
PASSING = set('''Activation ActivityRegularization AlphaDropout Dropout ELU GaussianDropout GaussianNoise LeakyReLU
    ReLU ThresholdedReLU'''.split())
# layers between Flatten and Dense that leave every feature in its place
_IN_PLACE = PASSING | set('Add Average BatchNormalization Maximum Multiply PReLU Softmax Subtract'.split())

# class of storages -> bytes of an item
_ITEM_SIZES = {'DoubleStorage': 8, 'FloatStorage': 4, 'HalfStorage': 2, 'BFloat16Storage': 2, 'LongStorage': 8,
               'IntStorage': 4, 'ShortStorage': 2, 'CharStorage': 1, 'ByteStorage': 1, 'BoolStorage': 1}

# all that protocol 2, which torch uses, needs for dicts, tuples, texts and small numbers
_OPCODES = {'PROTO', 'STOP', 'MARK', 'GLOBAL', 'REDUCE', 'BUILD', 'BINPERSID', 'EMPTY_DICT', 'SETITEM', 'SETITEMS',
            'EMPTY_LIST', 'APPEND', 'APPENDS', 'EMPTY_TUPLE', 'TUPLE', 'TUPLE1', 'TUPLE2', 'TUPLE3', 'BINPUT',
            'LONG_BINPUT', 'BINGET', 'LONG_BINGET', 'BINUNICODE', 'SHORT_BINSTRING', 'BINSTRING', 'BININT', 'BININT1',
            'BININT2', 'LONG1', 'NEWTRUE', 'NEWFALSE', 'NONE'}
_MOST_STEPS = 1_000_000  # a tensor takes 32


def is_torch_file(filepath):
    """Whether this is the path of a file whose name says that it holds torch tensors."""
    return isinstance(filepath, (str, os.PathLike)) and suffix_of(filepath) in ('.safetensors', '.pt', '.pth')


def save_state(model, filepath):
    """Writes ``model.state_dict()``, on the CPU, as the suffix of ``filepath`` says."""
    # clones, because safetensors takes no tensors that share memory or are not contiguous
    tensors = {key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
               for key, tensor in model.state_dict().items()}
    with replacing(filepath) as file:
        write_tensors(tensors, file, suffix_of(filepath) != '.safetensors')


def write_tensors(tensors, file, pickled):
    """Writes a dict of contiguous tensors to an open file, as torch does or as safetensors does."""
    torch.save(tensors, file) if pickled else file.write(_safetensors().save(tensors))


def read_state(filepath):
    """The dict of tensors in a ``.safetensors`` or ``.pt`` file; no code in it is run.

    Raises InvalidModelFile for anything else in it, ImportError where the package safetensors is needed and missing.
    """
    path = os.fspath(filepath)
    load = _safetensors().load_file if suffix_of(path) == '.safetensors' else _load_pickled
    with open(path, 'rb'), reading(repr(path), 'is no readable file of torch tensors'):  # first the system's own errors
        found = load(path)
    if not isinstance(found, dict) or not all(isinstance(key, str) and _is_plain(found[key]) for key in found):
        raise InvalidModelFile(f'{path!r} does not hold a state dict, which is a dict of tensors under their names.')
    return found


def _load_pickled(path):
    """What ``torch.save`` wrote, new form (a ZIP) or old (pickles in a row), unless it would exhaust the machine."""
    size = os.path.getsize(path)
    if is_zip(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > size:
                raise ValueError('its members unpack to more than it holds, which torch never makes them do.')
            for member in members:
                if member.filename.endswith('data.pkl'):
                    root = member.filename.removesuffix('.pkl')
                    sizes = {name.filename.removeprefix(f'{root}/'): name.file_size for name in members}
                    with archive.open(member) as file:
                        _PickleCheck(io.BytesIO(file.read()), size, sizes).run()
    elif tarfile.is_tarfile(path):
        raise ValueError('it is a TAR archive, in which torch has not saved since 2017.')
    else:
        with open(path, 'rb') as file:
            for _ in range(5):  # magic number, version, system, the tensors, their keys
                _PickleCheck(file, size).run()
    return torch.load(path, map_location='cpu', weights_only=True)


class _PickleCheck(pickle.Unpickler):
    """Reads the pickle of a state dict, but makes no tensor; anything that such a pickle does not need is refused.

    Arguments: the open file; `left`, the bytes that all storages together may claim; `sizes`, those of each storage by
    its key, if they are known.
    """

    def __init__(self, file, left, sizes=None):
        super().__init__(file)
        self._file, self._left, self._sizes, self._storages = file, left, sizes, {}

    def run(self):
        """Raises ValueError, or what else unpickling raises; the file is behind the pickle otherwise.

        Refused, too, is what takes for ever or much memory: many steps, big indices, and a tuple put in two places.
        Nested so, tuples take for ever to hash. Those of tensors never are.
        """
        start, last, tuples = self._file.tell(), '', set()
        for count, (opcode, argument, _) in enumerate(pickletools.genops(self._file)):
            if opcode.name not in _OPCODES or count > _MOST_STEPS or 'PUT' in opcode.name and argument > count:
                raise ValueError(f'its pickle has an {opcode.name} where a state dict has none.')
            if 'PUT' in opcode.name:
                (tuples.add if last.startswith('TUPLE') else tuples.discard)(argument)
            elif 'GET' in opcode.name and argument in tuples:
                raise ValueError('its pickle holds one tuple in several places, which a state dict does not.')
            else:
                last = opcode.name
        self._file.seek(start)
        self.load()

    def find_class(self, module, name):
        known = {('collections', 'OrderedDict'): OrderedDict, ('torch._utils', '_rebuild_tensor_v2'): self._tensor,
                 ('torch._utils', '_rebuild_parameter'): lambda tensor, *_: tensor}
        if module == 'torch' and name in _ITEM_SIZES:
            return _ITEM_SIZES[name]
        if (module, name) not in known:
            raise ValueError(f'its pickle asks for {module}.{name}, which a state dict does not need.')
        return known[module, name]

    def persistent_load(self, saved):
        """The number of items in a storage."""
        _, item_size, key, _, count, *_ = saved
        if type(item_size) is not int or type(count) is not int or count < 0:
            raise ValueError(f'its pickle names {saved} as a storage.')
        size = count * item_size
        self._left -= size - self._storages.setdefault(key, 0)
        self._storages[key] = size
        if self._left < 0 or self._sizes is not None and size != self._sizes.get(key):
            raise ValueError(f'the storage {key!r} claims {size} bytes, which the file does not hold.')
        return count

    @staticmethod
    def _tensor(count, offset, shape, strides, *_):
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if min((offset, *shape, *strides)) < 0 or all(shape) and last >= count:
            raise ValueError(f'a tensor of shape {shape} is not in its storage of {count} items.')


def _is_plain(tensor):
    """Whether this is a tensor of real numbers that are all there."""
    return (isinstance(tensor, torch.Tensor) and tensor.layout is torch.strided and tensor.device.type == 'cpu'
            and not (tensor.is_complex() or tensor.is_quantized or tensor.is_nested))


def _safetensors():
    return optional('safetensors.torch', 'A .safetensors file', 'safetensors')


def load_state(model, filepath, by_name=False, skip_mismatch=False):
    """Loads what :func:`save_state` wrote; see `load_weights`. Returns a `LoadReport` of tensors if ``by_name``."""
    saved, own = read_state(filepath), model.state_dict()
    report = LoadReport(unused=[key for key in saved if key not in own])
    for key in own:
        found = (report.missing if key not in saved else
                 report.loaded if saved[key].shape == own[key].shape else report.skipped)
        found.append(key)
    if not by_name and (report.unused or report.missing):
        raise ValueError(f'{os.fspath(filepath)!r} is not of this model: {report}. The tensors of a plain PyTorch '
                         'model are loaded by `kfacade.saving.load_torch_weights`.')
    if report.skipped and not (by_name and skip_mismatch):
        key = report.skipped[0]
        raise ValueError(f'The tensor {key} has shape {tuple(own[key].shape)}, but the saved one has shape '
                         f'{tuple(saved[key].shape)}.')
    model.load_state_dict({key: saved[key] for key in report.loaded}, strict=False)
    return report.published(repr(os.fspath(filepath)), stacklevel=4) if by_name else None


def load_torch_weights(model, state_dict, names=None, channels_first=True):
    """Loads the state dict of a plain PyTorch model: its n-th tensor into the n-th weight of ``model``, or by names.

    Linear, convolutions (transposed ones too), Embedding and BatchNorm have Keras layers whose weights are, one for
    one, of the same shapes in the same order (a separable convolution is two of torch's). Batch counters are left out.

    # Arguments
        model: a built model.
        state_dict: dict from names to tensors, such as ``module.state_dict()``.
        names: dict from torch modules (``'features.0'``) to layers (``'block1_conv1'``, also in nested models). Only
            these are loaded then. By position, order is all that pairs weights of one shape: give names where the
            order of definition is not that of ``model.layers``.
        channels_first: the PyTorch model flattens images as (channels, rows, columns). What follows a `Flatten` here is
            reordered to suit, for Keras flattens them with the channels last.

    Returns a `LoadReport` with the names of the tensors, and of the weights that none was for. Raises ValueError where
    numbers, names or shapes do not fit; no weight has changed then.
    """
    tensors = {key: tensor for key, tensor in state_dict.items() if key.rpartition('.')[2] != 'num_batches_tracked'}
    leaves = list(plain_layers(model))
    owners = {id(weight): layer for layer in leaves for weight in layer.weights}
    weights = [weight for layer in leaves for weight in layer.weights]
    if names is None and len(tensors) != len(weights):
        raise ValueError(f'The state dict holds {len(tensors)} tensors ({some(list(tensors))}), the model '
                         f'{len(weights)} weights ({some([weight.name for weight in weights])}). To load a part, pass '
                         '`names`.')
    pairs = dict(zip(tensors, weights)) if names is None else _by_names(tensors, leaves, names)
    for key, weight in pairs.items():
        if tensors[key].shape != weight.param.shape:
            raise ValueError(f'The tensor {key} of shape {tuple(tensors[key].shape)} does not fit {weight.name} of '
                             f'layer "{owners[id(weight)].name}", which torch stores as {tuple(weight.param.shape)}.')
    images = _flattened_images(model)[0] if channels_first else {}
    with torch.no_grad():
        for key, weight in pairs.items():
            tensor, layer = tensors[key], owners[id(weight)]
            if layer in images and (tensor.dim() > 1 or type(layer).__name__ in _IN_PLACE):
                *sides, channels = images[layer]
                last = tensor.dim() - 1
                tensor = tensor.unflatten(last, (channels, *sides)).movedim(last, -1).flatten(last)
            weight.param.copy_(tensor)
    used = {id(weight) for weight in pairs.values()}
    return LoadReport(loaded=list(pairs), unused=[key for key in tensors if key not in pairs],
                      missing=[weight.name for weight in weights if id(weight) not in used])


def plain_layers(model):
    """The plain layers of a model and of the models in it, each once."""
    return dict.fromkeys(plain for layer in model.layers for plain in (
        plain_layers(layer) if is_model(layer) else [layer]))


def _by_names(tensors, leaves, names):
    layers, pairs = {layer.name: layer for layer in leaves}, {}
    for module, name in names.items():
        keys = [key for key in tensors if key.rpartition('.')[0] == module]
        if name not in layers:
            raise ValueError(f'The model has no layer "{name}". It has {some(list(layers), 20)}.')
        if not keys or len(keys) != len(layers[name].weights):
            raise ValueError(f'The state dict holds {len(keys)} tensors of "{module}" ({some(keys)}), the layer '
                             f'"{name}" has {len(layers[name].weights)} weights.')
        pairs.update(zip(keys, layers[name].weights))
    return pairs


def _flattened_images(model, given=()):
    """Layer -> shape (rows, ..., channels) of the flattened images that it is fed; layers fed none are left out.

    ``given`` are such shapes for the model's own inputs. Also returns the shape behind the model's first output.
    """
    found, behind = {}, dict(zip(model._input_layers, given))
    for node in model._nodes_in_order():
        layer, kind = node.outbound_layer, type(node.outbound_layer).__name__
        fed = [behind.get(source) for source in node.inbound_layers]
        if hasattr(layer, '_nodes_in_order'):  # a nested model
            inner, behind[layer] = _flattened_images(layer, fed)
            found.update(inner)
        elif kind == 'Flatten' and type(node.inbound_layers[0]).__name__ != 'Permute':
            image = tuple(node.input_shapes[0][1:])
            behind[layer] = (*image[1:], image[0]) if layer.data_format == 'channels_first' else image
        elif any(fed):
            found[layer] = fed[0]
            if kind in _IN_PLACE and len(set(fed)) == 1:
                behind[layer] = fed[0]
            elif len(fed) > 1:
                raise ValueError(f'The layer "{layer.name}" joins flattened images with other features: the order in '
                                 'which torch has them is unknown. Pass channels_first=False with tensors reordered '
                                 'to suit.')
    return found, behind.get(model._output_layers[0])
