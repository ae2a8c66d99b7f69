import numpy as np

from benchmarks.k_sweep import SweepPoint, sweep_k
from gem_assets.teacher.config import TeacherConfig
from tests.teacher.conftest import mixture


def test_sweep_fills_a_row_for_every_k_and_finds_the_real_number_most_stable() -> None:
    x = mixture(1500, 24, 5, spread=0.7)
    seen: list[SweepPoint] = []
    points = sweep_k(
        x,
        [3, 5, 11],
        TeacherConfig(n_init=3, anneal_iter=15, threads=1),
        bigram_drop=lambda labels, k: len(np.unique(labels)) / k,
        progress=seen.append,
    )
    assert points == seen
    assert [p.k for p in points] == [3, 5, 11]
    assert points[0].objective < points[1].objective
    assert points[1].stability > 0.95
    assert points[1].stability > points[2].stability
    assert points[0].coherence < points[1].coherence
    assert points[0].pairwise < points[1].pairwise
    assert [p.bigram_drop for p in points] == [1, 1, 1]
