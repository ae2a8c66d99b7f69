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
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from gem_assets.corpus.recrawls import PAGES_NAME
from gem_assets.corpus.shards import DUPLICATES_FILE, shard_paths
from gem_assets.export.records import ExportHolding, find_in_exports
from gem_assets.lineage.artifacts import Artifact, ArtifactStore
from gem_assets.lineage.audit import DOCUMENTS_NAME
from gem_assets.lineage.blocklist import BlockEntry, Blocklist, BlocklistError, BlockRequest, Matcher
from gem_assets.lineage.chain import Head
from gem_assets.lineage.durable import make_dirs, write_atomic
from gem_assets.lineage.manifest import stage_name
from gem_assets.lineage.near import Near
from gem_assets.lineage.takedown import (
    CLUSTER_COUNTS,
    LABELS,
    MATCHED,
    PROXY_TOKENS,
    RAW_SHARDS,
    FoundDocument,
    Holding,
    TableScan,
    count_found,
    find_documents,
    fitted_on,
    holdings,
    kept_out,
    near_misses,
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


class Asked(_Frozen):
    """What came of one entry.

    Attributes
    ----------
    documents, duplicates
        Documents that it named when it was asked for, and how many more were duplicates of those.
    mixtures
        Published mixtures that held any of them, as ``asset identity``.
    kept_out_of
        Snapshots whose ingest has refused rows because of it.
    near
        What it does not name and may have been meant.
    """

    entry: str
    documents: int
    duplicates: int
    mixtures: tuple[str, ...]
    kept_out_of: tuple[str, ...]
    near: tuple[Near, ...]


class ListHead(_Frozen):
    """How far the blocklist reached: lines, and the digest over all of them."""

    lines: int
    digest: str


class OldVersion(_Frozen):
    """A table version, or a result, that is no longer in force and still holds documents."""

    where: str
    version: int | None
    identity: str | None
    rows: int
    tags: tuple[str, ...] = ()


State = Literal["pending", "complete", "partly found", "nothing was found"]


class Certificate(_Frozen):
    """Everything above for one request; ``documents`` counts distinct ids, ``places`` lists the first 10,000.

    ``complete`` says that every entry had found something and that nothing of it is left in anything in force;
    ``partly found`` that nothing is left and some entries had found nothing; ``nothing was found`` that none had.
    """

    request: str
    state: State
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
    asked: tuple[Asked, ...] = ()
    blocklist: ListHead | None = None

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
    places |= {_key(place): place for place in _places(found, {entry.id for entry in request.entries})}
    held = {(one.asset, one.identity): one for one in (earlier.held_by if earlier else ())}
    holding = holdings(store, tables, found)
    for one in holding:
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
    asked = tuple(_asked(store, request, found, holding, earlier))
    head = Blocklist(store.root).head()
    certificate = Certificate(
        request=request.id,
        state=_state(request, asked, left=left),
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
        asked=asked,
        blocklist=ListHead(lines=head.lines, digest=head.digest),
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


def _state(request: BlockRequest, asked: Sequence[Asked], *, left: bool) -> State:
    if left:
        return "pending"
    met = [one.documents > 0 for one in asked]
    if all(met) or (request.documents and not request.found):
        # requests of earlier versions do not say which of their entries found something
        return "complete"
    return "partly found" if any(met) else "nothing was found"


def _asked(
    store: ArtifactStore,
    request: BlockRequest,
    found: Sequence[FoundDocument],
    holding: Sequence[Holding],
    earlier: Certificate | None,
) -> Iterator[Asked]:
    """Yield the account of each entry; what the request or an earlier certificate says stays said."""
    counts = count_found(request.entries, found)
    for entry, count in zip(request.entries, request.found, strict=False):
        counts[entry.id] = max(counts[entry.id], count, key=lambda one: (one.documents, one.duplicates))
    before = {one.entry: one.mixtures for one in (earlier.asked if earlier else ())}
    refused = kept_out(store)
    near = near_misses(store, request.entries, [name for name, count in counts.items() if count.documents])
    for entry in request.entries:
        groups = {one.group for one in found if entry.id in one.named_by}
        ids = {one.doc_id for one in found if one.group in groups}
        mixtures = {f"{one.asset} {one.identity}" for one in holding if one.ids & ids}
        yield Asked(
            entry=str(entry),
            documents=counts[entry.id].documents,
            duplicates=counts[entry.id].duplicates,
            mixtures=tuple(sorted(mixtures.union(before.get(str(entry), ())))),
            kept_out_of=tuple(sorted(refused.get(entry.id, ()))),
            near=near.of(entry),
        )


def checked_requests(store: ArtifactStore) -> list[BlockRequest]:
    """Return the requests of a data root, once everything that ever named them agrees with the list.

    The list is compared with its head record, with the heads that certificates name, and with the entries by which
    committed snapshots say that rows were refused.

    Raises
    ------
    BlocklistError
        When the list lacks something; nothing may be ingested then.
    """
    blocklist = Blocklist(store.root)
    chain, requests = blocklist.chain(), blocklist.requests()
    known = {one.id for one in requests}
    for path in sorted((Path(store.root) / CERTIFICATES).glob("*.json")):
        written = read_certificate(store.root, path.stem)
        if written is None:
            continue
        if written.request not in known:
            raise blocklist.damaged(f"it lacks request {written.request}, of which {path} is the certificate")
        head = written.blocklist
        if head is not None and not chain.holds(Head(lines=head.lines, digest=head.digest)):
            raise blocklist.damaged(f"its first {head.lines} lines are not those that {path} names")
    entries = {entry.id for one in requests for entry in one.all_entries}
    for name, snapshots in kept_out(store).items():
        if name not in entries:
            raise blocklist.damaged(f"it lacks the entry {name}, by which rows of {', '.join(snapshots)} were refused")
    return requests


def taken_down(store: ArtifactStore) -> set[str]:
    """Return the ids of every document that was held and is to be gone; none on object storage, which keeps no list.

    Raises
    ------
    BlocklistError
        When the list lacks something: what was made without it could show a document again.
    """
    if "://" in store.root:
        return set()
    return {name for request in checked_requests(store) for name in request.documents}


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
    listed = {entry.id for one in checked_requests(store) for entry in one.all_entries}
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
    known = checked_requests(store)
    chosen = [one for one in known if request is None or one.id == request]
    if request is not None and not chosen:
        listed = ", ".join(one.id for one in known) or "none"
        raise BlocklistError(f"there is no request {request}; the list holds: {listed}")
    return [issue(store, tables, one) for one in chosen]


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
    history = store.current(PAGES)
    if history is not None:
        rows = sum(int(matcher(batch).sum()) for batch in _columns([history.path / PAGES_NAME], MATCHED))
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
        case "raw_shards":
            paths = shard_paths(artifact.path)
            return sum(int(matcher(batch).sum()) for batch in _columns(paths, MATCHED))
        case "gis_taxonomy":
            return _exemplars(artifact, set(request.documents))
        case _:
            return rows_shown(artifact, request.documents)


def rows_shown(artifact: Artifact, documents: Iterable[str]) -> int:
    """Return how many rows of a training order or audit belong to the documents."""
    return _order_rows(artifact, Matcher(BlockEntry(kind="doc_id", value=name) for name in documents))


def shows_blocked(root: str, asset: str) -> bool:
    """Tell whether the training order or audit in force shows a document that was taken down."""
    current = ArtifactStore(root).current(asset)
    gone = Blocklist(root).documents() if current is not None else set[str]()
    return current is not None and bool(gone) and _shows(root, asset, current.identity, frozenset(gone))


@lru_cache(maxsize=256)
def _shows(root: str, asset: str, identity: str, gone: frozenset[str]) -> bool:
    artifact = ArtifactStore(root).get(asset, identity)
    return artifact is not None and rows_shown(artifact, gone) > 0


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


def _places(found: Sequence[FoundDocument], asked: set[str]) -> Iterator[Place]:
    for one in found:
        yield Place(
            doc_id=one.doc_id, content_digest=one.content_digest, url=one.url, snapshot=one.snapshot, file=one.file,
            offset=one.offset, kept=one.kept, asked=not asked.isdisjoint(one.named_by),
        )  # fmt: skip


def _key(place: Place) -> tuple[str, str, int, str, bool]:
    return place.snapshot, place.file, place.offset, place.doc_id, place.kept


def _still(store: ArtifactStore, held: Held) -> Held:
    current = store.current(held.asset)
    return held.model_copy(update={"in_force": current is not None and current.identity == held.identity})


def _timeless(certificate: Certificate) -> dict[str, Any]:
    return certificate.model_dump(exclude={"issued_at", "blocklist"})
