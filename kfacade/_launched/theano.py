"""Takes the place of itself: `theano` becomes the alias that the starting process has."""
from kfacade.__main__ import install_keras_alias

install_keras_alias()
import theano  # noqa: E402, F401  (the alias, which is what the import that led here gets)
