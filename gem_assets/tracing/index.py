"""Sorted copies of what is looked up: places by document, names and domains; labels and positions by document.

An artifact never changes, so what is sorted from it lies in a cache under its identity, is never stale and may be
deleted at any time. ``DIGEST`` beside the files holds their SHA-256: an index that was edited or torn is made again,
with a warning, when it is first opened; ``differing`` builds all again and finds those whose digest was made to fit.
Each file is parquet in the order of its first column, in row groups of 8192; a look-up reads the bounds of the groups
from the footer and then one group. The sort is DuckDB's, which spills.

Cost (``benchmarks.trace``): 230 MB for a million documents with two versions of every label and three orders, built
once; then some milliseconds per look-up.
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

import logging
import shutil
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gem_assets.corpus.addresses import add_sql_functions, canonical_host
from gem_assets.corpus.shards import DUPLICATES_FILE, FILTERED_FILE, QUARANTINE_FILE
from gem_assets.lineage.mixtures import LabelScan, part_files
from gem_assets.stages import ORDERS, RAW_SHARDS, STUDENT_LABELS, strategy_of
from gem_assets.storage.artifacts import UNPARTITIONED, Artifact, ArtifactStore
from gem_assets.storage.durable import locked_folder, make_dirs
from gem_assets.storage.identity import file_digest
from gem_assets.storage.purged import PurgedError

if TYPE_CHECKING:
    import duckdb

logger = logging.getLogger(__name__)

FORMAT = "4"
DIGEST = "DIGEST"
PLACES, NAMES, DOMAINS = "places.parquet", "names.parquet", "domains.parquet"
LABELS, POSITIONS = "labels.parquet", "positions.parquet"
GROUP_ROWS = 8192
_FEW_A_GROUP = 3
MEMORY_MB = 1024

#: Not a document: what could not be read has a place and no id.
UNREADABLE = "quarantine:"


Progress = Callable[[str, int, int], None]


class SortedFile:
    """A parquet file in ascending order of its first column, a string column without nulls."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = pq.ParquetFile(path, memory_map=True)
        footer = self._file.metadata
        self._low, self._high = _bounds(footer)
        self.key = str(self._file.schema_arrow.names[0])
        self.rows = int(footer.num_rows)

    def find(self, value: str) -> pa.Table:
        """Return the rows whose key is `value`."""
        table = self._groups(bisect_left(self._high, value), bisect_right(self._low, value))
        keys = table.column(0).to_pylist()
        first = bisect_left(keys, value)
        return table.slice(first, bisect_right(keys, value) - first)

    def find_many(self, values: pa.Array, columns: Sequence[str]) -> pa.Table:
        """Return some columns of the rows whose key is one of `values`; reads only the groups that can hold one."""
        count = len(self._low)
        groups = set(range(count)) if len(values) > _FEW_A_GROUP * count else self._holding(values.to_pylist())
        wanted = [self.key, *(name for name in columns if name != self.key)]
        table = self._file.read_row_groups(sorted(groups), columns=wanted)
        return table.filter(pc.is_in(table.column(self.key), value_set=values))

    def _holding(self, values: Sequence[str]) -> set[int]:
        """Return the groups that can hold one of some keys."""
        return {
            group for value in values for group in range(bisect_left(self._high, value), bisect_right(self._low, value))
        }

    def below(self, prefix: str, separator: str) -> pa.Table:
        """Return the rows whose key is `prefix`, or begins with it and `separator`."""
        low, end = prefix + separator, prefix + chr(ord(separator) + 1)
        table = self._groups(bisect_left(self._high, low), bisect_left(self._low, end))
        keys = table.column(0).to_pylist()
        first = bisect_left(keys, low)
        return pa.concat_tables([self.find(prefix), table.slice(first, bisect_left(keys, end) - first)])

    def _groups(self, first: int, end: int) -> pa.Table:
        if first >= end:
            # Schema.empty_table would import pandas
            return pa.Table.from_batches([], self._file.schema_arrow)
        return self._file.read_row_groups(list(range(first, end)), use_threads=False)


