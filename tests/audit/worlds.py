"""A small audited mixture, made by hand: two snapshots, two clusters, repetitions, licences that are no identifiers."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gem_assets.lineage.audit import COLUMNS, publish_audit
from gem_assets.lineage.walk import Lineage, walk
from gem_assets.mixing.recipe import RECIPE_NAME, Recipe
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.ordering.training_order import ORDER_SCHEMA
from gem_assets.storage.artifacts import ArtifactStore
from gem_assets.storage.manifest import FileRef, InputRef, LanceRef

URLS = [
    "https://www.bbc.co.uk/news/1",
    "http://user:pw@News.BBC.co.uk:8080/2?q=1",
    "https://someone.github.io/page",
    "https://münchen.de/rathaus",
    "http://192.0.2.7/x",
    "http://[2001:db8::1]/x",
    "https://=cmd()/x",
    None,
]
LICENSES = ["CC-BY-4.0", "Terms of the | publisher <b>, 2026", None]
DATES = ["2026-01-05T03:04:05Z", "2026-02", "2025", None]
SHOWN = [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7]


def documents() -> list[dict[str, object]]:
    return [
        {
            "doc_id": f"{i:032x}", "content_digest": f"{i + 99:032x}", "n_tokens": 10 * (i + 1),
            "n_bytes": 50 * (i + 1), "lang": "en" if i % 3 else "de", "source": ["web", "[x](http://e.vil)"][i % 2],
            "url": URLS[i], "license": LICENSES[i % 3], "date": DATES[i % 4],
        }
        for i in range(len(URLS))
    ]  # fmt: skip


def recipe() -> Recipe:
    supply = ClusterSupply(
        clusters=np.array([0, 1]), tokens=np.array([200, 160]), docs=np.array([4, 4]), n_bytes=np.array([1000, 800])
    )
    return Recipe.create(
        "balanced", [0.5, 0.5], supply, names={0: "News & <b>", 1: "Towns"}, taxonomy_version="t" * 64,
        tokenizer="words", repetition_cap=4.0,
    )  # fmt: skip


def commit(store: ArtifactStore, asset: str, partition: str | None, inputs, fill, lance=(), counts=None, metrics=None):
    """Commit one artifact under an identity of its name and return it as an input."""
    identity = f"{len(asset):02x}{sum(map(ord, asset + (partition or ''))):06x}".ljust(64, "0")
    with store.write(asset, identity, partition) as draft:
        draft.inputs, draft.lance = inputs, lance
        draft.counts, draft.metrics = counts or {}, metrics or {}
        draft.config = {"near": {"enabled": True}, "score": "q_chars"}
        fill(draft.path)
    found = store.current(asset, partition)
    assert found is not None
    return found.ref()


class World:
    """A store with everything behind one training order, and an audit folder with what the pack builds on."""

    def __init__(self, root: Path) -> None:
        self.store = ArtifactStore(root)
        self.rows = documents()
        self.recipe = recipe()
        labels: list[InputRef] = []
        self.shards: dict[str, list[Path]] = {}
        for n, snapshot in enumerate(("2026-01", "2026-02")):
            landed = InputRef(
                asset="landing", partition=snapshot, data_version=f"{n + 7:064x}",
                files=(FileRef(path=f"pages-{n}.warc.gz", bytes=1000 + n, sha256=f"{n + 1:064x}"),),
            )  # fmt: skip
            part = self.rows[n::2]
            raw = commit(
                self.store, "raw_shards", snapshot, [landed],
                lambda path, part=part: pq.write_table(self.shard(part), path / "part-0.parquet"),
                counts={"read": 9, "kept": 4, "duplicates": 2, "filtered": 2, "quarantined": 1},
                metrics={"filtered_by_reason": {"too_short": 1, "blocked": 1}, "blocked_by": ["a" * 32]},
            )  # fmt: skip
            folder = self.store.get("raw_shards", str(raw.identity), snapshot)
            assert folder is not None
            self.shards[snapshot] = [folder.path / "part-0.parquet"]
            table = LanceRef(table="labels__x", version=n + 1, rows=4, digest="d")
            labels.append(commit(self.store, "student_labels", snapshot, [raw], empty, lance=[table]))
        mixture = commit(self.store, "recipes/balanced", None, [], lambda p: self.recipe.write(p / RECIPE_NAME))
        clusters = [
            {"cluster": c, "share": 0.5, "tokens": 180, "documents": 4, "epochs": 1.5, "target_tokens": 180.0}
            for c in (0, 1)
        ]
        self.order = commit(
            self.store, "training_order/balanced", None, [mixture, *labels],
            lambda path: pq.write_table(self.shown(), path / "part-00000.parquet"),
            counts={"rows": len(SHOWN)}, metrics={"clusters": clusters},
        )  # fmt: skip

    @property
    def lineage(self) -> Lineage:
        return walk(self.store, "training_order/balanced", identity=self.order.identity)

    def audit(self, folder: Path) -> Path:
        """Write what the pack builds on."""
        folder.mkdir(parents=True, exist_ok=True)
        order = self.store.current("training_order/balanced")
        assert order is not None
        schema = pa.schema([(c, pa.int64() if c[:2] == "n_" else pa.string()) for c in COLUMNS])
        rows = pa.Table.from_pylist([{c: row[c] for c in COLUMNS} for row in self.rows], schema=schema)
        shown = [order.path / "part-00000.parquet"]
        texts = [path for paths in self.shards.values() for path in paths]
        publish_audit(shown, rows.to_reader(), self.lineage.to_dict(), folder, shards=texts)
        return folder

    def shard(self, rows) -> pa.Table:
        schema = pa.schema([("doc_id", pa.string()), ("date", pa.string()), ("text", pa.large_string())])
        return pa.Table.from_pylist(
            [{"doc_id": r["doc_id"], "date": r["date"], "text": f"Text of {r['doc_id']}"} for r in rows], schema=schema
        )

    def shown(self) -> pa.Table:
        rows = [
            {"position": n, "doc_id": self.rows[i]["doc_id"], "cluster": i % 2, "epoch": 0, "score": 0.5,
             "n_tokens": self.rows[i]["n_tokens"], "phase": 0, "metadata": False}
            for n, i in enumerate(SHOWN)
        ]  # fmt: skip
        return pa.Table.from_pylist(rows, schema=ORDER_SCHEMA)


def empty(path: Path) -> None:
    (path / "report.json").write_text("{}")
