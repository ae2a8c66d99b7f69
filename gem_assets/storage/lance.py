"""Lance tables in one database folder, written one snapshot at a time.

``replace_snapshot`` is the only way in: all rows of one snapshot, exchanged in ONE commit, so a reader sees the
old snapshot or the new one. Content that is already there writes no version. After the commit the files are
forced to the disk; on open, torn newest versions are stepped back from (see ``lance_files``).

Two ways to commit, one meaning:

``swap`` (a local folder, the default there). New fragments are written, forced to the disk, and exchanged for the
    snapshot's old ones in one transaction, under a file lock that keeps other writers of the table out. Costs the
    rows of the snapshot, whatever the size of the table.
``merge`` (object stores). ``merge_insert`` on the declared key; two hosts that write one snapshot at the same
    time end with one copy, because Lance compares inserted keys at commit. It joins the keys of the whole table in
    memory (about 1 kB per row measured), which is why it is not the default on a folder.

Tables open in LanceDB as they are: ``lancedb.connect(uri).open_table(name)``.
"""

# pyarrow ships no types
# pyright: reportAttributeAccessIssue=false

import contextlib
import json
import logging
import re
import tempfile
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import lance
import pyarrow as pa
import pyarrow.compute as pc
from lance.fragment import write_fragments

from gem_assets.storage.durable import file_lock, make_dirs
from gem_assets.storage.lance_commit import Commit, Standing, exchange, standing_rows
from gem_assets.storage.lance_files import (
    CommitFiles,
    fragments_of,
    heal,
    manifest_names,
    manifests,
    newest_intact,
    orphan_files,
)
from gem_assets.storage.lance_source import (
    BATCH_ROWS,
    OWN_COLUMNS,
    SNAPSHOT,
    OtherSchemaError,
    Rows,
    Source,
    checked_source,
    condition_of,
    digest_of,
    foreign_columns,
    key_column,
    marked,
    own_columns,
    refuse_other_schema,
    rows_of,
)
from gem_assets.storage.manifest import check_partition
from gem_assets.storage.purged import PurgedError, Purges

logger = logging.getLogger(__name__)

_PLAIN = re.compile(r"[A-Za-z0-9._/-]+")
_NAME = re.compile(r"[A-Za-z0-9_]+([.-][A-Za-z0-9_]+)*")


