"""Event files for TensorBoard. Without the package only its absence can be tested."""
import importlib
import sys

import numpy as np
import pytest

import kfacade.backend as K
from kfacade.callbacks import TensorBoard
from kfacade.layers import LSTM, Dense, Embedding, Flatten, Input
from kfacade.models import Model, Sequential

X = np.random.RandomState(0).randint(0, 5, (10, 3))
Y = np.eye(2)[X[:, 0] % 2]


@pytest.fixture
def events(tmp_path):
    """A function that reads back what was written to `tmp_path`: an event accumulator."""
    pytest.importorskip('tensorboard')
    accumulator = importlib.import_module('tensorboard.backend.event_processing.event_accumulator')

    def read():
        return accumulator.EventAccumulator(str(tmp_path), {accumulator.HISTOGRAMS: 0}).Reload()
    return read


def model():
    K.clear_session()
    model = Sequential([Embedding(5, 4, input_length=3), Flatten(), Dense(2, activation='softmax')])
    model.compile('sgd', 'categorical_crossentropy', metrics=['acc'])
    return model


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorboard.compat.proto.summary_pb2', None)
    with pytest.raises(ImportError, match=r'TensorBoard requires the `tensorboard` library.*kfacade\[tensorboard\]'):
        TensorBoard()


def test_scalars_and_graph(tmp_path, events):
    history = model().fit(X, Y, epochs=3, verbose=0, validation_data=(X, Y), callbacks=[TensorBoard(str(tmp_path))])
    read = events()
    assert set(read.Tags()['scalars']) == {'loss', 'acc', 'val_loss', 'val_acc'}
    for name, values in history.history.items():
        written = read.Scalars(name)
        assert [event.step for event in written] == [0, 1, 2]
        np.testing.assert_allclose([event.value for event in written], values, rtol=1e-6)
    nodes = {node.name: (node.op, list(node.input)) for node in read.Graph().node}
    assert nodes == {'embedding_1': ('Embedding', []), 'flatten_1': ('Flatten', ['embedding_1']),
                     'dense_1': ('Dense', ['flatten_1'])}


def test_summaries_of_a_subclass(tmp_path, events):
    Summary = pytest.importorskip('tensorboard.compat.proto.summary_pb2').Summary

    class Mine(TensorBoard):
        def on_epoch_end(self, epoch, logs=None):
            summary = Summary()
            value = summary.value.add()
            value.simple_value, value.tag = 2. * epoch, 'twice'
            self.writer.add_summary(summary, epoch)
            self.writer.add_summary(Summary(value=[Summary.Value(tag='half', simple_value=epoch / 2)])
                                    .SerializeToString(), np.int64(epoch))
            super().on_epoch_end(epoch, logs)

    model().fit(X, Y, epochs=3, verbose=0, callbacks=[Mine(str(tmp_path))])
    read = events()
    assert set(read.Tags()['scalars']) == {'loss', 'acc', 'twice', 'half'}
    assert [(event.step, event.value) for event in read.Scalars('twice')] == [(0, 0.), (1, 2.), (2, 4.)]
    assert [(event.step, event.value) for event in read.Scalars('half')] == [(0, 0.), (1, .5), (2, 1.)]


@pytest.mark.parametrize('update_freq, steps', [('batch', [4, 8, 10, 14, 18, 20]), (8, [8, 18])])
def test_batches(tmp_path, events, update_freq, steps):
    model().fit(X, Y, batch_size=4, epochs=2, verbose=0,
                callbacks=[TensorBoard(str(tmp_path), write_graph=False, update_freq=update_freq)])
    scalars = events().Scalars('loss')
    assert sorted({event.step for event in scalars}) == sorted({*steps, 10, 20})  # epochs are written, too


def test_histograms_and_images(tmp_path, events):
    model().fit(X, Y, epochs=2, verbose=0, validation_data=(X, Y), callbacks=[
        TensorBoard(str(tmp_path), histogram_freq=1, batch_size=4, write_grads=True, write_images=True)])
    tags = events().Tags()
    assert set(tags['histograms']) == {
        'embedding_1/embeddings_0', 'embedding_1/embeddings_0_grad', 'embedding_1_out', 'flatten_1_out', 'dense_1_out',
        *(f'dense_1/{name}_0{grad}' for name in ('kernel', 'bias') for grad in ('', '_grad'))}
    assert {tag.split('_0')[0] for tag in tags['images']} == {
        'embedding_1/embeddings', 'dense_1/kernel', 'dense_1/bias'}


def test_histograms_of_several_outputs(tmp_path, events):
    x = Input((3, 1))
    sequence, *states = LSTM(2, return_sequences=True, return_state=True, name='lstm')(x)
    net = Model(x, Flatten()(sequence))
    net.compile('sgd', 'mse')
    data = np.ones((4, 3, 1)), np.ones((4, 6))
    net.fit(*data, verbose=0, validation_data=data, callbacks=[TensorBoard(str(tmp_path), histogram_freq=1)])
    assert {'lstm_out_0', 'lstm_out_1', 'lstm_out_2'} <= set(events().Tags()['histograms'])


@pytest.mark.parametrize('labels, header', [('a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n', None),
                                            ('x\ty\n' + 'a\t1\n' * 10, ['x', 'y'])])
def test_embeddings(tmp_path, events, labels, header):
    (tmp_path / 'labels.tsv').write_text(labels)
    net = model()
    net.fit(X, Y, epochs=2, verbose=0, callbacks=[TensorBoard(
        str(tmp_path), embeddings_freq=2, embeddings_data=X, embeddings_metadata='labels.tsv', batch_size=4)])
    folder = tmp_path / '00000' / 'embedding_1'
    assert np.loadtxt(folder / 'tensors.tsv').shape == (10, 12)
    assert (folder / 'metadata.tsv').read_text().splitlines() == labels.splitlines()


def test_what_is_missing(tmp_path, events):
    for options, message in (({'histogram_freq': 1}, 'If printing histograms, validation_data must be provided, and '
                                                     'cannot be a generator.'),
                             ({'embeddings_freq': 1}, 'To visualize embeddings, embeddings_data must be provided.')):
        callback = TensorBoard(str(tmp_path), **options)
        with pytest.raises(ValueError, match=message):
            model().fit(X, Y, verbose=0, callbacks=[callback])
        callback.on_train_end({})
