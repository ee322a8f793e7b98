"""What PyTorch users bring: data sets, data loaders and tensors, with the numbers of the same data in arrays."""
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from kfacade.engine.training import Model as EngineModel
from kfacade.layers import Dense, Input, add
from kfacade.models import Model, Sequential

X = np.random.RandomState(0).normal(size=(22, 3)).astype('float32')
Y = (X[:, :2] > 0).astype('float32')
W = np.linspace(.5, 2, 22).astype('float32')


class Samples(Dataset):
    """Pairs of numpy arrays, as users write data sets."""

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return X[index], Y[index]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y))


def model():
    model = Sequential([Dense(4, activation='tanh', input_shape=(3,)), Dense(2, activation='sigmoid')])
    random = np.random.RandomState(1)
    model.set_weights([random.normal(size=w.shape) for w in model.get_weights()])
    model.compile('sgd', 'binary_crossentropy', metrics=['accuracy'])
    np.random.seed(7)
    return model


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=2e-6)


def check_fit(trained, history, **arguments):
    other = model()
    expected = other.fit(X, Y, verbose=0, **arguments).history
    assert history.history.keys() == expected.keys()
    for name in expected:
        close(history.history[name], expected[name])
    for a, b in zip(trained.get_weights(), other.get_weights()):
        close(a, b)


def tensors(*arrays):
    return TensorDataset(*map(torch.from_numpy, arrays))


@pytest.mark.parametrize('data', [Samples(), tensors(X, Y)])
@pytest.mark.parametrize('shuffle', [True, False])
def test_fit_on_a_data_set(data, shuffle):
    trained = model()
    history = trained.fit(data, batch_size=8, epochs=3, verbose=0, shuffle=shuffle, validation_data=(X, Y))
    check_fit(trained, history, batch_size=8, epochs=3, shuffle=shuffle, validation_data=(X, Y))


def test_fit_on_a_loader():
    trained = model()
    history = trained.fit(DataLoader(Samples(), batch_size=5), epochs=2, verbose=0,
                          validation_data=DataLoader(tensors(X, Y), 7))
    check_fit(trained, history, batch_size=5, epochs=2, shuffle=False, validation_data=(X, Y))


def test_sample_weights_and_class_weights():
    trained = model()
    check_fit(trained, trained.fit(tensors(X, Y, W), batch_size=6, verbose=0), batch_size=6, sample_weight=W)
    trained = model()
    history = trained.fit(Samples(), batch_size=6, verbose=0, class_weight={0: 1., 1: 3.})
    check_fit(trained, history, batch_size=6, class_weight={0: 1., 1: 3.})


@pytest.mark.parametrize('validation_data, steps', [
    (Samples(), None), (DataLoader(Samples(), 4), None), (DataLoader(Stream(), 5), 5)])
def test_arrays_are_validated_on_torch_data(validation_data, steps):
    trained = model()
    history = trained.fit(X, Y, batch_size=8, epochs=2, verbose=0, validation_data=validation_data,
                          validation_steps=steps)
    check_fit(trained, history, batch_size=8, epochs=2, validation_data=(X, Y))


def test_wherever_a_generator_is_taken():
    trained = model()
    history = trained.fit_generator(DataLoader(Samples(), 5), epochs=2, verbose=0, validation_data=Samples(), workers=3)
    check_fit(trained, history, batch_size=5, epochs=2, shuffle=False, validation_data=(X, Y))
    close(trained.evaluate_generator(DataLoader(Samples(), 5)), trained.evaluate(X, Y, verbose=0))
    close(trained.evaluate_generator(Samples()), trained.evaluate(X, Y, verbose=0))
    for data in (Samples(), DataLoader(Samples(), 5), DataLoader(tensors(X), 6), DataLoader(Stream(), 22)):
        steps = 1 if isinstance(getattr(data, 'dataset', None), Stream) else None
        close(trained.predict_generator(data, steps), trained.predict(X))


def test_evaluate_and_predict():
    trained = model()
    expected = trained.evaluate(X, Y, verbose=0)
    for data in (Samples(), tensors(X, Y), DataLoader(Samples(), 5), DataLoader(Samples(), 5, shuffle=True)):
        close(trained.evaluate(data, verbose=0), expected)
    close(trained.evaluate(Samples(), batch_size=22, verbose=0), expected)
    close(trained.evaluate(tensors(X, Y, W), batch_size=22, verbose=0),
          trained.evaluate(X, Y, sample_weight=W, batch_size=22, verbose=0))
    for data in (Samples(), tensors(X), tensors(X, Y, W), DataLoader(Samples(), 5), DataLoader(X, 5)):
        close(trained.predict(data), trained.predict(X))
    close(trained.predict(Samples(), batch_size=3), trained.predict(X))
    assert trained.predict(Samples(), batch_size=3, steps=2).shape == (6, 2)
    np.testing.assert_array_equal(trained.predict_classes(Samples()), trained.predict_classes(X))


