"""A data root made by hand: snapshots, labels, recipes and orders as the assets commit them, without their models.

For figures on lineage at a size at which embedding and clustering would take hours, and for tests.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gem_assets.corpus.schema import (
    DOCUMENT_SCHEMA,
    DUPLICATE_SCHEMA,
    FILTERED_SCHEMA,
    QUALITY_COLUMNS,
    QUARANTINE_SCHEMA,
)
from gem_assets.corpus.shards import DUPLICATES_FILE, FILTERED_FILE, QUARANTINE_FILE, ShardWriter
from gem_assets.corpus.text.cleaning import content_digest, document_id, host_source
from gem_assets.mixing.recipe import RECIPE_NAME, Recipe
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.ordering.config import OrderingConfig
from gem_assets.ordering.training_order import build_order
from gem_assets.storage.artifacts import Artifact, ArtifactStore
from gem_assets.storage.identity import file_digest, identity
from gem_assets.storage.lance import LanceTables
from gem_assets.storage.manifest import FileRef, InputRef, LanceRef, input_versions, stage_name
from gem_assets.student.label import LABEL_SCHEMA

LANDED = "pages.jsonl"


class HandMadeRoot:
    """A data root that is filled step by step; every step commits an artifact with its manifest."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = ArtifactStore(root)
        self.tables = LanceTables(root / "tables")

    def scan(self, labels: Artifact, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read the labels of one artifact."""
        table = labels.manifest.lance[0]
        return self.tables.scan(table.table, version=table.version, columns=columns, snapshot=labels.manifest.partition)

    def snapshot(
        self,
        name: str,
        documents: Iterable[pa.RecordBatch],
        *,
        landed: bytes = b"",
        duplicates: Sequence[Mapping[str, Any]] = (),
        filtered: Sequence[Mapping[str, Any]] = (),
        quarantined: Sequence[Mapping[str, Any]] = (),
    ) -> Artifact:
        """Commit ``raw_shards`` of one snapshot; ``documents`` have the columns of a shard."""
        folder = self.root / "landing" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / LANDED).write_bytes(landed)
        (folder / "_SUCCESS").touch()
        file = FileRef(path=LANDED, bytes=len(landed), sha256=file_digest(folder / LANDED))
        source = InputRef(asset="landing", partition=name, data_version=file.sha256, files=(file,))

        def fill(out: Path) -> dict[str, int]:
            kept = tokens = 0
            with ShardWriter(out, 50_000, 1 << 27) as writer:
                for batch in documents:
                    writer.write(batch)
                    kept += batch.num_rows
                    tokens += pc.sum(batch.column("n_tokens")).as_py() or 0
            for path, schema, rows in (
                (DUPLICATES_FILE, DUPLICATE_SCHEMA, duplicates),
                (FILTERED_FILE, FILTERED_SCHEMA, filtered),
                (QUARANTINE_FILE, QUARANTINE_SCHEMA, quarantined),
            ):
                pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), out / path)
            return {"kept": kept, "tokens": tokens}

        return self._commit("raw_shards", name, [source], {}, fill)

    def label(self, snapshot: str, clusters: npt.NDArray[np.int16], model: str = "one") -> Artifact:
        """Commit ``student_labels``: clusters (n,) of the snapshot's documents in the order of its shards."""
        shards = self.current("raw_shards", snapshot)
        table = f"labels__{model}"
        columns = [name for name in LABEL_SCHEMA.names if name in DOCUMENT_SCHEMA.names]

        def batches() -> Iterator[pa.RecordBatch]:
            start = 0
            for path in sorted(shards.path.glob("part-*.parquet")):
                for batch in pq.ParquetFile(path).iter_batches(65_536, columns=columns):
                    own = clusters[start : start + batch.num_rows]
                    start += batch.num_rows
                    values: dict[str, Any] = {name: batch.column(name) for name in columns}
                    values["cluster"] = pa.array(own, pa.int16())
                    values["confidence"] = pa.array((own % 7 + 1) / 8, pa.float32())
                    values["margin"] = pa.array((own % 5 + 1) / 8, pa.float32())
                    values["escalated"] = pa.array(np.zeros(len(own), dtype=bool))
                    yield pa.RecordBatch.from_arrays(
                        [values[f.name].cast(f.type) for f in LABEL_SCHEMA], schema=LABEL_SCHEMA
                    )

        rows = pa.RecordBatchReader.from_batches(LABEL_SCHEMA, batches())
        made: list[LanceRef] = []

        def fill(_: Path) -> dict[str, int]:
            commit = self.tables.replace_snapshot(table, rows, snapshot)
            made.append(commit.ref)
            return {"documents": commit.rows}

        return self._commit("student_labels", snapshot, [shards.ref()], {"model": model}, fill, made)

    def recipe(
        self,
        name: str,
        shares: Mapping[int, float],
        budget: int | None = None,
        names: Mapping[int, str] | None = None,
        *,
        tokenizer: str = "estimate",
        **more: Any,
    ) -> Artifact:
        """Commit the inventory of the current labels, then ``recipes/<name>`` over it."""
        labels = [self.current("student_labels", s) for s in self.store.partitions("student_labels")]
        clusters = max(shares) + 1
        docs, tokens = np.zeros(clusters, dtype=np.int64), np.zeros(clusters, dtype=np.int64)
        for artifact in labels:
            for batch in self.scan(artifact, ["cluster", "n_tokens"]):
                cluster = batch.column("cluster").to_numpy()
                docs += np.bincount(cluster, minlength=clusters)
                tokens += np.bincount(cluster, weights=batch.column("n_tokens").to_numpy(), minlength=clusters).astype(
                    np.int64
                )
        inventory = self._commit("domain_inventory", None, [a.ref() for a in labels], {}, lambda _: {})
        recipe = Recipe.create(
            name,
            [shares.get(c, 0.0) for c in range(clusters)],
            ClusterSupply(np.arange(clusters), docs, tokens, 4 * tokens),
            names={c: (names or {}).get(c, f"topic {c}") for c in range(clusters)},
            taxonomy_version="by hand",
            tokenizer=tokenizer,
            repetition_cap=1000.0,
            token_budget=budget,
            **more,
        )

        def fill(out: Path) -> dict[str, int]:
            recipe.write(out / RECIPE_NAME)
            return {"token_budget": recipe.token_budget}

        return self._commit(f"recipes/{name}", None, [inventory.ref()], {"identity": recipe.identity}, fill)

    def order(self, name: str, config: OrderingConfig) -> Artifact:
        """Commit ``training_order/<name>`` of the current recipe."""
        recipe = self.current(f"recipes/{name}")
        labels = [self.current("student_labels", s) for s in self.store.partitions("student_labels")]
        columns = ["doc_id", "cluster", "n_tokens", "dup_count", config.score]

        def fill(out: Path) -> dict[str, int]:
            documents = (batch for artifact in labels for batch in self.scan(artifact, columns))
            report = build_order(documents, Recipe.read(recipe.path / RECIPE_NAME), config, out)
            return {"rows": report.rows, "tokens": report.tokens}

        inputs = [recipe.ref(), *(a.ref() for a in labels)]
        return self._commit(f"training_order/{name}", None, inputs, config.model_dump(mode="json"), fill)

    def current(self, asset: str, partition: str | None = None) -> Artifact:
        """Return the current artifact."""
        found = self.store.current(asset, partition)
        if found is None:
            raise LookupError(f"{stage_name(asset, partition)} was not made")
        return found

    def _commit(
        self,
        asset: str,
        partition: str | None,
        inputs: Sequence[InputRef],
        config: Mapping[str, Any],
        fill: Any,
        lance: Sequence[LanceRef] = (),
    ) -> Artifact:
        name = identity(
            stage=stage_name(asset, partition), config=config, code_version="1", inputs=input_versions(inputs)
        )
        with self.store.write(asset, name, partition) as draft:
            draft.config, draft.inputs = config, inputs
            draft.counts = fill(draft.path)
            draft.lance = lance
        assert draft.artifact is not None
        return draft.artifact


def document_batch(
    snapshot: str, texts: Sequence[str], urls: Sequence[str | None], sources: Sequence[str | None], first: int = 0
) -> pa.RecordBatch:
    """Rows of a shard from texts and addresses; ids and digests are those that an ingest would give."""
    digests = [content_digest(text) for text in texts]
    owners = [s or host_source(u) or "unknown" for s, u in zip(sources, urls, strict=True)]
    ids = [
        document_id(owner, url or f"{LANDED}#{first + i}", text, digest=digest)
        for i, (owner, url, text, digest) in enumerate(zip(owners, urls, texts, digests, strict=True))
    ]
    return shard_rows(snapshot, pa.array(texts, pa.large_string()), ids, digests, urls, owners, first)


def shard_rows(
    snapshot: str,
    texts: pa.Array,
    ids: Sequence[str],
    digests: Sequence[str],
    urls: Sequence[str | None],
    sources: Sequence[str],
    first: int,
) -> pa.RecordBatch:
    """Rows of a shard; a token is five bytes, quality signals follow from the length."""
    n = len(texts)
    size = pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
    signal = pa.array((size % 97 / 97).astype(np.float32))
    values: dict[str, Any] = {
        "doc_id": pa.array(ids, pa.string()),
        "snapshot": pa.repeat(pa.scalar(snapshot), n),
        "source": pa.array(sources, pa.string()),
        "url": pa.array(urls, pa.string()),
        "date": pa.nulls(n, pa.string()),
        "lang": pa.repeat(pa.scalar("en"), n),
        "text": texts,
        "n_bytes": pa.array(size),
        "n_tokens": pa.array(np.maximum(size // 5, 1)),
        "content_digest": pa.array(digests, pa.string()),
        "dup_count": pa.array(np.ones(n, dtype=np.int32)),
        "file": pa.repeat(pa.scalar(LANDED), n),
        "offset": pa.array(np.arange(first, first + n)),
        "label": pa.nulls(n, pa.string()),
        "license": pa.nulls(n, pa.string()),
        **dict.fromkeys(QUALITY_COLUMNS, signal),
    }
    return pa.RecordBatch.from_arrays([values[f.name] for f in DOCUMENT_SCHEMA], schema=DOCUMENT_SCHEMA)


def landed_lines(urls: Iterable[str | None]) -> bytes:
    """JSON lines that stand for a landing file."""
    return "".join(json.dumps({"url": url}) + "\n" for url in urls).encode()


def short_digest(text: str) -> str:
    """32 hex digits of a text, without the normalisation that a content digest goes through."""
    return blake2b(text.encode(), digest_size=16).hexdigest()
