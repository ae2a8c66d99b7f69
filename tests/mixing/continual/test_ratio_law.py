import numpy as np
import pytest

from gem_assets.mixing.continual.ratio_law import CriticalRatio, RatioError, fit_general_loss

RATIOS = np.array([0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8])


def test_a_power_law_is_recovered():
    law = fit_general_loss(RATIOS, 0.4 * RATIOS**1.7 + 2.5)
    assert (law.scale, law.exponent, law.floor) == pytest.approx((0.4, 1.7, 2.5), rel=1e-3)
    assert law.residual < 1e-6
    # 2.5 + 0.4 R^1.7 = 2.56 + 0.01
    assert law.critical(2.56, 0.01) == pytest.approx((0.07 / 0.4) ** (1 / 1.7), rel=1e-3)


def test_no_feasible_ratio_and_none_that_is_not():
    law = fit_general_loss(RATIOS, 0.4 * RATIOS + 2.5)
    assert law.critical(2.4, 0.05) == 0.0
    assert law.critical(3.0, 0.0) == 1.0
    falling = fit_general_loss(RATIOS, 2.5 - 0.1 * RATIOS)
    assert falling.critical(2.5, 0.0) == 1.0


def test_the_ratio_grows_with_tokens_as_planted():
    """General loss ``2.5 - drop(T) + 0.4 R^1.5``: the critical ratio is ``(drop(T)/0.4)^(2/3)``, a power of ``T``."""
    tokens, ratios = (a.ravel() for a in np.meshgrid([2e9, 5e9, 10e9, 20e9], RATIOS))
    drop = 0.05 * (tokens / 20e9) ** 0.6
    rng = np.random.default_rng(0)
    losses = 2.5 - drop + 0.4 * ratios**1.5 + 5e-4 * rng.standard_normal(len(tokens))
    found = CriticalRatio().fit(tokens, ratios, losses, start=2.5)
    expected = (0.05 * (found.tokens_ / 20e9) ** 0.6 / 0.4) ** (2 / 3)
    assert found.ratios_ == pytest.approx(expected, abs=0.02)
    further = (0.05 * 2.0**0.6 / 0.4) ** (2 / 3)
    assert found.predict(np.array([40e9]))[0] == pytest.approx(further, abs=0.04)
    assert CriticalRatio(0.02).fit(tokens, ratios, losses, 2.5).ratios_.min() > found.ratios_.min()


def test_one_token_count_gives_a_constant():
    found = CriticalRatio().fit(np.full(7, 1e9), RATIOS, 0.4 * RATIOS + 2.4, start=2.5)
    assert found.predict(np.array([1e8, 1e12])) == pytest.approx([0.25, 0.25], abs=1e-3)


def test_bad_runs_are_refused():
    with pytest.raises(RatioError, match="2 different ratios"):
        fit_general_loss(np.array([0.1, 0.1, 0.2]), np.ones(3))
    with pytest.raises(RatioError, match="ratio in"):
        fit_general_loss(np.array([0.1, 0.2, 1.3]), np.ones(3))
    with pytest.raises(RatioError, match="allowed rise"):
        CriticalRatio(-0.1)
