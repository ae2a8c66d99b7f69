import numpy as np

from gem_assets.teacher.mstep import Sums, Theta, maximise, relax
from gem_assets.teacher.vmf import fit_kappa, log_norm
from tests.teacher.conftest import mixture

D = 12


def start(k: int = 3) -> Theta:
    return Theta(np.eye(D)[:k], np.full(k, 40.0), np.arange(k, dtype=float))


def sums_of(gamma: np.ndarray, x: np.ndarray) -> Sums:
    return Sums(gamma.sum(axis=0), gamma.T @ x)


def test_no_other_parameters_explain_the_responsibilities_better() -> None:
    rng = np.random.default_rng(0)
    x = mixture(300, D, 3).astype(np.float64)
    sums = sums_of(rng.dirichlet(np.ones(3), 300), x)
    best = maximise(sums, start(), 1e-3, 1e4)

    def value(theta: Theta) -> float:
        return float(sums.mass @ log_norm(theta.kappa, D) + np.sum(theta.directions() * sums.resultant))

    np.testing.assert_allclose(np.linalg.norm(best.mu, axis=1), 1)
    for _ in range(20):
        mu = best.mu + 0.05 * rng.standard_normal(best.mu.shape)
        other = Theta(mu / np.linalg.norm(mu, axis=1, keepdims=True), best.kappa * rng.uniform(0.8, 1.25, 3), best.b)
        assert value(other) < value(best)


def test_a_cluster_without_mass_or_direction_keeps_its_parameters() -> None:
    sums = Sums(np.array([0.0, 2.0, 5.0]), np.array([np.zeros(D), np.zeros(D), 4 * np.eye(D)[5]]))
    new = maximise(sums, start(), 1.0, 1e4)
    np.testing.assert_array_equal(new.mu[:2], start().mu[:2])
    np.testing.assert_array_equal(new.kappa[:2], [40.0, 40.0])
    np.testing.assert_array_equal(new.mu[2], np.eye(D)[5])
    np.testing.assert_allclose(new.kappa[2], fit_kappa(0.8, D))
    np.testing.assert_array_equal(new.b, start().b)


def test_one_document_and_duplicates_stop_at_the_largest_kappa() -> None:
    sums = Sums(np.array([1.0, 7.0, 3.0]), np.array([1.0, 7.0, 0.3])[:, None] * np.eye(D)[:3])
    new = maximise(sums, start(), 5.0, 500.0)
    np.testing.assert_array_equal(new.kappa, [500.0, 500.0, 5.0])


def test_pseudo_documents_are_added_to_the_sums() -> None:
    own = Sums(np.array([10.0]), 6 * np.eye(D)[:1])
    earlier = Sums(np.array([1.0]), 0.6 * np.eye(D)[1:2]).scaled(10)
    new = maximise(own + earlier, start(1), 0.1, 1e4)
    np.testing.assert_allclose(new.mu[0, :2], np.sqrt(0.5))
    np.testing.assert_allclose(new.kappa, fit_kappa(np.hypot(6, 6) / 20, D))


def test_relaxing_by_one_is_the_plain_step_and_by_more_goes_further() -> None:
    old, new = start(), Theta(np.eye(D)[1:4], np.full(3, 60.0), np.zeros(3))
    plain = relax(old, new, 1.0, 1.0, 1e4)
    np.testing.assert_allclose(plain.mu, new.mu, atol=1e-12)
    np.testing.assert_allclose(plain.kappa, new.kappa)
    far = relax(old, new, 1.5, 1.0, 1e4)
    np.testing.assert_allclose(far.directions(), old.directions() + 1.5 * (new.directions() - old.directions()))
    assert relax(old, new, 1.9, 1.0, 50.0).kappa.max() == 50.0