@dataclass
class TraceIndex:
    """The sorted files of a data root, made when they are first asked for.

    ``scan`` reads label tables; it is only asked when labels have no index yet.
    """

    folder: Path
    scan: LabelScan
    progress: Progress | None = None
    _open: dict[Path, SortedFile] = field(default_factory=dict[Path, SortedFile])
    _sound: set[Path] = field(default_factory=set[Path])

    def places(self, shards: Artifact) -> SortedFile:
        """Places of a ``raw_shards`` artifact, by the id of the document that stands for each."""
        return self._file(self._places(shards) / PLACES)

    def names(self, shards: Artifact) -> SortedFile:
        """Other names of its documents: URLs, content digests, ids of duplicates."""
        return self._file(self._places(shards) / NAMES)

    def domains(self, shards: Artifact) -> SortedFile:
        """Its places by host, most general label first, and by source."""
        return self._file(self._places(shards) / DOMAINS)

    def labels(self, labels: Artifact) -> SortedFile:
        """Labels of a ``student_labels`` artifact, by document."""
        return self._file(self._made(labels, self._write_labels) / LABELS)

    def positions(self, order: Artifact) -> SortedFile:
        """Positions of a training order, by document."""
        return self._file(self._made(order, _write_positions) / POSITIONS)

    def differing(self, store: ArtifactStore) -> Iterator[Path]:
        """Yield the folders of the cache whose rows are not those that their artifact gives; nothing is changed."""
        for asset in store.assets():
            writers = {RAW_SHARDS: _write_places, STUDENT_LABELS: self._write_labels}
            write = writers.get(asset, _write_positions)
            if asset not in (RAW_SHARDS, STUDENT_LABELS) and not strategy_of(asset, ORDERS):
                continue
            for partition in store.places(asset):
                for artifact in store.history(asset, partition):
                    standing = self._folder(artifact) / artifact.identity[:32]
                    if standing.is_dir() and not _alike(artifact, write, standing):
                        yield standing

    def _folder(self, artifact: Artifact) -> Path:
        manifest = artifact.manifest
        return self.folder / f"v{FORMAT}" / manifest.asset.replace("/", ".") / (manifest.partition or UNPARTITIONED)

    def _places(self, shards: Artifact) -> Path:
        return self._made(shards, _write_places)

    def _file(self, path: Path) -> SortedFile:
        if path not in self._open:
            self._open[path] = SortedFile(path)
        return self._open[path]

    def _made(self, artifact: Artifact, write: Callable[[Artifact, Path], None]) -> Path:
        manifest = artifact.manifest
        parent = self._folder(artifact)
        target = parent / manifest.identity[:32]
        if target in self._sound and target.is_dir():
            return target
        self._sound.add(target)
        if target.is_dir():
            if (target / DIGEST).is_file() and (target / DIGEST).read_text(encoding="utf-8") == _digest(target):
                return target
            logger.warning("%s is not what was written; it is made again", target)
            shutil.rmtree(target)
        make_dirs(parent)
        if self.progress is not None:
            self.progress(f"Indexing {manifest.key}", 0, 1)
        with locked_folder(parent, ".draft-") as draft:
            filled = draft / "index"
            filled.mkdir()
            write(artifact, filled)
            (filled / DIGEST).write_text(_digest(filled), encoding="utf-8")
            try:
                filled.rename(target)
            except OSError:
                # another process was faster; both hold the same rows
                if not target.is_dir():
                    raise
        if self.progress is not None:
            self.progress(f"Indexing {manifest.key}", 1, 1)
        return target

    def _write_labels(self, labels: Artifact, out: Path) -> None:
        columns = ["doc_id", "cluster", "confidence", "margin", "n_tokens"]
        kinds = [pa.string(), pa.int16(), pa.float32(), pa.float32(), pa.int64()]
        schema = pa.schema(list(zip(columns, kinds, strict=True)))
        batches = (batch.select(columns).cast(schema) for batch in self.scan(labels, columns))
        with _database(out) as database:
            database.register("labels", pa.RecordBatchReader.from_batches(schema, batches))
            _write(database, "SELECT * FROM labels ORDER BY doc_id", out / LABELS)


