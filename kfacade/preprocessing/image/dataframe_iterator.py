"""Batches of the image files that a pandas DataFrame lists."""
import os
import warnings

import numpy as np

from ...utils.ranks import tell
from .iterator import BatchFromFilesMixin, Iterator
from .utils import validate_filename

_LISTS = list, tuple


class DataFrameIterator(BatchFromFilesMixin, Iterator):
    """Batches of the image files in a column of a dataframe; see `ImageDataGenerator.flow_from_dataframe`."""

    allowed_class_modes = ('binary', 'categorical', 'input', 'multi_output', 'raw', 'sparse', None)

    def __init__(self, dataframe, directory=None, image_data_generator=None, x_col='filename', y_col='class',
                 weight_col=None, target_size=(256, 256), color_mode='rgb', classes=None, class_mode='categorical',
                 batch_size=32, shuffle=True, seed=None, data_format=None, save_to_dir=None, save_prefix='',
                 save_format='png', subset=None, interpolation='nearest', dtype=None, validate_filenames=True):
        self._keep(locals(), 'dataframe', 'classes')
        self.directory = directory or ''
        has_classes = class_mode in ('binary', 'categorical', 'sparse')
        self._check(dataframe, x_col, y_col, weight_col, classes)
        rows, count = range(len(dataframe)), ''
        if validate_filenames:
            paths = [os.path.join(self.directory, name) for name in dataframe[x_col]]
            rows = [i for i in rows if validate_filename(paths[i], self.white_list_formats)]
            if len(rows) < len(dataframe):
                warnings.warn(f'Found {len(dataframe) - len(rows)} invalid image filename(s) in x_col="{x_col}". These '
                              'filename(s) will be ignored.', stacklevel=3)
        if has_classes:
            labels = dataframe[y_col].tolist()
            names = {name for i in rows for name in (labels[i] if isinstance(labels[i], _LISTS) else [labels[i]])}
            self.class_indices = {name: i for i, name in enumerate(sorted(set(classes) if classes else names))}
            numbers = [[self.class_indices[name] for name in label if name in self.class_indices]
                       if isinstance(label, _LISTS) else self.class_indices.get(label) for label in labels]
            rows = [i for i in rows if numbers[i] is not None and (numbers[i] != [] or not classes)]
            count = f' belonging to {len(self.class_indices)} classes'
        rows = self._part(rows)
        dataframe = dataframe.iloc[list(rows)]
        if has_classes:
            self.classes = self.labels = [numbers[i] for i in rows]
        elif class_mode == 'multi_output':
            self.labels = [np.array(dataframe[column].tolist()) for column in y_col]
        elif class_mode == 'raw':
            self.labels = dataframe[y_col].values
        self.sample_weight = dataframe[weight_col].values if weight_col else None
        self.filenames = dataframe[x_col].tolist()
        self.filepaths = [os.path.join(self.directory, name) for name in self.filenames]
        self.samples = len(self.filenames)
        tell(f'Found {self.samples} {"" if validate_filenames else "non-"}validated image filenames{count}.')
        super().__init__(self.samples, batch_size, shuffle, seed)

    def _check(self, df, x_col, y_col, weight_col, classes):
        mode = f'If class_mode="{self.class_mode}"'
        if self.class_mode == 'multi_output' and not isinstance(y_col, list):
            raise TypeError(f'{mode}, y_col must be a list. Received {type(y_col).__name__}.')
        y_cols = [] if self.class_mode in ('input', None) else y_col if isinstance(y_col, list) else [y_col]
        for argument, columns in (('x_col', [x_col]), ('y_col', y_cols), ('weight_col', [weight_col or x_col])):
            if not {*columns} <= {*df.columns}:
                raise ValueError(f'`{argument}`: the dataframe lacks a column of {columns}. It has {list(df.columns)}.')
        kinds = {'categorical': (str, *_LISTS), 'binary': (str,), 'sparse': (str,)}.get(self.class_mode)
        if not all(isinstance(value, str) for value in df[x_col]):
            raise TypeError(f'All values in column x_col={x_col} must be strings.')
        if kinds and not all(isinstance(value, kinds) for value in df[y_col]):
            raise TypeError(f'{mode}, y_col="{y_col}" column values must be of {[kind.__name__ for kind in kinds]}.')
        if self.class_mode == 'binary' and len(found := set(classes or df[y_col])) != 2:
            raise ValueError(f'{mode} there must be 2 classes. Found {len(found)}: {sorted(found)[:9]}.')
        if classes and not kinds:
            warnings.warn(f'`classes` will be ignored given the class_mode="{self.class_mode}"', stacklevel=4)
        if weight_col and df[weight_col].dtype.kind not in 'iufc':
            raise TypeError(f'Column weight_col={weight_col} must be numeric.')
