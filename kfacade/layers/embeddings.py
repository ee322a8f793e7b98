"""Embedding of integers."""
import torch
import torch.nn.functional as F

from .. import backend as K
from ..backend.dtypes import torch_dtype
from ..backend.face import Shape
from ..engine.base_layer import opaque
from ..legacy import interfaces
from ..utils.generic_utils import to_list
from ._base import BuiltinLayer

__all__ = ['Embedding']


class Embedding(BuiltinLayer):
    """Maps each integer to a trainable vector: shape (batch, length) to (batch, length, `output_dim`).

    Arguments: `input_dim`, the number of vectors, so that inputs are 0 to ``input_dim - 1``; `mask_zero`, to mask the
    inputs that are 0; `input_length`, the length of the inputs (a tuple where they have more dimensions).
    Raises ValueError for an input of another length, and IndexError, when it runs, for an integer out of range.
    """

    weight_layouts = {'embeddings': None}

    @interfaces.legacy_embedding_support
    def __init__(self, input_dim, output_dim, embeddings_initializer='uniform', embeddings_regularizer=None,
                 activity_regularizer=None, embeddings_constraint=None, mask_zero=False, input_length=None, **kwargs):
        if 'input_shape' not in kwargs:
            kwargs['input_shape'] = tuple(to_list(input_length or None, allow_tuple=True))
        super().__init__(locals(), **kwargs)
        self.check_integers('input_dim', input_dim, 1)
        self.supports_masking = mask_zero

    def _weight_dtype(self):
        dtype = torch_dtype(self.dtype)
        return dtype if dtype.is_floating_point else torch_dtype()  # tf.keras writes that of the inputs

    def build(self, input_shape):
        shape = self.input_dim, self.output_dim
        self.embeddings = self.add_setting_weight('embeddings', shape, dtype=self._weight_dtype())
        self.built = True

    def _record_opaque(self, function, inputs, kwargs):
        for x in to_list(inputs, allow_tuple=True):
            x._exact = True
        return super()._record_opaque(function, inputs, kwargs)

    @opaque
    def call(self, inputs):
        if inputs.dtype != torch.int64 and inputs.dtype != torch.int32:
            inputs = inputs.int()
        try:
            return F.embedding(inputs, self._params.embeddings)
        except IndexError:
            raise IndexError(f'Layer {self.name} has vectors for the integers 0 to {self.input_dim - 1}, but its input '
                             f'goes from {inputs.min().item()} to {inputs.max().item()}.') from None

    def compute_mask(self, inputs, mask=None):
        return K.not_equal(inputs, 0) if self.mask_zero else None

    def compute_output_dtype(self, input_dtypes):
        return self._weight_dtype()

    def assert_input_compatibility(self, inputs):
        super().assert_input_compatibility(inputs)
        lengths, shape = self._lengths(), K.int_shape(inputs)
        if lengths and not Shape(lengths).is_compatible_with(shape[1:]):
            raise ValueError(f'"input_length" is {self.input_length}, but received input has shape {shape} '
                             f'(layer {self.name})')

    def _lengths(self):
        return None if self.input_length is None else to_list(self.input_length, allow_tuple=True)

    def compute_output_shape(self, input_shape):
        batch, *sizes = input_shape
        lengths = self._lengths() or sizes
        return (batch, *(size if length is None else length for length, size in zip(lengths, sizes)), self.output_dim)
