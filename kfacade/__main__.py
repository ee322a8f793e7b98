"""``python -m kfacade SCRIPT.py [args]``: runs an unmodified Keras script on kfacade.

In this process `keras` and its submodules are names for kfacade's modules, and `tensorflow` is kfacade's stand-in, so
that ``K.backend()`` is ``'tensorflow'``. ``-m MODULE`` runs a module instead. Processes that torchrun
starts train together (`utils.ranks`).
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
             'keras_applications': 'kfacade.applications', 'theano': 'kfacade.legacy.theano'}
_OWN = {'__name__', '__spec__', '__loader__', '__package__', '__path__', '__file__', '__cached__', '__builtins__'}


def _own_name(name):
    package, *below = name.split('.', 1)
    return '.'.join([_PACKAGES[package], *below])


def install_keras_alias(tensorflow=None, backend_name=None, tensorflow_keras=False):
    """Lets ``import keras`` mean kfacade, and the packages that came with Keras the rooms of it.

    They do in this process, and in those that multiprocessing starts from it, which take the arguments from the
    environment.
    """
    stored = os.environ.get('KFACADE_TENSORFLOW', 'stand-in').split()
    tensorflow, tensorflow_keras = tensorflow or stored[0], tensorflow_keras or 'keras' in stored[1:]
    os.environ['KFACADE_TENSORFLOW'] = tensorflow + ' keras' * tensorflow_keras
    for name in [n for n in sys.modules if n.partition('.')[0] in _PACKAGES]:
        del sys.modules[name]
    sys.meta_path.insert(0, KerasAlias())
    folder = os.path.dirname(os.path.abspath(__file__))  # started processes get the path
    launched = os.path.join(folder, '_launched')
    sys.path[1:1] = {launched, *[os.path.join(launched, 'stand_in')] * (tensorflow == 'stand-in')} - set(sys.path)
    sys.path += {os.path.dirname(folder)} - set(sys.path[1:])  # the first is the launcher's, and goes
    from kfacade import config
    if 'THEANO_FLAGS' in os.environ:
        importlib.import_module('kfacade.legacy.theano')
    if tensorflow == 'stand-in':
        from kfacade.legacy import tensorflow as module
        module.install('keras' if tensorflow_keras else None)
        backend_name = backend_name or os.environ.get('KFACADE_BACKEND_NAME', 'tensorflow')
    if backend_name:
        config.settings['backend'] = os.environ['KFACADE_BACKEND_NAME'] = backend_name


def install_as_keras(tensorflow='stand-in', backend_name=None, tensorflow_keras=False):
    """See `kfacade.install_as_keras`."""
    if tensorflow not in ('stand-in', 'real'):
        raise ValueError(f"tensorflow must be 'stand-in' or 'real'. Got: {tensorflow!r}")
    if any(type(finder).__name__ == KerasAlias.__name__ for finder in sys.meta_path):
        return  # of the launcher's copy of this module, perhaps
    for name in [*_PACKAGES, *(['tensorflow'] if tensorflow == 'stand-in' else [])]:
        if name in sys.modules and name != 'theano':
            origin = getattr(sys.modules[name], '__file__', None)
            raise ImportError(f'Another {name} was imported before, from {origin}. What has come from it would not go '
                              'with kfacade: start a new process (in a notebook, restart the kernel), and let kfacade '
                              'come first.')
    install_keras_alias(tensorflow, backend_name, tensorflow_keras)


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    if int(os.environ.get('WORLD_SIZE', 1)) > 1 and 'PYTHONHASHSEED' not in os.environ:
        os.environ['PYTHONHASHSEED'] = '0'  # or sets of strings would have another order in each process
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    if arguments[:1] in (['inspect'], ['convert']):
        from kfacade.saving import commands
        return commands.main(*arguments[:1], arguments[1:])
    if arguments[:1] == ['check']:
        return importlib.import_module('kfacade.legacy.check').main(arguments[1:])
    parser = argparse.ArgumentParser(prog='python -m kfacade', description='Runs a Keras script on PyTorch.')
    parser.add_argument('--tensorflow', choices=['stand-in', 'real'], default='stand-in', help='what `import '
                        "tensorflow` means: kfacade's stand-in for TensorFlow 1 (default), or what is installed")
    parser.add_argument('--tensorflow-keras', action='store_true', help='let tensorflow.keras mean kfacade, too')
    parser.add_argument('--backend-name', help='what K.backend() answers (default: tensorflow, or torch with '
                        '--tensorflow real)')
    parser.add_argument('-m', dest='module', nargs=argparse.REMAINDER, help='run a module, as python -m does')
    parser.add_argument('script', nargs=argparse.REMAINDER, help='the script, and its arguments')
    options = parser.parse_args(arguments)
    if options.tensorflow == 'real' and options.tensorflow_keras:
        parser.error('--tensorflow-keras goes with the stand-in, not with --tensorflow real')
    name = options.backend_name or {'stand-in': 'tensorflow', 'real': 'torch'}[options.tensorflow]
    install_keras_alias(options.tensorflow, name, options.tensorflow_keras)
    from kfacade.utils import ranks
    ranks.start()
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
    ranks.stop()


if __name__ == '__main__':
    sys.exit(main())
