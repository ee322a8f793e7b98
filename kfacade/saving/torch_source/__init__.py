"""A model as the source of a plain PyTorch module, with its weights beside it.

`class_code` walks the network call by call. For each layer the table in `layers` says what stands for it: text for
``__init__``, tensors for the state dict, text for ``forward``. What torch lacks is copied from ``parts.txt``; `ports`
turns the functions of a script into torch's words; `module` puts the file together.
"""
from .module import Source, to_torch_source

__all__ = ['Source', 'to_torch_source']
