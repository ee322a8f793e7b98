"""Arrows between the files of the package point down: all imports are read, those inside functions too."""
import ast
import graphlib
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / 'kfacade'

# From the ground up. A name stands for a module, or for a package with all modules in it that have no row of their own;
# `__init__` for what a package shows of its modules and of others.
ROOMS = (
    'config legacy legacy.interfaces',
    'utils',
    'registry utils.vis_utils',
    'backend',
    'activations constraints initializers losses metrics objectives regularizers utils.layer_utils utils.__init__',
    'optimizers _optimizer_steps preprocessing',
    'datasets',
    'saving',
    'engine.training_utils',  # what is fed: callbacks feed, too
    'callbacks',
    'engine',
    'layers legacy.layers',
    'models wrappers utils.test_utils utils.multi_gpu_utils legacy.tensorflow legacy.tf_control legacy.tf_ops '
    'legacy.theano',
    'applications',
    'examples __init__ __main__ _launched legacy.check',
)
LEVELS = {name: level for level, row in enumerate(ROOMS) for name in row.split()}
FILES = {'.'.join(path.relative_to(PACKAGE).with_suffix('').parts): path for path in PACKAGE.rglob('*.py')}


def level(file):
    parts = file.split('.')
    names = ['.'.join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next(LEVELS[name] for name in names if name in LEVELS)


def imports(file, source):
    """(line, file) of every import of a file of the package."""
    package = ['kfacade', *file.split('.')[:-1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = [alias.name.split('.') for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[:len(package) - node.level + 1] if node.level else []
            start += node.module.split('.') if node.module else []
            found = [[*start, alias.name] for alias in node.names]
        else:
            continue
        for root, *path in found:
            if root == 'kfacade':
                paths = ('.'.join(path[:n]) for n in range(len(path), -1, -1))
                yield node.lineno, next(name for path in paths for name in (path, f'{path}.__init__'.lstrip('.'))
                                        if name in FILES)


ARROWS = {file: list(imports(file, path.read_text(encoding='utf-8'))) for file, path in FILES.items()}


def test_no_file_imports_upwards():
    upwards = [f'{file}:{line} imports {target}' for file, found in ARROWS.items() for line, target in found
               if level(target) > level(file)]
    assert not upwards


def test_no_circles():
    graphlib.TopologicalSorter({file: {target for _, target in found} for file, found in ARROWS.items()}).prepare()


@pytest.mark.parametrize('source, found', [
    ('def f():\n    from .. import layers', 'layers.__init__'), ('from ..layers.core import Dense', 'layers.core'),
    ('import kfacade.engine.network as n', 'engine.network'), ('from . import text', 'saving.text'),
    ('from kfacade import backend as K', 'backend.__init__'), ('from kfacade import __version__', '__init__')])
def test_imports_of_all_kinds_are_found(source, found):
    assert [target for _, target in imports('saving.hdf5', source)] == [found]
    assert level('engine.network') > level('saving.hdf5') > level('utils.generic_utils')
