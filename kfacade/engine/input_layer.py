"""`Input`: where data enters a graph."""
from .. import config
from ..backend import session as K
from ..backend import state
from ..backend.symbolic import SymbolicTensor, as_tensor, placeholder, record
from ..legacy import interfaces
from ..utils.generic_utils import names_unknown_arguments
from .base_layer import Layer, Node, checked_batch_shape, checked_shape


class InputLayer(Layer):
    """The layer that stands for an input of a model.

    Arguments: `input_shape` without the batch and `batch_size`, or `batch_input_shape`; `dtype` (default ``floatx()``);
    `input_tensor`, a symbol (or tensor) to take in place of a new placeholder; `name`.
    A `sparse` input takes scipy.sparse matrices. Raises ValueError where the shape is given twice or not at all.
    """

    @interfaces.legacy_input_support
    def __init__(self, input_shape=None, batch_size=None, batch_input_shape=None, dtype=None, input_tensor=None,
                 sparse=False, name=None):
        if not name:
            name = f'input_{state.get_uid("input")}'
        super().__init__(dtype=dtype, name=name)
        self.trainable, self.built, self.sparse, self.supports_masking = False, True, sparse, True
        if input_shape and batch_input_shape:
            raise ValueError('Only provide the input_shape OR batch_input_shape argument to InputLayer, not both at '
                             'the same time.')
        if input_tensor is not None:
            if not isinstance(input_tensor, SymbolicTensor):
                input_tensor = record(as_tensor, (input_tensor,), {})
            batch_input_shape = batch_input_shape or K.int_shape(input_tensor)
        if batch_input_shape is None and input_shape is None:
            raise ValueError('An Input layer should be passed either a `batch_input_shape` or an `input_shape`.')
        self.batch_input_shape = checked_batch_shape(input_shape, batch_input_shape, batch_size)
        self.dtype = dtype or (K.dtype(input_tensor) if input_tensor is not None else config.floatx())
        self.is_placeholder = input_tensor is None
        if self.is_placeholder:
            input_tensor = placeholder(self.batch_input_shape, self.dtype, self.name, sparse)
        input_tensor._keras_shape = self.batch_input_shape
        input_tensor._keras_history = (self, 0, 0)
        Node(self, [], [], [], [input_tensor], [input_tensor], [None], [None], [self.batch_input_shape],
             [self.batch_input_shape])

    def get_config(self):
        return {'batch_input_shape': self.batch_input_shape, 'dtype': self.dtype, 'sparse': self.sparse,
                'name': self.name}


@names_unknown_arguments
def Input(shape=None, batch_shape=None, name=None, dtype=None, sparse=False, tensor=None):
    """A symbol for data to come, of `shape` (without the batch) or `batch_shape`; or the symbol `tensor` made one.

    Raises ValueError where no shape is given, or what is none.
    """
    if batch_shape is None and tensor is None and shape is None:
        raise ValueError('Please provide to Input either a `shape` or a `batch_shape` argument. Note that `shape` does '
                         'not include the batch dimension.')
    if shape is not None and batch_shape is None:
        shape = checked_shape(shape, 'shape')
        batch_shape = (None, *shape) if tensor is None else None
    elif batch_shape is not None:
        batch_shape = checked_shape(batch_shape, 'batch_shape')
    layer = InputLayer(batch_input_shape=batch_shape, name=name, dtype=dtype or config.floatx(), sparse=sparse,
                       input_tensor=tensor)
    return layer.get_output_at(0)
