"""Random models compute, and learn, the same by all that is fast as layer by layer, step by step and by autograd.

A test that fails prints the number of a seed and what `fuzzing.Maker` makes of it.
"""
import numpy as np
import pytest
import torch
from fuzz_parts import squares
from fuzzing import Maker, masked, plainly

from kfacade import backend as K
from kfacade.backend import private_ops
from kfacade.callbacks import LambdaCallback
from kfacade.utils.generic_utils import to_list

FEW, MANY, AT_ONCE = 16, 3000, 50


def batches(maker, *lists):
    for start in range(0, maker.samples, maker.batch):
        yield [[x if x is None else x[start:start + maker.batch] for x in arrays] for arrays in lists]


def reset(model):
    model.reset_states()


def plain_run(maker):
    """Predictions, losses of each batch, weights and predictions, a batch at a time."""
    model = maker.model()
    function = K.function([*model.inputs, K.learning_phase()], model.outputs, model.state_updates)

    def predict():
        reset(model)
        parts = [function([*x, 0]) for x, in batches(maker, maker.arrays)]
        return [np.concatenate(column) for column in zip(*parts)]
    first, scores = predict(), []
    for _ in range(2):
        reset(model)
        for x, y, w in batches(maker, maker.arrays, maker.targets, maker.weights):
            scores.append(np.ravel(model.train_on_batch(x, y, sample_weight=w)))
    last = predict()
    return results(model, first, first, np.stack(scores), last, last)


def fast_run(maker):
    """The same by the methods that people call; checks that nothing is written over that is somebody's."""
    model, r = maker.model(), maker.r
    given = [np.array(x) for x in [*maker.arrays, *maker.targets]]

    def predict():
        reset(model)
        return to_list(model.predict(maker.arrays, batch_size=maker.batch))
    first = predict()
    copies, together = [y.copy() for y in first], first
    if not maker.stateful and maker.apart:
        together = to_list(model.predict_on_batch(maker.arrays))
    for y, again in zip(first, predict()):
        np.testing.assert_array_equal(y, again)
    if maker.apart and not maker.stateful:
        check_losses(model, maker, first)
    scores = train(model, maker, r.choice(['fit', 'train_on_batch', 'fit_generator']))
    last = predict()
    called = live(model, maker.arrays) if maker.apart and not maker.stateful else last
    for x, before in zip([*maker.arrays, *maker.targets, *first], [*given, *copies], strict=True):
        np.testing.assert_array_equal(x, before)
    return results(model, first, together, scores, last, called)


def live(model, arrays):
    """The outputs for tensors, as a module gives them."""
    tensors = [torch.tensor(np.array(x), dtype=torch.int64 if x.dtype.kind == 'i' else torch.float32) for x in arrays]
    with torch.no_grad():
        return [y.numpy() for y in to_list(model(tensors if len(tensors) > 1 else tensors[0]))]


def results(model, first, together, scores, last, called):
    return {**{f'{i} before': y for i, y in enumerate(first)}, **{f'{i} at once': y for i, y in enumerate(together)},
            'scores': scores, **{f'{i} called': y for i, y in enumerate(called)},
            **{f'{i} {v.name}': K.get_value(v) for i, v in enumerate(model.weights)},
            **{f'{i} after': y for i, y in enumerate(last)}}


def check_losses(model, maker, outputs):
    """Checks what `evaluate` gives for the losses that numpy has."""
    results = model.evaluate(maker.arrays, maker.targets, maker.samples, verbose=0, sample_weight=maker.weights)
    single = len(outputs) == 1
    for x, y, target, loss, weights, result in zip(model.outputs, outputs, maker.targets, maker.losses, maker.weights,
                                                   to_list(results)[not single:]):
        if masked(x) or single and model.losses or loss not in ('mse', 'mae', squares, 'hinge'):
            continue
        error = y.astype('float64') - target
        score = (np.maximum(1. - y * target, 0.) if loss == 'hinge' else abs(error) if loss == 'mae' else
                 error ** 2).mean(-1)
        weights = np.ones(len(y)) if weights is None else weights
        if not weights.any():  # 0 / 0, as in Keras
            assert np.isnan(result)
            continue
        score = score.mean(tuple(range(weights.ndim, score.ndim))) * weights / np.mean(weights != 0)
        factor = maker.loss_weights[0] if single and maker.loss_weights else 1.
        np.testing.assert_allclose(result, factor * score.mean(), rtol=1e-4, err_msg=x.name)


