from pathlib import Path

import numpy as np
import pytest

from gem_assets.teacher.gem import GemTeacher, RowError
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
