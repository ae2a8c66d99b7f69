"""The account of a takedown: what was asked for, what was found and where, which mixtures held it, what is gone.

One JSON a request, ``<data root>/takedowns/<request>.json``. It is written when the request is made (``pending``) and
again once nothing of it is left in anything that is in force (``complete``): shards, tables, taxonomy, what proxies are
trained on and judged by, n-gram counts, training orders and their audits. It also says what it does not cover: older
versions on the disk (``gem purge`` takes those away), the landed crawl files, and models that were fitted with the
documents. Exports are searched too, by rows and by token runs: one in the data root that still holds a document keeps
the request pending, one elsewhere is named with its path and digest. It holds addresses and digests, never texts.
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from gem_assets.corpus.recrawls import PAGES_NAME
from gem_assets.corpus.shards import DUPLICATES_FILE, shard_paths
from gem_assets.export.records import ExportHolding, find_in_exports
from gem_assets.lineage.artifacts import Artifact, ArtifactStore
from gem_assets.lineage.audit import DOCUMENTS_NAME
from gem_assets.lineage.blocklist import BlockEntry, Blocklist, BlocklistError, BlockRequest, Matcher
from gem_assets.lineage.durable import make_dirs, write_atomic
from gem_assets.lineage.manifest import stage_name
from gem_assets.lineage.takedown import (
    CLUSTER_COUNTS,
    LABELS,
    PROXY_TOKENS,
    RAW_SHARDS,
    FoundDocument,
    TableScan,
    find_documents,
    fitted_on,
    holdings,
    new_request,
)
from gem_assets.taxonomy.taxonomy import TAXONOMY_NAME, Taxonomy

CERTIFICATES = "takedowns"
EMBEDDINGS, PAGES, TAXONOMY = "embeddings", "page_history", "gis_taxonomy"
_MOST_PLACES = 10_000


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


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Place(_Frozen):
    """Where a document was found."""

    doc_id: str
    content_digest: str
    url: str | None
    snapshot: str
    file: str
    offset: int
    kept: bool
    asked: bool


class Removal(_Frozen):
    """A result that held documents and the one that replaced it; ``after`` is None as long as there is none."""

    asset: str
    snapshot: str | None
    documents: int
    before: str
    after: str | None


class Held(_Frozen):
    """A published mixture that held documents; see :class:`gem_assets.lineage.takedown.Holding`."""

    asset: str
    identity: str
    documents: int
    exposures: float
    tokens: float | None
    in_force: bool


class Checked(_Frozen):
    """Something in force that was searched, and how many rows of the request it holds."""

    where: str
    rows: int


class OldVersion(_Frozen):
    """A table version, or a result, that is no longer in force and still holds documents."""

    where: str
    version: int | None
    identity: str | None
    rows: int
    tags: tuple[str, ...] = ()


class Certificate(_Frozen):
    """Everything above for one request; ``documents`` counts distinct ids, ``places`` lists the first 10,000."""

    request: str
    state: Literal["pending", "complete"]
    requested_at: datetime
    issued_at: datetime
    reason: str
    entries: tuple[str, ...]
    documents: int
    places: tuple[Place, ...]
    removed: tuple[Removal, ...]
    held_by: tuple[Held, ...]
    checked: tuple[Checked, ...]
    still_on_disk: tuple[OldVersion, ...]
    landed_files: tuple[str, ...]
    fitted_on: dict[str, int]
    exports: tuple[ExportHolding, ...] = ()
    beyond_reach: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the JSON text."""
        return (json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True) + "\n").encode()


def certificate_path(root: str | Path, request: str) -> Path:
    """Return where the certificate of a request lies."""
    return Path(root) / CERTIFICATES / f"{request}.json"


def read_certificate(root: str | Path, request: str) -> Certificate | None:
    """Return the certificate of a request, or None when it has not been written or is torn."""
    try:
        return Certificate.model_validate_json(certificate_path(root, request).read_bytes())
    except (OSError, ValueError):
        return None


