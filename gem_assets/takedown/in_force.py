"""Search all that is in force, and what older versions still lie on the disk, for the documents of a takedown.

It reads every row and uses no index and no earlier result, so that a certificate rests on what is there.
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from gem_assets import stages
from gem_assets.corpus.recrawls import PAGES_NAME
from gem_assets.corpus.shards import DUPLICATES_FILE, shard_paths
from gem_assets.lineage.audit import DOCUMENTS_NAME
from gem_assets.stages import (
    AUDITS,
    CLUSTER_COUNTS,
    EMBEDDINGS,
    GIS_TAXONOMY,
    ORDERS,
    PAGE_HISTORY,
    PROXY_TOKENS,
    RAW_SHARDS,
    STUDENT_LABELS,
    strategy_of,
)
from gem_assets.storage.artifacts import Artifact, ArtifactStore
from gem_assets.storage.manifest import stage_name
from gem_assets.takedown.blocklist import BlockEntry, BlockRequest, Matcher
from gem_assets.takedown.holdings import TableScan
from gem_assets.takedown.request import MATCHED
from gem_assets.taxonomy.taxonomy import TAXONOMY_NAME, Taxonomy


class Tables(TableScan, Protocol):
    """What a certificate needs of the table store."""

    def tables(self) -> list[str]:
        """Return the names of the tables."""
        ...

    def versions(self, table: str) -> list[int]:
        """Return every version, oldest first."""
        ...

    def tags(self, table: str) -> dict[str, int]:
        """Return tag to version."""
        ...

    def schema(self, table: str, version: int | None = None) -> Any:
        """Return the Arrow schema."""
        ...


class Checked(BaseModel, frozen=True, extra="forbid"):
    """Something in force that was searched, and how many rows of the request it holds."""

    where: str
    rows: int


class OldVersion(BaseModel, frozen=True, extra="forbid"):
    """A table version, or a result, that is no longer in force and still holds documents."""

    where: str
    version: int | None
    identity: str | None
    rows: int
    tags: tuple[str, ...] = ()


def live_rows(store: ArtifactStore, tables: Tables, request: BlockRequest) -> Iterator[Checked]:
    """Yield, for everything in force that could hold documents of a request, how many rows it holds."""
    matcher = _matcher(request)
    for snapshot in store.partitions(RAW_SHARDS):
        shards = store.current(RAW_SHARDS, snapshot)
        if shards is not None:
            paths = [*shard_paths(shards.path), shards.path / DUPLICATES_FILE]
            rows = sum(int(matcher(batch).sum()) for batch in _columns(paths, MATCHED))
            yield Checked(where=stage_name(RAW_SHARDS, snapshot), rows=rows)
    for table in sorted(_tables_in_force(store) & set(tables.tables())):
        yield Checked(where=f"table {table}", rows=_table_rows(tables, table, None, matcher))
    history = store.current(PAGE_HISTORY)
    if history is not None:
        rows = sum(int(matcher(batch).sum()) for batch in _columns([history.path / PAGES_NAME], MATCHED))
        yield Checked(where=PAGE_HISTORY, rows=rows)
    taxonomy = store.current(GIS_TAXONOMY)
    if taxonomy is not None:
        yield Checked(where=GIS_TAXONOMY, rows=_exemplars(taxonomy, set(request.documents)))
    for snapshot in store.partitions(CLUSTER_COUNTS):
        yield Checked(where=stage_name(CLUSTER_COUNTS, snapshot), rows=_counted_rows(store, snapshot, matcher))
    for asset in store.assets():
        if asset == PROXY_TOKENS or strategy_of(asset, ORDERS, AUDITS):
            artifact = store.current(asset)
            if artifact is not None:
                yield Checked(where=asset, rows=_order_rows(artifact, matcher))


def old_versions(store: ArtifactStore, tables: Tables, request: BlockRequest) -> Iterator[OldVersion]:
    """Yield what is no longer in force and still holds documents of a request: table versions and results."""
    matcher = _matcher(request)
    in_force = _tables_in_force(store)
    for table in tables.tables():
        tags: dict[int, list[str]] = {}
        for name, version in tables.tags(table).items():
            tags.setdefault(version, []).append(name)
        versions = tables.versions(table)
        for version in versions[:-1] if table in in_force else versions:
            rows = _table_rows(tables, table, version, matcher)
            if rows:
                marks = tuple(sorted(tags.get(version, [])))
                yield OldVersion(where=f"table {table}", version=version, identity=None, rows=rows, tags=marks)
    for name, artifact in _old_results(store):
        rows = _result_rows(artifact, request, matcher)
        if rows:
            yield OldVersion(where=name, version=None, identity=artifact.identity, rows=rows)


def _result_rows(artifact: Artifact, request: BlockRequest, matcher: Matcher) -> int:
    match artifact.manifest.asset:
        case stages.RAW_SHARDS:
            paths = shard_paths(artifact.path)
            return sum(int(matcher(batch).sum()) for batch in _columns(paths, MATCHED))
        case stages.GIS_TAXONOMY:
            return _exemplars(artifact, set(request.documents))
        case _:
            return rows_shown(artifact, request.documents)


def rows_shown(artifact: Artifact, documents: Iterable[str]) -> int:
    """Return how many rows of a training order or audit belong to the documents."""
    return _order_rows(artifact, Matcher(BlockEntry(kind="doc_id", value=name) for name in documents))


def _old_results(store: ArtifactStore) -> Iterator[tuple[str, Artifact]]:
    for asset in store.assets():
        if asset in (RAW_SHARDS, GIS_TAXONOMY, PROXY_TOKENS) or strategy_of(asset, ORDERS, AUDITS):
            for partition in store.places(asset):
                current = store.current(asset, partition)
                for artifact in store.history(asset, partition):
                    if current is None or current.identity != artifact.identity:
                        yield stage_name(asset, partition), artifact


def _matcher(request: BlockRequest) -> Matcher:
    return Matcher([*request.all_entries, *(BlockEntry(kind="doc_id", value=name) for name in request.documents)])


def _tables_in_force(store: ArtifactStore) -> set[str]:
    found: set[str] = set()
    for asset in (EMBEDDINGS, STUDENT_LABELS):
        for snapshot in store.partitions(asset):
            current = store.current(asset, snapshot)
            found.update(ref.table for ref in (current.manifest.lance if current is not None else ()))
    return found


def _table_rows(tables: Tables, table: str, version: int | None, matcher: Matcher) -> int:
    names: list[str] = tables.schema(table, version).names
    columns = [name for name in MATCHED if name in names]
    return sum(int(matcher(batch).sum()) for batch in tables.scan(table, version=version, columns=columns))


def _order_rows(artifact: Artifact, matcher: Matcher) -> int:
    paths = sorted(path for path in artifact.path.glob("*.parquet") if _has_ids(path))
    return sum(int(matcher(batch).sum()) for batch in _columns(paths, MATCHED))


def _counted_rows(store: ArtifactStore, snapshot: str, matcher: Matcher) -> int:
    """Rows of the shards from which the n-gram counts in force were made, which hold no ids themselves."""
    counts, shards = store.current(CLUSTER_COUNTS, snapshot), store.current(RAW_SHARDS, snapshot)
    made = [ref.identity for ref in counts.manifest.inputs if ref.asset == RAW_SHARDS] if counts is not None else []
    if not made or (shards is not None and shards.identity == made[0]):
        return 0
    counted = store.get(RAW_SHARDS, str(made[0]), snapshot)
    paths = shard_paths(counted.path) if counted is not None else []
    return sum(int(matcher(batch).sum()) for batch in _columns(paths, MATCHED))


def _exemplars(taxonomy: Artifact, documents: set[str]) -> int:
    path = taxonomy.path / TAXONOMY_NAME
    if not path.is_file():
        return 0
    return sum(one.doc_id in documents for cluster in Taxonomy.read(path).clusters for one in cluster.exemplars)


def _has_ids(path: Path) -> bool:
    return path.name == DOCUMENTS_NAME or "doc_id" in pq.read_schema(path).names


def _columns(paths: Sequence[Path], columns: list[str]) -> Iterator[pa.RecordBatch]:
    for path in paths:
        if path.is_file():
            with pq.ParquetFile(path, pre_buffer=False) as file:
                held = file.schema_arrow.names
                yield from file.iter_batches(columns=[name for name in columns if name in held])
