"""VGG19; see `kfacade.applications.vgg16`."""
from .vgg16 import VGG19, _obtain_input_shape, decode_predictions, preprocess_input  # noqa: F401

__all__ = ['VGG19', 'decode_predictions', 'preprocess_input']
