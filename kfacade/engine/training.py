"""`Model`: a network with `compile`, `fit`, `evaluate` and `predict`."""
import functools
import operator
import threading
import warnings

import numpy as np
import torch

from .. import losses as losses_module
from .. import optimizers
from ..backend import session as K
from ..backend import state
from ..backend.devices import default_device, device_of, put, unplaced
from ..backend.dtypes import dtype_name, torch_dtype
from ..backend.graph import PHASE, Ways, walk
from ..backend.symbolic import SymbolicTensor, TensorFace, leaves, symbols_in
from ..backend.variable import OwnHolder, Variable
from ..callbacks.run import configure
from ..utils import ranks
from ..utils.generic_utils import check_number, names_unknown_arguments, slice_arrays, to_list, unpack_singleton
from ..utils.generic_utils import unknown_arguments as unknown
from . import objectives, training_utils
from .functions import StepFunction, TrainFunction
from .inference import is_watched, most_at_once, parts_of
from .input_layer import Input
from .network import Network
from .torch_data import as_batches, check_alone, is_torch_data
from .training_batch import BatchMethods, new_arrays
from .training_generator import GeneratorMethods
from .training_loop import Feed, fit_loop, predict_loop, test_loop
from .training_utils import count

_making = threading.RLock()  # held while a model's functions are made, which threads that use it first ask for at once


def _one_thread_at_a_time(method):
    @functools.wraps(method)
    def wrapper(*args, **kwargs):
        with _making:
            return method(*args, **kwargs)
    return wrapper


