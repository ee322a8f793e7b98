"""Batches of the images in a folder, with a subfolder for each class."""
import os
import warnings

import numpy as np

from ...utils.ranks import tell
from .iterator import BatchFromFilesMixin, Iterator


class DirectoryIterator(BatchFromFilesMixin, Iterator):
    """Batches of the image files below a folder; see `ImageDataGenerator.flow_from_directory`.

    `filenames` are sorted and relative to the folder, `classes` holds the class number of each, `class_indices` the
    number of each class name.
    """

    allowed_class_modes = ('categorical', 'binary', 'sparse', 'input', None)

    def __init__(self, directory, image_data_generator, target_size=(256, 256), color_mode='rgb', classes=None,
                 class_mode='categorical', batch_size=32, shuffle=True, seed=None, data_format=None, save_to_dir=None,
                 save_prefix='', save_format='png', follow_links=False, subset=None, interpolation='nearest',
                 dtype=None):
        self._keep(locals())
        if not os.path.isdir(directory):
            raise FileNotFoundError(f'`directory`: there is no folder {os.fspath(directory)!r}.')
        names = classes or sorted(e.name for e in os.scandir(directory) if e.is_dir())
        self.num_classes = len(names)
        self.class_indices = {name: i for i, name in enumerate(names)}
        files = [list(self._files(name)) for name in names]
        found = [self._part(each) for each in files]
        self.filenames = [name for each in found for name in each]
        self.filepaths = [os.path.join(directory, name) for name in self.filenames]
        self.classes = self.labels = np.repeat(np.arange(len(names), dtype='int32'), [len(each) for each in found])
        self.samples = len(self.filenames)
        tell(f'Found {self.samples} images belonging to {self.num_classes} classes.')
        if not self.samples:
            raise ValueError(
                f'`directory`: there are no images for the {subset or "data"} set in the folders {names} of '
                f'{os.fspath(directory)!r}. Each class needs a folder there, with files that end in one of '
                f'{self.white_list_formats}. (For images in the folder itself, pass `classes=["."]`.)')
        if not all(files):
            empty = [name for name, each in zip(names, files) if not each]
            warnings.warn(f'Class folders without an image in {os.fspath(directory)!r}: {empty}.', stacklevel=3)
        super().__init__(self.samples, batch_size, shuffle, seed)

    def _files(self, name):
        """The images in the folder of a class and below, sorted by folder and then name."""
        top = os.path.join(self.directory, name)
        if not os.path.isdir(top):
            raise FileNotFoundError(f'`classes`: there is no folder {name!r} in {os.fspath(self.directory)!r}.')
        for folder, _, files in sorted(os.walk(top, followlinks=self.follow_links), key=lambda found: found[0]):
            for file in sorted(files):
                if file.lower().endswith('.tiff'):
                    warnings.warn('Using ".tiff" files with multiple bands will cause distortion. Please verify your '
                                  'output.', stacklevel=4)
                if file.lower().endswith(self.white_list_formats):
                    yield os.path.join(name, os.path.relpath(os.path.join(folder, file), top))
