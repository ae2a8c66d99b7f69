"""Prepared tokens and counts follow takedowns and page versions, and only where these concern them."""

import dagster as dg
import numpy as np
import pytest

from gem_assets.definitions import code_location
from gem_assets.orchestration.probe import probe
from gem_assets.orchestration.reconciler import Reconciler
from gem_assets.proxy.contents import held_documents
from gem_assets.proxy.counts import DomainCounts
from gem_assets.settings import load_settings
from gem_assets.takedown.blocklist import parse_entry
from gem_assets.takedown.certificate import certify, request_takedown
from resources import StoreResource
from tests.direct import BY_KEY, run_graph, run_step, write_small_settings
from tests.tiny import land_parquet, passages

FITTED = ("embedding_space", "teacher_clusters", "student_model", "proxy_tokens")
DOCUMENTS = ("raw_shards", "embeddings", "student_labels", "page_history")
GRAPH = (
    "raw_shards", "page_history", "embedding_space", "embeddings", "teacher_clusters", "student_model",
    "student_labels", "proxy_tokens", "cluster_counts",
)  # fmt: skip
SETTINGS = """
[recrawls]
use = "latest"
[proxy]
tokenizer = { vocab = 300, sample_bytes = 30000 }
pool = { domain_tokens = 20000, windows = 2 }
model = { width = 16, layers = 1, heads = 2, context = 32 }
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two snapshots; a third one edits a page of the first; then a document of the second is taken down."""
    root = tmp_path_factory.mktemp("proxies")
    write_small_settings(root)
    (root / "gem.toml").write_text((root / "gem.toml").read_text() + SETTINGS)
    rows = [{**row, "url": row["url"].replace("#", "/")} for row in passages()[:130]]
    land_parquet(root, "2026-01", rows[:60])
    land_parquet(root, "2026-02", rows[60:120])
    run_graph(root, GRAPH)
    store, seen = StoreResource(root=str(root)), {}
    seen["first"] = counted(store)
    edited = {**rows[7], "text": "Entirely other words stand here now. " + rows[7]["text"][::-1]}
    land_parquet(root, "2026-03", [*rows[120:], edited])
    seen["documents"] = run_graph(root, DOCUMENTS)
    seen["miscounted"] = miscounted(root)
    seen["recounted"] = run_graph(root, ("cluster_counts",))
    seen["second"], seen["tokens"] = counted(store), store.artifacts.current("proxy_tokens")
    wanted = next(row for row in rows[60:120] if held_documents(seen["tokens"].path, ids_of(store, row["url"])))
    seen["gone"] = ids_of(store, wanted["url"])
    made = request_takedown(store.artifacts, store.tables, [parse_entry(wanted["url"])])
    seen["before"] = state_of_tokens(root)
    run_graph(root, DOCUMENTS)
    seen["after"] = state_of_tokens(root)
    (seen["pending"],) = certify(store.artifacts, store.tables, made.request)
    seen["taken_down"] = run_graph(root, ("proxy_tokens", "cluster_counts"))
    seen["third"], seen["left"] = counted(store), store.artifacts.current("proxy_tokens")
    (seen["certificate"],) = certify(store.artifacts, store.tables, made.request)
    return root, store, seen


def stale(root):
    """What the reconciler says of a store on which Dagster never ran anything."""
    reconciler = Reconciler(str(root), code_location(root).resolve_asset_graph(), None)
    return reconciler.look(reconciler.known()).items


def state_of_tokens(root):
    item = stale(root).get(("proxy_tokens", None))
    return item.state if item is not None else "current"


def miscounted(root):
    """Snapshots whose counts do not stand, whatever else is to be made before them."""
    return sorted(
        snapshot
        for (asset, snapshot), item in stale(root).items()
        if asset == "cluster_counts" and item.made and any(reason.kind != "upstream" for reason in item.reasons)
    )


