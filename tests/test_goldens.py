"""kfacade gives what real Keras 2.2.4 gave: one line a golden (see goldens/README.md and goldens_harness.py)."""
import pytest
from goldens_harness import goldens, not_covered, run

GOLDENS = goldens()
NOT_COVERED = not_covered()


@pytest.mark.parametrize('name', [name for name in GOLDENS if name not in NOT_COVERED])
def test_golden(name, tmp_path):
    run(GOLDENS[name], tmp_path)


@pytest.mark.parametrize('name', NOT_COVERED)
def test_golden_not_covered_lacks_what_the_list_says(name, tmp_path):
    with pytest.raises((ValueError, AttributeError), match=NOT_COVERED[name]):
        run(GOLDENS[name], tmp_path)


def test_every_stored_golden_is_in_the_index():
    assert len(GOLDENS) == 393
    assert set(NOT_COVERED) <= set(GOLDENS)
