"""What a plain script imports: torch's compiler takes a second or more, and nothing in such a script needs it."""
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade.backend.symbolic import record
from kfacade.layers import Conv2D, Dense, Flatten
from kfacade.models import Sequential

ROOT = pathlib.Path(__file__).resolve().parents[2]

SCRIPT = """
import sys
import numpy as np
from kfacade import backend as K
from kfacade.layers import {layers}
from kfacade.models import Sequential

model = Sequential([{model}])
model.compile({compile}, metrics=['accuracy'])
x, y = np.zeros((4,) + model.input_shape[1:]), np.zeros((4,) + model.output_shape[1:])
model.fit(x, y, batch_size=2, verbose=0)
model.evaluate(x, y, verbose=0)
model.predict(x)
a, b = K.placeholder((None, 3)), K.variable(np.ones(3))
loss = K.mean(K.square(K.sigmoid(a) - b / 2), axis=-1) + K.max(K.softmax(K.dot(a, K.reshape(b, (3, 1)))), axis=-1)
K.function([a], [loss, a // 2] + K.gradients(K.sum(loss), [b]))([np.ones((2, 3))])
print([name for name in ('torch._dynamo', 'sympy', 'torch.onnx') if name in sys.modules])
"""


@pytest.mark.skipif(not hasattr(torch.Tag, 'reduction'), reason='this torch does not tell which functions reduce')
@pytest.mark.parametrize('layers, model, compiled', [
    ('Dense', "Dense(3, activation='relu', input_shape=(5,)), Dense(1)", "'sgd', 'mse'"),
    ('BatchNormalization, Conv2D, Dense, Dropout, Flatten, MaxPooling2D',
     "Conv2D(2, 3, activation='relu', input_shape=(8, 8, 1)), BatchNormalization(), MaxPooling2D(), Dropout(.5), "
     "Flatten(), Dense(4, activation='softmax')", "'adam', 'categorical_crossentropy'"),
    ('LSTM, Dense, Embedding', "Embedding(9, 3, input_length=5), LSTM(2), Dense(1, activation='sigmoid')",
     "'rmsprop', 'binary_crossentropy'")])
def test_a_plain_script_does_not_import_the_compiler(layers, model, compiled):
    script = SCRIPT.format(layers=layers, model=model, compile=compiled)
    output = subprocess.run([sys.executable, '-W', 'error', '-c', script], text=True, capture_output=True)
    assert (output.stdout, output.stderr) == ('[]\n', '')


@pytest.mark.skipif(not hasattr(torch.Tag, 'reduction'), reason='this torch does not tell which functions reduce')
def test_a_fixed_batch_size_and_temporal_weights_do_not_import_the_compiler():
    script = """
import sys
from kfacade import backend as K
from kfacade.layers import Dense, Input, LSTM, Masking
from kfacade.models import Model, Sequential

model = Sequential([Dense(3, batch_input_shape=(32, 5)), Dense(4, activation='softmax')])
model.compile('sgd', 'categorical_crossentropy', metrics=['accuracy'])
for batch in (None, 32):
    for time in (None, 7):
        x = Input(batch_shape=(batch, time, 5))
        model = Model(x, LSTM(3, return_sequences=True)(Masking()(x)))
        model.compile('adam', 'binary_crossentropy', metrics=['mae', 'acc'], sample_weight_mode='temporal')
x = K.placeholder((None, None, 3))
K.cumsum(K.concatenate([x[:, ::-1], K.stack([x[..., 0]] * 2, -1)]), 1) + K.eye(K.shape(x)[1])[0, 0]
K.conv1d(K.tile(x, K.stack([1, 2, 1])), K.ones((3, 3, 4))) + K.random_uniform((K.shape(x)[0], 1, 4))
K.one_hot(K.argmax(x), 4) + K.repeat(K.gather(K.ones((4, 4)), K.arange(K.shape(x)[1])), 1)
try:
    K.dot(x, K.ones((4, 5)))
except ValueError:
    print([name for name in ('torch._dynamo', 'sympy', 'torch.onnx') if name in sys.modules])
"""
    output = subprocess.run([sys.executable, '-W', 'error', '-c', script], text=True, capture_output=True)
    assert (output.stdout, output.stderr) == ('[]\n', '')