def issue(
    store: ArtifactStore, tables: Tables, request: BlockRequest, *, at: datetime | None = None, write: bool = True
) -> Certificate:
    """Look everything through and write the certificate of one request; ``complete`` once nothing is left in force.

    What an earlier certificate of the request lists stays listed, also when the versions that showed it were purged.
    """
    earlier = read_certificate(store.root, request.id)
    found = find_documents(store, request.all_entries)
    places = {_key(place): place for place in (earlier.places if earlier else ())}
    places |= {_key(place): place for place in _places(found, Matcher(request.entries))}
    held = {(one.asset, one.identity): one for one in (earlier.held_by if earlier else ())}
    for one in holdings(store, tables, found):
        held[one.asset, one.identity] = Held(
            asset=one.asset, identity=one.identity, documents=one.documents,
            exposures=one.exposures, tokens=one.tokens, in_force=one.current,
        )  # fmt: skip
    held = {key: _still(store, one) for key, one in held.items()}
    checked = tuple(live_rows(store, tables, request))
    exports = () if "://" in store.root else tuple(find_in_exports(Path(store.root), request.documents))
    left = (
        any(one.rows for one in checked)
        or any(one.in_force for one in held.values())
        or any(one.inside and one.state == "holds" for one in exports)
    )
    state: Literal["pending", "complete"] = "pending" if left else "complete"
    certificate = Certificate(
        request=request.id,
        state=state,
        requested_at=request.at,
        issued_at=(at or datetime.now(UTC)).replace(microsecond=0),
        reason=request.reason,
        entries=tuple(str(entry) for entry in request.entries),
        documents=len(request.documents),
        places=tuple(places[key] for key in sorted(places))[:_MOST_PLACES],
        removed=_removals(store, found, earlier),
        held_by=tuple(held[key] for key in sorted(held)),
        checked=checked,
        still_on_disk=tuple(old_versions(store, tables, request)),
        landed_files=tuple(sorted({f"{place.snapshot}/{place.file}" for place in places.values()})),
        fitted_on=dict(fitted_on(store, request.documents)),
        exports=exports,
        beyond_reach=tuple(_beyond_reach(exports)),
    )
    path = certificate_path(store.root, request.id)
    if write and (earlier is None or _timeless(earlier) != _timeless(certificate)):
        make_dirs(path.parent)
        write_atomic(path, certificate.to_bytes())
    return certificate


def _beyond_reach(exports: Sequence[ExportHolding]) -> Iterator[str]:
    """Say what no search and no purge of this data root covers."""
    yield "copies of exports, audits and artifacts that somebody made elsewhere"
    yield "models that were trained or fitted with the documents"
    for one in exports:
        if one.state in ("not searched", "not found", "replaced") or (one.state == "holds" and not one.inside):
            yield f"{one.trainer} export at {one.path} of {one.at:%Y-%m-%d}: {one.state}, {one.searched}"


def request_takedown(
    store: ArtifactStore,
    tables: Tables,
    entries: Sequence[BlockEntry],
    *,
    reason: str = "",
    at: datetime | None = None,
    dry_run: bool = False,
) -> Certificate | None:
    """Put a request on the blocklist and return its certificate, still pending; None when all of it is there already.

    Parameters
    ----------
    store, tables
        The data root; it has to be a local one.
    entries
        What is to go.
    reason
        Kept with the request and in its certificate.
    at
        When it was asked for; now by default.
    dry_run
        Find, and write nothing.
    """
    blocklist = Blocklist(store.root)
    found = find_documents(store, entries)
    request = new_request(entries, found, reason=reason, at=at)
    listed = {entry.id for entry in blocklist.entries()}
    if {entry.id for entry in request.all_entries} <= listed and set(request.documents) <= blocklist.documents():
        return None
    if not dry_run:
        blocklist.append(request)
    return issue(store, tables, request, at=request.at, write=not dry_run)


