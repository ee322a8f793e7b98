"""Batches of images that are in memory."""
import warnings

import numpy as np

from .iterator import Iterator


class NumpyArrayIterator(Iterator):
    """Batches ``x``, ``(x, y)`` or ``(x, y, sample_weight)`` of arrays, the images in them transformed.

    Arguments:
        x: images, of rank 4; or (images, array or list of arrays), which go with them as further inputs.
        y, sample_weight: arrays as long as `x`, or None. With ``subset='training'``, `sample_weight` is read from its
            start, though `x` and `y` are not, as in keras_preprocessing 1.1.0: give the weights of that subset.
        image_data_generator: the `ImageDataGenerator` that transforms them.
        subset: 'validation', the first part of the samples, or 'training', the others, as its `validation_split` says.
        save_to_dir, save_prefix, save_format: folder to write the images of each batch to, and how.
    Raises ValueError where lengths differ, or one subset lacks labels of the other.
    """

    def __init__(self, x, y, image_data_generator, batch_size=32, shuffle=False, sample_weight=None, seed=None,
                 data_format=None, save_to_dir=None, save_prefix='', save_format='png', subset=None, dtype=None):
        self._keep(locals())
        x, misc = x if isinstance(x, (tuple, list)) else (x, [])
        misc = [np.asarray(other) for other in (misc if isinstance(misc, list) else [misc])]
        for other in misc:
            if len(other) != len(x):
                raise ValueError('All of the arrays in `x` should have the same length. Found a pair with: len(x[0]) = '
                                 f'{len(x)}, len(x[?]) = {len(other)}')
        for name, label, other in (('y', '`y` (labels)', y), ('sample_weight', '`sample_weight`', sample_weight)):
            setattr(self, name, None if other is None else np.asarray(other))
            if other is not None and len(other) != len(x):
                raise ValueError(f'`x` (images tensor) and {label} should have the same length. Found: x.shape = '
                                 f'{np.shape(x)}, {name}.shape = {np.shape(other)}')
        if subset is not None:
            middle = int(len(x) * image_data_generator._validation_split)
            if y is not None and not np.array_equal(np.unique(y[:middle]), np.unique(y[middle:])):
                raise ValueError('Training and validation subsets have different number of classes after the split. If '
                                 'your numpy arrays are sorted by the label, you might want to shuffle them.')
            part = slice(middle) if subset == 'validation' else slice(middle, None)
            x, misc, self.y = x[part], [other[part] for other in misc], None if y is None else self.y[part]
        self.x, self.x_misc = np.asarray(x, dtype=self.dtype), misc
        if self.x.ndim != 4:
            raise ValueError('Input data in `NumpyArrayIterator` should have rank 4. You passed an array with shape '
                             f'{self.x.shape}')
        warn_of_channels(self.x.shape, self.data_format)
        super().__init__(len(self.x), batch_size, shuffle, seed)

    def _get_batches_of_transformed_samples(self, index_array):
        images = (self.x[i].astype(self.dtype) for i in index_array)
        x = self._transformed(images, index_array, self.x.shape[1:], names=10**4)
        if self.x_misc:
            x = [x, *(other[index_array] for other in self.x_misc)]
        if self.y is None:
            return x
        weights = () if self.sample_weight is None else (self.sample_weight[index_array],)
        return x, self.y[index_array], *weights


def warn_of_channels(shape, data_format):
    """Warns where arrays of this shape, (samples, ...), are no images of 1, 3 or 4 channels."""
    axis = 3 if data_format == 'channels_last' else 1
    if shape[axis] not in (1, 3, 4):
        warnings.warn(f'Expected input to be images (as Numpy array) following the data format convention '
                      f'"{data_format}" (channels on axis {axis}), i.e. expected either 1, 3 or 4 channels on axis '
                      f'{axis}. However, it was passed an array with shape {shape} ({shape[axis]} channels).',
                      stacklevel=4)
