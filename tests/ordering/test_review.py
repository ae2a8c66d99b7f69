"""A written order looked at again."""

from pathlib import Path

import numpy as np
import pytest

from gem_assets.ordering import review as review_module
from gem_assets.ordering.config import CurveConfig, OrderingConfig
from gem_assets.ordering.diagnostics import diagnose
from gem_assets.ordering.plots import order_curve, shares_along
from gem_assets.ordering.review import review_order
from gem_assets.ordering.training_order import build_order
from tests.ordering.worlds import corpus, in_pieces, recipe

SHARES = {0: 0.6, 4: 0.4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("order")
    config = OrderingConfig(
        score="q", curve=CurveConfig(strategy="saw", sections=2, layers=3, folding_ratio=0.2), memory_mb=128
    )
    source = corpus({0: (16_000, 20), 4: (1500, 90)})
    build_order(in_pieces(source, 4000), recipe(SHARES, 200_000), config, out)
    return out


def test_whole_order_is_measured_inside_clusters(folder: Path) -> None:
    review = review_order(folder)
    assert review.sampled == review.rows
    for figures in review.within.values():
        assert figures.boundary_head == pytest.approx(0.05, abs=0.01)
        assert figures.boundary_tail == pytest.approx(0.95, abs=0.01)
        assert figures.cyclic_descent == pytest.approx(0.38, abs=0.03)
        assert figures.continuity_step < 0.03
    assert len(review.shares) == review.rows // 200
    assert review.shares == pytest.approx(np.tile([0.6, 0.4], (len(review.shares), 1)), abs=0.03)
    assert review.shares.mean(axis=0) == pytest.approx([0.6, 0.4], abs=0.01)
    assert set(review.within_mean()) < set(review.overall.as_dict())


def test_stretches_of_a_long_order_tell_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review_module, "_STRETCH", 64)
    whole, part = review_order(folder), review_order(folder, most=5000)
    assert part.sampled < whole.sampled
    assert part.rows == whole.rows
    assert (part.shares == whole.shares).all()
    assert part.overall.diversity == pytest.approx(whole.overall.diversity, rel=0.1)
    # neighbours across a seam would show as a jump
    assert part.within[0].continuity_step < 0.03


def test_seams_are_no_neighbours() -> None:
    values = np.concatenate([np.arange(40.0), np.arange(400.0, 440.0)])
    assert diagnose(values).continuity_step == pytest.approx(1 / 79)
    jump = np.concatenate([np.arange(40.0, 80.0), np.arange(40.0)])
    assert diagnose(jump).continuity_step > 0.9
    assert diagnose(jump, seams=np.array([40])).continuity_step == pytest.approx(1 / 79)
    assert diagnose(jump, seams=np.array([40])).continuity_batch_step < 0.2


def test_pictures_are_finished_and_repeatable(folder: Path) -> None:
    review = review_order(folder)
    for draw in (lambda: order_curve(review, "saw", "q"), lambda: shares_along(review, {0: "Recipes $5", 4: "法律"})):
        png = draw()
        assert png.startswith(b"\x89PNG")
        assert png == draw()


def test_a_folder_without_an_order_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="build the training order"):
        review_order(tmp_path)
