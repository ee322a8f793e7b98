"""What the README and pyproject.toml say about the package holds."""
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def test_import_needs_the_core_dependencies_only():
    code = ("import sys; sys.modules.update(dict.fromkeys(['sklearn', 'scipy', 'PIL', 'pandas', 'matplotlib']));"
            "import kfacade; kfacade.models.Sequential([kfacade.layers.Dense(1, input_shape=(2,))])")
    subprocess.run([sys.executable, '-W', 'error', '-c', code], cwd=ROOT, check=True)


def test_python_in_the_readme_runs():
    blocks = re.findall('```python\n(.*?)```', (ROOT / 'README.md').read_text(encoding='utf-8'), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, 'README.md', 'exec'), {})


@pytest.mark.slow
def test_digits_example(tmp_path):
    pytest.importorskip('sklearn')
    file = tmp_path / 'model.h5'
    output = subprocess.run(
        [sys.executable, '-m', 'kfacade', '-m', 'kfacade.examples.digits', str(file)], cwd=ROOT, check=True,
        capture_output=True, text=True).stdout
    accuracy = next(line for line in output.splitlines() if line.startswith('Validation accuracy:'))
    assert float(accuracy.split()[-1]) > 0.97
    assert 'val_acc' in output
    assert file.exists()
