"""Where is the configuration file of Keras? In ~/.keras, where data and weights are kept, too.

The backend's name in it is written for other Kerases, and not read.
"""
import json
import os
import subprocess
import sys

import faq_harness as faq

from kfacade import config

FOLDER, FILE = faq.blocks('where_config')
SCRIPT = """
import json, sys
from keras import backend as K
from keras.utils import get_file
path = get_file('data.txt', 'file://' + sys.argv[1])
print(json.dumps([K.image_data_format(), K.epsilon(), K.floatx(), K.backend(), path]))
"""


def test_the_file_is_that_of_the_page_and_is_read(tmp_path, request):
    home, source = tmp_path / 'home', tmp_path / 'data.txt'
    (home / '.keras').mkdir(parents=True)
    source.write_text('some data')
    (tmp_path / 'script.py').write_text(SCRIPT)
    environment = {**os.environ, 'HOME': str(home), 'PYTHONPATH': str(request.config.rootpath)}
    environment.pop('KERAS_HOME', None)

    def run():
        process = subprocess.run([sys.executable, '-W', 'error', '-m', 'kfacade', 'script.py', source], cwd=tmp_path,
                                 env=environment, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        return json.loads(process.stdout.splitlines()[-1])

    assert FOLDER.strip() == '$HOME/.keras/'
    folder = home / '.keras'
    assert run() == ['channels_last', 1e-07, 'float32', 'tensorflow', str(folder / 'datasets' / 'data.txt')]
    assert (folder / 'datasets' / 'data.txt').read_text() == 'some data'
    assert json.loads((folder / 'keras.json').read_text()) == json.loads(FILE)
    (folder / 'keras.json').write_text(json.dumps({
        **json.loads(FILE), 'image_data_format': 'channels_first', 'epsilon': 1e-5, 'floatx': 'float64'}))
    assert run()[:4] == ['channels_first', 1e-5, 'float64', 'tensorflow']


def test_tmp_where_the_home_is_not_writable(monkeypatch):
    monkeypatch.delenv('KERAS_HOME', raising=False)
    monkeypatch.setattr(os, 'access', lambda path, mode: False)
    assert config.keras_dir() == '/tmp/.keras' and '`/tmp/.keras/`' in faq.answer('where_config')
