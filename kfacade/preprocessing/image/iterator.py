"""Bases of the iterators over images."""
import os
import threading

import numpy as np

from ...config import floatx, normalize_data_format
from ...utils.data_utils import Sequence
from ...utils.generic_utils import keep_arguments
from .utils import CHANNELS, EXTENSIONS, INTERPOLATIONS, array_to_img, check_choice, img_to_array, load_img


class Iterator(Sequence):
    """Base of what gives batches of images: by index, as a `Sequence`, or one after the other without end.

    Subclasses define `_get_batches_of_transformed_samples`. All random numbers are numpy's.

    Arguments:
        n: number of samples.
        batch_size: samples in a batch; the last one of an epoch may have fewer.
        shuffle: whether each epoch has a new order.
        seed: numpy is seeded with it, plus the number of batches given so far, before each batch. None: not at all.
    """

    white_list_formats = EXTENSIONS

    def __init__(self, n, batch_size, shuffle, seed):
        keep_arguments(self, locals())
        self.batch_index = self.total_batches_seen = 0
        self.index_array = None
        self.__setstate__({})

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name not in ('lock', 'index_generator')}

    def __setstate__(self, state):
        vars(self).update(state)
        self.lock, self.index_generator = threading.Lock(), self._flow_index()

    def _set_index_array(self):
        self.index_array = np.random.permutation(self.n) if self.shuffle else np.arange(self.n)

    def _start_batch(self, new_epoch):
        if self.seed is not None:
            np.random.seed(self.seed + self.total_batches_seen)
        if new_epoch:
            self._set_index_array()
        self.total_batches_seen += 1

    def __getitem__(self, idx):
        if not 0 <= idx < len(self):
            raise ValueError(f'Asked to retrieve element {idx}, but the Sequence has length {len(self)}')
        with self.lock:  # two threads must not both make the order of an epoch
            self._start_batch(self.index_array is None)
            indices = self.index_array[self.batch_size * idx:self.batch_size * (idx + 1)]
        return self._get_batches_of_transformed_samples(indices)

    def __len__(self):
        return -(-self.n // self.batch_size)

    def on_epoch_end(self):
        self._set_index_array()

    def reset(self):
        """The next batch is the first one of a new epoch."""
        self.batch_index = 0

    def _flow_index(self):
        """The indices of one batch after the other."""
        self.reset()
        while True:
            self._start_batch(self.batch_index == 0)
            start = self.batch_index * self.batch_size % max(self.n, 1)
            self.batch_index = self.batch_index + 1 if start + self.batch_size < self.n else 0
            yield self.index_array[start:start + self.batch_size]

    def __iter__(self):
        """Itself: the batches have no end."""
        return self

    def next(self):
        """The next batch."""
        with self.lock:
            indices = next(self.index_generator)
        return self._get_batches_of_transformed_samples(indices)  # which threads may do at the same time

    def __next__(self):
        return self.next()

    def _get_batches_of_transformed_samples(self, index_array):
        """The batch of the samples with these indices (an array of integers)."""
        raise NotImplementedError(f'{type(self).__name__} must define `_get_batches_of_transformed_samples(index_array)'
                                  '`, which returns a batch.')

    def _keep(self, arguments, *but):
        """Keeps the arguments of a constructor, its `locals()`, with the session's data format and dtype for None."""
        keep_arguments(self, arguments, *but)
        self.data_format = normalize_data_format(self.data_format)
        self.dtype = self.dtype or floatx()
        check_choice('subset name', self.subset, (None, 'training', 'validation'))

    def _transformed(self, images, index_array, shape, names):
        """A batch of the images, transformed, each written to `save_to_dir`. `names`: how many the files may have."""
        batch, generator = np.zeros((len(index_array), *shape), dtype=self.dtype), self.image_data_generator
        for i, x in enumerate(images):
            if generator:
                x = generator.apply_transform(x, generator.get_random_transform(x.shape))
                x = generator.standardize(x)
            batch[i] = x
        if self.save_to_dir:
            for index, x in zip(index_array, batch):
                name = f'{self.save_prefix}_{index}_{np.random.randint(names)}.{self.save_format}'
                array_to_img(x, self.data_format, scale=True).save(os.path.join(self.save_to_dir, name))
        return batch


class BatchFromFilesMixin:
    """The half of an iterator that makes batches of image files.

    It reads `filepaths`, and what its `class_mode` takes: `classes` and `class_indices`, or `labels`.
    """

    sample_weight = None

    def _keep(self, arguments, *but):
        super()._keep(arguments, *but)
        check_choice('color_mode', self.color_mode, CHANNELS)
        check_choice('class_mode', self.class_mode, self.allowed_class_modes)
        check_choice('interpolation method', self.interpolation, INTERPOLATIONS)
        size, channels = tuple(self.target_size), (CHANNELS[self.color_mode],)
        self.target_size = size
        self.image_shape = size + channels if self.data_format == 'channels_last' else channels + size
        held_out = self.image_data_generator._validation_split if self.subset else None
        self.split = {None: None, 'validation': (0, held_out), 'training': (held_out, 1)}[self.subset]

    def _part(self, items):
        """The part of the items that belongs to the subset: the first ones are for validation."""
        if not self.split:
            return items
        start, stop = (int(fraction * len(items)) for fraction in self.split)
        return items[start:stop]

    def _images(self, index_array):
        for i in index_array:
            img = load_img(self.filepaths[i], False, self.color_mode, self.target_size, self.interpolation)
            yield img_to_array(img, self.data_format, 'float32')

    def _get_batches_of_transformed_samples(self, index_array):
        x = self._transformed(self._images(index_array), index_array, self.image_shape, names=10**7)
        if self.class_mode is None:
            return x
        if self.class_mode == 'input':
            y = x.copy()
        elif self.class_mode == 'multi_output':
            y = [output[index_array] for output in self.labels]
        elif self.class_mode == 'raw':
            y = self.labels[index_array]
        elif self.class_mode == 'categorical':
            y = np.zeros((len(x), len(self.class_indices)), dtype=self.dtype)
            for row, i in zip(y, index_array):
                row[self.classes[i]] = 1.
        else:
            y = np.array([self.classes[i] for i in index_array], dtype=self.dtype)
        return (x, y) if self.sample_weight is None else (x, y, self.sample_weight[index_array])
