"""What a file keeps of a compiled model: the arguments of ``compile`` as JSON, and the optimizer's arrays."""
import json
import warnings

from .later import as_before_objective, as_before_optimizer
from .text import parse_json, plain
from .trust import InvalidModelFile


def training_config(model):
    """The JSON of what ``model`` was compiled with, or None (with a warning) where a Keras file has no form for it."""
    optimizer = model.optimizer
    try:
        return json.dumps({
            'optimizer_config': {'class_name': type(optimizer).__name__, 'config': optimizer.get_config()},
            'loss': model.loss,
            'metrics': model.metrics,
            'sample_weight_mode': model.sample_weight_mode,
            'loss_weights': model.loss_weights,
        }, default=plain)
    except (NotImplementedError, TypeError) as error:
        warnings.warn(f'{str(error) or repr(error)} A Keras file cannot hold that: the architecture and the weights '
                      'were saved without the arguments of `compile` and the state of the optimizer. Call `compile` '
                      'again after loading.', stacklevel=4)
        return None


def compile_from(model, text, where, custom_objects=None):
    """Compiles ``model`` as the JSON ``text`` says. Raises ValueError for a loss, metric or optimizer nobody knows."""
    from .. import optimizers
    config = parse_json(text, where)
    missing = {'optimizer_config', 'loss'} - config.keys()
    if missing:
        raise InvalidModelFile(f'{where} does not say {sorted(missing)}. compile=False loads the model without it.')
    custom_objects = custom_objects or {}
    saved = as_before_optimizer(config['optimizer_config'], custom_objects)
    model.compile(optimizer=optimizers.deserialize(saved, custom_objects=custom_objects),
                  loss=_resolve(config['loss'], custom_objects, where),
                  metrics=_metrics(model, config.get('metrics'), custom_objects),
                  loss_weights=config.get('loss_weights'),
                  sample_weight_mode=config.get('sample_weight_mode'),
                  weighted_metrics=_metrics(model, config.get('weighted_metrics'), custom_objects))


def _resolve(value, custom_objects, where=None):
    """``value`` with the caller's own objects in place of their names, in lists and dicts too.

    Losses and metrics that later versions saved as objects become names; of the others, losses (of the file ``where``)
    are refused and metrics left out with a warning.
    """
    if isinstance(value, list):
        return [item for item in (_resolve(item, custom_objects, where) for item in value) if item is not None]
    if isinstance(value, dict) and isinstance(value.get('config'), dict) and isinstance(value.get('class_name'), str):
        name = as_before_objective(value)
        if name is None and where is not None:
            raise InvalidModelFile(f'{where} asks for the loss {value}, which Keras 2.2.4 does not have. compile=False '
                                   'loads the model without it.')
        if name is None:
            warnings.warn(f'The metric {value} is none of Keras 2.2.4 and was left out.', stacklevel=6)
        return name
    if isinstance(value, dict):
        return {key: _resolve(item, custom_objects, where) for key, item in value.items()}
    return custom_objects.get(value, value) if isinstance(value, str) else value


def _metrics(model, saved, custom_objects):
    """``compile``'s metrics; later versions save a list for each output, which we take as a dict only."""
    found = _resolve(saved, custom_objects)
    if isinstance(found, list) and any(isinstance(item, list) for item in found):
        found = {name: item for name, item in zip(model.output_names, found) if item}
    return found


def set_optimizer_weights(model, arrays):
    """Gives the optimizer of the compiled ``model`` its arrays back, or warns that it starts anew."""
    model._make_train_function()
    try:
        model.optimizer.set_weights(arrays)
    except ValueError as error:
        warnings.warn('Error in loading the saved optimizer state. As a result, your model is starting with a freshly '
                      f'initialized optimizer. ({error})', stacklevel=4)
