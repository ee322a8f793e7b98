"""Training one model on several devices at once."""
import functools
from collections import Counter

from ..backend.devices import available_devices, device_scope
from ..engine.training import Model
from ..layers.core import Lambda, get_slice
from ..layers.merge import Concatenate
from ..models import clone_model
from ..saving import pickle_model, unpickle_model
from .generic_utils import to_list


def _of_template(name):
    @functools.wraps(getattr(Model, name))
    def method(self, *args, **kwargs):
        return getattr(self.template, name)(*args, **kwargs)
    return method


class ParallelModel(Model):
    """A graph that computes a `template` on several devices, each on its part of the batch.

    What is kept of it is the template: its weights, files, configuration, summary and state dict are the template's,
    with the training of this model; so copies and pickles of it are plain models.
    """

    def __init__(self, inputs, outputs, template):
        super().__init__(inputs, outputs)
        vars(self)['template'] = template  # which is a layer, and a submodule, already

    saved_as = property(lambda self: self.template)
    get_config, summary, get_weights, set_weights, state_dict, load_state_dict = map(_of_template, (
        'get_config', 'summary', 'get_weights', 'set_weights', 'state_dict', 'load_state_dict'))

    def __reduce__(self):
        return unpickle_model, (pickle_model(self),)


def _target_ids(gpus, there):
    """The numbers of the devices that `gpus` means, which are two or more and there. Raises ValueError."""
    if not gpus:
        gpus = sum('gpu' in name for name in there)
    what, several = ('len(gpus)', len(gpus)) if isinstance(gpus, (list, tuple)) else ('gpus', gpus)
    if several <= 1:
        raise ValueError(f'For multi-gpu usage to be effective, call `multi_gpu_model` with `{what} >= 2`. '
                         f'Received: `gpus={gpus if what != "gpus" else int(gpus)}`')
    ids = list(gpus) if what != 'gpus' else range(gpus)
    wanted = ['/cpu:0', *(f'/gpu:{i}' for i in ids)]
    if not all(name in there for name in wanted):
        raise ValueError(f'To call `multi_gpu_model` with `gpus={gpus}`, we expect the following devices to be '
                         f'available: {wanted}. However this machine only has: {list(there)}. Try reducing `gpus`.')
    return ids


def multi_gpu_model(model, gpus=None, cpu_merge=True, cpu_relocation=False):
    """A model that computes `model` on several devices, each on its part of every batch (data parallelism).

    Arguments:
        model: the template, whose weights the new model trains: it stays where it is, the other devices get copies
            for each step, and all gradients come back to it.
        gpus: the number of devices, 2 or more, or a list of their numbers; None for all there are.
        cpu_merge: whether the parts of the outputs are put together on the CPU, else on the first of the devices.
        cpu_relocation: whether to take, instead of `model`, a clone of it with its weights on the CPU, which are (as in
            Keras) initialised anew.
    A batch is split as in Keras: 10 samples over 4 devices are 2, 2, 2, 4. Everything comes out as from `model`, but
    that BatchNormalization, when training, normalises each part by itself; its moving averages follow the last part.
    Files of the model, and copies, are those of `model`. Raises ValueError for fewer than two devices, and for absent
    ones.
    """
    ids = _target_ids(gpus, available_devices())
    if cpu_relocation:
        with device_scope('/cpu:0'):
            model = clone_model(model)
    parts = []
    for i, number in enumerate(ids):
        slices = [Lambda(get_slice, output_shape=tuple(x.shape.as_list()[1:]), arguments={'i': i, 'parts': len(ids)})(x)
                  for x in model.inputs]
        with device_scope(f'/gpu:{number}'):
            parts.append(to_list(model(slices if len(slices) > 1 else slices[0])))
    with device_scope('/cpu:0' if cpu_merge else f'/gpu:{ids[0]}'):
        merged = [Concatenate(axis=0, name=name)(list(outputs))
                  for name, outputs in zip(_unique(model.output_names), zip(*parts))]
    return ParallelModel(model.inputs, merged, model)


def _unique(names):
    """`names`, with numbers for those that occur several times: outputs of one layer that is called on each."""
    counts, seen = Counter(names), Counter()
    for name in names:
        seen[name] += 1
        yield f'{name}_{seen[name]}' if counts[name] > 1 else name
