"""kfacade gives what real Keras 2.2.4 gave: one line a golden (see goldens/README.md and goldens_harness.py)."""
import pytest
from goldens_harness import goldens, run

GOLDENS = goldens()


@pytest.mark.parametrize('name', GOLDENS)
def test_golden(name, tmp_path):
    run(GOLDENS[name], tmp_path)


def test_no_golden_is_lost():
    assert len(GOLDENS) == 393
