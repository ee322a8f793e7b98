"""Expressions over TensorFlow 1, evaluated by genuine TensorFlow 1.13.2 or by the stand-in.

``python tests/legacy/tensorflow_harness.py``, where TensorFlow is installed, writes what it gives to `values.npz`.
"""
import contextlib
import importlib
import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).with_name('tensorflow_cases')
EXPRESSIONS = [line for line in FOLDER.joinpath('expressions.txt').read_text().splitlines()
               if line and not line.startswith('#')]


def _data():
    """Arrays to feed, each with the static shape of its placeholder."""
    random = np.random.RandomState(0)

    def floats(*shape):
        return random.normal(size=shape).astype('float32')
    corners = random.uniform(0, .6, (8, 2)).astype('float32')
    rois = np.concatenate([corners, corners + random.uniform(.1, .4, (8, 2)).astype('float32')], 1)
    return {
        'x': (floats(3, 4), (None, 4)), 'y': (floats(3, 4), (None, 4)), 'p': (np.abs(floats(3, 4)) + .1, (None, 4)),
        'v': (floats(5), (None,)), 'j': (np.array([2, 0, 1, 2], 'int32'), (None,)),
        'k': (np.array([1, 0, 2, 2], 'int32'), (None,)), 'b': (floats(3, 4) > 0, (None, 4)),
        'im': (floats(2, 4, 6, 8), (None, None, None, 8)), 'im1': (floats(1, 5, 4, 2), (1, 5, 4, 2)),
        'q': (floats(2, 3, 4), (None, 3, 4)), 'rois': (rois, (None, 4)), 'scores': (floats(8), (None,)),
        'boxes': (np.array([[0, 0, 1, 1], [.2, .3, .7, 1.1], [.8, .9, .1, .2]], 'float32'), (None, 4))}


def evaluate(expressions, tf, session, import_module=importlib.import_module):
    """For each expression the symbols, flat, and the list of their values."""
    feeds, names = {}, {'tf': tf, 'np': np}
    for name, (array, shape) in _data().items():
        names[name] = tf.placeholder(array.dtype.name, shape, name=name)
        feeds[names[name]] = array
    for name in ('array_ops', 'math_ops', 'nn_ops', 'control_flow_ops'):
        names[name] = import_module(f'tensorflow.python.ops.{name}')

    def guarded(assertion, value):
        with tf.control_dependencies([assertion]):
            return tf.identity(value)
    names.update(guarded=guarded)
    for expression in expressions:
        try:
            found = eval(expression, dict(names))
            found = list(found) if isinstance(found, (list, tuple)) else [found]
            with contextlib.suppress(AttributeError):
                session.run(tf.global_variables_initializer())
            yield expression, found, session.run(found, feeds)
        except Exception as error:
            yield expression, [], error


if __name__ == '__main__':
    import tensorflow
    values = {}
    for expression, _, found in evaluate(EXPRESSIONS, tensorflow, tensorflow.Session()):
        if isinstance(found, Exception):
            print(expression, repr(found)[:300])
        else:
            values.update({f'{expression} [{i}]': value for i, value in enumerate(found)})
    np.savez_compressed(FOLDER / 'values.npz', **values)
