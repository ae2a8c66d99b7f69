from pathlib import Path

import numpy as np
import pytest

from gem_assets.teacher.gem import GemTeacher, RowError
from gem_assets.teacher.metrics import balance
from gem_assets.teacher.rows import StackedRows
from tests.teacher.conftest import mixture

FAST = {"n_init": 2, "anneal_iter": 12, "threads": 1}


def test_shards_in_files_give_the_same_fit_as_one_array(tmp_path: Path) -> None:
    x = mixture(3000, 24, 8)
    shards = []
    for i, part in enumerate(np.split(x, [500, 1700])):
        np.save(tmp_path / f"{i}.npy", part)
        shards.append(np.load(tmp_path / f"{i}.npy", mmap_mode="r"))
    whole = GemTeacher(6, **FAST).fit(x)
    stacked = GemTeacher(6, **FAST).fit(StackedRows(shards))
    assert stacked.mu_.tobytes() == whole.mu_.tobytes()
    np.testing.assert_array_equal(stacked.labels_, whole.labels_)


def test_shards_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(RowError, match="differ in width"):
        StackedRows([mixture(5, 8, 2), mixture(5, 9, 2)])
    with pytest.raises(RowError, match="no shards"):
        StackedRows([])


def test_partial_fits_come_near_the_fit_to_everything() -> None:
    x = mixture(24_000, 32, 12, skew=0.8, spread=1.3)
    train, test = x[:20_000], x[20_000:]
    first = GemTeacher(8, **FAST).partial_fit(train[:2000])
    one_shard = GemTeacher(8, **FAST).fit(train[:2000])
    for shard in np.split(train[2000:], 9):
        first.partial_fit(shard)
    assert first.n_rows_ == 20_000
    assert first.score(test) > one_shard.score(test)
    assert balance(first.predict(test), 8).n_eff_over_k > 0.95
    polished = GemTeacher(8, anchor=0.0, **FAST).fit(train, previous=first)
    assert polished.gap_ < 1e-8
    assert abs(polished.score(test) - first.score(test)) < 0.5


def test_a_fitted_teacher_can_go_on_with_shards_and_refuses_bad_ones() -> None:
    x = mixture(6000, 16, 6)
    teacher = GemTeacher(6, **FAST).fit(x[:3000])
    before = teacher.mu_.copy()
    teacher.partial_fit(x[3000:4500]).partial_fit(x[4500:])
    assert not np.array_equal(before, teacher.mu_)
    broken = x[:10].copy()
    broken[3] = np.nan
    with pytest.raises(RowError, match="rows 3 hold NaN"):
        teacher.partial_fit(broken)
