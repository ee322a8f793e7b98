"""What a file keeps of a compiled model: the arguments of ``compile`` as JSON, and the optimizer's arrays."""
import json
import warnings

import numpy as np

from .. import optimizers
from ..backend.variable import HostVariable, Update, Variable
from ..utils.generic_utils import deserialize_keras_object, serialize_keras_object
from .hdf5 import read_arrays, write_variables
from .later import as_before_objective, as_before_optimizer, origin, registered
from .text import parse_json, plain
from .trust import InvalidModelFile, refusing

NUMBERS = 'optimizer_numbers'  # the attribute that holds what an optimizer steps by outside its `weights`, as JSON
STEPS = 'debias_steps'  # the attribute that holds how many updates moving averages have had, as JSON
# Arguments of ``compile`` that a file holds under their names, in Keras' order.
COMPILED = 'loss', 'metrics', 'sample_weight_mode', 'loss_weights', 'weighted_metrics'
# Arguments of ``compile`` that Keras does not have, and their keys, which it ignores.
WAYS = {name: f'kfacade_{name}' for name in ('sync_batchnorm', 'mixed_precision', 'jit_compile')}


def training_config(model):
    """The JSON of what ``model`` was compiled with, or None (with a warning) where a Keras file has no form for it."""
    optimizer = model.optimizer
    try:
        text = json.dumps({
            'optimizer_config': serialize_keras_object(optimizer),
            # Keras 2.2.4 forgets weighted metrics and ignores the key; later versions write and read it.
            **{name: getattr(model, name) for name in COMPILED if name != 'weighted_metrics' or model.weighted_metrics},
            **{WAYS[name]: value for name, value in ways_of(model).items()}}, default=plain)
    except (NotImplementedError, TypeError) as error:
        warnings.warn(f'{str(error) or repr(error)} A Keras file cannot hold that: the architecture and the weights '
                      'were saved without the arguments of `compile` and the state of the optimizer. Call `compile` '
                      'again after loading.', stacklevel=4)
        return None
    forgotten = _forgotten(model)
    if forgotten:
        warnings.warn(f'A Keras file cannot hold {forgotten}: after loading, training goes on without.', stacklevel=4)
    return text


def ways_of(model):
    """Those arguments of ``compile`` that Keras does not have, where they are not the default."""
    return {name: value for name, value in zip(WAYS, model._ways) if value}


def _forgotten(model):
    """What the training of ``model`` depends on and no file holds, in words for a message."""
    optimizer = model.optimizer
    kept = {id(item) for item in (*optimizer.weights, *model.weights, *unlisted(optimizer).values())}
    lost = [update.variable.name for update in optimizer.updates
            if isinstance(update, Update) and id(update.variable) not in kept]
    kind = type(optimizer).__name__
    found = [f'the variables {lost} of the optimizer {kind}, which are not in its `weights`'] if lost else []
    return ' and '.join(found + ['the `target_tensors` of `compile`'] * (model._target_tensors is not None))


def unlisted(optimizer):
    """Name -> Variable, for the numbers of ``optimizer`` that are neither in its ``weights`` nor in its config.

    Such are the step count of RMSprop and the momentum schedule of Nadam.
    """
    listed, config = {id(weight) for weight in optimizer.weights}, optimizer.get_config()
    return {name: held for name, held in vars(optimizer).items() if isinstance(held, (Variable, HostVariable))
            and not held.shape and name not in config and id(held) not in listed}


def numbers_of(optimizer):
    """The values of the `unlisted` numbers of ``optimizer``, by name."""
    return {name: held.numpy().item() for name, held in unlisted(optimizer).items()}


def saved_numbers(group):
    """The numbers, by name, that stand beside the arrays of an optimizer in the group of a Reader."""
    where = f'the attribute {NUMBERS} of {group.where()}'
    found = parse_json(group.text(NUMBERS) or '{}', where)
    if not all(type(value) in (int, float, bool) for value in found.values()):
        raise InvalidModelFile(f'Expected numbers in {where}, found {found}.')
    return found


def write_training(file, model, config):
    """Writes to an open HDF5 file the ``config`` that `training_config` gave, and the state of the optimizer.

    Keras' layout has no place for `NUMBERS` and `STEPS`: it ignores these attributes.
    """
    file.attrs['training_config'] = config.encode()
    steps = {layer.name: [weight.debias_steps for weight in layer.weights] for layer in model.saved_as.layers}
    steps = {name: counts for name, counts in steps.items() if any(counts)}
    if steps:
        file.attrs[STEPS] = json.dumps(steps).encode()
    if model.optimizer.weights:
        group, numbers = file.require_group('optimizer_weights'), numbers_of(model.optimizer)
        write_variables(group, model.optimizer.weights)
        if numbers:
            group.attrs[NUMBERS] = json.dumps(numbers).encode()


def restore_training(model, reader, custom_objects):
    """Compiles the loaded ``model`` as its file says, and gives its optimizer the state back."""
    text = reader.text('training_config')
    if text is None:
        warnings.warn('No training configuration found in save file: the model was *not* compiled. Compile it '
                      'manually.', stacklevel=3)
        return
    where = f'the attribute training_config of {reader.where()}'
    with refusing(where):
        _compile_from(model, text, where, custom_objects)
    _set_averaging_steps(model, reader)
    if 'optimizer_weights' in reader:
        group = reader.child('optimizer_weights')
        set_optimizer_weights(model, read_arrays(group), saved_numbers(group), reader.text('keras_version'))


