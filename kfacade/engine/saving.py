"""Keras' place for the functions of :mod:`kfacade.saving`."""
from ..saving import *  # noqa: F403
from ..utils.io_utils import ask_to_proceed_with_overwrite, h5dict  # noqa: F401