def certify(store: ArtifactStore, tables: Tables, request: str | None = None) -> list[Certificate]:
    """Bring the certificate of one request, or of all, up to date, and return them, oldest first.

    Raises
    ------
    BlocklistError
        When no request has that id.
    """
    known = Blocklist(store.root).requests()
    chosen = [one for one in known if request is None or one.id == request]
    if request is not None and not chosen:
        listed = ", ".join(one.id for one in known) or "none"
        raise BlocklistError(f"there is no request {request}; the list holds: {listed}")
    return [issue(store, tables, one) for one in chosen]


def live_rows(store: ArtifactStore, tables: Tables, request: BlockRequest) -> Iterator[Checked]:
    """Yield, for everything in force that could hold documents of a request, how many rows it holds."""
    matcher = _matcher(request)
    documents = pa.array(request.documents, pa.string())
    for snapshot in store.partitions(RAW_SHARDS):
        shards = store.current(RAW_SHARDS, snapshot)
        if shards is not None:
            paths = [*shard_paths(shards.path), shards.path / DUPLICATES_FILE]
            rows = sum(int(matcher(batch).sum()) for batch in _columns(paths, ["doc_id", "content_digest", "url"]))
            yield Checked(where=stage_name(RAW_SHARDS, snapshot), rows=rows)
    for table in sorted(_tables_in_force(store) & set(tables.tables())):
        yield Checked(where=f"table {table}", rows=_table_rows(tables, table, None, matcher))
    history = store.current(PAGES)
    if history is not None:
        rows = sum(
            int(matcher(batch).sum()) for batch in _columns([history.path / PAGES_NAME], ["content_digest", "url"])
        )
        yield Checked(where=PAGES, rows=rows)
    taxonomy = store.current(TAXONOMY)
    if taxonomy is not None:
        yield Checked(where=TAXONOMY, rows=_exemplars(taxonomy, set(request.documents)))
    for snapshot in store.partitions(CLUSTER_COUNTS):
        yield Checked(where=stage_name(CLUSTER_COUNTS, snapshot), rows=_counted_rows(store, snapshot, matcher))
    for asset in store.assets():
        if asset == PROXY_TOKENS or asset.startswith(("training_order/", "mixture_audit/")):
            artifact = store.current(asset)
            if artifact is not None:
                yield Checked(where=asset, rows=_order_rows(artifact, documents))


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
        case "raw_shards":
            paths = shard_paths(artifact.path)
            return sum(int(matcher(batch).sum()) for batch in _columns(paths, ["doc_id", "content_digest", "url"]))
        case "gis_taxonomy":
            return _exemplars(artifact, set(request.documents))
        case _:
            return rows_shown(artifact, request.documents)


def rows_shown(artifact: Artifact, documents: Iterable[str]) -> int:
    """Return how many rows of a training order or audit belong to the documents."""
    return _order_rows(artifact, pa.array(sorted(documents), pa.string()))


def _old_results(store: ArtifactStore) -> Iterator[tuple[str, Artifact]]:
    for asset in store.assets():
        if asset in (RAW_SHARDS, TAXONOMY, PROXY_TOKENS) or asset.startswith(("training_order/", "mixture_audit/")):
            for partition in store.places(asset):
                current = store.current(asset, partition)
                for artifact in store.history(asset, partition):
                    if current is None or current.identity != artifact.identity:
                        yield stage_name(asset, partition), artifact


def _removals(store: ArtifactStore, found: Sequence[FoundDocument], earlier: Certificate | None) -> tuple[Removal, ...]:
    """Which results held the texts, per snapshot, and what stands in their place."""
    listed = {(one.asset, one.snapshot, one.before): one for one in (earlier.removed if earlier else ())}
    held = Counter((one.snapshot, one.identity) for one in found if one.kept)
    for (snapshot, identity), documents in held.items():
        listed[RAW_SHARDS, snapshot, identity] = _removal(store, RAW_SHARDS, snapshot, documents, identity)
        for asset in (EMBEDDINGS, LABELS):
            for artifact in store.history(asset, snapshot):
                if any(ref.asset == RAW_SHARDS and ref.identity == identity for ref in artifact.manifest.inputs):
                    before = artifact.identity
                    listed[asset, snapshot, before] = _removal(store, asset, snapshot, documents, before)
    fresh = [_removal(store, one.asset, str(one.snapshot), one.documents, one.before) for one in listed.values()]
    return tuple(sorted(fresh, key=lambda one: (str(one.snapshot), one.asset, one.before)))


