import numpy as np
import pytest

from gem_assets.lineage.mixtures import MixtureError, find_mixture
from gem_assets.tracing.diff import MixtureDiff, diff_mixtures
from tests.lineage.conftest import ORDERING, World, pages


def compare(world: World, blocked: tuple[str, ...] = ()) -> MixtureDiff:
    store = world.made.store
    return diff_mixtures(
        store, find_mixture(store, "balanced~1"), find_mixture(store, "balanced"), world.index, blocked
    )


def counts(movements) -> dict[str, int]:
    return {m.reason: m.documents for m in movements}


def test_a_new_snapshot_enters(world: World):
    world.made.label("2026-02", (np.arange(30) % 3).astype(np.int16))
    world.made.recipe("balanced", {0: 0.2, 1: 0.3, 2: 0.5}, 4000)
    found = compare(world)
    assert found.basis == "candidates"
    assert counts(found.entered) == {"new snapshot": 30}
    assert (counts(found.left), found.stayed) == ({}, 60)
    assert found.total_variation == 0
    example = found.entered[0].examples[0]
    assert (example.snapshot, example.cluster_before) == ("2026-02", None)
    assert "/page/" in str(example.url)
    back = diff_mixtures(
        world.made.store,
        find_mixture(world.made.store, "balanced"),
        find_mixture(world.made.store, "balanced~1"),
        world.index,
    )
    assert counts(back.left) == {"snapshot removed": 30}


def test_a_snapshot_that_was_read_again_and_a_takedown(world: World):
    first = world.made.current("raw_shards", "2026-01").path / "part-00000.parquet"
    gone = {"doc_id": ids(first)[0], "url": None, "file": "pages.jsonl", "offset": 0, "reason": "blocked", "n_bytes": 1}
    world.made.snapshot("2026-01", [pages("2026-01", range(1, 58))], landed=b"again", filtered=[gone])
    world.made.label("2026-01", (np.arange(1, 58) % 3).astype(np.int16))
    world.made.recipe("balanced", {0: 0.2, 1: 0.3, 2: 0.5}, 4000)
    assert counts(compare(world).left) == {"takedown": 1, "snapshot changed": 2}
    assert counts(compare(world, (ids(first)[58],)).left) == {"takedown": 2, "snapshot changed": 1}


def ids(path) -> list[str]:
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=["doc_id"]).column(0).to_pylist()


def test_a_document_leaves_with_its_label_or_with_the_weight_of_its_cluster(world: World):
    labels = (np.arange(60) % 3).astype(np.int16)
    labels[:15:3] = 3
    world.made.label("2026-01", labels, model="two")
    world.made.recipe("balanced", {0: 0.2, 1: 0.3, 2: 0.5, 3: 0.0}, 4000)
    moved = compare(world)
    assert counts(moved.left) == {"label change": 5}
    assert {(e.cluster_before, e.cluster_after) for e in moved.left[0].examples} == {(0, 3)}
    world.made.recipe("balanced", {0: 0.0, 1: 0.4, 2: 0.6, 3: 0.0}, 4000)
    moved = compare(world)
    assert counts(moved.left) == {"weight change": 15}
    assert (counts(moved.entered), moved.stayed) == ({}, 40)
    assert moved.total_variation == pytest.approx(0.2)


def test_orders_are_compared_by_what_they_show(world: World):
    budget = int(0.4 * 4000)
    world.made.recipe("balanced", {0: 0.2, 1: 0.3, 2: 0.5}, budget)
    world.made.order("balanced", ORDERING)
    found = compare(world)
    assert found.basis == "drawn"
    assert found.before.exposures > found.after.exposures
    assert set(counts(found.left)) == {"weight change"}
    assert found.shown_less > 0
    assert (found.stayed + sum(counts(found.left).values())) == found.before.documents


def test_another_draw_is_told_from_another_weight(world: World):
    found = world.made.current("recipes/balanced")
    shares = {0: 0.2, 1: 0.3, 2: 0.5}
    world.made.recipe("balanced", shares, 2000, seed=1)
    world.made.order("balanced", ORDERING)
    world.made.recipe("balanced", shares, 2000, seed=2)
    world.made.order("balanced", ORDERING.model_copy(update={"draw_seed": 5}))
    assert found.identity != world.made.current("recipes/balanced").identity
    moved = compare(world)
    assert set(counts(moved.entered)) == set(counts(moved.left)) == {"draw"}


def test_a_mixture_that_is_not_there_is_named(world: World):
    store = world.made.store
    for spec, message in (
        ("other", "Recipes: balanced"),
        ("balanced~9", "1 versions"),
        ("balanced@ffff", "its identities are"),
        ("no such", "names no mixture"),
    ):
        with pytest.raises(MixtureError, match=message):
            find_mixture(store, spec)
    identity = world.made.current("recipes/balanced").identity
    assert find_mixture(store, f"balanced@{identity[:8]}").artifact.identity == identity
    assert find_mixture(store, f"balanced@{find_mixture(store, 'balanced').recipe.identity[:10]}").current
