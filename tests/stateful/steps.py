"""A small platform for the state machine: real ingest, tables, inventory and recipes; labels by a hash, not a student.

Everything that decides what is stored, skipped, replaced or found again is the platform's own. Only the fitted stages
are stand-ins, so that hundreds of runs fit into seconds.
"""

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.methods.rules import make_recipe
from gem_assets.mixing.recipe import RECIPE_NAME
from gem_assets.mixing.supply import ClusterSupply, build_inventory
from gem_assets.orchestration.stage import Stage
from gem_assets.settings import load_settings
from resources import EngineResource, StoreResource
from tests.direct import ingest_once

CLUSTERS = 3
EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "os.truncate"}
COLUMNS = ["doc_id", "snapshot", "content_digest", "n_tokens", "n_bytes", "lang"]


class KilledError(BaseException):
    """Ends a run where it stands; no handler of ordinary errors catches it."""


class _Trap:
    """Raises at the n-th file-system step below a folder."""

    def __init__(self) -> None:
        self.root, self.left = "", 0
        sys.addaudithook(self._hook)

    def arm(self, root: Path, step: int) -> None:
        self.root, self.left = str(root), step

    def disarm(self) -> bool:
        """Tell whether it never went off."""
        armed, self.left = self.left > 0, 0
        return armed

    def _hook(self, event: str, args: tuple[object, ...]) -> None:
        if self.left and event in EVENTS and args and str(args[0]).startswith(self.root):
            self.left -= 1
            if self.left == 0:
                raise KilledError


TRAP = _Trap()


def bring_up_to_date(root: Path, snapshots: list[str], *, fit: int, strategy: str) -> list[str]:
    """Run every stage as the graph does; returns the stages that computed something."""
    store, settings = StoreResource(root=str(root)), load_settings(root)
    engine = EngineResource(kind="inline")
    computed: list[Stage] = []

    def note(stage: Stage) -> Stage:
        computed.extend([stage] if stage.fresh else [])
        return stage

    # twice: a text that one snapshot left to another may have gone from there in the first round
    for snapshot in (*snapshots, *snapshots):
        note(ingest_once(store, engine, settings, snapshot))
    model = note(_fit(store, fit)).artifact.ref()
    for snapshot in snapshots:
        note(_label(store, snapshot, model, fit))
    inventory = note(_inventory(store, f"labels__{fit}", model))
    note(_recipe(store, inventory, strategy))
    return [stage.name for stage in computed]


def _fit(store: StoreResource, fit: int) -> Stage:
    stage = Stage(store, "student_model", config={"fit": fit}, code_version="1")
    if stage.done is None:
        with stage.write() as draft:
            (draft.path / "fit.txt").write_text(str(fit))
    return stage


def _label(store: StoreResource, snapshot: str, model: Any, fit: int) -> Stage:
    shards = store.input("raw_shards", snapshot)
    stage = Stage(
        store, "student_labels", partition=snapshot, config={"fit": fit}, code_version="1", inputs=[shards, model]
    )
    if stage.done is None:
        paths = store.shards([shards])[snapshot]
        parts = [pq.read_table(path, columns=COLUMNS) for path in paths]
        table = pa.concat_tables(parts) if parts else _empty()
        clusters = [(int(name[:8], 16) + fit) % CLUSTERS for name in table.column("doc_id").to_pylist()]
        table = table.append_column("cluster", pa.array(clusters, pa.int16()))
        with stage.write() as draft:
            commit = store.tables.replace_snapshot(f"labels__{fit}", table, snapshot, allow_empty=True)
            draft.lance = [commit.ref]
            draft.counts = {"documents": commit.rows}
    return stage


def _empty() -> pa.Table:
    kinds = {"n_tokens": pa.int64(), "n_bytes": pa.int64()}
    return pa.schema([pa.field(name, kinds.get(name, pa.string())) for name in COLUMNS]).empty_table()


def _inventory(store: StoreResource, table: str, model: Any) -> Stage:
    labels = store.inputs("student_labels", lance_table=table)
    stage = Stage(store, "domain_inventory", config={}, code_version="1", inputs=[model, *labels])
    if stage.done is None:
        found = build_inventory(store.table_scan(labels)(["cluster", "snapshot", "lang", "n_tokens", "n_bytes"]))
        with stage.write() as draft:
            pq.write_table(found, draft.path / "inventory.parquet")
            supply = ClusterSupply.from_inventory(found, CLUSTERS)
            draft.counts = {"documents": int(supply.docs.sum()), "tokens": supply.total_tokens}
    return stage


def _recipe(store: StoreResource, inventory: Stage, strategy: str) -> Stage:
    stage = Stage(
        store, f"recipes/{strategy}", config={"strategy": strategy}, code_version="1", inputs=[inventory.artifact.ref()]
    )
    if stage.done is None:
        supply = ClusterSupply.from_inventory(pq.read_table(inventory.artifact.path / "inventory.parquet"), CLUSTERS)
        names = {number: f"Cluster {number}" for number in range(CLUSTERS)}
        recipe = make_recipe(strategy, supply, names, "v1", MixingConfig(), "estimate")
        with stage.write() as draft:
            recipe.write(draft.path / RECIPE_NAME)
    return stage
