"""``python -m kfacade SCRIPT.py [args]``: runs an unmodified Keras script on kfacade.

In this process `keras` and its submodules are names for kfacade's modules. ``-m MODULE`` runs a module instead, and
``--backend-name tensorflow`` makes ``K.backend()`` answer that, for scripts that refuse any other name.
"""
import argparse
import importlib
import os
import runpy
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class KerasAlias(MetaPathFinder, Loader):
    """Finds `_PACKAGES` and what is below them: ``keras`` is a module of that name, all others are kfacade's own."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname == 'keras':
            return ModuleSpec(fullname, self, is_package=True)
        if fullname.partition('.')[0] in _PACKAGES:
            module = importlib.import_module(_own_name(fullname))
            return ModuleSpec(fullname, self, is_package=hasattr(module, '__path__'))
        return None

    def exec_module(self, module):
        name = module.__name__
        if name == 'keras':
            package = importlib.import_module('kfacade')
            module.__dict__.update({k: v for k, v in vars(package).items() if k not in _OWN})
            for path, loaded in list(sys.modules.items()):  # those loaded already are reached by attribute as well
                if path.startswith('kfacade.') and isinstance(loaded, ModuleType):
                    sys.modules.setdefault('keras' + path[len('kfacade'):], loaded)
        else:
            sys.modules[name] = sys.modules[_own_name(name)]


_PACKAGES = {'keras': 'kfacade', 'keras_preprocessing': 'kfacade.preprocessing',
             'keras_applications': 'kfacade.applications'}
_OWN = {'__name__', '__spec__', '__loader__', '__package__', '__path__', '__file__', '__cached__', '__builtins__'}


def _own_name(name):
    package, *below = name.split('.', 1)
    return '.'.join([_PACKAGES[package], *below])


def install_keras_alias():
    """Lets ``import keras`` mean kfacade, and the packages that came with Keras the rooms of it.

    They do in this process, and in those that multiprocessing starts from it.
    """
    for name in [n for n in sys.modules if n.partition('.')[0] in _PACKAGES]:
        del sys.modules[name]
    sys.meta_path.insert(0, KerasAlias())
    folder = os.path.dirname(os.path.abspath(__file__))  # started processes get the path
    sys.path[1:1] = {os.path.join(folder, '_launched')} - set(sys.path)
    sys.path += {os.path.dirname(folder)} - set(sys.path)


def install_as_keras():
    """Lets ``import keras`` mean kfacade from now on, where there is no launcher: in a notebook, say.

    Doing it twice makes no difference. Raises ImportError where another keras was imported before.
    """
    if any(type(finder).__name__ == KerasAlias.__name__ for finder in sys.meta_path):
        return  # of the launcher's copy of this module, perhaps
    for name in _PACKAGES:
        if name in sys.modules:
            origin = getattr(sys.modules[name], '__file__', None)
            raise ImportError(f'Another {name} was imported before, from {origin}. What has come from it would not go '
                              'with kfacade: start a new process (in a notebook, restart the kernel), and let kfacade '
                              'come first.')
    install_keras_alias()


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] in (['inspect'], ['convert']):
        from kfacade.saving import commands
        return commands.main(*arguments[:1], arguments[1:])
    parser = argparse.ArgumentParser(prog='python -m kfacade', description='Runs a Keras script on PyTorch.')
    parser.add_argument('--backend-name', default='torch', help='what K.backend() answers (default: torch)')
    parser.add_argument('-m', dest='module', nargs=argparse.REMAINDER, help='run a module, as python -m does')
    parser.add_argument('script', nargs=argparse.REMAINDER, help='the script, and its arguments')
    options = parser.parse_args(arguments)
    from kfacade import config
    config._backend = os.environ['KFACADE_BACKEND_NAME'] = options.backend_name
    install_keras_alias()
    if options.module:
        sys.path[0], sys.argv = os.getcwd(), options.module + options.script
        runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
    elif options.script:
        script = options.script[0]
        if not os.path.exists(script):
            parser.error(f'there is no script {script!r}')
        sys.path[0], sys.argv = os.path.dirname(os.path.abspath(script)), options.script
        runpy.run_path(script, run_name='__main__')
    else:
        parser.error('name a script to run, or a module with -m')


if __name__ == '__main__':
    sys.exit(main())
