"""The Keras-1 name of `losses`."""
from .losses import *  # noqa: F403
