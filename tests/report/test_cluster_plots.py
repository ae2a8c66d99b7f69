import struct
from dataclasses import replace

import pytest

from benchmarks.k_sweep import SweepPoint, sweep_curves
from benchmarks.teacher_scaling import cost_curves
from gem_assets.report.cluster_plots import method_bars

POINTS = [SweepPoint(k, 100.0 + k, 0.5, 0.1 * i, 1 - 0.1 * i, 1.0, 1.0) for i, k in enumerate((12, 24, 48))]


def width_of(png: bytes) -> int:
    assert png.startswith(b"\x89PNG")
    return struct.unpack(">I", png[16:20])[0]


def test_sweep_shows_the_loss_drop_where_all_points_have_one() -> None:
    plain = sweep_curves(POINTS)
    told = sweep_curves([replace(p, bigram_drop=0.1 * p.k) for p in POINTS])
    assert width_of(plain) == width_of(told)
    assert plain != told
    assert sweep_curves([*POINTS[:2], replace(POINTS[2], bigram_drop=0.1)]) == plain


@pytest.mark.parametrize(
    "values",
    [
        {"coherence": {"GEM": 0.4, "k-means · $x$": 0.39}, "NPMI": {"GEM": -0.1, "k-means · $x$": 0.2}},
        {"coherence": {"GEM": 0.0}},
        {"coherence": {}},
    ],
)
def test_methods_side_by_side(values: dict[str, dict[str, float]]) -> None:
    picture = method_bars(values, "GEM")
    assert width_of(picture) > 900
    assert picture == method_bars(values, "GEM")


def test_cost_curves() -> None:
    assert width_of(cost_curves([(1000, 10, 0.1), (1000, 20, 0.2), (5000, 10, 0.6)])) > 900
