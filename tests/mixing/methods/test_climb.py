import numpy as np
import pytest

from gem_assets.mixing.laws.selection import spearman
from gem_assets.mixing.methods.climb import ClimbRound, climb
from gem_assets.mixing.swarm.samplers import sample_regmix

K = 4
PRIOR = np.array([0.4, 0.3, 0.2, 0.1])
BEST = np.array([0.1, 0.1, 0.3, 0.5])


def objective(mixtures):
    """Nats with a known optimum inside the simplex."""
    return 3 + 2 * ((mixtures - BEST) ** 2).sum(axis=1)


def climbed(caps=None, seed=0):
    asked = []

    def evaluate(mixtures, number):
        asked.append((number, len(mixtures)))
        return objective(mixtures)

    first = sample_regmix(PRIOR, 32, seed=seed)
    found = climb(ClimbRound(first, objective(first)), evaluate, PRIOR, caps, sizes=(16, 8), draws=3000, seed=seed)
    return found, asked


@pytest.fixture(scope="module")
def found():
    return climbed()


def test_rounds_are_asked_for_in_order_and_get_better(found):
    result, asked = found
    assert asked == [(2, 16), (3, 8)]
    means = [float(r.objective.mean()) for r in result.rounds]
    assert means[1] < means[0]
    assert means[2] < means[0]
    assert len(result.objective) == len(result.mixtures) == len(result.held_out) == 56


def test_the_answer_is_near_the_optimum_and_better_than_the_prior(found):
    result, _ = found
    assert result.shares.sum() == pytest.approx(1)
    gap = objective(result.shares[None])[0] - 3
    assert gap < 0.35 * (objective(PRIOR[None])[0] - 3)
    assert spearman(result.held_out, result.objective) > 0.7


def test_caps_hold_for_all_that_is_trained_and_for_the_answer():
    caps = np.array([1.0, 1.0, 0.35, 0.3])
    result, _ = climbed(caps)
    for shares in (*result.rounds[1].mixtures, *result.rounds[2].mixtures, result.shares):
        assert (shares <= caps + 1e-9).all()


def test_flat_trees_answer_with_the_best_run():
    # eight runs are too few for a leaf of five on each side of a split, whatever is added twice
    first = sample_regmix(PRIOR, 8, seed=3)
    found = climb(
        ClimbRound(first, objective(first)), lambda m, _: objective(m), PRIOR, sizes=(1, 1), draws=300, seed=0
    )
    assert np.ptp(found.predictor.predict(found.mixtures)) == 0
    np.testing.assert_allclose(found.shares, found.mixtures[found.objective.argmin()], atol=1e-12)


def test_bad_input_is_refused():
    few = sample_regmix(PRIOR, 4)
    with pytest.raises(ValueError, match="4 runs"):
        climb(ClimbRound(few, objective(few)), lambda m, n: objective(m), PRIOR)
    first = sample_regmix(PRIOR, 12)
    with pytest.raises(ValueError, match="not finite"):
        climb(ClimbRound(first, objective(first)), lambda m, n: np.full(len(m), np.nan), PRIOR, sizes=(4,), draws=500)