class LanceTables:
    """The tables of one database.

    Parameters
    ----------
    uri
        Folder or URL of the database; table ``x`` is ``<uri>/x.lance``.
    lock_timeout
        Seconds to wait for another writer of the same table.
    commit
        ``swap`` or ``merge``, see the module; by default what fits the storage.
    read_only
        Change nothing: writes are refused, and a torn version is passed over where it lies.
    """

    def __init__(
        self,
        uri: str | Path,
        *,
        lock_timeout: float = 60.0,
        commit: Literal["swap", "merge"] | None = None,
        storage_options: Mapping[str, str] | None = None,
        read_only: bool = False,
    ) -> None:
        self.uri = str(uri).removeprefix("file://").rstrip("/")
        self.folder = None if "://" in self.uri else Path(self.uri)
        self.lock_timeout = lock_timeout
        self.commit = commit or ("merge" if self.folder is None else "swap")
        if self.commit == "swap" and self.folder is None:
            raise ValueError(f"{self.uri}: commit='swap' needs a lock between writers, which only a folder has")
        self.storage_options = dict(storage_options or {}) or None
        self.read_only = read_only
        self._held = threading.local()

    def replace_snapshot(
        self,
        table: str,
        data: Rows,
        snapshot: str,
        *,
        key: str = "doc_id",
        allow_empty: bool = False,
    ) -> Commit:
        """Make ``data`` the rows of ``snapshot``, in one commit, or in none when they already are.

        Parameters
        ----------
        table
            Created at the first call.
        data
            All rows of the snapshot; a column ``snapshot`` is added when it is missing.
        key
            Column that names a row inside its snapshot.
        allow_empty
            Let an empty source remove the snapshot.

        Raises
        ------
        ValueError
            On a bad name, an empty source, a duplicate or null key, rows of another snapshot, a schema that
            differs from the table's.
        LockTimeoutError
            When another process writes the table for longer than ``lock_timeout``.
        """
        check_partition(snapshot)
        with contextlib.ExitStack() as stack:
            if self.commit == "swap" or self.read_only:
                stack.enter_context(self._lock(table, f"write snapshot {snapshot} to"))
            source = stack.enter_context(checked_source(data, snapshot, key, spool_folder=self._spool()))
            if source.rows == 0 and not allow_empty:
                raise ValueError(
                    f"table {table}: the source of snapshot {snapshot} is empty, which would delete the snapshot; "
                    "say allow_empty=True if that is meant"
                )
            return self._replace(table, source, snapshot, key)

    def delete_snapshot(self, table: str, snapshot: str) -> Commit:
        """Remove all rows of a snapshot in one commit; no version is written when there are none."""
        dataset = self._require(table)
        key = key_column(dataset.schema)
        empty = dataset.schema.remove_metadata().empty_table().select(own_columns(dataset.schema))
        return self.replace_snapshot(table, empty, snapshot, key=key, allow_empty=True)

    def scan(
        self,
        table: str,
        *,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        snapshot: str | None = None,
        batch_size: int = BATCH_ROWS,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a table, of one version if given, of one snapshot if given.

        Rows come in the order in which they were written, snapshot by snapshot as they were last replaced.
        """
        dataset = self._require(table, self._standing(table, version, snapshot))
        condition = condition_of(snapshot)
        yield from dataset.to_batches(
            columns=own_columns(dataset.schema) if columns is None else list(columns),
            filter=condition,
            batch_size=batch_size,
            scan_in_order=True,
        )

    def scan_pinned(
        self, table: str, pins: Iterable[tuple[int | None, str | None, int | None]], columns: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of (version, snapshot, number of rows) one after the other, as :meth:`scan` would.

        The table is looked over once, and of each version only the fragments that its own commit wrote are read.
        """
        self._require(table)
        for version, snapshot, rows in pins:
            dataset = self._at(table, self._standing(table, version, snapshot))
            condition = condition_of(snapshot)
            own = fragments_of(dataset, condition, rows) if rows and condition else None
            yield from dataset.scanner(
                columns=list(columns), filter=condition, batch_size=BATCH_ROWS, scan_in_order=True, fragments=own
            ).to_batches()

    def read(
        self,
        table: str,
        *,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        snapshot: str | None = None,
    ) -> pa.Table:
        """Return the same rows as :meth:`scan` as one Arrow table."""
        dataset = self._require(table, self._standing(table, version, snapshot))
        return dataset.to_table(
            columns=own_columns(dataset.schema) if columns is None else list(columns),
            filter=condition_of(snapshot),
            scan_in_order=True,
        )

    def version(self, table: str) -> int | None:
        """Return the newest intact version, or None when there is no such table."""
        dataset = self._open(table)
        return None if dataset is None else int(dataset.version)

    def versions(self, table: str) -> list[int]:
        """Return every version that has a manifest, oldest first."""
        return sorted(int(v["version"]) for v in self._require(table).versions())

    def schema(self, table: str, version: int | None = None) -> pa.Schema:
        """Return the Arrow schema with its metadata."""
        return self._require(table, version).schema

    def count(self, table: str, *, version: int | None = None, snapshot: str | None = None) -> int:
        """Return the number of rows, 0 when there is no such table."""
        dataset = self._open(table, self._standing(table, version, snapshot))
        return 0 if dataset is None else int(dataset.count_rows(filter=condition_of(snapshot)))

    def snapshots(self, table: str, *, version: int | None = None) -> dict[str, int]:
        """Return snapshot to number of rows, sorted by name."""
        counts: dict[str, int] = {}
        if self._open(table, version) is not None:
            for batch in self.scan(table, version=version, columns=[SNAPSHOT], batch_size=65_536):
                for pair in pc.value_counts(batch.column(0)).to_pylist():
                    counts[pair["values"]] = counts.get(pair["values"], 0) + pair["counts"]
        return dict(sorted(counts.items()))

    def digest(self, table: str, *, version: int | None = None, snapshot: str | None = None) -> str:
        """Return the order-free digest of the rows, as commits and manifests record it."""
        dataset = self._require(table, self._standing(table, version, snapshot))
        return digest_of(dataset, condition_of(snapshot))

    def pin(self, table: str, versions: Iterable[int]) -> None:
        """Name every version ``pinned-<version>`` that has no such name yet; for a purged one, what took its place."""
        standing, wanted = self.tags(table), set(versions)
        for version in sorted(wanted):
            if not self._there(table, version) and Purges(self._root).of_version(table, version) is not None:
                wanted.remove(version)
                wanted |= {to for to in Purges(self._root).successors(table, version) if self._there(table, to)}
        for version in sorted(wanted):
            if standing.get(f"pinned-{version}") != version:
                self.tag(table, f"pinned-{version}", version)

    def tag(self, table: str, name: str, version: int) -> None:
        """Name a version, so that no clean-up takes it away; saying it again is fine, moving it is refused.

        Raises ValueError when the version does not exist, or the tag stands on another version.
        """
        check_partition(name)
        dataset = self._require(table, version)
        with self._lock(table, f"tag {name} in"):
            standing = self.tags(table).get(name)
            if standing == version:
                return
            if standing is not None:
                raise ValueError(
                    f"table {table}: tag {name!r} is version {standing} and cannot become {version}; a published "
                    "mixture refers to it. Choose another name"
                )
            if self.folder is None or _PLAIN.fullmatch(str(self.folder)):
                dataset.tags.create(name, version)
                return
            # Lance makes the folder of tags where the path would lie if its escapes as a URL were part of it
            with tempfile.TemporaryDirectory(prefix="gem-tag-") as plain:
                (Path(plain) / "db").symlink_to(self.folder.absolute())
                lance.dataset(f"{plain}/db/{table}.lance", version=version).tags.create(name, version)

    def tags(self, table: str) -> dict[str, int]:
        """Return tag to version."""
        listed: dict[str, Any] = self._require(table).tags.list()
        return {name: int(entry["version"]) for name, entry in sorted(listed.items())}

    def untag(self, table: str, versions: Sequence[int]) -> None:
        """Take the names off versions, so that they may go."""
        with self._lock(table, "untag versions of"):
            for name in [name for name, version in self.tags(table).items() if version in versions]:
                self._require(table).tags.delete(name)

    def remove_orphans(self, table: str, *, older_than_s: float = 600.0) -> list[Path]:
        """Delete data files that no version names, and return them.

        Writers of this module are kept out by the lock; the age spares those of another tool that are under way.
        """
        if self.folder is None:
            return []
        oldest = time.time() - older_than_s
        with self._lock(table, "clean"):
            orphans = orphan_files(Path(self.path(table))) if self._open(table) is not None else []
            found = [path for path in orphans if path.stat().st_mtime <= oldest]
            for path in found:
                path.unlink(missing_ok=True)
        return found

    def tables(self) -> list[str]:
        """Return the names of the tables that have at least one intact version, sorted."""
        if self.folder is None:
            import lancedb

            names = lancedb.connect(self.uri, storage_options=self.storage_options).list_tables().tables
            return sorted(names)
        found = sorted(p.stem for p in self.folder.glob("*.lance") if p.is_dir())
        return [name for name in found if self.version(name) is not None]

    def path(self, table: str) -> str:
        """Return where the table lies."""
        if len(table) > 200 or not _NAME.fullmatch(table):
            raise ValueError(f"table name {table!r} is not allowed: letters, digits, '_', single '-' and '.' inside")
        return f"{self.uri}/{table}.lance"

    def _replace(self, table: str, source: Source, snapshot: str, key: str) -> Commit:
        dataset = self._open(table)
        if dataset is None:
            if source.rows == 0:
                raise ValueError(f"there is no table {table} at {self.uri} to remove snapshot {snapshot} from")
            version = self._create(table, source)
            return Commit(table, version, source.rows, source.digest, rows_inserted=source.rows)
        try:
            refuse_other_schema(table, dataset.schema, source.schema)
        except OtherSchemaError as error:
            raise OtherSchemaError(f"{error}. {self._way_back(table, dataset, source)}") from None
        dataset = self._make_room(dataset, source)
        condition = rows_of(snapshot)
        # the one look at what all other snapshots wrote; a table of a thousand of them has as many fragments
        old = standing_rows(dataset, key, condition, source)
        if old.rows == source.rows and (source.rows == 0 or digest_of(dataset, condition) == source.digest):
            return Commit(table, int(dataset.version), source.rows, source.digest, changed=False)
        if self.commit == "swap":
            version = self._swap(table, dataset, source, condition, old)
        else:
            version = self._merge(table, dataset, source, snapshot, key)
        return Commit(
            table, version, source.rows, source.digest,
            rows_inserted=source.rows - old.kept, rows_updated=old.kept, rows_deleted=old.rows - old.kept,
        )  # fmt: skip

    def _way_back(self, table: str, dataset: lance.LanceDataset, source: Source) -> str:
        """Say which version of a table still fits, where another tool changed it since."""
        for version in sorted((int(v["version"]) for v in dataset.versions()), reverse=True):
            with contextlib.suppress(ValueError, OSError):
                refuse_other_schema(table, self._at(table, version).schema, source.schema)
                return (
                    "Another tool changed the table since. To put it back as it was: "
                    f"lance.dataset({self.path(table)!r}, version={version}).restore()"
                )
        return "Write to a table of another name"

    def _make_room(self, dataset: lance.LanceDataset, source: Source) -> lance.LanceDataset:
        """See to it that rows without the columns that others added can be written, and that those stay theirs."""
        added = foreign_columns(dataset.schema, source.schema)
        if not added:
            return dataset
        logger.info("%s: columns that others added are left empty in new rows: %s", dataset.uri, ", ".join(added))
        strict = [name for name in added if not dataset.schema.field(name).nullable]
        if strict:
            change: Any = dataset.alter_columns
            change(*({"path": name, "nullable": True} for name in strict))
        if OWN_COLUMNS not in (dataset.schema.metadata or {}):
            dataset.update_schema_metadata({OWN_COLUMNS.decode(): json.dumps(source.schema.names)})
        return dataset

    def _create(self, table: str, source: Source) -> int:
        path = self.path(table)
        with self._durable(table) as files:
            fragments = write_fragments(
                source.reader(), path, schema=marked(source.schema), mode="create", storage_options=self.storage_options
            )
            if files is not None:
                files.sync_data()
            operation = lance.LanceOperation.Overwrite(marked(source.schema), fragments)
            return int(lance.LanceDataset.commit(path, operation, storage_options=self.storage_options).version)

    def _swap(self, table: str, dataset: lance.LanceDataset, source: Source, condition: str, old: Standing) -> int:
        with self._durable(table) as files:
            operation = exchange(dataset, source, condition, old)
            if files is not None:
                files.sync_data()
            read = int(dataset.version)
            version = int(lance.LanceDataset.commit(dataset, operation, read_version=read).version)
        if version != read + 1:
            logger.warning(
                "table %s: version %d was written past the lock while version %d was made; run gem doctor",
                table, version - 1, version,
            )  # fmt: skip
        return version

    def _merge(self, table: str, dataset: lance.LanceDataset, source: Source, snapshot: str, key: str) -> int:
        with self._durable(table):
            (
                dataset.merge_insert([SNAPSHOT, key])
                .when_matched_update_all()
                .when_not_matched_insert_all()
                .when_not_matched_by_source_delete(rows_of(snapshot))
                .execute(source.reader())
            )
            return int(dataset.version)

    def _open(self, table: str, version: int | None = None) -> lance.LanceDataset | None:
        path = self.path(table)
        if self.folder is None:
            try:
                return lance.dataset(path, version=version, storage_options=self.storage_options)
            except (OSError, ValueError) as error:
                if "not found" not in str(error).lower():
                    raise
                if version is None:
                    return None
                raise _no_version(table, version) from error
        folder = Path(path)
        newest = newest_intact(folder) if self.read_only else heal(folder, self._lock(table, "repair"))
        if newest is None:
            return None
        return lance.dataset(path, version=newest) if version is None else self._at(table, version)

    def _at(self, table: str, version: int | None) -> lance.LanceDataset:
        path = self.path(table)
        if self.folder is not None and version is not None and version not in manifest_names(Path(path)):
            raise _no_version(table, version)
        return lance.dataset(path, version=version, storage_options=self.storage_options)

    @property
    def _root(self) -> str:
        """Data root: the folder above the database."""
        return self.uri.rpartition("/")[0]

    def _there(self, table: str, version: int) -> bool:
        if self.folder is not None:
            return version in manifest_names(Path(self.path(table)))
        return version in self.versions(table)

    def _standing(self, table: str, version: int | None, snapshot: str | None) -> int | None:
        """Return the version at which the rows that a manifest names at ``version`` are read now.

        Raises PurgedError when it was deleted by a purge and no version holds those rows.
        """
        if version is None or self._there(table, version):
            return version
        purges = Purges(self._root)
        purge = purges.of_version(table, version)
        if purge is None:
            return version
        successor = purges.successor(table, version, snapshot)
        if successor is None or not self._there(table, successor):
            rows = f"the rows of {snapshot} in " if snapshot is not None else ""
            raise PurgedError(f"{rows}table {table} version {version} were {purge}" if rows else
                              f"table {table} version {version} was {purge}")  # fmt: skip
        return successor

    def _require(self, table: str, version: int | None = None) -> lance.LanceDataset:
        dataset = self._open(table, version)
        if dataset is None:
            raise KeyError(f"there is no table {table} at {self.uri}; its tables are {self.tables()}")
        return dataset

    @contextlib.contextmanager
    def _durable(self, table: str) -> Generator[CommitFiles | None]:
        if self.folder is None:
            yield None
            return
        files = CommitFiles(Path(self.path(table)))
        before = manifests(files.table)
        try:
            yield files
        except BaseException:
            if self.commit == "swap" and manifests(files.table).keys() == before.keys():
                files.discard()
            raise
        files.sync()

    @contextlib.contextmanager
    def _lock(self, table: str, purpose: str) -> Generator[None]:
        """Keep other writers of the table out; a thread that holds the lock may take it again."""
        self.path(table)
        if self.read_only:
            raise PermissionError(f"{self.uri} was opened to read only; {purpose} table {table} is refused")
        held: set[str] = self._held.__dict__.setdefault("tables", set())
        if self.folder is None or table in held:
            yield
            return
        path = self.folder / f".{table}.lock"
        with file_lock(path, timeout=self.lock_timeout, purpose=f"{purpose} table {table}"):
            held.add(table)
            try:
                yield
            finally:
                held.discard(table)

    def _spool(self) -> Path:
        if self.folder is None:
            return Path(tempfile.gettempdir())
        make_dirs(self.folder)
        return self.folder


def _no_version(table: str, version: int) -> ValueError:
    return ValueError(
        f"table {table} has no version {version}; it was cleaned up, or set aside as torn. Tag the versions that "
        "have to stay"
    )
