"""What the README and pyproject.toml say about the package holds."""
import os
import pathlib
import re
import shutil
import site
import subprocess
import sys
import venv

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def test_import_needs_the_core_dependencies_only():
    code = ("import sys; sys.modules.update(dict.fromkeys(['sklearn', 'scipy', 'PIL', 'pandas', 'matplotlib']));"
            "import kfacade; kfacade.models.Sequential([kfacade.layers.Dense(1, input_shape=(2,))])")
    subprocess.run([sys.executable, '-W', 'error', '-c', code], cwd=ROOT, check=True)


IMPORTS = """
import gc, importlib, pkgutil, sys, time
import kfacade
gc.disable()  # a collection would count against the module that it falls in
for module in pkgutil.walk_packages(kfacade.__path__, 'kfacade.'):
    if not module.name.startswith('kfacade.examples'):
        start = time.process_time()
        importlib.import_module(module.name)
        if time.process_time() - start > .05:
            print(module.name, time.process_time() - start)
optional = ('IPython', 'PIL', 'matplotlib', 'onnx', 'pandas', 'requests', 'safetensors', 'scipy', 'sklearn',
            'tensorboard')  # pydot, too, but torch imports that
print(*[name for name in optional if name in sys.modules])
"""


def test_modules_import_fast_and_nothing_optional():
    output = subprocess.run([sys.executable, '-c', IMPORTS], cwd=ROOT, check=True, capture_output=True, text=True)
    assert output.stdout.strip() == ''


def test_python_in_the_readme_runs():
    blocks = re.findall('```python\n(.*?)```', (ROOT / 'README.md').read_text(encoding='utf-8'), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, 'README.md', 'exec'), {})


@pytest.mark.slow
def test_digits_example(tmp_path):
    check_digits([sys.executable, '-m', 'kfacade'], ROOT, tmp_path / 'model.h5')


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """Folder of the programs of a new environment that has the wheel of this tree, and this environment's packages."""
    pytest.importorskip('setuptools', minversion='77')
    folder = tmp_path_factory.mktemp('wheel')
    for name in ('pyproject.toml', 'setup.cfg', 'README.md'):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / 'kfacade', folder / 'kfacade', ignore=shutil.ignore_patterns('__pycache__'))
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation', '.'],
                   cwd=folder, check=True)
    wheel, = folder.glob('*.whl')
    environment = folder / 'environment'
    venv.create(environment, symlinks=True)
    python = environment / 'bin' / 'python'
    subprocess.run([sys.executable, '-m', 'pip', '--python', str(python), 'install', '--quiet', '--no-deps',
                    '--no-index', str(wheel)], check=True)
    packages, = environment.glob('lib/python*/site-packages')
    (packages / 'outer.pth').write_text('\n'.join(site.getsitepackages()))
    return environment / 'bin'


def test_main_job_runs_from_the_wheel(installed, tmp_path):
    where = subprocess.check_output([installed / 'python', '-c', 'import kfacade; print(kfacade.__file__)'],
                                    cwd=tmp_path, text=True, env=clean_environment())
    assert where.startswith(str(installed.parent))
    check_digits([str(installed / 'kfacade')], tmp_path, tmp_path / 'model.h5')
    shown = subprocess.check_output([installed / 'kfacade', 'inspect', 'model.h5'], cwd=tmp_path, text=True,
                                    env=clean_environment())
    assert 'edges' in shown and '(3, 3, 1, 32)' in shown


def clean_environment():
    return {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}


def check_digits(command, folder, file):
    pytest.importorskip('sklearn')
    output = subprocess.run([*command, '-m', 'kfacade.examples.digits', str(file)], cwd=folder, check=True,
                            capture_output=True, text=True, env=clean_environment()).stdout
    accuracy = next(line for line in output.splitlines() if line.startswith('Validation accuracy:'))
    assert float(accuracy.split()[-1]) > 0.97
    assert 'val_acc' in output
    assert file.exists()
