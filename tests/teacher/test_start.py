import numpy as np
import pytest

from gem_assets.teacher.engines import DenseEngine
from gem_assets.teacher.esteps import uniform
from gem_assets.teacher.mstep import Theta
from tests.teacher.conftest import mixture


def test_short_fits_in_float32_see_what_float64_sees() -> None:
    x = mixture(3000, 64, 20)
    rng = np.random.default_rng(0)
    mu = x[rng.choice(len(x), 30, replace=False)].astype(np.float64)
    mu /= np.linalg.norm(mu, axis=1, keepdims=True)
    theta = Theta(mu, 400.0 * rng.uniform(0.3, 3.0, 30), np.zeros(30))
    exact, short = DenseEngine(x, uniform(30)), DenseEngine(x, uniform(30), precision=np.float32)
    a, b = exact.e_step(theta, 9000.0, 1e-6), short.e_step(theta, 9000.0, 1e-6)
    assert b.objective == pytest.approx(a.objective, abs=1e-4)
    assert b.gap < 1e-6
    np.testing.assert_allclose(b.pi, a.pi, atol=1e-5)
    np.testing.assert_allclose(short.sums().resultant, exact.sums().resultant, atol=1e-2)
    assert np.mean(short.labels() == exact.labels()) > 0.999
    np.testing.assert_allclose(short.outliers(3), exact.outliers(3))


def test_float32_refuses_the_soft_e_steps() -> None:
    x = mixture(100, 16, 2)
    with pytest.raises(ValueError, match="float64"):
        DenseEngine(x, uniform(2), "mirror", precision=np.float32)
