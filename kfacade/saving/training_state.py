"""What a file keeps of a compiled model: the arguments of ``compile`` as JSON, and the optimizer's arrays."""
import json
import warnings

from .later import as_before_optimizer
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
                  loss=_resolve(config['loss'], custom_objects),
                  metrics=_resolve(config.get('metrics'), custom_objects),
                  loss_weights=config.get('loss_weights'),
                  sample_weight_mode=config.get('sample_weight_mode'),
                  weighted_metrics=_resolve(config.get('weighted_metrics'), custom_objects))


def _resolve(value, custom_objects):
    """``value`` with the caller's own objects in place of their names, in lists and dicts too."""
    if isinstance(value, list):
        return [_resolve(item, custom_objects) for item in value]
    if isinstance(value, dict):
        return {key: _resolve(item, custom_objects) for key, item in value.items()}
    return custom_objects.get(value, value) if isinstance(value, str) else value


def set_optimizer_weights(model, arrays):
    """Gives the optimizer of the compiled ``model`` its arrays back, or warns that it starts anew."""
    model._make_train_function()
    try:
        model.optimizer.set_weights(arrays)
    except ValueError as error:
        warnings.warn('Error in loading the saved optimizer state. As a result, your model is starting with a freshly '
                      f'initialized optimizer. ({error})', stacklevel=4)
