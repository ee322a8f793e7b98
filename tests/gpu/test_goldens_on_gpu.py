"""What Keras computed, computed on a GPU: every golden; on the virtual device a few of each category."""
import itertools

import pytest
from goldens_harness import Golden, goldens, run

from kfacade import models
from kfacade.backend import devices

GOLDENS = goldens()

# Layers whose kernels on a GPU sum in another order than those of the CPU. Models with one of them agree to 1e-4 where
# the index asks for more.
SUMS_OTHERWISE = ('Conv', 'LSTM', 'GRU', 'RNN', 'BatchNormalization', 'LocallyConnected')

SAMPLE = {next(names) for _, names in itertools.groupby(GOLDENS, lambda name: name.partition('__')[0])}
CASES = [pytest.param('virtual', name, marks=[] if name in SAMPLE else pytest.mark.slow) for name in GOLDENS]
CASES += [pytest.param('cuda', name, marks=pytest.mark.gpu) for name in GOLDENS]


def for_gpu(golden):
    """The golden with the tolerances that a GPU needs."""
    text = (golden.read('json') or b'').decode()
    limits = golden.spec.get('tolerances', {})
    if any(name in text for name in SUMS_OTHERWISE):
        limits = {kind: {what: max(value, 1e-4) for what, value in limit.items()} for kind, limit in limits.items()}
    return Golden({**golden.spec, 'tolerances': limits})


@pytest.mark.parametrize('device, name', CASES, indirect=['device'])
def test_golden(device, name, tmp_path, monkeypatch):
    made, build = [], models.model_from_json
    monkeypatch.setattr(models, 'model_from_json', lambda text: made.append(build(text)) or made[-1])
    run(for_gpu(GOLDENS[name]), tmp_path)
    assert {devices.device_of(w.param) for model in made for w in model.weights} <= {device}