@pytest.mark.parametrize('function, shape, dtype', [
    (lambda x, y: x + y, (None, 7), torch.float64),
    (lambda x, y: x.half() * torch.tensor(2.), (None, 7), torch.float16),
    (lambda x, y: x.int() / 2, (None, 7), torch.float32),
    (lambda x, y: x.unsqueeze(1) > x, (None, None, 7), torch.bool),
    (lambda x, y: torch.where(x > 0, x, 1), (None, 7), torch.float32),
    (lambda x, y: x.int().sum(0, keepdim=True), (1, 7), torch.int64),
    (lambda x, y: x.mean(), (), torch.float32),
    (lambda x, y: x.max(1)[1], (None,), torch.int64),
    (lambda x, y: torch.var_mean(x, (0, 1))[0], (), torch.float32),
    (lambda x, y: x[:, :1] - x[:, :0], (None, 0), torch.float32),
    (lambda x, y: torch.softmax(x, 0).type_as(y), (None, 7), torch.float64),
])
def test_elementwise_functions_and_reductions_are_inferred_as_torch_has_them(function, shape, dtype):
    symbol = record(function, (K.placeholder((None, 7)), K.placeholder((None, 7), dtype='float64')), {})
    assert tuple(symbol.shape) == shape and symbol.dtype == dtype


def test_the_sizes_in_an_error_are_the_real_ones():
    with pytest.raises(ValueError, match=r'\(None, 7\): .*\(None, 7\) and \(5,\)'):
        K.placeholder((None, 7)) + K.variable(np.ones(5))


def test_help_imports_neither_torch_nor_numpy():
    process = subprocess.run([sys.executable, '-X', 'importtime', '-m', 'kfacade', '--help'], text=True,
                             capture_output=True, check=True)
    imported = {line.rpartition('|')[2].strip() for line in process.stderr.splitlines()}
    assert 'argparse' in imported and not imported & {'torch', 'numpy', 'h5py', 'yaml', 'kfacade.backend'}
    assert '--tensorflow-keras' in process.stdout


@pytest.mark.skipif(not hasattr(torch.Tag, 'reduction'), reason='this torch does not tell which functions reduce')
@pytest.mark.parametrize('command', [['inspect', 'm.h5'], ['convert', 'm.h5', 'm.safetensors'],
                                     ['convert', 'm.h5', 'm.pt'], ['convert', 'm.h5', 'm.json']])
def test_commands_on_files_import_no_more_than_a_script(command, tmp_path):
    model = Sequential([Conv2D(2, 3, input_shape=(8, 8, 1)), Flatten(), Dense(2)])
    model.compile('adam', 'mse')
    model.save(tmp_path / 'm.h5')
    script = f"""
import sys
from kfacade.__main__ import main
main({command})
print([name for name in ('torch._dynamo', 'sympy', 'torch.onnx', 'PIL', 'scipy', 'pandas', 'sklearn', 'tensorboard',
                         'matplotlib', 'onnx', 'tensorflow', 'kfacade.legacy.tensorflow') if name in sys.modules])
"""
    process = subprocess.run([sys.executable, '-W', 'error', '-c', script], text=True, capture_output=True,
                             cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert process.stdout.splitlines()[-1:] == ['[]'], process.stderr


def test_the_first_step_of_a_launched_script_imports_no_more_than_torch_itself(tmp_path):
    """Time is for benchmarks; what is imported besides torch is what may cost it."""
    (tmp_path / 'script.py').write_text("""
import sys
import numpy as np
from keras.layers import Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from keras.models import Sequential
model = Sequential([Conv2D(2, 3, activation='relu', input_shape=(8, 8, 1)), MaxPooling2D(), Dropout(.5), Flatten(),
                    Dense(4, activation='softmax')])
model.compile('adadelta', 'categorical_crossentropy', metrics=['accuracy'])
model.train_on_batch(np.zeros((2, 8, 8, 1)), np.zeros((2, 4)))
torchs_own = {'sympy'} if 'torch.fx.experimental.symbolic_shapes' in sys.modules else set()  # sums on meta in torch 2.6
names = {name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names) - {'__mp_main__'}
print(sorted(names & {'PIL', 'scipy', 'pandas', 'sklearn', 'matplotlib', 'sympy', 'onnx', 'tqdm'} - torchs_own),
      [name for name in ('torch._dynamo', 'torch._inductor', 'torch.onnx') if name in sys.modules])
""")
    process = subprocess.run([sys.executable, '-m', 'kfacade', 'script.py'], text=True, capture_output=True,
                             cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert process.stdout == '[] []\n', process.stderr
