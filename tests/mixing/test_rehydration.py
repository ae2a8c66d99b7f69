import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.mixing_golden import rehydration_mismatches
from gem_assets.mixing.rehydration import RemovalRates, rehydrate


def test_published_weights_of_sixteen_languages_are_reproduced(golden_folder):
    assert rehydration_mismatches(golden_folder) == (0, 128)


def test_published_weights_of_every_language_are_reproduced(shared):
    assert rehydration_mismatches(shared / "golden") == (0, 14_751)


def test_italian(golden_folder):
    folder = golden_folder / "fineweb2_rehydration"
    record = json.loads((folder / "distributions" / "ita_Latn.json").read_text())
    found = rehydrate(RemovalRates.from_published(record), 10)
    assert found.documents == 965_462_863
    assert found.of(1) == 1
    assert found.of(20) == 10
    assert found.of(10**6) == 1


def rates(removed, overall):
    n = len(removed)
    return RemovalRates(np.arange(1, n + 1), np.array(removed, float), np.full(n, 100), overall)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40), st.floats(0, 100), st.integers(1, 20))
def test_repetitions_stay_in_range_and_worse_than_average_is_not_repeated(removed, overall, most):
    table = rates(removed, overall)
    found = rehydrate(table, most)
    counts = [found.of(s) for s in table.sizes]
    assert all(1 <= c <= most for c in counts)
    assert found.documents == 100 * sum(counts)
    if min(removed) >= overall:
        assert set(counts) == {1}


def test_few_bins_are_not_smoothed():
    assert rehydrate(rates([80.0, 10.0, 50.0], 50.0), 5).repetitions == {1: 1, 2: 5, 3: 1}


def test_bad_tables_are_refused():
    with pytest.raises(ValueError, match="must ascend"):
        RemovalRates(np.array([2, 1]), np.zeros(2), np.ones(2, int), 1.0)
    with pytest.raises(ValueError, match="at size 1 is 120"):
        rates([120.0], 50.0)
    with pytest.raises(ValueError, match="at least once"):
        rehydrate(rates([1.0], 50.0), 0)
