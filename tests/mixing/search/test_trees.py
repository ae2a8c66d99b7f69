import numpy as np
import pytest

from gem_assets.mixing.search.trees import SearchError, search_parameters


def test_the_minimum_of_a_bowl_is_found_better_than_by_trying():
    best = np.array([0.3, -0.4])

    def bowl(x):
        return np.sum((x - best) ** 2, axis=-1)

    found = search_parameters(lambda rng, n: rng.uniform(-1, 1, (n, 2)), bowl, runs=120, candidates=3000)
    assert np.abs(found.parameters - best).max() < 0.12
    assert bowl(found.parameters) <= np.quantile(found.losses, 0.02)
    assert found.cv_spearman > 0.9
    assert found.tried.shape == (120, 2)


def test_noise_is_not_sold_as_knowledge():
    rng = np.random.default_rng(0)
    found = search_parameters(
        lambda r, n: r.uniform(-1, 1, (n, 2)), lambda x: rng.normal(size=len(x)), runs=60, candidates=500
    )
    assert abs(found.cv_spearman) < 0.4


def test_too_few_runs_and_failed_ones_are_refused():
    with pytest.raises(SearchError, match="3 runs are too few"):
        search_parameters(lambda r, n: r.random((n, 1)), lambda x: np.ones(len(x)), runs=3)
    with pytest.raises(SearchError, match="run 0 has no finite loss"):
        search_parameters(lambda r, n: r.random((n, 1)), lambda x: np.full(len(x), np.nan), runs=20)
