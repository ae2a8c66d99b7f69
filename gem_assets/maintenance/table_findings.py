"""What the doctor finds in the tables: torn versions, repeated keys, bad vectors, rows that no manifest names.

Cost: one pass over the key and vector columns of each table.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gem_assets.embedding.config import LEFT_OUT_NAME
from gem_assets.maintenance.findings import Finding, current_results, table_folders
from gem_assets.stages import EMBEDDINGS, STUDENT_LABELS
from gem_assets.storage.artifacts import Artifact
from gem_assets.storage.lance import LanceTables
from gem_assets.storage.lance_files import manifests, orphan_files, torn_version
from gem_assets.storage.lance_source import key_column, own_columns
from gem_assets.storage.rows import RowDigest
from gem_assets.storage.store import RAW_SHARDS, Store

# pyright: reportAttributeAccessIssue=false

_PER_DOCUMENT = (EMBEDDINGS, STUDENT_LABELS)
_UNIT_TOLERANCE = 1e-3


def torn_versions(store: Store) -> Iterator[Finding]:
    """Find torn newest versions, those that were set aside, and files that no version names."""
    for folder in table_folders(store):
        newest = next(iter(manifests(folder)), None)
        if newest is not None and (why := torn_version(folder, newest)):
            yield Finding(
                kind="version_torn", severity="error", where=f"table {folder.stem}", repairable=True,
                message=f"newest version {newest} is torn because {why}",
                remedy="gem doctor --repair sets it aside; materialize the snapshots written last again",
            )  # fmt: skip
        for aside in sorted((folder / "_versions").glob("*.torn")):
            yield Finding(
                kind="version_set_aside", severity="info", where=f"table {folder.stem}",
                message=f"{aside.name} was found torn and set aside",
                remedy="Delete it when the snapshots written last have been materialized again",
            )  # fmt: skip
        if manifests(folder):
            orphans = orphan_files(folder)
            if orphans:
                size = sum(path.stat().st_size for path in orphans)
                yield Finding(
                    kind="table_orphans", severity="info", where=f"table {folder.stem}", repairable=True,
                    message=f"{len(orphans)} files ({size / 1e6:.1f} MB) that no version names, left by killed writers",
                    remedy="gem doctor --repair removes them when they are ten minutes old",
                )  # fmt: skip


def table_contents(tables: LanceTables, table: str, versions: int) -> Iterator[Finding]:
    """Find unreadable versions of a table, repeated keys and bad vectors."""
    where = f"table {table}"
    if tables.folder is not None:
        folder = Path(tables.path(table))
        for version in list(manifests(folder))[1:versions]:
            if why := torn_version(folder, version):
                yield Finding(
                    kind="version_unreadable", severity="error", where=where,
                    message=f"version {version} cannot be read because {why}",
                    remedy="What was made from it cannot be traced any more; the newest version is not affected",
                )  # fmt: skip
    schema = tables.schema(table)
    try:
        key = key_column(schema)
    except ValueError:
        yield Finding(
            kind="key_undeclared", severity="error", where=where, message="no column is declared as its key",
            remedy="It was not written by this platform, or rewritten by another tool; materialize its assets again",
        )  # fmt: skip
        return
    vectors = [name for name in own_columns(schema) if pa.types.is_fixed_size_list(schema.field(name).type)]
    for snapshot in tables.snapshots(table):
        again = f"Materialize snapshot {snapshot} again"
        ids = tables.read(table, columns=[key], snapshot=snapshot).column(0)
        twice = len(ids) - pc.count_distinct(ids).as_py()
        if twice or ids.null_count:
            yield Finding(
                kind="key_repeated", severity="error", where=f"{where} [{snapshot}]", remedy=again,
                message=f"{twice} of {len(ids)} rows repeat a {key}, {ids.null_count} have none",
            )  # fmt: skip
        for column in vectors:
            bad, off = _bad_vectors(tables, table, snapshot, column)
            if bad or off:
                yield Finding(
                    kind="vectors_bad", severity="error", where=f"{where} [{snapshot}]", remedy=again,
                    message=f"{bad} vectors in {column!r} are not finite, {off} are not of unit length",
                )  # fmt: skip


def _bad_vectors(tables: LanceTables, table: str, snapshot: str, column: str) -> tuple[int, int]:
    bad = off = 0
    for batch in tables.scan(table, columns=[column], snapshot=snapshot):
        flat = batch.column(0).flatten().to_numpy(zero_copy_only=False)
        length = np.linalg.norm(flat.reshape(-1, batch.schema.field(0).type.list_size), axis=1)
        finite = np.isfinite(length)
        bad += int((~finite).sum()) + batch.column(0).null_count
        off += int((np.abs(length[finite] - 1.0) > _UNIT_TOLERANCE).sum())
    return bad, off


def rows_and_manifests(store: Store, tables: LanceTables) -> Iterator[Finding]:
    """Compare the number of rows with what the manifests say, both ways."""
    standing: set[tuple[str, str]] = set()
    named: set[str] = set()
    for name, artifact in current_results(store):
        partition = artifact.manifest.partition
        for ref in artifact.manifest.lance:
            named.add(ref.table)
            standing.add((ref.table, partition or ""))
            again = f"Materialize {name} again"
            what = f"table {ref.table} version {ref.version}"
            try:
                rows = tables.count(ref.table, version=ref.version, snapshot=partition)
                newest = tables.count(ref.table, snapshot=partition)
            except (ValueError, OSError, LookupError) as error:
                yield Finding(
                    kind="rows_unreadable", severity="error", where=name, message=f"{what}: {error}", remedy=again
                )
                continue
            if rows != ref.rows or newest != ref.rows:
                yield Finding(
                    kind="rows_differ", severity="error", where=name, remedy=again,
                    message=f"its manifest says {ref.rows} rows in {what}; there are {rows}, {newest} in the newest "
                    "version",
                )  # fmt: skip
    for table in tables.tables():
        if table not in named:
            yield Finding(
                kind="table_unused", severity="info", where=f"table {table}", message="no current artifact names it",
                remedy="It belongs to an older model, or to a run that was killed; keep it for traces, or drop it",
            )  # fmt: skip
            continue
        for snapshot in tables.snapshots(table):
            if (table, snapshot) not in standing:
                yield Finding(
                    kind="rows_unowned", severity="warning", where=f"table {table} [{snapshot}]",
                    message="rows of a snapshot that no current artifact names: it was removed, or its run was killed",
                    remedy=f"Materialize snapshot {snapshot} again, or delete it from the table",
                )  # fmt: skip


def coverage(store: Store, tables: LanceTables) -> Iterator[Finding]:
    """Find vectors and labels that are not those of the documents of their snapshot."""
    artifacts = store.artifacts
    for snapshot in artifacts.partitions(RAW_SHARDS):
        shards = artifacts.current(RAW_SHARDS, snapshot)
        expected: tuple[int, str] | None = None
        for asset in _PER_DOCUMENT:
            made = artifacts.current(asset, snapshot)
            if shards is None or made is None or not made.manifest.lance:
                continue
            if not any(ref.identity == shards.identity for ref in made.manifest.inputs):
                yield Finding(
                    kind="outdated", severity="warning", where=f"{asset}[{snapshot}]",
                    message="it was made from older raw_shards",
                    remedy=f"Materialize {asset}[{snapshot}] again, or let the automation do it",
                )  # fmt: skip
                continue
            try:
                expected = expected or _documents(store, shards)
            except (pa.ArrowException, OSError) as error:
                yield Finding(
                    kind="shards_unreadable", severity="error", where=f"{RAW_SHARDS}[{snapshot}]",
                    message=f"a shard cannot be read: {error}",
                    remedy=f"Delete {shards.path} and materialize {RAW_SHARDS}[{snapshot}] again",
                )  # fmt: skip
                break
            running = RowDigest(["doc_id"])
            try:
                for batch in tables.scan(made.manifest.lance[0].table, columns=["doc_id"], snapshot=snapshot):
                    running.update(batch)
                if (left_out := made.path / LEFT_OUT_NAME).is_file():
                    for batch in pq.read_table(left_out, columns=["doc_id"]).to_batches():
                        running.update(batch)
            except (ValueError, OSError, LookupError):
                continue  # said by the comparison of rows and manifests
            if running.rows != expected[0] or (running.rows and running.hexdigest() != expected[1]):
                yield Finding(
                    kind="not_covered", severity="error", where=f"{asset}[{snapshot}]",
                    message=f"its {running.rows} rows are not the {expected[0]} documents of raw_shards",
                    remedy=f"Materialize {asset}[{snapshot}] again",
                )  # fmt: skip


def _documents(store: Store, shards: Artifact) -> tuple[int, str]:
    running = RowDigest(["doc_id"])
    for path in store.shards([shards.ref()])[shards.manifest.partition or ""]:
        for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches(columns=["doc_id"]):
            running.update(batch)
    return running.rows, running.hexdigest()
