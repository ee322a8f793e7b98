"""Every line of the backend's tables runs twice: on live tensors, and recorded on symbols and then run."""
import numpy as np
import pytest
import torch

from kfacade import backend as K
from kfacade.backend.symbolic import SymbolicTensor


def _eager(call, arrays, gradient):
    tensors = [torch.tensor(a) for a in arrays]
    if gradient:
        tensors[0].requires_grad_()
    results = call(*tensors)
    results = list(results) if isinstance(results, (list, tuple)) else [results]
    assert all(isinstance(r, torch.Tensor) for r in results)
    if gradient:
        results = torch.autograd.grad(results[0].sum(), tensors[:1])
    return [r.detach().numpy() for r in results]


def _symbolic(call, arrays, gradient):
    """Through placeholders; arrays whose first size is that of the first array's have it unknown."""
    batch = arrays[0].shape[0] if arrays[0].ndim else None
    placeholders = [K.placeholder((None, *a.shape[1:]) if a.ndim and a.shape[0] == batch else a.shape,
                                  dtype=a.dtype.name) for a in arrays]
    results = call(*placeholders)
    results = list(results) if isinstance(results, (list, tuple)) else [results]
    assert all(isinstance(r, SymbolicTensor) for r in results)
    if gradient:
        results = K.gradients(K.sum(results[0]), placeholders[:1])
    values = K.function(placeholders, results)(list(arrays))
    for result, value in zip(results, values):
        assert len(result.shape) == np.ndim(value)
        assert all(size in (None, actual) for size, actual in zip(result.shape, np.shape(value)))
        assert K.dtype(result) == value.dtype.name
    return values


@pytest.fixture(params=[_eager, _symbolic], ids=['eager', 'symbolic'])
def compute(request):
    """``compute(call, *arrays)``: the results of a backend expression as a list of arrays.

    With ``gradient=True``, the gradient of the sum of the first result with respect to the first array.
    """
    return lambda call, *arrays, gradient=False: request.param(call, arrays, gradient)


@pytest.fixture
def check(compute):
    """``check(call, arrays, expected)``: compares values, shapes and data types; `expected` may be a list."""
    def run(call, arrays, expected, gradient=False, rtol=1e-5, atol=1e-6):
        results = compute(call, *arrays, gradient=gradient)
        expected = expected if isinstance(expected, list) else [expected]
        assert len(results) == len(expected)
        for result, wanted in zip(results, expected):
            wanted = np.asarray(wanted)
            assert result.shape == wanted.shape
            assert result.dtype == (np.float32 if wanted.dtype == np.float64 else wanted.dtype)
            np.testing.assert_allclose(result, wanted, rtol=rtol, atol=atol)
    return run