def _set_averaging_steps(model, reader):
    """Lets the moving averages of ``model`` go on as its file says. Otherwise they start anew, as in Keras."""
    where = f'the attribute {STEPS} of {reader.where()}'
    with refusing(where):
        for name, steps in parse_json(reader.text(STEPS) or '{}', where).items():
            if not all(type(count) is int and 0 <= count < 2 ** 53 for count in steps):
                raise InvalidModelFile(f'Expected counts in {where}, found {steps}.')
            for weight, count in zip(model.get_layer(name).weights, steps):
                weight.debias_steps = count


def starts_anew(optimizer, numbers):
    """The names of those numbers that the next steps of ``optimizer`` depend on, and that ``numbers`` leaves out."""
    missing = {name: held for name, held in unlisted(optimizer).items() if name not in numbers}
    carried = getattr(optimizer, 'carried', None)  # built-in optimizers alone say what their steps carry on
    if carried is None:
        changed = {id(update.variable) for update in optimizer.updates if isinstance(update, Update)}
        return [name for name, held in missing.items() if id(held) in changed]
    decays = getattr(optimizer, 'initial_decay', 0) > 0  # all that the step count is for
    return [name for name in (*carried, *['iterations'] * decays) if name in missing]


def _compile_from(model, text, where, custom_objects=None):
    """Compiles ``model`` as the JSON ``text`` says. Raises ValueError for a loss, metric or optimizer nobody knows."""
    config = parse_json(text, where)
    missing = {'optimizer_config', 'loss'} - config.keys()
    if missing:
        raise InvalidModelFile(f'{where} does not say {sorted(missing)}. compile=False loads the model without it.')
    own = registered(custom_objects)
    saved = as_before_optimizer(config['optimizer_config'], own)
    if isinstance(saved, str):
        optimizer = saved
    elif saved['class_name'] in own:
        optimizer = deserialize_keras_object(saved, custom_objects=own)
    else:
        optimizer = optimizers.deserialize(saved)
    model.compile(optimizer, _resolve(config['loss'], own, where),
                  **{name: _metrics(model, config.get(name), own) for name in ('metrics', 'weighted_metrics')},
                  **{name: config.get(name) for name in ('loss_weights', 'sample_weight_mode')},
                  **{name: config[key] for name, key in WAYS.items() if key in config})


def _resolve(value, own, where=None):
    """``value`` with the caller's ``own`` objects in place of their names and configurations, in lists and dicts too.

    Losses and metrics that later versions saved as objects become names; of the others, losses (of the file ``where``)
    are refused and metrics left out with a warning.
    """
    if isinstance(value, list):
        found = [_resolve(item, own, where) for item in value]
        return [item for item, saved in zip(found, value) if item is not None or saved is None]
    if isinstance(value, dict) and isinstance(value.get('class_name'), str) and 'config' in value:
        kind = value['class_name'] if value['class_name'] in own else value['class_name'].rpartition('>')[2]
        if kind == 'function':
            return _resolve(value['config'], own, where)
        if kind in own:
            return deserialize_keras_object({**value, 'class_name': kind}, custom_objects=own)
        name = as_before_objective(value)
        if name is None and where is not None:
            raise InvalidModelFile(f'{where} asks for the loss {value}, which Keras 2.2.4 does not have. compile=False '
                                   'loads the model without it.')
        if name is None:
            warnings.warn(f'The metric {value} is none of Keras 2.2.4 and was left out.', stacklevel=6)
        return name
    if isinstance(value, dict):
        return {key: _resolve(item, own, where) for key, item in value.items()}
    return own.get(value) or as_before_objective(value) if isinstance(value, str) else value


def _metrics(model, saved, own):
    """``compile``'s metrics; later versions save a list for each output, which we take as a dict only."""
    found = _resolve(saved, own)
    if isinstance(found, list) and any(isinstance(item, list) for item in found):
        found = {name: item for name, item in zip(model.output_names, found) if item}
    return found


def _without_iterations(optimizer, arrays, numbers, version):
    """The arrays and numbers of a state which, as from Keras 2.3 on, has the numbers of RMSprop and others in front."""
    names, more = list(unlisted(optimizer)), len(arrays) - len(optimizer.weights)
    in_order = origin(version) == 'Keras' or len(getattr(optimizer, 'slots', ())) == 1  # tf.keras may mix several slots
    place = 0 if names == ['iterations'] else 1  # that of the schedule of Nadam
    if len(names) != 1 or more != 1 or not in_order or np.ndim(arrays[place]):
        return arrays, numbers
    return arrays[:place] + arrays[place + 1:], {names[0]: arrays[place].item(), **numbers}


def set_optimizer_weights(model, arrays, numbers, version=None):
    """Gives the optimizer of the compiled ``model`` its arrays and numbers back, or warns of what starts anew.

    ``version`` is that of the Keras that saved them.
    """
    model._make_train_function()
    optimizer = model.optimizer
    arrays, numbers = _without_iterations(optimizer, arrays, numbers, version)
    try:
        optimizer.set_weights(arrays)
    except ValueError as error:
        warnings.warn('Error in loading the saved optimizer state. As a result, your model is starting with a freshly '
                      f'initialized optimizer. ({error})', stacklevel=4)
        return
    with refusing(f'The saved {NUMBERS}'):
        for name, held in unlisted(optimizer).items():
            held.assign(numbers.get(name, held.numpy()))
    anew = starts_anew(optimizer, numbers)
    if anew:
        warnings.warn(f'The saved state of the optimizer {type(optimizer).__name__} lacks {anew}, for which the layout '
                      'of Keras has no place: they start anew, and the first losses will differ from those of a run '
                      'that never stopped.', stacklevel=4)
