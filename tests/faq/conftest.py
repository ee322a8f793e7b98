import sys

import pytest

from kfacade.__main__ import KerasAlias


@pytest.fixture(autouse=True)
def keras_is_kfacade(monkeypatch):
    """The FAQ says `import keras`: within its tests that is kfacade."""
    loaded = {name: module for name, module in sys.modules.items() if name.partition('.')[0] == 'keras'}
    for name in loaded:
        del sys.modules[name]
    monkeypatch.setattr(sys, 'meta_path', [KerasAlias(), *sys.meta_path])
    yield
    for name in [name for name in sys.modules if name.partition('.')[0] == 'keras']:
        del sys.modules[name]
    sys.modules.update(loaded)
