"""Layers and networks: building, nodes, names, masks, nesting, configurations, and being a torch module."""
import copy
import json
import pickle

import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade import layers, regularizers
from kfacade.engine import Input, InputLayer, InputSpec, Layer
from kfacade.models import Model, Sequential, model_from_json


def two_branches():
    a, b = Input((3,), name='a'), Input((4,), name='b')
    shared = layers.Dense(5, activation='relu', name='shared')
    left = shared(layers.Dense(6, name='left')(a))
    right = shared(layers.Dense(6, name='right')(b))
    top = layers.Dense(2, name='top')(layers.concatenate([left, right], name='joined'))
    return Model([a, b], [top, left], name='branches')


# ---------------------------------------------------------------- layers and nodes

def test_automatic_names_count_per_class():
    names = [layer.name for layer in (layers.Dense(1), layers.Dense(1), layers.LeakyReLU(), layers.PReLU(),
                                      layers.MaxPooling2D(), Sequential(), Model(*[Input((1,))] * 2))]
    assert names == ['dense_1', 'dense_2', 'leaky_re_lu_1', 'p_re_lu_1', 'max_pooling2d_1', 'sequential_1', 'model_1']


@pytest.mark.parametrize('name', ['self', 'class', '1st', 'a:0', 'forward', 'torch', 'training'])
def test_names_that_mean_something_in_the_compiled_code(name):
    x = Input((2,), name=name)
    model = Model(x, layers.Dense(1, kernel_initializer='ones', name=f'{name}_sum')(x))
    np.testing.assert_array_equal(model.predict(np.float32([[1, 2], [3, 4]])), [[3], [7]])


def test_unknown_keyword():
    with pytest.raises(TypeError, match="Keyword argument not understood: 'unit'"):
        layers.Dense(3, unit=4)


def test_nodes_of_a_shared_layer():
    model = two_branches()
    shared = model.get_layer('shared')
    assert len(shared.inbound_nodes) == 2 and shared.get_input_shape_at(0) == (None, 6)
    assert shared.get_output_at(1) is not shared.get_output_at(0) and shared.output_shape == (None, 5)
    with pytest.raises(AttributeError, match='Layer shared has multiple inbound nodes, hence the notion of '
                                             '"layer output" is ill-defined'):
        shared.output  # noqa: B018
    with pytest.raises(ValueError, match='Asked to get output at node 5, but the layer has only 2 inbound nodes'):
        shared.get_output_at(5)


def test_scripts_may_empty_the_outbound_nodes():
    model = two_branches()
    last = model.get_layer('shared')
    last.outbound_nodes = []
    assert last._outbound_nodes == [] and layers.Dense(2)(last.get_output_at(0)) is not None
    assert len(last.outbound_nodes) == 1


def test_a_layer_that_was_never_called():
    layer = layers.Dense(2, name='lonely')
    with pytest.raises(AttributeError, match='Layer lonely has no inbound nodes'):
        layer.output  # noqa: B018
    with pytest.raises(AttributeError, match='Layer lonely is not connected'):
        layer.input  # noqa: B018
    with pytest.raises(RuntimeError, match='never been called'):
        layer.get_output_at(0)
    with pytest.raises(RuntimeError, match="but the layer isn't built"):
        layer.count_params()


def test_numpy_is_no_input():
    with pytest.raises(ValueError, match="Layer dense_1 was called with an input that isn't a symbolic tensor"):
        layers.Dense(2)(np.zeros((2, 3)))


@pytest.mark.parametrize('spec, message', [
    (InputSpec(ndim=3), 'expected ndim=3, found ndim=2'), (InputSpec(min_ndim=3), 'expected min_ndim=3'),
    (InputSpec(max_ndim=1), 'expected max_ndim=1'), (InputSpec(axes={-1: 5}), 'expected axis -1 of input shape to have '
                                                                              'value 5 but got shape'),
    (InputSpec(shape=(None, 7)), r'expected shape=\(None, 7\)'), (InputSpec(dtype='int32'), 'expected dtype=int32')])
def test_input_spec(spec, message):
    layer = layers.Activation('relu', name='picky')
    layer.input_spec = spec
    with pytest.raises(ValueError, match=f'Input 0 is incompatible with layer picky: {message}'):
        layer(Input((4,)))


