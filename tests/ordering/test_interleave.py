"""Clusters merged so that the run keeps its shares and each cluster its curve."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.ordering.config import CurveConfig, FinalPhase
from gem_assets.ordering.interleave import interleave
from gem_assets.ordering.operators import order
from gem_assets.ordering.plan import plan_run
from tests.ordering.worlds import recipe

mixtures = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 500)), min_size=1, max_size=150)


@settings(deadline=None)
@given(mixtures, st.sampled_from(["curriculum", "saw", "random", "zigzag"]))
def test_any_stretch_of_the_run_is_within_one_document_of_its_shares(
    documents: list[tuple[int, int]], strategy: str
) -> None:
    clusters, tokens = (np.array(c) for c in zip(*documents, strict=True))
    config = CurveConfig.model_validate({"strategy": strategy})
    got = interleave(np.arange(len(tokens)) % 7, clusters, tokens, config)
    assert sorted(got.tolist()) == list(range(len(tokens)))
    c, t = clusters[got], tokens[got]
    totals = np.bincount(c, weights=t, minlength=5)
    longest = np.array([t[c == k].max(initial=0) for k in range(5)])
    taken = np.cumsum(np.eye(5)[c] * t[:, None], axis=0)
    # run time of a prefix lies between the due times of its last and the next document: each cluster has
    # half a document of play around its own line
    progress = taken / np.maximum(totals, 1)
    slack = longest / 2 / np.maximum(totals, 1)
    present = totals > 0
    low, high = (progress - slack)[:, present], (progress + slack)[:, present]
    assert (low.max(axis=1) <= high.min(axis=1) + 1e-9).all()


@settings(deadline=None)
@given(mixtures)
def test_score_follows_the_curve_inside_each_cluster(documents: list[tuple[int, int]]) -> None:
    clusters, tokens = (np.array(c) for c in zip(*documents, strict=True))
    scores = np.random.default_rng(0).permutation(len(tokens)).astype(float)
    config = CurveConfig(strategy="saw", sections=3, layers=3, folding_ratio=0.2)
    got = interleave(scores, clusters, tokens, config)
    for c in np.unique(clusters):
        inside = scores[got][clusters[got] == c]
        members = scores[clusters == c]
        assert inside.tolist() == members[order(members, config)].tolist()


def test_equal_documents_alternate() -> None:
    clusters = np.repeat([0, 1], [20, 10])
    got = interleave(np.arange(30), clusters, np.full(30, 7), CurveConfig(strategy="curriculum"))
    sequence = clusters[got]
    assert [int(sequence[i : i + 3].sum()) for i in range(0, 30, 3)] == [1] * 10


def test_phases_bend_the_pace_and_not_the_curve() -> None:
    mixture = recipe({0: 0.5, 1: 0.5}, 2000, (0.8, [0.6, 0.4]), (0.2, [0.1, 0.9]))
    plan = plan_run(mixture)
    clusters = np.repeat([0, 1], [100, 100])
    scores = np.tile(np.arange(100.0), 2)
    got = interleave(scores, clusters, np.full(200, 10), CurveConfig(strategy="curriculum"), plan)
    assert np.mean(clusters[got][:160] == 0) == pytest.approx(0.6, abs=0.01)
    assert np.mean(clusters[got][160:] == 1) == pytest.approx(0.9, abs=0.03)
    for c in (0, 1):
        assert (np.diff(scores[got][clusters[got] == c]) > 0).all()


def test_a_cluster_may_sit_out_a_phase() -> None:
    mixture = recipe({0: 0.75, 1: 0.25}, 400, (0.5, [1.0, 0.0]), (0.5, [0.5, 0.5]))
    clusters = np.repeat([0, 1], [30, 10])
    curve = CurveConfig(strategy="curriculum")
    got = interleave(np.arange(40), clusters, np.full(40, 10), curve, plan_run(mixture))
    assert clusters[got][:20].tolist() == [0] * 20
    assert clusters[got][20:].sum() == 10


def test_final_phase_raises_shares_in_proportion() -> None:
    plan = plan_run(recipe({3: 0.8, 5: 0.2}, 1000), FinalPhase(fraction=0.1, boost={5: 4.0}))
    assert plan.bounds == pytest.approx([0, 0.9, 1])
    assert plan.tokens[0] == pytest.approx([720, 180])
    assert plan.tokens[1] == pytest.approx([50, 50])
    with pytest.raises(ValueError, match="lacks"):
        plan_run(recipe({3: 1.0}, 10), FinalPhase(boost={9: 2.0}))
    with pytest.raises(ValueError, match="phases of its own"):
        plan_run(recipe({3: 1.0}, 10, (0.5, [1.0]), (0.5, [1.0])), FinalPhase(boost={3: 2.0}))


def test_jitter_stays_inside_a_cluster() -> None:
    clusters = np.tile([0, 1], 200)
    plain = interleave(np.arange(400), clusters, np.full(400, 3), CurveConfig(strategy="curriculum"))
    jittered = interleave(np.arange(400), clusters, np.full(400, 3), CurveConfig(strategy="curriculum", window=40))
    assert (clusters[plain] == clusters[jittered]).all()
    assert (plain != jittered).any()
    assert np.abs(plain - jittered).max() < 80


def test_lengths_must_agree_and_empty_documents_are_refused() -> None:
    with pytest.raises(ValueError, match="token counts"):
        interleave([1.0, 2.0], [0, 0], [3], CurveConfig())
    with pytest.raises(ValueError, match="0 tokens"):
        interleave([1.0, 2.0], [0, 0], [3, 0], CurveConfig())
