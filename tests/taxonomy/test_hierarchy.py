from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from gem_assets.taxonomy.config import TaxonomyConfig
from gem_assets.taxonomy.hierarchy import (
    agglomerate,
    cluster_resultants,
    continued_parents,
    cut,
    default_parents,
)
from gem_assets.taxonomy.llm_namer import ClusterName
from gem_assets.taxonomy.parents import Leaf, build_hierarchy

WORDS = {0: "insulin diabetes dose blood", 1: "court judge verdict appeal", 2: "goal league match score"}


def grouped(seed=0, per_group=3, spread=0.15, d=8):
    """Resultants of nine clusters around three directions, in a mixed order."""
    rng = np.random.default_rng(seed)
    groups = np.arange(3 * per_group) % 3
    directions = np.eye(3, d)[groups] + spread * rng.normal(size=(len(groups), d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return groups, directions * rng.integers(6, 11, len(groups))[:, None]


def leaves(resultants, groups, domains=None):
    return [
        Leaf(
            domain=k if domains is None else domains[k],
            name=f"Leaf {k if domains is None else domains[k]}",
            description="",
            texts=[f"{WORDS[group]} topic{k} {w}" for w in WORDS[group].split() * 3],
            resultant=resultants[k],
        )
        for k, group in enumerate(groups)
    ]


def test_clusters_of_one_direction_are_joined_first():
    groups, resultants = grouped()
    found = cut(agglomerate(resultants), 3)
    assert found == [tuple(np.flatnonzero(groups == g)) for g in range(3)]


def test_each_join_is_the_cheapest_one_by_brute_force():
    _, resultants = grouped(seed=3, per_group=2)
    nodes = dict(enumerate(resultants))
    whole, lost = np.linalg.norm(resultants, axis=1).sum(), 0.0
    for step, merge in enumerate(agglomerate(resultants)):
        costs = {
            (a, b): np.linalg.norm(nodes[a]) + np.linalg.norm(nodes[b]) - np.linalg.norm(nodes[a] + nodes[b])
            for a in nodes
            for b in nodes
            if a < b
        }
        cheapest = min(costs, key=costs.__getitem__)
        assert {merge.left, merge.right} == set(cheapest)
        lost += costs[cheapest]
        assert merge.lost == pytest.approx(lost / whole)
        nodes[len(resultants) + step] = nodes.pop(merge.left) + nodes.pop(merge.right)


@given(st.integers(1, 12), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_the_tree_has_no_inversions_and_every_cut_is_a_partition(k, seed):
    resultants = np.random.default_rng(seed).normal(size=(k, 4))
    merges = agglomerate(resultants)
    lost = [m.lost for m in merges]
    assert lost == sorted(lost)
    for n_groups in range(1, k + 1):
        groups = cut(merges, n_groups)
        assert len(groups) == n_groups
        assert sorted(c for group in groups for c in group) == list(range(k))
    with pytest.raises(ValueError, match=f"{k + 1} groups of {k} clusters"):
        cut(merges, k + 1)


def test_rotation_and_order_of_the_clusters_change_nothing():
    groups, resultants = grouped(d=3)
    turned = resultants @ Rotation.random(random_state=0).as_matrix()
    assert cut(agglomerate(turned), 3) == cut(agglomerate(resultants), 3)
    order = np.random.default_rng(1).permutation(len(groups))
    shuffled = {frozenset(int(order[c]) for c in group) for group in cut(agglomerate(resultants[order]), 3)}
    assert shuffled == {frozenset(group) for group in cut(agglomerate(resultants), 3)}


def test_a_direction_that_is_not_finite_is_named():
    _, resultants = grouped()
    resultants[4, 0] = np.nan
    with pytest.raises(ValueError, match="cluster 4"):
        agglomerate(resultants)


def test_an_empty_cluster_counts_as_one_document_at_its_direction():
    vectors = np.eye(2, dtype=np.float32)[[0, 0, 0]]
    found = cluster_resultants(vectors, np.zeros(3, np.int64), np.eye(2))
    assert found.tolist() == [[3, 0], [0, 1]]


def test_a_parent_with_an_empty_cluster_is_as_coherent_as_its_documents():
    groups, _ = grouped()
    # all documents lie at one direction, as near duplicates do
    directions = np.tile([1.0, 0.0], (len(groups), 1))
    made = leaves(directions, groups)
    made[0] = replace(made[0], texts=[])
    made[1:] = [replace(leaf, resultant=len(leaf.texts) * leaf.resultant) for leaf in made[1:]]
    found = build_hierarchy(made, TaxonomyConfig(parents=1))
    assert [parent.coherence for parent in found.parents] == [pytest.approx(1)]


def test_parents_have_words_names_and_shares():
    groups, resultants = grouped()
    found = build_hierarchy(leaves(resultants, groups), TaxonomyConfig(parents=3))
    assert [p.clusters for p in found.parents] == [(0, 3, 6), (1, 4, 7), (2, 5, 8)]
    assert "insulin" in found.parents[0].keywords
    assert "court" in found.parents[1].keywords
    assert sum(p.share for p in found.parents) == pytest.approx(1)
    assert len({p.name for p in found.parents}) == 3
    assert found.parent_of()[4].id == 1
    assert found.next_id == 3


@pytest.mark.parametrize(("k", "parents"), [(0, 0), (3, 0), (4, 3), (24, 7), (240, 22), (1000, 45)])
def test_number_of_parents_grows_with_the_root(k, parents):
    assert default_parents(k) == parents


def test_no_parents_where_none_are_wanted_and_never_more_than_clusters():
    groups, resultants = grouped()
    assert build_hierarchy(leaves(resultants, groups), TaxonomyConfig(parents=0)) is None
    assert build_hierarchy(leaves(resultants[:3], groups[:3]), TaxonomyConfig()) is None
    assert len(build_hierarchy(leaves(resultants, groups), TaxonomyConfig(parents=50)).parents) == 9


def test_names_and_ids_of_parents_stay_through_a_refit_that_moves_and_replaces_clusters():
    groups, resultants = grouped()
    first = build_hierarchy(leaves(resultants, groups), TaxonomyConfig(parents=3))
    renamed = first.model_copy(
        update={"parents": tuple(p.model_copy(update={"name": f"Shelf {p.id}"}) for p in first.parents)}
    )
    order = np.array([8, 0, 5, 3, 7, 1, 6, 4, 2])
    moved = resultants[order] + 0.2 * np.random.default_rng(2).normal(size=resultants.shape)
    domains = [int(i) for i in order]
    domains[3] = 99
    again = build_hierarchy(leaves(moved, groups[order], domains), TaxonomyConfig(parents=3), previous=renamed)
    assert [(p.id, p.name, p.named_by) for p in again.parents] == [(i, f"Shelf {i}", "previous") for i in range(3)]
    assert set(again.parents[0].domains) == {0, 6, 99}
    assert again.next_id == 3


def test_a_new_group_gets_an_id_that_was_never_used_and_a_name_of_its_own():
    groups, resultants = grouped()
    kept = groups != 2
    first = build_hierarchy(leaves(resultants[kept], groups[kept]), TaxonomyConfig(parents=2))
    first = first.model_copy(update={"next_id": 7})
    old = {int(k): i for i, k in enumerate(np.flatnonzero(kept))}
    domains = [old.get(k, 50 + k) for k in range(len(groups))]
    again = build_hierarchy(leaves(resultants, groups, domains), TaxonomyConfig(parents=3), previous=first)
    assert [p.id for p in again.parents] == [0, 1, 7]
    assert [p.named_by for p in again.parents] == ["previous", "previous", "keywords"]
    assert again.next_id == 8


def test_a_parent_torn_apart_is_continued_by_no_part_of_it():
    groups, resultants = grouped()
    first = build_hierarchy(leaves(resultants, groups), TaxonomyConfig(parents=1))
    thirds = [(0, 1, 2), (3, 4, 5), (6, 7, 8)]
    assert continued_parents(thirds, np.full(9, 1 / 9), range(9), first) == [None] * 3
    uneven = continued_parents([(0,), tuple(range(1, 9))], np.full(9, 1 / 9), range(9), first)
    assert uneven == [None, first.parents[0]]


def test_the_namer_is_shown_the_topics_of_a_new_parent_only():
    asked = []

    def namer(briefs):
        asked.extend(briefs)
        return [ClusterName(f"Section {b.cluster}", "d") for b in briefs]

    groups, resultants = grouped()
    first = build_hierarchy(leaves(resultants, groups), TaxonomyConfig(parents=3), namer)
    assert [b.label for b in asked] == ["parent 0", "parent 1", "parent 2"]
    assert asked[0].topics == ("Leaf 0", "Leaf 3", "Leaf 6")
    assert [p.name for p in first.parents] == ["Section 0", "Section 1", "Section 2"]
    asked.clear()
    build_hierarchy(leaves(resultants, groups), TaxonomyConfig(parents=3), namer, previous=first)
    assert asked == []
