import numpy as np
import pytest

from gem_assets.mixing.methods.quadmix import (
    QuaDMixParameters,
    QualityCorpus,
    percentile_ranks,
    sample_parameters,
    sample_tied_parameters,
    sampling_values,
    search_quadmix,
    token_shares,
    untie,
)
from gem_assets.mixing.methods.qurating import SelectionError
from gem_assets.mixing.quality.selection import draw_copies


def corpus(n=2000, seed=0):
    """Two domains; the first score is what text is worth, the second says nothing."""
    rng = np.random.default_rng(seed)
    return QualityCorpus(rng.normal(size=(n, 2)), np.arange(n) % 2, rng.integers(5, 50, n))


def rule(**changes):
    given = {
        "merge": np.array([[1.0, 1.0], [0.0, 0.0]]),
        "steepness": np.array([50.0, 50.0]),
        "kept": np.array([0.5, 0.5]),
        "power": np.ones(2),
        "rest": np.zeros(2),
    }
    return QuaDMixParameters(**(given | changes))


def test_ranks_are_the_part_of_the_tokens_that_is_better():
    found = percentile_ranks(
        QualityCorpus(np.array([[3.0], [1.0], [2.0], [5.0]]), np.array([0, 0, 0, 1]), np.array([10, 20, 10, 7])),
        np.ones((1, 2)),
    )
    assert found == pytest.approx([5 / 40, 30 / 40, 15 / 40, 0.5])


def test_the_formula_at_its_corners():
    world = corpus()
    ranks = percentile_ranks(world, rule().merge)
    values = sampling_values(world, rule(rest=np.array([0.01, 0.02])))
    outside = ranks > 0.5
    assert values[outside & (world.domains == 0)] == pytest.approx(0.01)
    assert values[outside & (world.domains == 1)] == pytest.approx(0.02)
    # steep: almost 2 at the best, 1 at omega
    assert values[np.argmin(ranks)] == pytest.approx(2.01, abs=0.02)
    edge = np.argmin(np.where(outside, 9, np.abs(ranks - 0.5)))
    assert values[edge] == pytest.approx(1.0, abs=0.1)
    flat = sampling_values(world, rule(power=np.zeros(2)))
    assert set(np.unique(flat)) == {0.0, 1.0}
    kept = world.tokens @ flat / world.tokens.sum()
    assert kept == pytest.approx(0.5, abs=0.01)
    assert (np.diff(values[np.argsort(ranks)][world.domains[np.argsort(ranks)] == 0]) <= 1e-12).all()


def test_copies_have_the_expected_number():
    values = np.full(40_000, 1.3)
    copies = draw_copies(values, seed=1)
    assert set(copies) == {1, 2}
    assert copies.mean() == pytest.approx(1.3, abs=0.01)
    assert (draw_copies(values, seed=1) == copies).all()


def test_a_rule_is_a_mixture_too():
    world = corpus()
    shares = token_shares(world, sampling_values(world, rule(kept=np.array([0.8, 0.2]), power=np.zeros(2))))
    assert shares == pytest.approx([0.8, 0.2], abs=0.02)
    with pytest.raises(SelectionError, match="keeps nothing"):
        token_shares(world, np.zeros(len(world.tokens)))


def test_rules_survive_the_vector():
    row = sample_parameters(np.random.default_rng(0), 3, 4, 2)[1]
    assert row.shape == (16,)
    back = QuaDMixParameters.of(row, 4)
    assert [*back.merge.ravel(), *np.log(back.steepness)] == pytest.approx(row[:10])
    assert [*back.kept, *back.power, *back.rest] == pytest.approx(row[10:])
    assert back.merge.sum(axis=0) == pytest.approx(np.ones(2))
    assert QuaDMixParameters.of(np.zeros(16), 4).merge == pytest.approx(np.full((4, 2), 0.25))


def test_tied_rules_differ_in_the_kept_part_alone():
    row = sample_tied_parameters(np.random.default_rng(0), 2, 3, 4)[1]
    assert row.shape == (3 + 3 + 4,)
    rule = untie(row, 3)
    assert rule.merge == pytest.approx(np.tile(row[:3, None], 4))
    assert rule.kept == pytest.approx(row[6:])
    for value, written in ((np.log(rule.steepness), row[3]), (rule.power, row[4]), (rule.rest, row[5])):
        assert value == pytest.approx(np.full(4, written))


def test_the_search_finds_the_score_and_the_domain_that_matter():
    world = corpus(800)
    worth = world.scores[:, 0] + np.where(world.domains == 0, 0.8, -0.8)

    def loss(values):
        given = values * world.tokens
        return -float(given @ worth / given.sum())

    def losses(many):
        return np.array([loss(values) for values in many])

    tied, _ = search_quadmix(world, losses, tied=True, runs=40, candidates=2000)
    assert tied.merge[0] == pytest.approx(np.full(2, tied.merge[0, 0]))
    assert tied.merge[0, 0] > 0.6
    assert tied.kept[0] > tied.kept[1]
    found, search = search_quadmix(world, losses, runs=120, candidates=2000)
    assert found.merge[0, 0] > 0.6
    assert token_shares(world, sampling_values(world, found))[0] > 0.75
    assert loss(sampling_values(world, found)) <= np.quantile(search.losses, 0.02)
    assert search.cv_spearman > 0.7


def test_bad_documents_are_refused():
    with pytest.raises(SelectionError, match="document 1 has a score"):
        QualityCorpus(np.array([[0.0], [np.inf]]), np.zeros(2, np.int64), np.ones(2, np.int64))
    with pytest.raises(SelectionError, match="at least one token"):
        QualityCorpus(np.zeros((1, 1)), np.zeros(1, np.int64), np.zeros(1, np.int64))
    with pytest.raises(SelectionError, match="same documents"):
        QualityCorpus(np.zeros((2, 1)), np.zeros(1, np.int64), np.ones(1, np.int64))