def test_set_weights_refuses_and_changes_nothing():
    layer = layers.Dense(2, name='d')
    layer(Input((3,)))
    before = layer.get_weights()
    with pytest.raises(ValueError, match='You called `set_weights\\(weights\\)` on layer "d" with a  weight list of '
                                         'length 1, but the layer was expecting 2 weights'):
        layer.set_weights([np.zeros((3, 2))])
    with pytest.raises(ValueError, match=r'Layer weight shape \(2,\) not compatible with provided weight shape \(3,\)'):
        layer.set_weights([np.zeros((3, 2)), np.zeros(3)])
    for old, new in zip(before, layer.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_weights_argument_sets_the_first_weights():
    kernel, bias = np.ones((3, 2)), np.full(2, 7.)
    layer = layers.Dense(2, weights=[kernel, bias])
    layer(Input((3,)))
    np.testing.assert_array_equal(layer.get_weights()[1], bias)


def test_weight_names_follow_tensorflow_scopes():
    def names(layer):
        return [w.name for w in layer.weights]
    first = layers.Dense(1, name='d')
    first(Input((2,)))
    first(Input((2,)))
    second = layers.Dense(1, name='d')
    second(Input((2,)))
    assert names(first) == ['d/kernel:0', 'd/bias:0'] and names(second) == ['d_2/kernel:0', 'd_2/bias:0']


def test_messages_of_properties_are_not_swallowed():
    class Broken(Layer):
        @property
        def answer(self):
            raise AttributeError('the answer is not ready')
    with pytest.raises(AttributeError, match='the answer is not ready'):
        Broken().answer  # noqa: B018


def test_masks_flow_or_are_refused():
    x = Input((4,))
    embedded = layers.Embedding(5, 3, mask_zero=True)(x)
    dropped = layers.Dropout(0.3)(embedded)
    mask = K.function([x], [dropped._keras_history[0].output_mask])([np.array([[1, 0, 2, 0]])])[0]
    np.testing.assert_array_equal(mask, [[True, False, True, False]])
    with pytest.raises(TypeError, match='Layer flatten_1 does not support masking, but was passed an input_mask'):
        layers.Flatten()(dropped)


def test_a_layer_that_returns_its_input_gives_a_new_tensor():
    x = Input((3,))
    y = layers.Dropout(0.)(x)
    assert y is not x and Model(x, y).predict(np.ones((1, 3))).tolist() == [[1, 1, 1]]


# ---------------------------------------------------------------- networks

def test_layers_are_ordered_by_depth_then_by_the_way_from_the_outputs():
    assert [layer.name for layer in two_branches().layers] == ['a', 'b', 'left', 'right', 'shared', 'joined', 'top']


def test_shared_layers_compute_and_train_together():
    model = two_branches()
    data = [np.ones((2, 3)), np.ones((2, 4))]
    top, left = model.predict(data)
    weights = dict(zip([w.name for layer in model.layers for w in layer.weights], model.get_weights()))
    hidden = np.maximum(data[0] @ weights['left/kernel:0'] @ weights['shared/kernel:0'], 0)
    np.testing.assert_allclose(left, hidden, rtol=1e-5)
    assert top.shape == (2, 2) and model.count_params() == 24 + 30 + 35 + 22


def test_a_model_on_new_inputs_adds_no_nodes_to_its_layers():
    inner = Sequential([layers.Dense(2, input_shape=(3,), kernel_regularizer=regularizers.l2(0.1)),
                        layers.BatchNormalization()])
    x = Input((3,))
    outer = Model(x, inner(x))
    assert len(inner.layers[0].inbound_nodes) == 1 and len(inner.inbound_nodes) == 2
    assert len(outer.losses) == 1 and len(outer.updates) == 2
    with pytest.raises(AttributeError, match='multiple inbound nodes'):
        inner.output  # noqa: B018
    data = np.random.RandomState(0).randn(4, 3)
    np.testing.assert_array_equal(outer.predict(data), inner.predict(data))


def test_a_sub_model_on_an_inner_output():
    model = two_branches()
    features = Model(model.inputs, model.get_layer('joined').output)
    assert features.predict([np.ones((2, 3)), np.ones((2, 4))]).shape == (2, 10)
    tail_input = Input((10,))
    tail = Model(tail_input, model.get_layer('top')(tail_input))
    assert tail.predict(np.ones((2, 10))).shape == (2, 2)


@pytest.mark.parametrize('build, message', [
    (lambda x, y: Model([x, x], y), 'inputs passed to the model is redundant'),
    (lambda x, y: Model(x, K.square(y)), 'Output tensors to a Model must be the output of a Keras `Layer`'),
    (lambda x, y: Model(K.placeholder((None, 2)), y), 'Input tensors to a Model must come from `keras.layers.Input`'),
    (lambda x, y: Model(Input((2,)), y), 'Graph disconnected: cannot obtain value for tensor .* at layer "input_1"'),
    (lambda x, y: Model(x, layers.Dense(1, name='dense_1')(y)), 'The name "dense_1" is used 2 times in the model')])
def test_networks_that_cannot_be(build, message):
    x = Input((2,))
    with pytest.raises(ValueError, match=message):
        build(x, layers.Dense(2)(x))


def test_get_layer():
    model = two_branches()
    assert model.get_layer(index=2).name == 'left' and model.get_layer('left', index=3).name == 'right'
    for arguments, message in ((dict(name='zz'), 'No such layer: zz'), (dict(index=9), 'Was asked to retrieve layer at '
                                                                                      'index 9 but model only has 7'),
                               ({}, 'Provide either a layer name or layer index')):
        with pytest.raises(ValueError, match=message):
            model.get_layer(**arguments)


def test_trainable_hides_weights_at_both_levels():
    model = two_branches()
    model.get_layer('left').trainable = False
    assert len(model.trainable_weights) == 6 and len(model.non_trainable_weights) == 2
    model.trainable = False
    assert model.trainable_weights == [] and len(model.non_trainable_weights) == 8


def test_config_round_trip_keeps_sharing_and_order():
    model = two_branches()
    again = model_from_json(model.to_json())
    assert json.loads(again.to_json()) == json.loads(model.to_json())
    assert json.loads(json.dumps(model._updated_config())) == json.loads(model.to_json())  # libraries rebuild from it
    again.set_weights(model.get_weights())
    data = [np.random.RandomState(0).randn(2, n) for n in (3, 4)]
    for x, y in zip(model.predict(data), again.predict(data)):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize('copied', [lambda m: Model.from_config(m.get_config()), lambda m: model_from_json(m.to_json()),
                                    lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])
def test_an_input_that_no_output_needs_is_kept(copied):
    a, b = Input((3,), name='a'), Input((2,), name='b')
    inner = Model([b, a], layers.Dense(2, name='d')(a), name='inner')
    p, q = Input((2,), name='p'), Input((3,), name='q')
    model = Model([p, q], inner([p, q]))
    x = [np.ones((4, 2), 'float32'), np.arange(12, dtype='float32').reshape(4, 3)]
    for made in (inner, model):
        again = copied(made)
        again.set_weights(made.get_weights())
        assert again.input_names == made.input_names
        assert [layer.name for layer in again.layers] == [layer.name for layer in made.layers]
        np.testing.assert_array_equal(again.predict(x), made.predict(x))


class Counted(list):
    """A list that counts how often it is gone through."""

    count = 0

    def __iter__(self):
        Counted.count += 1
        return super().__iter__()


@pytest.mark.parametrize('order', [list, reversed, lambda entries: [*entries[1::2], *entries[::2]]])
def test_a_configuration_lists_layers_in_any_order(order):
    a, shared = Input((3,)), layers.Dense(3, name='shared', activation='tanh')
    x = a
    for i in range(40):
        x = layers.Activation('tanh')(shared(x) if i % 4 else x)
    outputs = [shared(x), layers.Concatenate()([x, a, shared(a)])]
    model = Model(a, outputs)
    config = model.get_config()
    config['layers'] = list(order(config['layers']))
    for entry in config['layers']:
        entry['inbound_nodes'] = [Counted(call) for call in entry['inbound_nodes']]
    Counted.count = 0
    again = Model.from_config(config)
    assert Counted.count == sum(len(entry['inbound_nodes']) for entry in config['layers'])  # none is tried in vain
    again.set_weights(model.get_weights())
    for got, wanted in zip(again.predict(np.eye(3)), model.predict(np.eye(3))):
        np.testing.assert_array_equal(got, wanted)
    config['layers'].pop(0 if order is list else -1)
    with pytest.raises(ValueError, match='Improper config format'):
        Model.from_config(config)


def test_calls_that_wait_for_each_other_are_refused():
    config = Model(*(lambda a: (a, layers.ReLU(name='r')(a)))(Input((3,), name='a'))).get_config()
    config['layers'][1]['inbound_nodes'] = [[['r', 0, 0, {}]]]
    with pytest.raises(ValueError, match=r"the inputs of \['r'\] are not in the model"):
        Model.from_config(config)


def test_keras_1_spelling_of_a_model():
    x = Input((2,))
    with pytest.warns(UserWarning, match='Update your `Model` call to the Keras 2 API'):
        model = Model(input=x, output=layers.Dense(1)(x))
    assert model.output_shape == (None, 1)


def test_compute_output_shape_and_mask_of_a_model():
    model = two_branches()
    assert model.compute_output_shape([(7, 3), (7, 4)]) == [(7, 2), (7, 5)]


def test_input_on_a_given_tensor_is_not_fed():
    x = Input(tensor=K.variable(np.array([[1., 2.]])))
    model = Model(x, layers.Dense(1, kernel_initializer='ones')(x))
    np.testing.assert_array_equal(model.predict(None, steps=1), [[3]])


@pytest.mark.parametrize('arguments, message', [
    (dict(), 'either a `batch_input_shape` or an `input_shape`'),
    (dict(input_shape=(3,), batch_input_shape=(2, 3)), 'not both at the same time')])
def test_input_layer_wants_one_shape(arguments, message):
    with pytest.raises(ValueError, match=message):
        InputLayer(**arguments)


def test_summary_of_a_graph():
    lines = []
    two_branches().summary(print_fn=lines.append)
    assert lines[1] == ('Layer (type)                    Output Shape         Param #     Connected to                 '
                        '    ')
    assert 'shared (Dense)                  (None, 5)            35          left[0][0]                       ' in lines
    assert lines[-5] == 'Total params: 111' or 'Total params: 111' in lines


# ---------------------------------------------------------------- subclassed models

class Mlp(Model):
    def __init__(self):
        super().__init__(name='mlp')
        self.hidden = layers.Dense(4, activation='relu')
        self.norm = layers.BatchNormalization()
        self.head = layers.Dense(1)

    def call(self, inputs):
        return self.head(self.norm(self.hidden(inputs)))


def test_a_subclassed_model_trains_and_saves_its_weights(tmp_path):
    model = Mlp()
    model.compile('adam', 'mse', metrics=['mae'])
    x = np.random.RandomState(0).randn(32, 3)
    history = model.fit(x, x[:, :1], epochs=3, verbose=0)
    assert history.history['loss'][2] < history.history['loss'][0]
    assert model.metrics_names == ['loss', 'mean_absolute_error']
    assert [layer.name for layer in model.layers] == ['dense_1', 'batch_normalization_1', 'dense_2']
    model.save_weights(str(tmp_path / 'w.h5'))
    other = Mlp()
    other.predict(x)
    other.load_weights(str(tmp_path / 'w.h5'))
    np.testing.assert_array_equal(model.predict(x), other.predict(x))
    with pytest.raises(NotImplementedError, match='subclassed model'):
        model.get_config()


def test_forgetting_super_init_is_explained():
    class Hasty(Model):
        def __init__(self):
            self.dense = layers.Dense(1)
    with pytest.raises(RuntimeError, match='forgot to call `super'):
        Hasty()


# ---------------------------------------------------------------- a torch module

def test_models_are_torch_modules():
    model = two_branches()
    assert not model.training and len(list(model.parameters())) == 8
    x = [torch.randn(2, 3), torch.randn(2, 4)]
    top, left = model(x)
    np.testing.assert_allclose(top.detach(), model.predict([t.numpy() for t in x])[0], rtol=1e-5)
    again = model(*x)[0]
    assert torch.equal(again, top)
    top.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_train_mode_uses_the_batch_and_moves_the_averages():
    model = Sequential([layers.BatchNormalization(input_shape=(2,)), layers.Dropout(0.5)])
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)) * 3 + 1
    model(x)
    assert model.get_weights()[2].tolist() == [0, 0]
    model.train()
    y = model(x)
    assert (y == 0).float().mean() > 0.3
    np.testing.assert_allclose(model.get_weights()[2], x.mean(0), rtol=1e-5)


