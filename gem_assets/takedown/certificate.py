"""The account of a takedown: what was asked for, what was found and where, which mixtures held it, what is gone.

One JSON file per request, ``<data root>/takedowns/<request>.json``. It is written when the request is made
(``pending``) and again once nothing of it is left in anything that is in force (``complete``): shards, tables,
taxonomy, what proxies are trained on and judged by, n-gram counts, training orders and their audits. It also says what
it does not cover: older versions on the disk (``gem purge`` takes those away), the landed crawl files, and models that
were fitted with the documents. Exports are searched too, by rows and by token runs: one in the data root that still
holds a document keeps the request pending, one elsewhere is named with its path and digest. It holds addresses and
digests, never texts.
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from gem_assets.export.records import ExportHolding, find_in_exports
from gem_assets.frozen import Frozen
from gem_assets.stages import EMBEDDINGS, RAW_SHARDS, STUDENT_LABELS
from gem_assets.storage.artifacts import ArtifactStore
from gem_assets.storage.chain import Head
from gem_assets.storage.durable import make_dirs, write_atomic
from gem_assets.takedown.blocklist import BlockEntry, Blocklist, BlocklistError, BlockRequest
from gem_assets.takedown.holdings import Holding, fitted_on, holdings
from gem_assets.takedown.in_force import Checked, OldVersion, Tables, live_rows, old_versions, rows_shown
from gem_assets.takedown.near import Near
from gem_assets.takedown.request import (
    FoundDocument,
    count_found,
    find_documents,
    kept_out,
    near_misses,
    new_request,
)

CERTIFICATES = "takedowns"
_MOST_PLACES = 10_000


class Place(Frozen):
    """Where a document was found."""

    doc_id: str
    content_digest: str
    url: str | None
    snapshot: str
    file: str
    offset: int
    kept: bool
    asked: bool


class Removal(Frozen):
    """A result that held documents and the one that replaced it; ``after`` is None as long as there is none."""

    asset: str
    snapshot: str | None
    documents: int
    before: str
    after: str | None


class Held(Frozen):
    """A published mixture that held documents; see :class:`gem_assets.takedown.holdings.Holding`."""

    asset: str
    identity: str
    documents: int
    exposures: float
    tokens: float | None
    in_force: bool


class Asked(Frozen):
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


class ListHead(Frozen):
    """How far the blocklist reached: lines, and the digest over all of them."""

    lines: int
    digest: str


State = Literal["pending", "complete", "partly found", "nothing was found"]


class Certificate(Frozen):
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

    Raises BlocklistError when the list lacks something; nothing may be ingested then.
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

    Raises BlocklistError when the list lacks something: what was made without it could show a document again.
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
    reason
        Kept with the request and in its certificate.
    at
        When it was asked for; now by default.
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

    Raises BlocklistError when no request has that id.
    """
    known = checked_requests(store)
    chosen = [one for one in known if request is None or one.id == request]
    if request is not None and not chosen:
        listed = ", ".join(one.id for one in known) or "none"
        raise BlocklistError(f"there is no request {request}; the list holds: {listed}")
    return [issue(store, tables, one) for one in chosen]


def shows_blocked(root: str, asset: str) -> bool:
    """Tell whether the training order or audit in force shows a document that was taken down."""
    current = ArtifactStore(root).current(asset)
    gone = Blocklist(root).documents() if current is not None else set[str]()
    return current is not None and bool(gone) and _shows(root, asset, current.identity, frozenset(gone))


@lru_cache(maxsize=256)
def _shows(root: str, asset: str, identity: str, gone: frozenset[str]) -> bool:
    artifact = ArtifactStore(root).get(asset, identity)
    return artifact is not None and rows_shown(artifact, gone) > 0


def _removals(store: ArtifactStore, found: Sequence[FoundDocument], earlier: Certificate | None) -> tuple[Removal, ...]:
    """Which results held the texts, per snapshot, and what stands in their place."""
    listed = {(one.asset, one.snapshot, one.before): one for one in (earlier.removed if earlier else ())}
    held = Counter((one.snapshot, one.identity) for one in found if one.kept)
    for (snapshot, identity), documents in held.items():
        listed[RAW_SHARDS, snapshot, identity] = _removal(store, RAW_SHARDS, snapshot, documents, identity)
        for asset in (EMBEDDINGS, STUDENT_LABELS):
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
