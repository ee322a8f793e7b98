"""Takes the place of itself: `tensorflow` becomes the stand-in that the starting process has."""
from kfacade.__main__ import install_keras_alias

install_keras_alias()
import tensorflow  # noqa: E402, F401  (the stand-in, which is what the import that led here gets)
