import numpy as np
import pytest

from gem_assets.teacher.baselines import Clustering, RandomPartition, baseline
from gem_assets.teacher.stability import half_labelings, half_stability, reseeding_stability
from tests.teacher.conftest import mixture


def kmeans(seed: int) -> Clustering:
    return baseline("spherical_kmeans", 2, seed=seed)


def test_separated_clusters_come_out_again_and_drawn_ones_do_not() -> None:
    x = mixture(1200, 24, 2, spread=0.3)
    assert half_stability(kmeans, x) > 0.9
    drawn = [RandomPartition(4, seed=s).fit(x) for s in (0, 1)]
    assert reseeding_stability(lambda seed: drawn[seed], x, (0, 1)) == pytest.approx(0, abs=0.02)
    assert reseeding_stability(kmeans, x, (3, 3)) == pytest.approx(1)
    assert half_stability(lambda seed: RandomPartition(4, seed=seed), x) == pytest.approx(0, abs=0.02)


def test_halves_share_no_row_and_label_all() -> None:
    x = mixture(101, 8, 3)
    seen: list[np.ndarray] = []

    class Watching(RandomPartition):
        def fit(self, x: np.ndarray) -> "Watching":
            seen.append(x)
            return super().fit(x)

    labelings = half_labelings(lambda seed: Watching(3, seed=seed), x, 5)
    assert [len(labels) for labels in labelings] == [101, 101]
    rows = np.concatenate(seen)
    assert len(np.unique(rows, axis=0)) == len(rows) == 101
