"""What training prints, in a terminal and in a pipe, beside what Keras 2.2.4 printed when it ran the same script.

The stored texts are that output without times, and without the lines of bars that were still on their way: how many of
them there are depends on the time.
"""
import os
import pathlib
import re
import subprocess
import sys

import pytest
from screen import on_screen

FOLDER = pathlib.Path(__file__).parent / 'verbose'


def masked(text):
    lines = [re.sub(r' - \d+s( \d+[mu]?s/step)?', ' - TIME', line) for line in on_screen(text)]
    return [line for line in lines if 'ETA' not in line]


def in_pipe(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, **options).stdout


def in_terminal(command, **options):
    pty = pytest.importorskip('pty')
    reader, writer = pty.openpty()
    with subprocess.Popen(command, stdout=writer, **options) as process:
        os.close(writer)
        parts = []
        try:
            while part := os.read(reader, 65536):
                parts.append(part)
        except OSError:  # what Linux says at the end
            pass
    os.close(reader)
    assert process.returncode == 0
    return b''.join(parts)


@pytest.mark.parametrize('name, run', [('pipe', in_pipe), ('terminal', in_terminal)])
def test_output_is_that_of_keras(name, run, tmp_path, request):
    environment = {**os.environ, 'PYTHONPATH': str(request.config.rootpath), 'OMP_NUM_THREADS': '1'}
    text = run([sys.executable, '-m', 'kfacade', str(FOLDER / 'script.py')], cwd=tmp_path, env=environment).decode()
    assert masked(text) == (FOLDER / f'{name}.txt').read_text().splitlines()