def _digest(folder: Path) -> str:
    """SHA-256 of every file of an index, by name."""
    files = sorted(folder.glob("*.parquet"))
    return "".join(f"{file_digest(path)}  {path.name}\n" for path in files)


def _alike(artifact: Artifact, write: Callable[[Artifact, Path], None], standing: Path) -> bool:
    """Build an index again, aside, and compare its rows with those that stand there."""
    with tempfile.TemporaryDirectory(prefix="gem-index-") as aside:
        made = Path(aside)
        try:
            write(artifact, made)
        except PurgedError:
            return True  # nothing is left that it could be compared with
        for path in made.glob("*.parquet"):
            other = standing / path.name
            try:
                if not pq.read_table(path).equals(pq.read_table(other)):
                    return False
            except (OSError, pa.ArrowException):
                return False
    return True


def host_key(host: str) -> str:
    """Write a host with its most general label first, so that a domain stands next to what is below it."""
    return ".".join(reversed((canonical_host(host.strip(".")) or host).split(".")))


def source_key(source: str) -> str:
    """Key of a source in the domains file; no host begins like it."""
    return "=" + source.lower()


def _write_places(shards: Artifact, out: Path) -> None:
    with _database(out) as database:
        add_sql_functions(database)
        database.execute(_PLACES)
        parts = [str(path) for path in part_files(shards)]
        if parts:
            # row numbers are counted in each file
            database.read_parquet(parts, filename=True, file_row_number=True).create_view("kept_rows")
            database.execute(f"INSERT INTO places BY NAME {_KEPT}")
        for view, name, query in (
            ("dup_rows", DUPLICATES_FILE, _DUPLICATE),
            ("out_rows", FILTERED_FILE, _FILTERED),
            ("bad_rows", QUARANTINE_FILE, _UNREADABLE),
        ):
            rows = database.read_parquet(str(shards.path / name))
            rows.create_view(view)
            # duplicates of earlier versions have no source
            database.execute(f"INSERT INTO places BY NAME {query.format(source=_SOURCE * ('source' in rows.columns))}")
        database.execute(_ADDRESSED)
        _write(database, "SELECT * FROM places ORDER BY stands_for, kind, file, place", out / PLACES)
        _write(database, _NAMES_QUERY, out / NAMES)
        _write(database, _DOMAINS_QUERY, out / DOMAINS)


def _write_positions(order: Artifact, out: Path) -> None:
    with _database(out) as database:
        database.read_parquet([str(path) for path in part_files(order)]).create_view("shown")
        query = "SELECT doc_id, position, epoch, phase, metadata FROM shown ORDER BY doc_id, position"
        _write(database, query, out / POSITIONS)