def test_steps():
    trained = model()
    seen = []
    loader = DataLoader(Samples(), 5, collate_fn=lambda batch: (seen.append(len(batch)), default(batch))[1])
    history = trained.fit(loader, steps_per_epoch=3, epochs=3, verbose=0)
    assert seen == [5, 5, 5, 5, 2, 5, 5, 5, 5] and history.params['steps'] == 3


def default(batch):
    return torch.utils.data.default_collate(batch)


def test_loader_with_processes():
    trained = model()
    history = trained.fit(DataLoader(Samples(), 8, num_workers=2), epochs=2, verbose=0)
    check_fit(trained, history, batch_size=8, epochs=2, shuffle=False)


def two_inputs():
    a, b = Input((3,), name='a'), Input((2,), name='b')
    model = Model([a, b], Dense(1)(add([Dense(4)(a), Dense(4)(b)])))
    model.compile('sgd', 'mse')
    return model


class Nested(Dataset):
    def __init__(self, kind):
        self.kind = kind

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return {'tuple': ((X[i], Y[i]), W[i:i + 1]), 'dict': ({'b': Y[i], 'a': X[i]}, W[i:i + 1]),
                'inputs': (X[i], Y[i])}[self.kind]


@pytest.mark.parametrize('kind', ['tuple', 'dict'])
def test_several_inputs(kind):
    trained = two_inputs()
    close(trained.evaluate(Nested(kind), verbose=0), trained.evaluate([X, Y], W, verbose=0))
    close(trained.predict(Nested(kind)), trained.predict([X, Y]))
    close(trained.predict(Nested('inputs')), trained.predict([X, Y]))
    assert np.isfinite(trained.fit(Nested(kind), verbose=0).history['loss'])


def test_model_is_built_by_the_first_batch():
    class Own(EngineModel):
        def __init__(self):
            super().__init__()
            self.dense = Dense(2, kernel_initializer='ones')

        def call(self, inputs):
            return self.dense(inputs)
    own = Own()
    own.compile('sgd', 'mse')
    own.fit(DataLoader(Samples(), 5), verbose=0)
    assert own.predict(Samples()).shape == (22, 2)


def test_tensors_beside_arrays():
    trained = model()
    x, y, w = map(torch.from_numpy, (X, Y, W))
    check_fit(trained, trained.fit(x, Y, batch_size=8, verbose=0, sample_weight=w, validation_data=(X, y)),
              batch_size=8, sample_weight=W, validation_data=(X, Y))
    close(trained.predict(x.requires_grad_()), trained.predict(X))
    close(trained.evaluate(x, Y, verbose=0), trained.evaluate(X, y, verbose=0))
    close(model().train_on_batch(x, Y), model().train_on_batch(X, y))


@pytest.mark.gpu
def test_tensors_on_a_device():
    x, y, w = (torch.from_numpy(a).cuda() for a in (X, Y, W))
    trained = model()
    check_fit(trained, trained.fit(x, y, batch_size=8, verbose=0, sample_weight=w), batch_size=8, sample_weight=W)
    trained = model().cuda()
    history = trained.fit(x, Y, batch_size=8, epochs=2, verbose=0, shuffle=True, validation_split=.2)
    other = model()
    np.testing.assert_allclose(history.history['val_loss'], other.fit(
        X, Y, batch_size=8, epochs=2, verbose=0, validation_split=.2).history['val_loss'], rtol=1e-5)
    np.testing.assert_allclose(trained.predict(x), trained.predict(X), rtol=1e-6)


@pytest.mark.parametrize('call, message', [
    (lambda m: m.fit(Samples(), Y), 'With a Samples there can be no `y`'),
    (lambda m: m.fit(DataLoader(Samples()), batch_size=4, sample_weight=W), 'no `batch_size`, `sample_weight`'),
    (lambda m: m.fit(Samples(), validation_split=.1), 'no `validation_split`'),
    (lambda m: m.evaluate(DataLoader(Samples()), Y), 'With a DataLoader there can be no `y`'),
    (lambda m: m.predict(DataLoader(Samples()), batch_size=3), 'no `batch_size`'),
    (lambda m: m.fit(DataLoader(Stream(), 4)), 'does not know how many batches it has. Say how many steps'),
    (lambda m: m.fit(DataLoader([], 4)), 'no batches'),
    (lambda m: m.predict(DataLoader(Empty(), 4), steps=1), 'The DataLoader has no batches'),
    (lambda m: m.fit(tensors(X)), r'should be a tuple `\(x, y, sample_weight\)` or `\(x, y\)`'),
    (lambda m: m.fit(tensors(X, Y[:, :1])), 'to have shape')])
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(model())


class Empty(IterableDataset):
    def __iter__(self):
        return iter(())
