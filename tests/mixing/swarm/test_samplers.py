import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.mixing.swarm.samplers import (
    on_grid,
    sample_d_optimal,
    sample_hierarchical,
    sample_low_discrepancy,
    sample_regmix,
)

PRIOR = np.array([0.4, 0.25, 0.15, 0.1, 0.06, 0.04])


def is_mixture(rows):
    return np.allclose(rows.sum(axis=1), 1, atol=1e-12) and np.all(rows >= 0)


def test_regmix_mixtures_keep_the_published_bounds():
    rows = sample_regmix(PRIOR, 200)
    assert rows.shape == (200, 6)
    assert is_mixture(rows)
    assert np.all(rows <= np.minimum(15 * PRIOR, 1) + 2e-4 * 6)
    steps = rows / 2e-4
    assert np.abs(steps - np.round(steps)).max() < 1e-6
    assert len(np.unique(rows, axis=0)) == 200


def test_same_seed_same_mixtures_other_seed_others():
    assert np.array_equal(sample_regmix(PRIOR, 20), sample_regmix(PRIOR, 20))
    assert not np.array_equal(sample_regmix(PRIOR, 20), sample_regmix(PRIOR, 20, seed=1))


def test_mixtures_centre_on_the_flattened_prior():
    rows = sample_regmix(PRIOR, 2000, usage=1e9, minimum=1e-6, oversample=4)
    flat = np.sqrt(PRIOR) / np.sqrt(PRIOR).sum()
    assert np.abs(rows.mean(axis=0) - flat).max() < 0.03
    # strong and weak draws both occur
    largest = rows.max(axis=1)
    assert largest.min() < 0.5 < 0.95 < largest.max()


def test_usage_binds_small_clusters():
    rows = sample_regmix(PRIOR, 100, usage=2.0)
    assert rows[:, 5].max() <= 0.08 + 2e-4 * 6


def test_impossible_bounds_say_what_to_do():
    with pytest.raises(ValueError, match="raise usage"):
        sample_regmix(PRIOR, 100, usage=1.0)


def test_hierarchy_keeps_cluster_shares_apart_from_group_shares():
    groups = np.array([0, 0, 1, 1, 2, 2])
    rows = sample_hierarchical(PRIOR, groups, 64)
    assert is_mixture(rows)
    outer = np.column_stack([rows[:, groups == g].sum(axis=1) for g in range(3)])
    assert is_mixture(outer)
    assert outer.std(axis=0).min() > 0.05


def test_within_a_group_shares_are_drawn_as_over_all_clusters():
    groups = np.array([0, 0, 0, 1, 1, 1])
    rows = sample_hierarchical(PRIOR, groups, 400)
    assert len(np.unique(rows, axis=0)) == 400
    first = rows[rows[:, :3].sum(axis=1) > 0][:, :3]
    top = first.sum(axis=1)
    first /= top[:, None]
    flat = np.sqrt(PRIOR[:3]) / np.sqrt(PRIOR[:3]).sum()
    assert np.abs(first.mean(axis=0) - flat).max() < 0.06
    # what a group gets says nothing of how it is divided
    assert abs(np.corrcoef(top, first[:, 0])[0, 1]) < 0.15


def test_hierarchy_draws_where_a_bound_leaves_a_level_few_shares():
    prior = np.array([0.4, 0.00004, 0.59992, 0.00004])
    rows = sample_hierarchical(prior, np.array([0, 0, 1, 1]), 48)
    assert is_mixture(rows)
    assert len(np.unique(rows, axis=0)) == 48
    with pytest.raises(ValueError, match="raise usage"):
        sample_hierarchical(prior, np.array([0, 0, 1, 1]), 48, usage=1.0)


def test_hierarchy_takes_groups_of_one_and_groups_without_text():
    prior = np.array([0.5, 0.3, 0.2, 0.0])
    assert is_mixture(sample_hierarchical(prior, np.array([0, 1, 1, 2]), 20))


def test_low_discrepancy_covers_more_evenly_than_chance():
    rows = sample_low_discrepancy(np.full(3, 1 / 3), 256)
    assert is_mixture(rows)
    edges = np.linspace(0, 1, 9)
    mine = np.histogram(rows[:, 0] ** 0.5, edges)[0].std()
    chance = np.mean(
        [
            np.histogram(np.random.default_rng(s).dirichlet(np.ones(3), 256)[:, 0] ** 0.5, edges)[0].std()
            for s in range(9)
        ]
    )
    assert mine <= chance


def test_d_optimal_mixtures_tell_more_than_random_ones():
    chosen, drawn = sample_d_optimal(PRIOR, 24), sample_regmix(PRIOR, 24)
    assert is_mixture(chosen)

    def information(rows):
        return np.linalg.slogdet(rows.T @ rows + 1e-6 * np.eye(6))[1]

    assert information(chosen) > information(drawn)


@given(st.lists(st.floats(1e-6, 1), min_size=2, max_size=20), st.sampled_from([2e-4, 2e-3, 0.05]))
@settings(deadline=None)
def test_grid_keeps_the_sum(weights, minimum):
    row = np.array(weights) / np.sum(weights)
    snapped = on_grid(row[None], minimum)[0]
    assert snapped.sum() == pytest.approx(1, abs=1e-12)
    assert np.all(snapped >= 0)
    assert np.all((snapped == 0) | (snapped > minimum / 2))


@pytest.mark.parametrize("bad", [np.array([1.0]), np.array([0.5, -0.5]), np.array([np.nan, 1.0])])
def test_bad_priors_are_refused(bad):
    with pytest.raises(ValueError, match="prior"):
        sample_regmix(bad, 4)