def _removal(store: ArtifactStore, asset: str, snapshot: str, documents: int, before: str) -> Removal:
    current = store.current(asset, snapshot)
    after = current.identity if current is not None and current.identity != before else None
    return Removal(asset=asset, snapshot=snapshot, documents=documents, before=before, after=after)


def _matcher(request: BlockRequest) -> Matcher:
    return Matcher([*request.all_entries, *(BlockEntry(kind="doc_id", value=name) for name in request.documents)])


def _tables_in_force(store: ArtifactStore) -> set[str]:
    found: set[str] = set()
    for asset in (EMBEDDINGS, LABELS):
        for snapshot in store.partitions(asset):
            current = store.current(asset, snapshot)
            found.update(ref.table for ref in (current.manifest.lance if current is not None else ()))
    return found


def _table_rows(tables: Tables, table: str, version: int | None, matcher: Matcher) -> int:
    names: list[str] = tables.schema(table, version).names
    columns = [name for name in ("doc_id", "content_digest", "url") if name in names]
    rows = 0
    for batch in tables.scan(table, version=version, columns=columns):
        if "url" not in columns:
            batch = batch.append_column("url", pa.nulls(len(batch), pa.string()))  # noqa: PLW2901
        rows += int(matcher(batch).sum())
    return rows


def _order_rows(artifact: Artifact, documents: pa.Array) -> int:
    paths = sorted(path for path in artifact.path.glob("*.parquet") if _has_ids(path))
    return sum(
        int(pc.sum(pc.is_in(batch.column("doc_id").cast(pa.string()), value_set=documents)).as_py() or 0)
        for batch in _columns(paths, ["doc_id"])
    )


def _counted_rows(store: ArtifactStore, snapshot: str, matcher: Matcher) -> int:
    """Rows of the shards from which the n-gram counts in force were made, which hold no ids themselves."""
    counts, shards = store.current(CLUSTER_COUNTS, snapshot), store.current(RAW_SHARDS, snapshot)
    made = [ref.identity for ref in counts.manifest.inputs if ref.asset == RAW_SHARDS] if counts is not None else []
    if not made or (shards is not None and shards.identity == made[0]):
        return 0
    counted = store.get(RAW_SHARDS, str(made[0]), snapshot)
    paths = shard_paths(counted.path) if counted is not None else []
    return sum(int(matcher(batch).sum()) for batch in _columns(paths, ["doc_id", "content_digest", "url"]))


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
                yield from file.iter_batches(columns=columns)


def _places(found: Sequence[FoundDocument], asked: Matcher) -> Iterator[Place]:
    names = ("doc_id", "content_digest", "url")
    schema = pa.schema([pa.field(name, pa.string()) for name in names])
    columns = [pa.array([getattr(one, name) for one in found], pa.string()) for name in names]
    direct = asked(pa.RecordBatch.from_arrays(columns, schema=schema)).tolist()
    for one, named in zip(found, direct, strict=True):
        yield Place(
            doc_id=one.doc_id, content_digest=one.content_digest, url=one.url, snapshot=one.snapshot, file=one.file,
            offset=one.offset, kept=one.kept, asked=named,
        )  # fmt: skip


def _key(place: Place) -> tuple[str, str, int, str, bool]:
    return place.snapshot, place.file, place.offset, place.doc_id, place.kept


def _still(store: ArtifactStore, held: Held) -> Held:
    current = store.current(held.asset)
    return held.model_copy(update={"in_force": current is not None and current.identity == held.identity})


def _timeless(certificate: Certificate) -> dict[str, Any]:
    return certificate.model_dump(exclude={"issued_at"})
