"""Our own layers and models by the names that configurations give them.

Each room that defines some hands its names in when it is imported. Networks, wrappers and files look them up here, so
that none of them has to import the others.
"""
from .utils.generic_utils import deserialize_keras_object

_NAMESPACES = []


def register(namespace):
    """Makes the layers and models in a dict known by their names.

    The dict (a module's ``globals()``) is read at each look-up: ``keras.layers.Mine = Mine`` makes a name known, as
    scripts expect.
    """
    _NAMESPACES.append(namespace)


def known():
    """Name -> class (or what else has a ``from_config``), for all layers and models."""
    return {name: value for namespace in _NAMESPACES for name, value in namespace.items()
            if hasattr(value, 'from_config')}


def deserialize(config, custom_objects=None):
    """The layer or model of ``{'class_name', 'config'}``; `custom_objects` says what names of one's own mean.

    Raises ValueError for an unknown class.
    """
    return deserialize_keras_object(config, known(), custom_objects, 'layer')
