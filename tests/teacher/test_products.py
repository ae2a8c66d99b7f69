import numpy as np
import pytest

from gem_assets.teacher import products
from gem_assets.teacher.products import Products, physical_memory
from tests.teacher.conftest import mixture


@pytest.mark.parametrize("bfloat16", [True, False])
def test_scores_stay_within_the_bound_whether_rows_are_held_or_read_again(
    bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = mixture(200, 48, 6)
    slices = [slice(0, 128), slice(128, 200)]
    rng = np.random.default_rng(0)
    natural, constants = 300 * mixture(9, 48, 9, seed=1).astype(np.float64), rng.normal(0, 20, 9)
    held = Products(x, slices, bfloat16).prepare(natural, constants)
    monkeypatch.setattr(products, "HELD_SHARE", 0.0)
    again = Products(x, slices, bfloat16)
    prepared = again.prepare(natural, constants)
    np.testing.assert_array_equal(prepared.error, held.error)
    exact = x.astype(np.float64) @ natural.T + constants
    for rows in slices:
        found = prepared.block(rows)
        np.testing.assert_array_equal(found, held.block(rows))
        # scores are known up to a constant in each row
        off = found - exact[rows]
        off -= off.mean(axis=1, keepdims=True)
        bound = 2 * (prepared.error + again.rounding * np.abs(found)).max(axis=1, keepdims=True)
        assert np.all(np.abs(off) <= bound)


def test_memory_of_this_machine_is_told_in_bytes() -> None:
    assert physical_memory() > 1 << 28
