"""Follow pages across snapshots: first seen, unchanged, edited, gone, and which of their versions a mixture uses.

A page is an address in the form in which addresses are compared (:mod:`gem_assets.corpus.addresses`), with its
fragment, by which data sets tell passages of one page apart. Its version in a snapshot is the set of content digests
seen under it there (one, as a rule). Snapshots follow each other in the order of their names. Places count whether
their text was kept or left to another document: an unchanged page keeps one text for all its sightings. What a filter
refused or a damaged record hid was not seen.

Writes ``pages.parquet`` (one row per URL and content digest: first and last snapshot, number of snapshots),
``recrawls.parquet`` (one row per snapshot) and ``superseded.parquet`` (documents that the policy leaves out, with the
snapshot that keeps each).

Cost: one pass over two narrow columns of every snapshot, sorted by DuckDB within ``memory_mb``; beyond that it spills
to the disk.
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from gem_assets.corpus.addresses import add_sql_functions
from gem_assets.frozen import Frozen

CODE_VERSION = "3"
PAGES_NAME, RECRAWLS_NAME, SUPERSEDED_NAME = "pages.parquet", "recrawls.parquet", "superseded.parquet"
RECRAWL_COLUMNS = ("snapshot", "pages", "first_seen", "unchanged", "edited", "returned", "gone", "without_url")
_BATCH = 65_536


class RecrawlConfig(Frozen):
    """Which versions of a page mixtures use.

    ``latest``: the last version that any snapshot saw, also of a page that is gone by now. ``first``: the first one.
    ``all``: every version. A text stands as long as it is the wanted version of one page; documents without URL always
    do.
    """

    use: Literal["latest", "all", "first"] = Field(default="all", description="Versions of a page that mixtures use.")
    memory_mb: int = Field(
        default=1024, ge=128, exclude=True, description="Memory of the sort in MiB; what exceeds it spills to disk."
    )


@dataclass(frozen=True)
class RecrawlReport:
    """Totals of a history."""

    pages: int
    versions: int
    superseded: int


def publish_history(
    documents: Mapping[str, Sequence[Path]],
    duplicates: Mapping[str, Path],
    config: RecrawlConfig,
    out: Path,
    scratch: Path,
) -> RecrawlReport:
    """Follow every page through the snapshots and write the history into ``out``.

    Raises ValueError when there is no snapshot.

    Parameters
    ----------
    documents, duplicates
        Document shards and ``duplicates.parquet`` of each snapshot.
    scratch
        Folder for what does not fit into memory.
    """
    if not documents:
        raise ValueError("no snapshot to follow pages through: ingest one first")
    import duckdb

    settings: dict[str, Any] = {
        "memory_limit": f"{config.memory_mb}MiB",
        "temp_directory": str(scratch),
        "threads": 2,
    }
    names = sorted(documents)
    kept = [str(path) for name in names for path in documents[name]]
    with duckdb.connect(config=settings) as base:
        numbers = list(range(len(names)))
        add_sql_functions(base)
        base.execute("CREATE TABLE snapshots AS SELECT unnest(?) AS snapshot, unnest(?) AS number", [names, numbers])
        base.execute(_KEPT, [kept])
        base.execute(_SEEN, [[str(duplicates[name]) for name in names]])
        base.execute(_VISITS)
        _write(base, _PAGES, out / PAGES_NAME)
        _write(base, _RECRAWLS, out / RECRAWLS_NAME)
        order = {"latest": "max", "first": "min"}.get(config.use)
        _write(base, _SUPERSEDED.format(order=order) if order else _NOTHING, out / SUPERSEDED_NAME)
    return RecrawlReport(
        pages=int(pc.sum(pq.read_table(out / RECRAWLS_NAME).column("first_seen")).as_py() or 0),
        versions=pq.ParquetFile(out / PAGES_NAME).metadata.num_rows,
        superseded=pq.ParquetFile(out / SUPERSEDED_NAME).metadata.num_rows,
    )


def describe_recrawls(folder: Path) -> list[dict[str, Any]]:
    """One row per snapshot, in their order; columns ``RECRAWL_COLUMNS``.

    Each page of a snapshot is one of four: ``first_seen``; ``unchanged`` or ``edited`` since the snapshot before; or
    ``returned``, with whatever text, after it was missing there. ``gone`` pages were in the snapshot before and are not
    in this one. So ``pages`` is the sum of the four, and that of the snapshot before, less ``gone``, with
    ``first_seen`` and ``returned``.
    """
    return pq.read_table(folder / RECRAWLS_NAME).to_pylist()


@dataclass
class Selection:
    """Lets through the label rows that the policy uses, and counts the others.

    Memory is the ids that are left out.
    """

    superseded: pa.Array
    documents: int = 0
    tokens: int = 0
    n_bytes: int = 0
    _none: bool = field(init=False)

    def __post_init__(self) -> None:
        self._none = len(self.superseded) == 0

    @classmethod
    def read(cls, folder: Path, snapshot: str | None = None) -> "Selection":
        """Read from an artifact of :func:`publish_history`, of one snapshot if given.

        A history that does not tell the snapshots apart, as the first ones did not, is read whole: ids of other
        snapshots leave nothing out.
        """
        told_apart = "snapshot" in pq.read_schema(folder / SUPERSEDED_NAME).names
        chosen = pc.field("snapshot") == snapshot if snapshot is not None and told_apart else None
        return cls(pq.read_table(folder / SUPERSEDED_NAME, filters=chosen).column("doc_id").combine_chunks())

    @property
    def version(self) -> str:
        """64 hex that name the ids that are left out, whatever their order."""
        return sha256("\n".join(sorted(self.superseded.to_pylist())).encode()).hexdigest()

    def used(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield batches without the rows that are left out; each has to hold ``doc_id``."""
        for batch in batches:
            if self._none:
                yield batch
                continue
            out = pc.is_in(batch.column("doc_id"), value_set=self.superseded)
            left = batch.filter(out)
            self.documents += left.num_rows
            for name, attribute in (("n_tokens", "tokens"), ("n_bytes", "n_bytes")):
                if name in left.schema.names:
                    setattr(self, attribute, getattr(self, attribute) + (pc.sum(left.column(name)).as_py() or 0))
            yield batch.filter(pc.invert(out))


