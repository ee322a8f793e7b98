"""Numbers that optimizers, regularizers, initializers and constraints are made of: anything else is refused by name."""
import numpy as np
import pytest

from kfacade import constraints, initializers, optimizers, regularizers


@pytest.mark.parametrize('make, name, owner', [
    (lambda x: optimizers.SGD(lr=x), 'lr', 'SGD'),
    (lambda x: optimizers.SGD(momentum=x), 'momentum', 'SGD'),
    (lambda x: optimizers.RMSprop(rho=x), 'rho', 'RMSprop'),
    (lambda x: optimizers.Adam(decay=x), 'decay', 'Adam'),
    (lambda x: optimizers.Adamax(clipvalue=[x]), 'clipvalue', 'Adamax'),
    (lambda x: regularizers.l2(x), 'l2', 'L1L2'),
    (lambda x: regularizers.L1L2(l1=x), 'l1', 'L1L2'),
    (lambda x: initializers.RandomNormal(stddev=x), 'stddev', 'RandomNormal'),
    (lambda x: initializers.VarianceScaling(scale=x), 'scale', 'VarianceScaling'),
    (lambda x: constraints.max_norm(x), 'max_value', 'MaxNorm'),
    (lambda x: constraints.MinMaxNorm(rate=x), 'rate', 'MinMaxNorm'),
])
@pytest.mark.parametrize('value', ['a', None])
def test_what_is_no_number(make, name, owner, value):
    with pytest.raises(ValueError, match=rf'^`{name}` of {owner} must be a number\. Received: '):
        make(value)


def test_numbers_of_any_kind():
    assert optimizers.SGD(lr=np.float64(.5), clipnorm=None).lr.host == .5
    assert regularizers.l1(np.array(.5)).l1 == .5
    assert constraints.max_norm(np.float32(3)).max_value == 3
