"""The assets of the graph called one after the other, without Dagster's runs, events and checks.

A tenth of the time of ``materialize_everything``, for tests that build the graph many times. What is committed is the
same: an asset's function does all of it.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from gem_assets.assets import ALL_ASSETS
from gem_assets.assets.ingestion import ingesting
from gem_assets.assets.partitions import snapshots as snapshots_def
from gem_assets.corpus.landing import list_snapshots
from gem_assets.orchestration.places import shown
from gem_assets.orchestration.stage import Stage
from gem_assets.settings import Settings
from resources import EngineResource, SettingsResource, StoreResource

CORE = (
    "raw_shards",
    "page_history",
    "embedding_space",
    "embeddings",
    "teacher_clusters",
    "student_model",
    "gis_taxonomy",
    "student_labels",
    "domain_inventory",
    "recipes/proportional",
    "recipes/balanced",
    "training_order/balanced",
    "mixture_audit/balanced",
)
FITTED = ("embedding_space", "teacher_clusters", "student_model")
REFRESHED = tuple(name for name in CORE if name not in FITTED)
"""What follows a change of the documents; fitted things stay, as they do under the daemon."""

SETTINGS = """
engine = "inline"
[corpus]
min_text_chars = 80
[embedding]
dimension = 16
fit_documents = 500
[teacher]
k = 4
seed_documents = 1000
n_init = 1
init_rows = 256
anneal_iter = 4
[student]
hash_bits = 12
epochs = 2
[taxonomy]
exemplars = 2
"""

BY_KEY = {a.key: a for a in ALL_ASSETS if isinstance(a, dg.AssetsDefinition)}


def write_small_settings(root: Path) -> None:
    """Settings with which the whole graph takes seconds."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "gem.toml").write_text(SETTINGS, encoding="utf-8")


def steps(root: Path, assets: Sequence[str] = CORE) -> list[tuple[str, str | None]]:
    """What runs, in order: asset and snapshot."""
    snapshots = [s.name for s in list_snapshots(root / "landing") if s.complete]
    found: list[tuple[str, str | None]] = []
    for name in assets:
        partitioned = BY_KEY[shown((name, None))[0]].partitions_def is snapshots_def
        found.extend((name, snapshot) for snapshot in (snapshots if partitioned else [None]))
    return found


def run_step(root: Path, asset: str, snapshot: str | None) -> dg.MaterializeResult:
    """Call one asset."""
    resources: dict[str, Any] = {
        "settings": SettingsResource(data_root=str(root)),
        "store": StoreResource(root=str(root)),
        "engine": EngineResource(data_root=str(root)),
    }
    key, partition = shown((asset, snapshot))
    definition = BY_KEY[key]
    wanted = {name: value for name, value in resources.items() if name in definition.required_resource_keys}
    result = definition(dg.build_asset_context(partition_key=partition), **wanted)
    return result if isinstance(result, dg.MaterializeResult) else next(result)


def run_graph(root: Path, assets: Sequence[str] = CORE) -> list[tuple[str, str | None]]:
    """Call every asset on every complete snapshot; returns those that computed something."""
    os.environ["GEM_DATA_ROOT"] = str(root)
    return [step for step in steps(root, assets) if run_step(root, *step).metadata["computed"]]


def content(root: Path) -> dict[str, Any]:
    """What a data root holds in force: manifests by asset and snapshot without table versions, and rows by digest."""
    store = StoreResource(root=str(root))
    return dict(_content(store))


def _content(store: StoreResource) -> Iterator[tuple[str, Any]]:
    artifacts, tables = store.artifacts, store.tables
    for asset in artifacts.assets():
        for partition in artifacts.places(asset):
            current = artifacts.current(asset, partition)
            if current is None:
                continue
            manifest = current.manifest
            yield (
                f"{asset}[{partition}]",
                (
                    manifest.identity,
                    [(file.path, file.sha256) for file in manifest.outputs],
                    [(ref.table, ref.rows, ref.digest) for ref in manifest.lance],
                ),
            )
    for table in tables.tables():
        for snapshot in tables.snapshots(table):
            yield f"table {table} [{snapshot}]", tables.digest(table, snapshot=snapshot)


def ingest_once(store: StoreResource, engine: EngineResource, settings: Settings, snapshot: str) -> Stage:
    """Return the stage of a snapshot with its result committed."""
    making = ingesting(store, engine, settings, snapshot)
    next(making)
    with pytest.raises(StopIteration) as end:
        next(making)
    return end.value.value
