"""Random transformations of images, and batches of images so transformed."""
import warnings

import numpy as np

from ...config import floatx, normalize_data_format
from ...utils.generic_utils import keep_arguments
from . import affine_transformations as affine
from .dataframe_iterator import DataFrameIterator
from .directory_iterator import DirectoryIterator
from .numpy_array_iterator import NumpyArrayIterator, warn_of_channels
from .utils import check_choice


class ImageDataGenerator:
    """Transforms images at random, normalizes them, and gives batches of them: `flow`, `flow_from_directory`, ...

    Each image is rotated, shifted, sheared and zoomed at once; then its channels are shifted, it is flipped, its
    brightness changed; then `preprocessing_function` and normalization follow in the order of `standardize`.

    Arguments:
        featurewise_center, featurewise_std_normalization: subtract the mean of each channel, divide by its standard
            deviation, as `fit` found them.
        samplewise_center, samplewise_std_normalization: subtract the image's mean, divide by its standard deviation.
        zca_whitening: whiten by ZCA, from what `fit` found; `zca_epsilon` keeps its divisions finite.
        rotation_range, shear_range: highest angle, in degrees, either way.
        width_shift_range, height_shift_range: highest shift either way: a float below 1 is a fraction of the size,
            others are pixels; an integer n draws one of 0 ... n - 1, a list one of its elements, either way.
        brightness_range: (lowest, highest) factor. Values are spread over 0 to 255 first, as Keras does.
        zoom_range: (lowest, highest) factor, or z for (1 - z, 1 + z).
        channel_shift_range: highest amount to add to all channels, either way.
        fill_mode, cval: what lies outside of the image: 'constant' (`cval`), 'nearest', 'reflect', 'wrap'.
        horizontal_flip, vertical_flip: whether to flip every second image, on average.
        rescale: factor of all values, after `preprocessing_function`; None or 0 for none.
        preprocessing_function: a function of one image, an array of rank 3, that returns one of the same shape.
        data_format, dtype: of the arrays; None is that of the session.
        validation_split: the share of the samples, the first ones, that ``subset='validation'`` gets.
        interpolation_order: 0 (nearest pixel), 1 (linear), or 2 to 5 (splines).
    Raises ValueError that names an argument out of its range.
    """

    def __init__(self, featurewise_center=False, samplewise_center=False, featurewise_std_normalization=False,
                 samplewise_std_normalization=False, zca_whitening=False, zca_epsilon=1e-6, rotation_range=0,
                 width_shift_range=0., height_shift_range=0., brightness_range=None, shear_range=0., zoom_range=0.,
                 channel_shift_range=0., fill_mode='nearest', cval=0., horizontal_flip=False, vertical_flip=False,
                 rescale=None, preprocessing_function=None, data_format=None, validation_split=0.0, dtype=None,
                 interpolation_order=1):
        keep_arguments(self, locals(), 'validation_split')
        check_choice('fill_mode', fill_mode, affine.FILL_MODES)
        if validation_split and not 0 < validation_split < 1:
            raise ValueError(f'`validation_split` must be strictly between 0 and 1.  Received: {validation_split}')
        self._validation_split = validation_split
        self.zoom_range = [*affine.check_pair('zoom_range', (1 - zoom_range, 1 + zoom_range) if np.isscalar(zoom_range)
                                       else zoom_range)]
        if brightness_range is not None:
            affine.check_pair('brightness_range', brightness_range)
        self.dtype = dtype or floatx()
        self.data_format = normalize_data_format(data_format)
        self.channel_axis, self.row_axis, self.col_axis = (
            (3, 1, 2) if self.data_format == 'channels_last' else (1, 2, 3))
        self.mean = self.std = self.principal_components = None
        for setting, other, overridden in (('zca_whitening', 'featurewise_center', False),
                                           ('zca_whitening', 'featurewise_std_normalization', True),
                                           ('featurewise_std_normalization', 'featurewise_center', False),
                                           ('samplewise_std_normalization', 'samplewise_center', False)):
            if getattr(self, setting) and getattr(self, other) == overridden:
                setattr(self, other, not overridden)
                warnings.warn(f'This ImageDataGenerator specifies `{setting}`, which overrides setting of `{other}`.',
                              stacklevel=2)

    def flow(self, x, y=None, batch_size=32, shuffle=True, sample_weight=None, seed=None, save_to_dir=None,
             save_prefix='', save_format='png', subset=None):
        """Endless batches ``(x, y, sample_weight)`` of arrays, ``(x, y)``, or ``x`` where `y` is None.

        Arguments:
            x: images, of rank 4; or (images, array or list of arrays), which go with them as further inputs.
            seed: of the order and the transformations.
            save_to_dir: folder to write the images of each batch to; `save_prefix` starts their names, `save_format`
                is their extension.
            subset: 'training' or 'validation', where there is a `validation_split`.
        Returns a `NumpyArrayIterator`, which is a `Sequence` as well.
        """
        return self._iterator(NumpyArrayIterator, locals())

    def flow_from_directory(self, directory, target_size=(256, 256), color_mode='rgb', classes=None,
                            class_mode='categorical', batch_size=32, shuffle=True, seed=None, save_to_dir=None,
                            save_prefix='', save_format='png', follow_links=False, subset=None,
                            interpolation='nearest'):
        """Endless batches of the image files in a folder, which has a subfolder for each class.

        Arguments:
            target_size: (height, width) to resize to, by `interpolation`, as for `load_img`.
            color_mode: 'rgb', 'rgba' or 'grayscale'.
            classes: names of the subfolders; None takes all, sorted. Images deeper down belong to them, too.
            class_mode: 'categorical' for one-hot labels, 'binary' or 'sparse' for class numbers, 'input' for the images
                themselves as targets, None for no targets.
            follow_links: whether to go into folders that are symbolic links.
            shuffle, and all else: as for `flow`.
        Returns a `DirectoryIterator`, which is a `Sequence` as well. Raises FileNotFoundError for a folder that is
        missing, ValueError where there are no images; a batch raises OSError for a file that cannot be read.
        """
        return self._iterator(DirectoryIterator, locals())

    def flow_from_dataframe(self, dataframe, directory=None, x_col='filename', y_col='class', weight_col=None,
                            target_size=(256, 256), color_mode='rgb', classes=None, class_mode='categorical',
                            batch_size=32, shuffle=True, seed=None, save_to_dir=None, save_prefix='', save_format='png',
                            subset=None, interpolation='nearest', validate_filenames=True, **kwargs):
        """Endless batches of the image files in a column of a pandas DataFrame.

        Arguments:
            directory: what the names in column `x_col` are relative to; None for whole paths.
            y_col: column of the targets, a list of columns for ``class_mode='multi_output'``.
            weight_col: column of the sample weights.
            classes: names of the classes to keep; None keeps all.
            class_mode: besides those of `flow_from_directory`, 'raw' for the values in `y_col`, 'multi_output' for a
                list with those of each column. A label may be a list of several classes where it is 'categorical'.
            validate_filenames: whether to leave out, with a warning, files that are missing or no images by their name.
            all else: as for `flow_from_directory`.
        Returns a `DataFrameIterator`, which is a `Sequence` as well. Raises ValueError for a missing column.
        """
        for name in {*kwargs} & {'has_ext', 'sort', 'drop_duplicates'}:
            warnings.warn(f'{name} is deprecated: files have the names, the order and the number that the dataframe '
                          'gives them.', DeprecationWarning, stacklevel=2)
            del kwargs[name]
        if kwargs:
            raise TypeError(f'Unrecognized keyword arguments: {kwargs}')
        if class_mode == 'other':
            class_mode = 'raw'
            warnings.warn('`class_mode` "other" is deprecated, please use `class_mode` "raw".', DeprecationWarning, 2)
        return self._iterator(DataFrameIterator, locals())

    @staticmethod
    def _iterator(kind, arguments):
        self = arguments.pop('self')
        arguments = {name: arguments[name] for name in arguments.keys() - {'kwargs', 'name'}}
        return kind(image_data_generator=self, data_format=self.data_format, dtype=self.dtype, **arguments)

    def standardize(self, x):
        """Normalizes an image or a batch of them, in place where that is possible, and returns it."""
        if self.preprocessing_function:
            x = self.preprocessing_function(x)
        if self.rescale:
            x *= self.rescale
        if self.samplewise_center:
            x -= np.mean(x, keepdims=True)
        if self.samplewise_std_normalization:
            x /= np.std(x, keepdims=True) + 1e-6
        for setting, found in (('featurewise_center', self.mean), ('featurewise_std_normalization', self.std),
                               ('zca_whitening', self.principal_components)):
            if getattr(self, setting) and found is None:
                warnings.warn(f"This ImageDataGenerator specifies `{setting}`, but it hasn't been fit on any training "
                              'data. Fit it first by calling `.fit(numpy_data)`.', stacklevel=2)
        if self.featurewise_center and self.mean is not None:
            x -= self.mean
        if self.featurewise_std_normalization and self.std is not None:
            x /= self.std + 1e-6
        if self.zca_whitening and self.principal_components is not None:
            x = (x.reshape(-1, len(self.principal_components)) @ self.principal_components).reshape(x.shape)
        return x

    def get_random_transform(self, img_shape, seed=None):
        """Draws the parameters of a transformation, a dict for `apply_transform`, for an image of this shape."""
        if seed is not None:
            np.random.seed(seed)

        def either_way(limit):
            return np.random.uniform(-limit, limit) if limit else 0

        def shift(limit, size):
            if np.isscalar(limit) and not limit:
                return 0
            if np.ndim(limit) or isinstance(limit, (int, np.integer)):
                drawn = np.random.choice(limit) * np.random.choice([-1, 1])
            else:
                drawn = np.random.uniform(-limit, limit)
            return drawn * size if np.max(limit) < 1 else drawn
        rotation = either_way(self.rotation_range)
        tx = shift(self.height_shift_range, img_shape[self.row_axis - 1])
        ty = shift(self.width_shift_range, img_shape[self.col_axis - 1])
        shear = either_way(self.shear_range)
        zx, zy = affine.draw_zoom(self.zoom_range)
        return {'theta': rotation, 'tx': tx, 'ty': ty, 'shear': shear, 'zx': zx, 'zy': zy,
                'flip_horizontal': (np.random.random() < 0.5) * self.horizontal_flip,
                'flip_vertical': (np.random.random() < 0.5) * self.vertical_flip,
                'channel_shift_intensity': either_way(self.channel_shift_range) or None,
                'brightness': self.brightness_range and np.random.uniform(*self.brightness_range)}

    def apply_transform(self, x, transform_parameters):
        """The image, an array of rank 3, so transformed. What `transform_parameters` lacks is left out."""
        given = transform_parameters
        rows, columns, channels = (axis - 1 for axis in (self.row_axis, self.col_axis, self.channel_axis))
        moves = {name: given[name] for name in ('theta', 'tx', 'ty', 'shear', 'zx', 'zy') if name in given}
        x = affine.apply_affine_transform(
            x, row_axis=rows, col_axis=columns, channel_axis=channels, fill_mode=self.fill_mode, cval=self.cval,
            order=self.interpolation_order, **moves)
        if given.get('channel_shift_intensity') is not None:
            x = affine.apply_channel_shift(x, given['channel_shift_intensity'], channels)
        flips = {'flip_horizontal': columns, 'flip_vertical': rows}
        x = np.flip(x, [axis for flip, axis in flips.items() if given.get(flip)])
        if given.get('brightness') is not None:
            x = affine.apply_brightness_shift(np.moveaxis(x, channels, -1), given['brightness'])
            x = np.moveaxis(x, -1, channels)
        return x

    def random_transform(self, x, seed=None):
        """The image, an array of rank 3, transformed at random."""
        return self.apply_transform(x, self.get_random_transform(x.shape, seed))

    def fit(self, x, augment=False, rounds=1, seed=None):
        """Finds the mean, the standard deviation and the principal components that `standardize` uses.

        Arguments:
            x: images, of rank 4.
            augment: whether to transform them at random first, `rounds` times, after seeding numpy with `seed`.
        """
        x = np.array(x, dtype=self.dtype)
        if x.ndim != 4:
            raise ValueError(f'Input to `.fit()` should have rank 4. Got array with shape: {x.shape}')
        warn_of_channels(x.shape, self.data_format)
        if seed is not None:
            np.random.seed(seed)
        if augment:
            x = np.stack([self.random_transform(image) for _ in range(rounds) for image in x]).astype(self.dtype)
        axes = (0, self.row_axis, self.col_axis)
        if self.featurewise_center:
            self.mean = np.mean(x, axis=axes, keepdims=True)[0]
            x -= self.mean
        if self.featurewise_std_normalization:
            self.std = np.std(x, axis=axes, keepdims=True)[0]
            x /= self.std + 1e-6
        if self.zca_whitening:
            flat = x.reshape(len(x), -1)
            u, s, _ = np.linalg.svd(flat.T @ flat / len(flat))
            self.principal_components = (u / np.sqrt(s + self.zca_epsilon)) @ u.T
