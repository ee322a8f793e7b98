"""Names of data types, as Keras writes them, and torch's data types."""
import numpy as np
import torch

from .. import config

_BY_NAME = {name: getattr(torch, name) for name in (
    'float16', 'bfloat16', 'float32', 'float64', 'uint8', 'int8', 'int16', 'int32', 'int64', 'bool',
    'complex64', 'complex128')}
names = {dtype: name for name, dtype in _BY_NAME.items()}
_BY_NAME.update(float=torch.float32, double=torch.float64, half=torch.float16, int=torch.int32, long=torch.int64)


def torch_dtype(dtype=None):
    """The torch dtype meant by a name, a numpy dtype or a torch dtype (None: ``floatx()``).

    Raises TypeError for anything else.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype is None:
        dtype = config.floatx()
    if isinstance(dtype, str) and str(dtype) in _BY_NAME:
        return _BY_NAME[str(dtype)]
    try:
        return _BY_NAME[np.dtype(dtype).name]
    except (KeyError, TypeError):
        raise TypeError(f'Unknown data type: {dtype!r}. Expected one of {sorted(names.values())}.') from None


def dtype_name(dtype):
    """The name of a torch, numpy or named dtype: ``torch.float32`` gives ``'float32'``."""
    return names[torch_dtype(dtype)]


def on_host(tensor):
    """`tensor`, detached and on the CPU, in a type that numpy knows: float32 in place of bfloat16."""
    if tensor.requires_grad or not tensor.is_cpu:
        tensor = tensor.detach().cpu()
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor
