"""The bar, byte for byte as Keras 2.2.4 draws it."""
import io
import sys
import time

import pytest
import torch

from kfacade.utils.progbar import Progbar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A list whose only element is the time."""
    now = [1000.]
    monkeypatch.setattr(time, 'time', lambda: now[0])
    return now


def drawn(monkeypatch, clock, steps, stream, target, **options):
    """What a bar writes: `steps` are (seconds, current, values), values by keyword or that of the loss alone."""
    monkeypatch.setattr(sys, 'stdout', stream)
    monkeypatch.delitem(sys.modules, 'ipykernel', raising=False)  # other tests import it, and bars then move
    bar = Progbar(target, **options)
    for seconds, current, *values in steps:
        clock[0] += seconds
        values = {'loss': values[0]} if values and not isinstance(values[0], dict) else (values or [{}])[0]
        bar.update(current, list(values.items()))
    return stream.getvalue()


LOSSES = [(.04, 10, 2.5), (.02, 20, 1.25), (.03, 30, 1e-3), (.1, 32, -5e-5), (6., 64, -2.), (.01, 100, .5)]
THIRD = 1 / 3
CASES = {
    'means, at most every 0.05 s': (
        {'target': 100}, [(s, n, {'loss': v, 'acc': v / 3}) for s, n, v in LOSSES],
        '\n 10/100 [==>...........................] - ETA: 0s - loss: 2.5000 - acc: 0.8333'
        '\n 32/100 [========>.....................] - ETA: 0s - loss: 1.1722 - acc: 0.3907'
        '\n 64/100 [==================>...........] - ETA: 3s - loss: -0.4139 - acc: -0.1380'
        '\n100/100 [==============================] - 6s 62ms/step - loss: -0.0849 - acc: -0.0283\n'),
    'remaining time': (
        {'target': 7, 'width': 20}, [(s, n + 1, THIRD) for n, s in enumerate((2000., 100., 9., 1e-3, 600., .1, .2))],
        '\n1/7 [=>..................] - ETA: 3:20:00 - loss: 0.3333'
        '\n2/7 [====>...............] - ETA: 1:27:30 - loss: 0.3333'
        '\n3/7 [=======>............] - ETA: 46:52 - loss: 0.3333  '
        '\n5/7 [=============>......] - ETA: 18:03 - loss: 0.3333'
        '\n6/7 [================>...] - ETA: 7:31 - loss: 0.3333 '
        '\n7/7 [====================] - 2709s 387s/step - loss: 0.3333\n'),
    'unknown target': (
        {'target': None}, [(.03, 5, 0.), (.03, 10, 1.), (.03, 15, 2.), (.03, 20, 3.), (5, 23)],
        '\n      5/Unknown - 0s 6ms/step - loss: 0.0000e+00'
        '\n     10/Unknown - 0s 6ms/step - loss: 0.5000    '
        '\n     15/Unknown - 0s 6ms/step - loss: 1.0000'
        '\n     20/Unknown - 0s 6ms/step - loss: 1.5000'
        '\n     23/Unknown - 5s 223ms/step - loss: 1.5000'),
    'seconds': (
        {'target': 2}, [(3., 1), (3., 2)],
        '\n1/2 [==============>...............] - ETA: 3s\n2/2 [==============================] - 6s 3s/step\n'),
    'microseconds': (
        {'target': 2}, [(1e-4, 1), (1e-4, 2)],
        '\n1/2 [==============>...............] - ETA: 0s\n2/2 [==============================] - 0s 100us/step\n'),
    'nothing done yet': (
        {'target': 10}, [(0., 0), (1., 10)],
        '\n 0/10 [..............................] - ETA: 0s\n10/10 [==============================] - 1s 100ms/step\n'),
    'shorter and shorter': (
        {'target': 1000, 'interval': 0}, [(3, 1, 1e-9), (1, 999, 5.), (1, 1000)],
        '\n   1/1000 [..............................] - ETA: 49:57 - loss: 1.0000e-09'
        '\n 999/1000 [============================>.] - ETA: 0s - loss: 4.9950       '
        '\n1000/1000 [==============================] - 5s 5ms/step - loss: 4.9950\n'),
    'stateful metric': (
        {'target': 6, 'interval': 0, 'stateful_metrics': ['m']},
        [(1, 2 * i + 2, {'loss': i, 'm': i * 1.5}) for i in range(3)],
        '\n2/6 [=========>....................] - ETA: 2s - loss: 0.0000e+00 - m: 0.0000e+00'
        '\n4/6 [===================>..........] - ETA: 1s - loss: 0.5000 - m: 1.5000        '
        '\n6/6 [==============================] - 3s 500ms/step - loss: 1.0000 - m: 3.0000\n'),
    'one line, negative values in e-notation': (
        {'target': 8, 'verbose': 2}, [(.6, 2 * i + 2, {'loss': i / 7, 'gain': -i / 5}) for i in range(4)],
        ' - 2s - loss: 0.2143 - gain: -3.0000e-01\n'),
    'silent': ({'target': 8, 'verbose': 0}, [(1., 8, 1.)], ''),
}


@pytest.mark.parametrize('options, steps, expected', CASES.values(), ids=CASES)
def test_in_a_pipe(monkeypatch, clock, options, steps, expected):
    assert drawn(monkeypatch, clock, steps, io.StringIO(), **options) == expected


@pytest.mark.parametrize('options, steps, expected', CASES.values(), ids=CASES)
def test_values_may_be_tensors(monkeypatch, clock, options, steps, expected):
    steps = [(s, n, *[torch.tensor(v, dtype=torch.float64) if not isinstance(v, dict) else
                      {k: torch.tensor(x, dtype=torch.float64) for k, x in v.items()} for v in values])
             for s, n, *values in steps]
    assert drawn(monkeypatch, clock, steps, io.StringIO(), **options) == expected


def test_on_a_terminal(monkeypatch, clock):
    options, steps, _ = CASES['remaining time']
    assert drawn(monkeypatch, clock, steps, Terminal(), **options) == (
        '\r1/7 [=>..................] - ETA: 3:20:00 - loss: 0.3333'
        + '\b' * 56 + '\r2/7 [====>...............] - ETA: 1:27:30 - loss: 0.3333'
        + '\b' * 56 + '\r3/7 [=======>............] - ETA: 46:52 - loss: 0.3333  '
        + '\b' * 54 + '\r5/7 [=============>......] - ETA: 18:03 - loss: 0.3333'
        + '\b' * 54 + '\r6/7 [================>...] - ETA: 7:31 - loss: 0.3333 '
        + '\b' * 53 + '\r7/7 [====================] - 2709s 387s/step - loss: 0.3333\n')


def test_nothing_is_read_before_it_is_shown(monkeypatch, clock):
    unreadable = torch.zeros((), device='meta')
    bar = Progbar(100, verbose=2)
    for n in range(1, 100):
        bar.update(n, [('loss', unreadable)])
    bar = Progbar(100)
    bar._last_update = clock[0]
    bar.update(99, [('loss', unreadable)])
    clock[0] += 1
    monkeypatch.setattr(sys, 'stdout', io.StringIO())
    with pytest.raises(RuntimeError, match='meta'):
        bar.add(0)


def test_add(monkeypatch, clock):
    monkeypatch.setattr(sys, 'stdout', io.StringIO())
    bar = Progbar(4, verbose=2)
    bar.add(1, [('loss', 1.)])
    bar.add(3, [('loss', 5.)])
    assert sys.stdout.getvalue() == ' - 0s - loss: 4.0000\n'