class Model(BatchMethods, GeneratorMethods, Network):
    """A network that can be trained.

    ``Model(inputs, outputs)`` is the graph between two (lists of) symbols. A subclass makes its layers in `__init__`
    and defines `call(inputs)`; it is built by the first data it sees.
    """

    def _base_init(self, name=None):
        super()._base_init(name)
        self.stop_training, self.history, self._ways = False, None, Ways()
        self._clear_compiled()

    def _clear_compiled(self):
        self.train_function = self.test_function = self.predict_function = None
        self.total_loss = None
        self.metrics_names, self.metrics_tensors, self.metrics_updates = ['loss'], [], []
        self.stateful_metric_names, self.stateful_metric_functions = [], []

    def _apply(self, fn, recurse=True):
        for metric in self.stateful_metric_functions:  # no submodules, but their counts must be where the outputs are
            metric._apply(fn)
        super()._apply(fn, recurse)
        for module in self._kept_apart():
            module._apply(fn)
        getattr(self.optimizer, 'follow', bool)()
        return self

    def _kept_apart(self):
        """What holds the weights of losses, optimizer and updates that are no layer's."""
        updates = getattr(self.train_function, 'updates', ())
        symbols = walk(symbols_in([self.total_loss, self.metrics_tensors, [u.new_value for u in updates]]))
        used = leaves([getattr(self.optimizer, 'weights', []), [u.variable for u in updates],
                       [(s.args, s.kwargs) for s in symbols]])
        return {x.owner for x in used if isinstance(x, Variable) and isinstance(x.owner, OwnHolder)} | {
            f.module for f in getattr(self, 'loss_functions', ()) if isinstance(f, objectives.TorchLoss)}

    # ------------------------------------------------------------ compile

    def compile(self, optimizer, loss=None, metrics=None, loss_weights=None, sample_weight_mode=None,
                weighted_metrics=None, target_tensors=None, sync_batchnorm=False,
                mixed_precision=None, jit_compile=False, **kwargs):
        """Sets how the model is trained.

        Arguments:
            optimizer: a name, a Keras optimizer, or a ``torch.optim`` optimizer (an instance over this model's
                parameters, or a factory that is called with them).
            loss: a name, a function ``(y_true, y_pred)``, a ``torch.nn`` loss module, or a list or dict (by output
                name) of these. None for an output leaves it out.
            metrics, weighted_metrics: list, or dict by output name, of names, functions or stateful metrics; the latter
                see the sample weights.
            loss_weights: list or dict of numbers. sample_weight_mode: None or 'temporal', or a list or dict of these.
            target_tensors: symbols to take as targets in place of fed arrays.
            sync_batchnorm: where several processes train, BatchNormalization takes the statistics of the whole batch,
                not of the part that each of them has.
            mixed_precision: 'bfloat16' or 'float16': convolutions and products of matrices are computed in that type
                (torch's autocast); weights, their gradients, outputs, losses and metrics stay as they are. For float16
                the loss is scaled, as much as gradients allow; a step whose gradients overflow changes no weights.
            jit_compile: train with what torch.compile makes of forward and backward pass, on a CUDA device as CUDA
                graphs; where it fails, a warning says why.
        The weights that are trainable now are those that will be trained, whatever `trainable` is set to later.
        Raises ValueError, TypeError for what does not fit the outputs.
        """
        if kwargs:
            raise ValueError(f'Invalid argument "{next(iter(kwargs))}": `compile` has no argument '
                             f'{unknown(kwargs, self.compile)}. Keras would pass it to a '
                             'session of TensorFlow, and the torch backend has none.')
        self.optimizer = optimizers.get(optimizer)
        self._modules.pop('loss', None)  # of an earlier compile: torch lets only a module take a module's place
        self.loss, self.metrics = loss if loss is not None else [], metrics or []
        self.loss_weights, self.sample_weight_mode = loss_weights, sample_weight_mode
        self.weighted_metrics, self._target_tensors = weighted_metrics, target_tensors
        self._ways = Ways(sync_batchnorm, mixed_precision, jit_compile)
        known = {'sync_batchnorm': (False, True), 'mixed_precision': (None, 'bfloat16', 'float16'),
                 'jit_compile': (False, True)}
        if mixed_precision and torch_dtype() != torch.float32:
            raise ValueError(f'`mixed_precision` is for a floatx of float32. It is {dtype_name(torch_dtype())}.')
        for name, values in known.items():
            if getattr(self._ways, name) not in values:
                raise ValueError(f'`{name}` must be one of {values}. Received: {getattr(self._ways, name)!r}')
        self._clear_compiled()
        if not self.built:
            self._is_compiled = True  # the rest waits for the first data
            return
        with state.recording(), state.at_home(self._place()[0]):
            self._prepare_outputs(loss, loss_weights, sample_weight_mode, target_tensors)
            for module in self._kept_apart():
                module._apply(lambda tensor: put(tensor, default_device()))
            self._build_objective()
        self._is_compiled = True
        self._collected_trainable_weights = self.trainable_weights
        bind = getattr(self.optimizer, 'bind', None)
        if bind is not None:
            bind(self._collected_trainable_weights, others=self.non_trainable_weights)

    def _prepare_outputs(self, loss, loss_weights, sample_weight_mode, target_tensors):
        """Finds loss, weight, target and sample weights of every output, and which of them are fed."""
        names = self.output_names
        self.loss_functions = objectives.prepare_losses(loss, names)
        self.loss_weights_list = objectives.per_output(loss_weights, names, 'loss_weights', 1.)
        used = [i for i, loss_fn in enumerate(self.loss_functions) if loss_fn is not None]
        modes = objectives.prepare_sample_weight_modes(sample_weight_mode, names, used)
        self.targets = self._given_targets(target_tensors)
        self.sample_weights, self.sample_weight_modes = [None] * len(names), [None] * len(names)
        for i, name in enumerate(names):
            if i not in used:
                self.targets[i] = None
                continue
            if self.targets[i] is None:
                self.targets[i] = objectives.target_placeholder(self.outputs[i], self.loss_functions[i], name)
            if K.is_placeholder(self.targets[i]):  # others are not fed, nor weighted
                self.sample_weights[i] = objectives.weights_placeholder(self.outputs[i], modes[i], name)
            self.sample_weight_modes[i] = modes[i]
        fed = [i for i in used if K.is_placeholder(self.targets[i])]
        (self._feed_targets, self._feed_outputs, self._feed_output_names, self._feed_loss_fns,
         self._feed_sample_weights, self._feed_sample_weight_modes) = (
            [values[i] for i in fed] for values in (self.targets, self.outputs, names, self.loss_functions,
                                                    self.sample_weights, self.sample_weight_modes))
        self._feed_output_shapes = list(map(self._target_shape, self._feed_targets, self._feed_outputs,
                                            self._feed_loss_fns))

    @staticmethod
    def _target_shape(target, output, loss_fn):
        """What `fit` checks the targets against; None where only the loss can say."""
        shape = K.int_shape(output)
        if loss_fn is losses_module.sparse_categorical_crossentropy:
            return (*shape[:-1], 1)
        if isinstance(loss_fn, objectives.TorchLoss):
            target._keeps_dtype = True
            return None
        known = getattr(losses_module, getattr(loss_fn, '__name__', ''), None)
        return shape if known is loss_fn else None

    def _given_targets(self, target_tensors):
        given = target_tensors if isinstance(target_tensors, (dict, type(None))) else to_list(target_tensors)
        return objectives.per_output(given or None, self.output_names, 'target_tensors')

    def _build_objective(self):
        """Calls losses and metrics, once, and adds up the total loss."""
        metrics, weighted = (objectives.check_metrics(given, self.output_names)
                             for given in (self.metrics, self.weighted_metrics))
        self.metrics_names, masks = ['loss'], to_list(self._inbound_nodes[0].output_masks)
        used = [i for i, loss_fn in enumerate(self.loss_functions) if loss_fn is not None]
        totals, plain, units = [], [], []
        for i in used:
            name, weight = self.output_names[i], self.loss_weights_list[i]
            with state.name_scope(f'{name}_loss'):
                score = objectives.scores(self.loss_functions[i], self.targets[i], self.outputs[i], masks[i])
                value = training_utils.weighted_mean(score, self.sample_weights[i])
                unit = training_utils.weighted_mean(score, None)
            if len(self.outputs) > 1:
                self.metrics_tensors.append(value)
                self.metrics_names.append(f'{name}_loss')
                units.append(unit)
            for parts, term in ((totals, value), (plain, unit)):
                parts.append(term if isinstance(weight, (int, float)) and weight == 1 else weight * term)
        shared = self.losses
        if not totals and not shared:
            raise ValueError('The model cannot be compiled because it has no loss to optimize.')
        self.total_loss, plain_loss = (functools.reduce(operator.add, [*parts, *shared]) for parts in (totals, plain))
        self._plain_losses = [plain_loss, *units]
        for i in used:
            for kind, weights in ((metrics[i], None), (weighted[i], self.sample_weights[i])):
                for metric in kind:
                    objectives.add_metric(self, i, metric, weights, masks[i])
        self._compiled_outputs = [self.total_loss, *self.metrics_tensors]

    def _check_trainable_weights_consistency(self):
        collected = getattr(self, '_collected_trainable_weights', None)
        if collected is not None and len(self.trainable_weights) != len(collected):
            warnings.warn('Discrepancy between trainable weights and collected trainable weights, did you set '
                          '`model.trainable` without calling `model.compile` after ?', stacklevel=5)

    # ------------------------------------------------------------ functions

    def _fed_symbols(self):
        return self._feed_inputs + self._feed_targets + self._feed_sample_weights

    def _with_phase(self, symbols):
        return symbols + [PHASE] if self._takes_phase else symbols

    @property
    def _takes_phase(self):
        return self.uses_learning_phase and state.fixed_learning_phase() is None

    def _plain_outputs(self, outputs):
        """Outputs that equal the given ones where all sample weights are one, or None where that is not known.

        It is known as long as nobody touched what `compile` made, and nothing else depends on the weights.
        """
        untouched = len(outputs) == len(self._compiled_outputs) and all(
            a is b for a, b in zip(outputs, self._compiled_outputs))
        if not untouched or self.weighted_metrics:
            return None
        return [*self._plain_losses, *outputs[len(self._plain_losses):]]

    def _how(self):
        """How functions compute: as `compile` said, and by rows where several processes can take a batch apart."""
        fed = len(self._feed_inputs) == len(self.inputs) and all(x.shape[0].value is None for x in self.inputs)
        return self._ways._replace(outputs=tuple(self.outputs), splits=ranks.count > 1 and fed and not self.stateful)

    def _require_compiled(self):
        if self.optimizer is None:
            raise RuntimeError('You must compile a model before training/testing. Use `model.compile(optimizer, '
                               'loss)`.')

    @_one_thread_at_a_time
    def _make_train_function(self):
        """Makes `train_function`, from `total_loss`, `metrics_tensors`, and the updates as they are now."""
        self._require_compiled()
        self._check_trainable_weights_consistency()
        if self.train_function is not None:
            return
        ranks.spread([weight.param for weight in self.weights])
        outputs = [self.total_loss, *self.metrics_tensors]
        updates, variables = self.updates + self.metrics_updates, self._collected_trainable_weights
        inputs = self._with_phase(self._fed_symbols())
        with (state.recording(), state.at_home(self._place()[0]), state.root_scope(), state.name_scope('training'),
              state.name_scope(type(self.optimizer).__name__)):
            make_step = getattr(self.optimizer, 'make_step', None)
            step = make_step(variables) if make_step else None
            if step is not None:
                self.train_function = TrainFunction(inputs, outputs, updates, step, variables,
                                                    self._feed_sample_weights, self._plain_outputs(outputs),
                                                    self._how())
                return
            if self._ways.mixed_precision == 'float16' or self._ways.jit_compile:
                raise ValueError(f'{type(self.optimizer).__name__} makes its updates itself. `jit_compile`, and '
                                 'float16, whose gradients are scaled, need one of this package or of torch; '
                                 "mixed_precision='bfloat16' does not.")
            updates = updates + self.optimizer.get_updates(params=variables, loss=self.total_loss)
        self.train_function = StepFunction(inputs, outputs, updates, 'train_function', True,
                                           self._feed_sample_weights, ways=self._how())

    @_one_thread_at_a_time
    def _make_test_function(self):
        """Makes `test_function`, from `total_loss` and `metrics_tensors` as they are now."""
        self._require_compiled()
        if self.test_function is None:
            outputs = [self.total_loss, *self.metrics_tensors]
            self.test_function = StepFunction(self._with_phase(self._fed_symbols()), outputs,
                                              self.state_updates + self.metrics_updates, 'test_function', False,
                                              self._feed_sample_weights, self._plain_outputs(outputs), self._how())

    @_one_thread_at_a_time
    def _make_predict_function(self):
        """Makes `predict_function`."""
        if self.predict_function is None:
            function = StepFunction(self._with_phase(self._feed_inputs), self.outputs, self.state_updates,
                                    'predict_function', False, ways=self._how())
            function.most_at_once = most_at_once(self)
            self.predict_function = function

    # ------------------------------------------------------------ data

    def _set_inputs(self, inputs):
        """Builds a model that had no input shape from the first data (arrays, or symbols)."""
        if isinstance(inputs, dict):
            raise ValueError(f'The subclassed model "{self.name}" takes its inputs as arrays, not as a dict.')
        with state.recording():
            symbols = [x if isinstance(x, SymbolicTensor) else Input(
                batch_shape=(None, *(x.shape[1:] if np.ndim(x) > 1 else (1,)))) for x in to_list(inputs)]
            arguments = {'training': K.learning_phase()} if self._takes_training else {}
            outputs = to_list(self.call(unpack_singleton(symbols), **arguments))
        self.inputs = self._feed_inputs = symbols
        self.outputs = outputs
        self.input_names = self._feed_input_names = [f'input_{i + 1}' for i in range(len(symbols))]
        self._feed_input_shapes = [K.int_shape(x) for x in symbols]
        self.output_names = [f'output_{i + 1}' for i in range(len(outputs))]
        self._add_own_node([None] * len(outputs))
        self.built = True

    def _standardize_user_data(self, x, y=None, sample_weight=None, class_weight=None, check_array_lengths=True,
                               batch_size=None):
        """Checks what the user passed; returns lists of inputs, targets and sample weights. Raises ValueError."""
        if not self.built:
            if x is None:
                raise ValueError(f'Model "{self.name}" is not built; it needs data to know the shape of its input.')
            self._set_inputs(_with_rank(x))
        if y is not None:
            self._require_compiled()
            if not self._is_compiled or self.total_loss is None:  # built, or built anew, since compile
                self.compile(self.optimizer, self.loss or None, self.metrics, self.loss_weights,
                             self.sample_weight_mode, self.weighted_metrics, self._target_tensors,
                             *self._ways[:3])
        feed_shapes = self._feed_input_shapes if self._is_graph_network else None
        x = training_utils.standardize_input_data(x, self._feed_input_names, feed_shapes, check_batch_axis=False,
                                                  exception_prefix='input')
        if y is None and not (self._is_compiled and getattr(self, '_feed_targets', None) == []):
            return x, [], []
        y, weights = self._standardize_targets(y, sample_weight, class_weight)
        if check_array_lengths:
            training_utils.check_array_length_consistency(x, y, weights)
        if self._is_graph_network:
            training_utils.check_loss_and_target_compatibility(y, self._feed_loss_fns, [
                K.int_shape(output) for output in self._feed_outputs])
        self._refuse_uneven_batches(x, batch_size)
        return x, y, weights

    def _refuse_uneven_batches(self, x, batch_size):
        if self.stateful and batch_size and x and x[0].shape[0] % batch_size:
            layers = ', '.join(layer.name for layer in self.layers if layer.stateful)
            raise ValueError('In a stateful network, you should only pass inputs with a number of samples that can be '
                             f'divided by the batch size. Found: {x[0].shape[0]} samples. Batch size: {batch_size}. '
                             f'(Stateful: {layers})')

    def _standardize_targets(self, y, sample_weight, class_weight):
        names = self._feed_output_names
        as_given = _named_arrays(y, names)
        y = training_utils.standardize_input_data(y, names, self._feed_output_shapes, check_batch_axis=False,
                                                  exception_prefix='target')
        for i, loss_fn in enumerate(self._feed_loss_fns):
            if isinstance(loss_fn, objectives.TorchLoss) and as_given is not None and np.ndim(as_given[i]) == 1:
                given = as_given[i]  # torch's losses mean a vector where they are given one
                y[i] = given if isinstance(given, torch.Tensor) else np.asarray(given)
        sample_weights = training_utils.standardize_sample_weights(sample_weight, names)
        class_weights = training_utils.standardize_class_weights(class_weight, names)
        weights = [training_utils.standardize_weights(target, sw, cw, mode) for target, sw, cw, mode in zip(
            y, sample_weights, class_weights, self._feed_sample_weight_modes)]
        for loss_fn, w, name in zip(self._feed_loss_fns, weights, names):
            if getattr(loss_fn, 'reduces', False) and not training_utils.are_unit_weights(w):
                raise ValueError(f'The loss {loss_fn.name} of output "{name}" gives one number for the whole batch, so '
                                 'samples cannot be weighted. Make it with `reduction="none"`.')
        return y, weights

    def _feed(self, function, x, y=(), weights=(), **plan):
        """Arrays as a source of batches for a function; `plan` says how to cut them (see `Feed`)."""
        symbols, arrays = self._feed_inputs, [*x, *y, *weights]
        if function is not self.predict_function:
            symbols = self._fed_symbols()
            missing = [symbol.name for symbol in (self._feed_inputs + self._feed_targets)[len(arrays):]]
            if missing and isinstance(function, StepFunction):
                raise ValueError(f'Model "{self.name}" was given no data for {missing}. Pass targets as `y`, and what '
                                 'to validate on as `validation_data`.')
        phase = float(function is self.train_function) if self._takes_phase else None
        return Feed(arrays, symbols, len(weights), function, *self._place(), phase, **plan)

    def _place(self, anchor=None):
        """Where data goes, and the weights' floating dtype where ``model.double()`` or the like has changed it.

        `anchor`: the module and the key of a weight that no scope has placed, where that is known.
        """
        free = anchor or unplaced(self)
        first = next(self.parameters(), torch.empty(0)) if free is None else getattr(*free)
        as_made = first.dtype == torch_dtype() or any(x.dtype != torch_dtype() for x in self._feed_inputs)
        return default_device() if free is None else device_of(first), None if as_made else first.dtype

    # ------------------------------------------------------------ fit, evaluate, predict

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose=1, callbacks=None, validation_split=0.,
            validation_data=None, shuffle=True, class_weight=None, sample_weight=None, initial_epoch=0,
            steps_per_epoch=None, validation_steps=None, **kwargs):
        """Trains on arrays for a number of epochs.

        Arguments:
            x, y: an array or tensor, or a list or dict (by input, output name) of them; samples along the first axis.
                Or x alone: a data set or data loader of torch, that gives both (see `fit_generator`).
            batch_size: samples in a step (default 32). epochs: index of the last epoch, from 1.
            verbose: 0 silent, 1 a bar, 2 a line an epoch. callbacks: list of callbacks.
            validation_split: share of the samples, the last ones, to validate on. validation_data: ``(x, y)`` or
                ``(x, y, sample_weight)``, or a data set or loader, to validate on instead.
            shuffle: True, False, or 'batch' to shuffle whole batches (for HDF5 data).
            class_weight: dict from class to weight. sample_weight: array, or list or dict of arrays.
            initial_epoch: epoch to start at. steps_per_epoch: number of steps, each on the whole arrays.
            validation_steps: the same for validation.
        Returns the `History` of losses and metrics. Raises ValueError, TypeError for data that does not fit.
        """
        if 'nb_epoch' in kwargs:
            warnings.warn('The `nb_epoch` argument in `fit` has been renamed `epochs`.', stacklevel=2)
            epochs = kwargs.pop('nb_epoch')
        if kwargs:
            raise TypeError(f'Unrecognized keyword arguments: {unknown(kwargs, self.fit)}')
        if is_torch_data(x):
            check_alone(x, y=y, batch_size=batch_size, validation_split=validation_split or None,
                        sample_weight=sample_weight)
            return self.fit_generator(
                as_batches(x, batch_size, shuffle), steps_per_epoch, epochs, verbose=verbose, callbacks=callbacks,
                validation_data=as_batches(validation_data, batch_size), validation_steps=validation_steps,
                class_weight=class_weight, initial_epoch=initial_epoch)
        self._require_compiled()
        epochs, initial_epoch = count(epochs, 'epochs'), count(initial_epoch, 'initial_epoch')
        steps_per_epoch = count(steps_per_epoch, 'steps_per_epoch')
        validation_steps = count(validation_steps, 'validation_steps')
        batch_size = _batch_size('fitting', (x, y), batch_size, steps_per_epoch, 'steps_per_epoch')
        x, y, weights = self._standardize_user_data(x, y, sample_weight, class_weight, batch_size=batch_size)
        (x, y, weights), held_out = self._hold_out(x, y, weights, validation_split, validation_data, batch_size,
                                                   validation_steps)
        n = training_utils.check_num_samples(x + y, batch_size, steps_per_epoch, 'steps_per_epoch')
        if n == 0:
            raise ValueError(f'Cannot train model "{self.name}" on empty arrays: there are no samples in x.')
        if validation_steps is not None and steps_per_epoch is None and not is_torch_data(validation_data):
            raise ValueError('Can only use `validation_steps` when doing step-wise training, i.e. `steps_per_epoch` '
                             'must be set.')
        if held_out is not None and steps_per_epoch is not None and validation_steps is None:
            raise ValueError('Must specify `validation_steps` to perform validation when doing step-wise training.')
        self._make_train_function()
        validate = None
        if is_torch_data(validation_data):
            validate = functools.partial(self.evaluate_generator, as_batches(validation_data, batch_size),
                                         validation_steps)
        elif held_out is not None:
            self._make_test_function()
            val_n = training_utils.check_num_samples(held_out[0] + held_out[1], batch_size, validation_steps,
                                                     'validation_steps')
            val_batches = self._feed(self.test_function, *held_out, samples=val_n, batch_size=batch_size,
                                     steps=validation_steps)
            validate = functools.partial(test_loop, self, val_batches, 0)
            if verbose and n is not None and val_n is not None:
                ranks.tell(f'Train on {n} samples, validate on {val_n} samples')
        run = configure(self, callbacks, batch_size, epochs, steps_per_epoch, n, verbose, validate is not None)
        run.on_train_begin()
        run.set_validation_data(self._seen_by_callbacks(*held_out) if held_out else [])
        batches = self._feed(self.train_function, x, y, weights, samples=n, batch_size=batch_size,
                             steps=steps_per_epoch, shuffle=shuffle)
        fit_loop(self, batches, run, range(initial_epoch, epochs), validate)
        run.on_train_end()
        return self.history

    def _seen_by_callbacks(self, x, y, weights):
        """The validation data as callbacks get it: arrays in one list, and the learning phase where one is fed."""
        return [*x, *y, *weights, *([0.] if self._takes_phase else [])]

    def _hold_out(self, x, y, weights, validation_split, validation_data, batch_size, validation_steps):
        """The training arrays, and (x, y, weights) to validate on, or None."""
        if is_torch_data(validation_data):
            return (x, y, weights), None  # these batches are not arrays
        if not isinstance(validation_data, (tuple, list, type(None))):
            raise ValueError('`validation_data` must be a tuple (x_val, y_val) or (x_val, y_val, val_sample_weights). '
                             f'Received: {type(validation_data).__name__}. `fit_generator` takes generators.')
        check_number('validation_split', validation_split or 0., '`fit`')
        if validation_split and not 0. <= validation_split < 1.:
            warnings.warn(f'`validation_split` is a share of the samples, in [0, 1). Received {validation_split}: '
                          'nothing is held out to validate on.', stacklevel=3)
        if validation_data:
            if len(validation_data) not in (2, 3):
                raise ValueError('When passing validation_data, it must contain 2 (x_val, y_val) or 3 (x_val, y_val, '
                                 f'val_sample_weights) items, however it contains {len(validation_data)} items')
            held_out = self._standardize_user_data(*validation_data, batch_size=batch_size)
            return (x, y, weights), held_out
        if validation_split and 0. < validation_split < 1.:
            if any(isinstance(a, TensorFace) for a in x) or not x:
                raise ValueError('If your data is in the form of symbolic tensors, you cannot use `validation_split`.')
            split = int(int(x[0].shape[0]) * (1. - validation_split))
            kept, held_out = ([slice_arrays(part, *bounds) for part in (x, y, weights)]
                              for bounds in ((0, split), (split, None)))
            return kept, held_out
        if validation_steps:
            return (x, y, weights), ([], [], [])
        return (x, y, weights), None

    @names_unknown_arguments
    def evaluate(self, x=None, y=None, batch_size=None, verbose=1, sample_weight=None, steps=None):
        """The loss and metrics on arrays, or on a data set or loader of torch.

        A number, or a list of numbers in the order of `metrics_names`.
        """
        if is_torch_data(x):
            check_alone(x, y=y, batch_size=batch_size, sample_weight=sample_weight)
            return self.evaluate_generator(as_batches(x, batch_size), steps, verbose=verbose)
        steps = count(steps, 'steps')
        batch_size = _batch_size('evaluating', (x, y), batch_size, steps)
        self._require_compiled()
        x, y, weights = self._standardize_user_data(x, y, sample_weight, batch_size=batch_size)
        n = training_utils.check_num_samples(x + y, batch_size, steps)
        if n == 0:
            raise ValueError(f'Cannot evaluate model "{self.name}" on empty arrays: there are no samples in x.')
        self._make_test_function()
        batches = self._feed(self.test_function, x, y, weights, samples=n, batch_size=batch_size, steps=steps)
        return unpack_singleton(test_loop(self, batches, verbose))

    @names_unknown_arguments
    def predict(self, x, batch_size=None, verbose=0, steps=None):
        """The outputs for arrays, or a data set or loader of torch: an array, or a list with one for each output."""
        if type(x) is np.ndarray and x.ndim > 1 and 0 < len(x) <= 32 and batch_size is steps is None and not verbose:
            return new_arrays(self._on_batch('predict', x))
        if is_torch_data(x):
            check_alone(x, batch_size=batch_size)
            return self.predict_generator(as_batches(x, batch_size, n_inputs=len(self.inputs or ())), steps,
                                          verbose=verbose)
        steps = count(steps, 'steps')
        batch_size = _batch_size('predicting', (x,), batch_size, steps)
        x, _, _ = self._standardize_user_data(x)
        if x and batch_size and x[0].shape[0] > batch_size:
            self._refuse_uneven_batches(x, batch_size)
        n = training_utils.check_num_samples(x, batch_size, steps)
        if n == 0:
            return unpack_singleton(self.predict_on_batch(x))
        if batch_size and not verbose and n is not None and n <= batch_size:
            return new_arrays(self._on_arrays('predict', x))
        self._make_predict_function()
        most = getattr(self.predict_function, 'most_at_once', 0)
        if not verbose and batch_size and 2 * batch_size <= most and not is_watched(parts_of(self)):
            batch_size *= most // batch_size
        batches = self._feed(self.predict_function, x, samples=n, batch_size=batch_size, steps=steps)
        return unpack_singleton(predict_loop(batches, verbose))


def _batch_size(doing, data, batch_size, steps, argument='steps'):
    """The samples in a batch: Keras' 32, unless something is given. Raises ValueError for none, or for no data."""
    if steps is None and all(part is None for part in data):
        raise ValueError(f'If {doing} from data tensors, you should specify the `{argument}` argument.')
    if batch_size is not None and (batch_size < 1 or batch_size % 1):
        raise ValueError(f'`batch_size` must be a positive integer. Got: {batch_size}')
    return 32 if batch_size is None and steps is None else count(batch_size, 'batch_size')


def _with_rank(x):
    if isinstance(x, dict):
        return x
    return [a if isinstance(a, TensorFace) else training_utils.standardize_single_array(
        a if hasattr(a, 'ndim') else np.asarray(a)) for a in to_list(x)]


def _named_arrays(y, names):
    if isinstance(y, dict):
        return [y.get(name) for name in names]
    named = isinstance(y, (list, tuple)) and len(y) == len(names)
    return y if named and (not names or np.ndim(y[0])) else [y] * len(names)