def test_state_dict_keys_do_not_depend_on_the_session():
    first = Sequential([layers.Dense(2, input_shape=(3,)), layers.BatchNormalization(), layers.Dense(1, name='out')])
    layers.Dense(1)
    second = Sequential([layers.Dense(2, input_shape=(3,)), layers.BatchNormalization(), layers.Dense(1, name='out')])
    assert list(first.state_dict()) == list(second.state_dict())
    assert 'dense._params.kernel' in first.state_dict() and 'out._params.bias' in first.state_dict()
    x = np.random.RandomState(0).randn(8, 3)
    first.compile('sgd', 'mse')
    first.fit(x, x[:, :1], verbose=0)
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(first.predict(x), second.predict(x))
    assert second.layers[1].moving_mean.debias_steps == 1


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_separate_and_go_on_training_alike(copied):
    model = Sequential([layers.Dense(4, activation='relu', input_shape=(3,)), layers.BatchNormalization(),
                        layers.Dense(1)])
    model.compile('adam', 'mse')
    x = np.random.RandomState(0).randn(16, 3)
    model.train_on_batch(x, x[:, :1])
    clone = copied(model)
    weights = model.get_weights()
    losses = [clone.train_on_batch(x, x[:, :1])]
    for old, new in zip(weights, model.get_weights()):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_allclose(losses, [model.train_on_batch(x, x[:, :1])], rtol=1e-6)


