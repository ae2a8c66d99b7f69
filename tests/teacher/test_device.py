import numpy as np
import pytest
import torch

from gem_assets.teacher.config import TeacherConfig
from gem_assets.teacher.device import DeviceEngine
from gem_assets.teacher.engines import DenseEngine
from gem_assets.teacher.esteps import uniform
from gem_assets.teacher.gem import GemTeacher
from gem_assets.teacher.metrics import balance
from tests.teacher.conftest import mixture
from tests.teacher.test_sparse import some_theta

FAST = {"n_init": 1, "anneal_iter": 15}
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]


@pytest.mark.parametrize("device", DEVICES)
def test_one_e_step_and_its_sums_are_those_of_the_dense_engine(device: str) -> None:
    x = mixture(5000, 64, 30, skew=0.7)
    theta, lam = some_theta(x, 40), 20_000.0
    dense, other = DenseEngine(x, uniform(40)), DeviceEngine(x, uniform(40), device)
    a, b = dense.e_step(theta, lam, 1e-10), other.e_step(theta, lam, 1e-10)
    assert b.objective == pytest.approx(a.objective, rel=1e-7)
    np.testing.assert_allclose(b.pi, a.pi, atol=1e-6)
    np.testing.assert_allclose(other.sums().resultant, dense.sums().resultant, atol=5e-3)
    assert np.mean(other.labels() == dense.labels()) > 0.999
    a, b = dense.certify(theta, lam, 1e-10), other.certify(theta, lam, 1e-10)
    assert b.objective == pytest.approx(a.objective, rel=1e-12)
    np.testing.assert_array_equal(other.labels(), dense.labels())
    np.testing.assert_array_equal(other.outliers(3), dense.outliers(3))
    expected, found = dense.sparse_responsibilities(20.0)[0], other.sparse_responsibilities(20.0)[0]
    np.testing.assert_allclose(found.toarray(), expected.toarray(), atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_a_whole_fit_agrees_with_the_dense_one(device: str) -> None:
    x = mixture(4000, 32, 30, skew=0.5, spread=0.8)
    options = {**FAST, "lam": 3000.0, "churn_tol": 0.0, "tol": 1e-6, "max_iter": 300}
    dense = GemTeacher(20, **options).fit(x)
    other = GemTeacher(20, device=device, **options).fit(x)
    assert other.objective_[-1] == pytest.approx(dense.objective_[-1], rel=1e-6)
    assert np.mean(other.labels_ == dense.labels_) >= 0.999
    assert other.gap_ < 1e-8
    assert balance(other.labels_, 20).n_eff_over_k > 0.95


def test_other_e_steps_have_no_device() -> None:
    with pytest.raises(ValueError, match="dual"):
        TeacherConfig(device="cuda", e_step="mirror")