_PLACES = """
CREATE TABLE places (
    stands_for VARCHAR, kind VARCHAR, doc_id VARCHAR, content_digest VARCHAR, url VARCHAR, source VARCHAR, date VARCHAR,
    lang VARCHAR, license VARCHAR, n_tokens BIGINT, n_bytes BIGINT, dup_count INTEGER, file VARCHAR, place BIGINT,
    shard VARCHAR, shard_row BIGINT, kept_snapshot VARCHAR
)
"""
_KEPT = """
SELECT doc_id AS stands_for, 'kept' AS kind, doc_id, content_digest, url, source, date, lang, license, n_tokens,
       n_bytes, dup_count, file, "offset" AS place, parse_filename(filename) AS shard, file_row_number AS shard_row
FROM kept_rows
"""
_DUPLICATE = """
SELECT kept_doc_id AS stands_for, kind, doc_id, content_digest, url, {source}n_bytes, file, "offset" AS place,
       kept_snapshot
FROM dup_rows
"""
_FILTERED = """
SELECT doc_id AS stands_for, 'filtered: ' || reason AS kind, doc_id, url, n_bytes, file, "offset" AS place
FROM out_rows
"""
_UNREADABLE = f"""
SELECT '{UNREADABLE}' || file || '#' || "offset" AS stands_for, 'quarantined: ' || reason AS kind, url, n_bytes, file,
       "offset" AS place
FROM bad_rows
"""  # noqa: S608
_SOURCE = "source, "
_ADDRESSED = r"""
CREATE TABLE addressed AS
SELECT *, coalesce(regexp_extract(page, '^(?:https?|ftp)://(\[.*?\]|[^/:?#]*)', 1), '') AS host,
    coalesce(regexp_extract(source_page, '^(?:https?|ftp)://(\[.*?\]|[^/:?#]*)', 1), '') AS source_host
FROM (SELECT *, canonical_page(url) AS page FROM places)
LEFT JOIN (SELECT source, canonical_page(source) AS source_page FROM (SELECT DISTINCT source FROM places))
USING (source)
"""
# the address of a place is its URL; where that is none, its source if that is one
_NAMES_QUERY = r"""
SELECT DISTINCT name, stands_for FROM (
    SELECT page AS name, stands_for FROM addressed WHERE page IS NOT NULL
    UNION ALL SELECT string_split(page, '#')[1], stands_for FROM addressed WHERE host <> ''
    UNION ALL SELECT source_page, stands_for FROM addressed
    WHERE host = '' AND source_host <> '' AND regexp_matches(source, '[/\\]')
    UNION ALL SELECT content_digest, stands_for FROM places WHERE content_digest IS NOT NULL
    UNION ALL SELECT doc_id, stands_for FROM places WHERE doc_id <> stands_for
) ORDER BY name, stands_for
"""
_DOMAINS_QUERY = """
SELECT domain, stands_for, kind, n_tokens, n_bytes FROM (
    SELECT array_to_string(list_reverse(string_split(host, '.')), '.') AS domain, * FROM addressed
    WHERE host <> ''
    UNION ALL
    SELECT array_to_string(list_reverse(string_split(source_host, '.')), '.'), * FROM addressed
    WHERE source_host <> '' AND host <> source_host AND NOT ends_with(host, '.' || source_host)
    UNION ALL
    SELECT '=' || lower(source), * FROM addressed WHERE source IS NOT NULL
) ORDER BY domain, stands_for, kind
"""


def _bounds(footer: pq.FileMetaData) -> tuple[list[str], list[str]]:
    """Lowest and highest key of each row group; where a key is too long for the footer, those of its neighbours."""
    found = [footer.row_group(i).column(0).statistics for i in range(footer.num_row_groups)]
    known = [(str(b.min), str(b.max)) if b is not None and b.has_min_max else None for b in found]
    low: list[str] = []
    high: list[str] = []
    before, after = "", chr(0x10FFFF)
    for bounds in known:
        low.append(bounds[0] if bounds else before)
        before = bounds[1] if bounds else before
    for bounds in reversed(known):
        high.append(bounds[1] if bounds else after)
        after = bounds[0] if bounds else after
    return low, high[::-1]


def _database(out: Path) -> "duckdb.DuckDBPyConnection":
    # a look-up that builds nothing does not pay for the import
    import duckdb

    database = duckdb.connect(config={"memory_limit": f"{MEMORY_MB}MiB", "temp_directory": str(out / ".spill")})
    database.execute("SET enable_progress_bar = false")
    return database


def _write(database: "duckdb.DuckDBPyConnection", query: str, path: Path) -> None:
    reader = database.sql(query).to_arrow_reader(GROUP_ROWS)
    # bounds of other columns than the key would make the footer ten times as long
    options: dict[str, Any] = {"use_dictionary": _REPEATING, "write_statistics": [reader.schema.names[0]]}
    with pq.ParquetWriter(path, reader.schema, compression="zstd", **options) as writer:
        for batch in reader:
            writer.write_batch(batch)
    shutil.rmtree(path.parent / ".spill", ignore_errors=True)


_REPEATING = ["kind", "source", "lang", "license", "file", "shard", "kept_snapshot", "domain"]