_KEPT = "CREATE TABLE kept AS SELECT snapshot, canonical_page(url) AS url, content_digest, doc_id FROM read_parquet(?)"
_SEEN = """
CREATE TABLE seen AS
SELECT DISTINCT url, content_digest, number
FROM (SELECT snapshot, url, content_digest FROM kept
      UNION ALL SELECT snapshot, canonical_page(url), content_digest FROM read_parquet(?))
JOIN snapshots USING (snapshot)
WHERE url IS NOT NULL
"""
_VISITS = """
CREATE TABLE visits AS
SELECT *,
    lag(version) OVER page AS earlier,
    lag(number) OVER page AS before,
    lead(number) OVER page AS after
FROM (SELECT url, number, string_agg(content_digest, ' ' ORDER BY content_digest) AS version
      FROM seen GROUP BY url, number)
WINDOW page AS (PARTITION BY url ORDER BY number)
"""
_PAGES = """
SELECT url, content_digest, f.snapshot AS first_snapshot, l.snapshot AS last_snapshot, snapshots
FROM (SELECT url, content_digest, min(number) AS first, max(number) AS last, count(*) AS snapshots
      FROM seen GROUP BY url, content_digest)
JOIN snapshots f ON f.number = first JOIN snapshots l ON l.number = last
ORDER BY url, first, content_digest
"""
_RECRAWLS = """
SELECT snapshot,
    coalesce(pages, 0) AS pages, coalesce(first_seen, 0) AS first_seen, coalesce(unchanged, 0) AS unchanged,
    coalesce(edited, 0) AS edited, coalesce(returned, 0) AS returned, coalesce(gone, 0) AS gone,
    coalesce(without_url, 0) AS without_url
FROM snapshots
LEFT JOIN (SELECT number, count(*) AS pages,
        count(*) FILTER (earlier IS NULL) AS first_seen,
        count(*) FILTER (before = number - 1 AND earlier = version) AS unchanged,
        count(*) FILTER (before = number - 1 AND earlier <> version) AS edited,
        count(*) FILTER (before < number - 1) AS returned
    FROM visits GROUP BY number) USING (number)
LEFT JOIN (SELECT number + 1 AS number, count(*) AS gone
    FROM visits WHERE after IS NULL OR after > number + 1 GROUP BY number) USING (number)
LEFT JOIN (SELECT snapshot, count(*) AS without_url FROM kept WHERE url IS NULL GROUP BY snapshot) USING (snapshot)
ORDER BY number
"""
_SUPERSEDED = """
SELECT doc_id, snapshot FROM kept
WHERE url IS NOT NULL AND content_digest NOT IN (
    SELECT content_digest FROM seen JOIN (SELECT url, {order}(number) AS number FROM seen GROUP BY url)
    USING (url, number))
ORDER BY doc_id
"""
_NOTHING = "SELECT doc_id, snapshot FROM kept WHERE false"


def _write(base: Any, query: str, path: Path) -> None:
    reader = base.sql(query).to_arrow_reader(_BATCH)
    with pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