def counted(store):
    return {
        name: int(DomainCounts.load(store.artifacts.current("cluster_counts", name).path).tokens.sum())
        for name in store.artifacts.partitions("cluster_counts")
    }


def ids_of(store, url):
    import pyarrow.parquet as pq

    return [
        row["doc_id"]
        for name in store.artifacts.partitions("raw_shards")
        for path in sorted(store.artifacts.current("raw_shards", name).path.glob("part-*.parquet"))
        for row in pq.read_table(path, columns=["doc_id", "url"]).to_pylist()
        if row["url"] == url
    ]


def test_a_page_that_was_edited_is_counted_in_its_last_version_alone(world):
    _, _, seen = world
    assert seen["miscounted"] == ["2026-01"]
    assert seen["recounted"] == [("cluster_counts", "2026-01"), ("cluster_counts", "2026-03")]
    assert seen["second"]["2026-01"] < seen["first"]["2026-01"]
    assert seen["second"]["2026-02"] == seen["first"]["2026-02"]


def test_a_taken_down_document_leaves_streams_windows_and_counts(world):
    root, _, seen = world
    assert seen["before"] == "waiting"
    assert seen["after"] == "ready"
    assert seen["taken_down"] == [("proxy_tokens", None), ("cluster_counts", "2026-02")]
    assert held_documents(seen["tokens"].path, seen["gone"]) == seen["gone"]
    assert held_documents(seen["left"].path, seen["gone"]) == []
    assert seen["third"]["2026-02"] <= seen["second"]["2026-02"]
    assert {n: seen["third"][n] for n in ("2026-01", "2026-03")} == {
        n: seen["second"][n] for n in ("2026-01", "2026-03")
    }
    assert state_of_tokens(root) == "current"


def test_the_rest_of_the_tokens_is_what_it_was(world):
    _, _, seen = world
    before, after = (np.load(seen[name].path / "tokens.npy") for name in ("tokens", "left"))
    assert 0 <= len(before) - len(after) < 0.1 * len(before)
    assert (seen["tokens"].path / "tokenizer.json").read_bytes() == (seen["left"].path / "tokenizer.json").read_bytes()
    # snapshots that came later have not joined
    snapshots = {ref.partition for ref in seen["left"].manifest.inputs if ref.asset == "raw_shards"}
    assert snapshots == {"2026-01", "2026-02"}


def test_the_certificate_waits_for_tokens_and_counts(world):
    _, _, seen = world
    assert seen["pending"].state == "pending"
    held = {one.where for one in seen["pending"].checked if one.rows}
    assert held == {"proxy_tokens", "cluster_counts[2026-02]"}
    assert seen["certificate"].state == "complete"
    old = {(one.where, one.identity) for one in seen["certificate"].still_on_disk}
    assert ("proxy_tokens", seen["tokens"].identity) in old


def test_lessened_tokens_are_kept_until_they_are_asked_for(world):
    root, store, seen = world
    assert state_of_tokens(root) == "current"
    # by hand: prepared anew from every snapshot there is
    assert run_step(root, "proxy_tokens", None).metadata["computed"]
    fresh = store.artifacts.current("proxy_tokens")
    assert {ref.partition for ref in fresh.manifest.inputs if ref.asset == "raw_shards"} == {
        "2026-01", "2026-02", "2026-03",
    }  # fmt: skip
    assert held_documents(fresh.path, seen["gone"]) == []
    assert not run_step(root, "proxy_tokens", None).metadata["computed"]
    assert miscounted(root) == ["2026-01", "2026-02", "2026-03"]


def test_a_plan_names_a_file_of_targets_that_is_gone(world, tmp_path, monkeypatch):
    root, _, _ = world
    monkeypatch.setenv("GEM_PROXY__TARGETS", str(tmp_path / "gone.parquet"))
    missing = probe(BY_KEY[dg.AssetKey("proxy_tokens")], load_settings(root)).missing
    assert "proxy.targets" in missing
    assert "gone.parquet" in missing