def test_moving_a_model_to_another_device_and_dtype_moves_what_it_computes_with():
    model = Sequential([layers.Dense(2, input_shape=(3,)), layers.BatchNormalization()])
    model.predict(np.zeros((1, 3)))
    model.double()
    x = torch.randn(4, 3, dtype=torch.float64)
    assert model(x).dtype == torch.float64 and model.layers[0].kernel.dtype == torch.float64
    model.compile('adam', 'mse')
    model.fit(x.numpy(), x.numpy()[:, :2], batch_size=2, verbose=0)
    fine = np.full((1, 3), 1 + 1e-12)  # float32 would round it
    np.testing.assert_array_equal(model.predict(fine), model(torch.tensor(fine)).detach())
    assert model.predict(x.numpy()).dtype == np.float64
    model.to('meta')
    assert model(x.to('meta')).device.type == 'meta' and model.layers[0].kernel.shape == (3, 2)


def test_a_model_in_bfloat16_trains_and_predicts():
    model = Sequential([layers.LSTM(3, input_shape=(4, 2)), layers.Dense(1)])
    x = np.random.RandomState(0).rand(6, 4, 2)
    wanted = model.predict(x)
    model.bfloat16()
    np.testing.assert_allclose(model.predict(x), wanted, rtol=0, atol=.02)  # the type has 8 bits
    model.compile('sgd', 'mse')
    losses = model.fit(x, np.ones((6, 1)), epochs=3, verbose=0).history['loss']
    assert losses[-1] < losses[0] and model.layers[0].get_weights()[0].dtype == np.float32