def train(model, maker, way):
    """Two epochs in order; the losses and metrics of each batch."""
    data, scores = (maker.arrays, maker.targets), []
    maker.log.append(way)
    if way == 'train_on_batch':
        for _ in range(2):
            reset(model)
            scores += [np.ravel(model.train_on_batch(x, y, sample_weight=w)) for x, y, w in batches(
                maker, *data, maker.weights)]
        return np.stack(scores)
    seen = LambdaCallback(
        on_epoch_begin=lambda epoch, logs: reset(model),
        on_batch_end=lambda batch, logs: scores.append([float(logs[name]) for name in model.metrics_names]))
    options = {'epochs': 2, 'shuffle': False, 'verbose': 0, 'callbacks': [seen]}
    if way == 'fit':
        model.fit(*data, batch_size=maker.batch, sample_weight=maker.weights, **options)
    else:
        def generate():
            while True:
                for x, y, w in batches(maker, *data, maker.weights):
                    yield x, y, [np.ones(len(y[0])) if v is None else v for v in w]
        model.fit_generator(generate(), -(-maker.samples // maker.batch), max_queue_size=1, workers=0, **options)
    return np.array(scores)


def errors(found, exact):
    """For each result the largest difference, in terms of the largest number."""
    return [np.abs(a - b).max(initial=0.) / max(np.abs(b).max(initial=0.), 1e-2)
            for a, b in zip(found.values(), exact.values(), strict=True)]


def attempt(run, maker):
    """What a run gives, or how it fails."""
    K.clear_session()
    try:
        return run(maker)
    except (ValueError, RuntimeError) as error:
        maker.log.append(f'{run.__name__}: {error}')
        return error


def check(seed, monkeypatch):
    """Whether a seed makes a model that tells: none that goes to infinity, or whose numbers are rounding errors."""
    torch.manual_seed(0)
    maker = Maker(seed)
    try:
        with monkeypatch.context() as patch:  # no AMD, Zen 4, Zen 5
            patch.setattr(private_ops, 'amd_family', lambda: (0, 25, 26)[seed % 3])
            private_ops.prefers_onednn.cache_clear()
            found = attempt(fast_run, maker)
        with plainly(monkeypatch):
            plain = attempt(plain_run, Maker(seed, recorded=True))
            if maker.draws:  # other numbers in double precision
                exact, plain = plain, attempt(plain_run, Maker(seed, recorded=True, off=1e-7))
            else:
                K.set_floatx('float64')
                try:
                    exact = attempt(plain_run, Maker(seed, recorded=True))
                finally:
                    K.set_floatx('float32')
        if all(isinstance(x, Exception) for x in (found, plain, exact)):
            return False
        np.testing.assert_array_equal(np.isnan(found['scores']), np.isnan(plain['scores']))
        if not all(np.isfinite(x).all() and np.abs(x).max(initial=0.) < 1e5 for x in exact.values()):
            return False
        rounding, differences = max(errors(plain, exact)), errors(found, exact)
        if rounding > 1e-2:
            return False
        assert max(differences) < 1e-4 + 30 * rounding, [
            f'{name}: {x:.1e}' for name, x in zip(exact, differences)] + [f'rounding: {rounding:.1e}']
    except Exception as problem:
        problem.args = '\n'.join([*maker.log, f'{type(problem).__name__}: {problem}']),
        raise
    return True


@pytest.mark.parametrize('seed', range(FEW))
def test_a_random_model(seed, monkeypatch):
    check(seed, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize('first', range(FEW, MANY, AT_ONCE))
def test_random_models(first, monkeypatch):
    told = [check(seed, monkeypatch) for seed in range(first, first + AT_ONCE)]
    assert sum(told) > .6 * AT_ONCE
