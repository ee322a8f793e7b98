"""The callback that writes event files for TensorBoard."""
import os

import numpy as np

from .. import backend as K
from ..engine.training_utils import make_batches, standardize_input_data
from ..utils import ranks
from ..utils.extras import optional
from ..utils.generic_utils import keep_arguments
from .core import Callback


def writer_class():
    """torch's ``SummaryWriter`` with TensorFlow's `add_summary`. Raises ImportError where `tensorboard` is missing."""
    Summary = optional('tensorboard.compat.proto.summary_pb2', 'TensorBoard', 'tensorboard').Summary
    from torch.utils.tensorboard import SummaryWriter

    class FileWriter(SummaryWriter):
        def add_summary(self, summary, global_step=None):
            """Writes a summary: a protocol buffer of TensorFlow's or tensorboard's, or its bytes."""
            data = summary if isinstance(summary, bytes) else summary.SerializeToString()
            self._get_file_writer().add_summary(Summary.FromString(data), global_step)
    return FileWriter


class TensorBoard(Callback):
    """Writes losses and metrics for TensorBoard, and on request histograms, weight images, embeddings and the graph.

    Arguments:
        log_dir: folder of the event files.
        histogram_freq: epochs between two histograms of weights (with `write_grads` of gradients, with `write_images`
            also as images) and of layer outputs on the validation data (arrays, not a generator); 0 for none.
        batch_size: batch size for layer outputs.
        write_graph: write the graph of the model's layers.
        embeddings_freq: epochs between two embeddings of `embeddings_data` (an array, or a list of them); 0 for none.
        embeddings_layer_names: layers whose outputs are embedded; by default all `Embedding` layers.
        embeddings_metadata: file (in `log_dir`) with a label for each sample, or dict of such by layer name.
        update_freq: 'epoch', 'batch', or the number of samples between two records of the batch logs.

    During `fit` its `writer` takes scalars of subclasses, by torch's `add_scalar` or TensorFlow's
    ``add_summary(summary, step)``.

    Raises ImportError where the `tensorboard` package is missing.
    """

    def __init__(self, log_dir='./logs', histogram_freq=0, batch_size=32, write_graph=True, write_grads=False,
                 write_images=False, embeddings_freq=0, embeddings_layer_names=None, embeddings_metadata=None,
                 embeddings_data=None, update_freq='epoch'):
        super().__init__()
        keep_arguments(self, locals())
        self._make_writer = writer_class()
        self.update_freq = 1 if update_freq == 'batch' else update_freq
        self.samples_seen = self.samples_seen_at_last_write = 0

    def set_model(self, model):
        self.model = model
        self.writer = ranks.Silent() if ranks.rank else self._make_writer(self.log_dir)
        if self.write_graph and not ranks.rank:
            self._write_graph()

    def on_batch_end(self, batch, logs=None):
        if self.update_freq == 'epoch':
            return
        self.samples_seen += logs['size']
        if self.samples_seen - self.samples_seen_at_last_write >= self.update_freq:
            self._write_logs(logs, self.samples_seen)
            self.samples_seen_at_last_write = self.samples_seen

    def on_epoch_end(self, epoch, logs=None):
        if self.histogram_freq and not self.validation_data:
            raise ValueError('If printing histograms, validation_data must be provided, and cannot be a generator.')
        if self.embeddings_freq and self.embeddings_data is None:
            raise ValueError('To visualize embeddings, embeddings_data must be provided.')
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)
            self._write_outputs(epoch)
        if self.embeddings_freq and epoch % self.embeddings_freq == 0:
            self._write_embeddings(epoch)
        self._write_logs(logs or {}, epoch if self.update_freq == 'epoch' else self.samples_seen)

    def on_train_end(self, _):
        self.writer.close()

    def _write_logs(self, logs, step):
        for name, value in logs.items():
            if name not in ('batch', 'size'):
                self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def _write_graph(self):
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.graph_pb2 import GraphDef
        graph = GraphDef()
        own = {layer.name for layer in self.model.layers}
        for layer in self.model.layers:
            sources = [source.name for node in layer._inbound_nodes for source in node.inbound_layers]
            graph.node.add(name=layer.name, op=type(layer).__name__,
                           input=[name for name in dict.fromkeys(sources) if name in own])
        self.writer.file_writer.add_event(Event(graph_def=graph.SerializeToString()))

    def _write_weights(self, epoch):
        for weight in {id(w): w for layer in self.model.layers for w in layer.weights}.values():
            name, value = weight.name.replace(':', '_'), K.get_value(weight)
            self.writer.add_histogram(name, value, epoch)
            if self.write_images and (images := _as_images(value)) is not None:
                self.writer.add_images(name, images, epoch, dataformats='NHWC')

    def _write_outputs(self, epoch):
        model, tagged = self.model, {}
        for layer in model.layers:
            outputs = getattr(layer, 'output', None)  # a layer that was called twice has no single output
            if isinstance(outputs, list):
                tagged.update((f'{layer.name}_out_{i}', x) for i, x in enumerate(outputs))
            elif outputs is not None:
                tagged[f'{layer.name}_out'] = outputs
        if self.write_grads:
            weights = model._collected_trainable_weights
            for weight, gradient in zip(weights, model.optimizer.get_gradients(model.total_loss, weights)):
                tagged[f'{weight.name.replace(":", "_")}_grad'] = gradient
        inputs = model.inputs + model.targets + model.sample_weights
        arrays = self.validation_data[:len(inputs)]  # a learning phase may follow; here it is the test phase
        for values in self._by_batch(inputs, list(tagged.values()), arrays):
            for tag, value in zip(tagged, values):
                self.writer.add_histogram(tag, value, epoch)

    def _by_batch(self, inputs, outputs, arrays):
        evaluate = K.function(inputs, outputs)
        for start, stop in make_batches(len(arrays[0]), self.batch_size):
            yield evaluate([array[start:stop] for array in arrays])

    def _write_embeddings(self, epoch):
        model = self.model
        arrays = standardize_input_data(self.embeddings_data, model.input_names)
        names = self.embeddings_layer_names or [layer.name for layer in model.layers
                                                if type(layer).__name__ == 'Embedding']
        batches = self._by_batch(model.inputs, [model.get_layer(name).output for name in names], arrays)
        for name, values in zip(names, zip(*batches)):
            vectors = np.concatenate(values).reshape(len(arrays[0]), -1)
            header, labels = self._labels(name)
            self.writer.add_embedding(vectors, metadata=labels, metadata_header=header, global_step=epoch, tag=name)

    def _labels(self, name):
        """(column names, labels) from the metadata file of a layer: lines, or a table with tabs and a first line."""
        path = self.embeddings_metadata
        if isinstance(path, dict):
            path = path.get(name)
        if path is None:
            return None, None
        with open(os.path.join(self.log_dir, path)) as file:
            lines = file.read().splitlines()
        if '\t' not in lines[0]:
            return None, lines
        header, *rows = [line.split('\t') for line in lines]
        return header, rows


def _as_images(weight):
    """A weight as grey images (count, rows, columns, 1) between 0 and 1, wider than high; None for other ranks."""
    array = np.squeeze(weight)
    if array.ndim == 3 and K.image_data_format() == 'channels_last':
        array = array.transpose(2, 0, 1)  # an image for each filter
    elif array.ndim == 2:
        array = (array.T if array.shape[0] > array.shape[1] else array)[None]
    elif array.ndim == 1:
        array = array[None, :, None]
    elif array.ndim != 3:
        return None
    low, high = array.min(), array.max()
    return ((array - low) / (high - low or 1))[..., None]
