"""Keras' place for what it did about models of Keras 1."""


def needs_legacy_support(model):
    """Whether a `Sequential` begins with a `Merge` layer of Keras 1: never, for these are read as layers of Keras 2."""
    return False