@pytest.mark.parametrize('nested', [False, True])
@pytest.mark.parametrize('dtype', ['int64', 'float64', 'float32'])
def test_a_model_in_bfloat16_looks_up_the_rows_that_it_was_given(dtype, nested):
    table, head = layers.Embedding(2000, 1, input_length=2), layers.Flatten()
    model = Sequential([Sequential([table, head])] if nested else [table, head])
    table.set_weights([np.arange(2000)[:, None] % 7])
    model.bfloat16()
    ids = np.array([[1001, 1003], [299, 513]], dtype)  # of which the type holds none
    np.testing.assert_array_equal(model.predict(ids), ids % 7)
    np.testing.assert_array_equal(model.predict_on_batch(ids), ids % 7)
    model.compile('sgd', 'mse')
    assert model.evaluate(ids, ids % 7, verbose=0) == 0
    model.fit(ids, ids % 7 + 1, verbose=0)
    assert set(np.flatnonzero(table.get_weights()[0][:, 0] != np.arange(2000) % 7)) <= set(ids.ravel().astype(int))


def test_what_wants_contiguous_weights_gets_them_from_contiguous():
    x, y = np.random.RandomState(0).rand(2, 6, 3).astype('float32')
    model = Sequential([layers.Dense(4, activation='tanh', input_shape=(3,)), layers.Dense(3)])
    wanted = model.predict(x)
    for p in model.parameters():
        p.data = p.data.contiguous()
    np.testing.assert_allclose(model.predict(x), wanted, rtol=1e-6, atol=1e-7)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=20)

    def closure():
        optimizer.zero_grad()
        loss = (model(torch.from_numpy(x)) - torch.from_numpy(y)).square().mean()
        loss.backward()
        return loss
    before = optimizer.step(closure).item()
    assert closure().item() < .5 * before
    model.compile('adam', 'mse')  # whose slots follow the new strides
    assert model.fit(x, y, verbose=0).history['loss'][0] < .5 * before


def test_the_code_of_the_forward_is_readable():
    model = Sequential([layers.Dense(2, input_shape=(3,)), layers.Dropout(0.5)])
    assert 'dense_1 = self.dense_1(dense_1_input)' in model.code
    assert 'self.dropout_1(dense_1, training = False)' in model.code


def test_functional_call_with_other_parameters():
    layer = layers.Dense(2)
    x = torch.randn(4, 3)
    layer(x)
    zeros = {name: torch.zeros_like(p) for name, p in layer.named_parameters()}
    assert torch.func.functional_call(layer, zeros, (x,)).abs().sum() == 0
