"""A rights holder's request: which documents it means, and which snapshots it makes stale.

``find_documents`` looks through every committed version of ``raw_shards`` that is still on the disk. A text that was
seen at a blocked address leaves with all its duplicates, exact and near, in whatever snapshot they are kept: otherwise
the copy that was dropped in its favour would take its place at the next ingest. ``unapplied`` says for one committed
snapshot which entries concern it and are not in it yet; this is what makes a partition stale, and nothing else does.

Cost: one pass over three narrow columns of the shards for each round of duplicates (two or three rounds).
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gem_assets.corpus.shards import DUPLICATES_FILE, shard_paths
from gem_assets.stages import BLOCKLIST, RAW_SHARDS
from gem_assets.storage.artifacts import Artifact, ArtifactStore
from gem_assets.storage.identity import digest
from gem_assets.storage.manifest import InputRef
from gem_assets.takedown.blocklist import (
    BlockEntry,
    Blocklist,
    BlockRequest,
    Count,
    Matcher,
    entries_version,
)
from gem_assets.takedown.near import NearMisses

BLOCKED_BY = "blocked_by"
"""Metric of a manifest that names the entries by which rows of its snapshot were refused."""

MATCHED = ["doc_id", "content_digest", "url", "source"]
"""Columns that a matcher looks at."""
_PLACE = ["doc_id", "content_digest", "url", "file", "offset"]


@dataclass(frozen=True)
class FoundDocument:
    """One place where a document was seen, in one committed version of its snapshot.

    Attributes
    ----------
    kept
        The text itself was stored there; else only the place was recorded, and the text left to another document.
    named_by
        Ids of the entries that name it; none for a duplicate of one that is named.
    group
        Number that it shares with its duplicates.
    """

    doc_id: str
    content_digest: str
    url: str | None
    snapshot: str
    file: str
    offset: int
    kept: bool
    named_by: frozenset[str]
    identity: str
    current: bool
    group: int = 0


def find_documents(store: ArtifactStore, entries: Iterable[BlockEntry]) -> list[FoundDocument]:
    """Return every place of every document that the entries mean, duplicates included, oldest version first."""
    versions = list(_versions(store))
    asked = Matcher(entries)
    matcher = Matcher(asked.entries.values())
    near = _near_pairs(artifact for artifact, _ in versions)
    while True:
        found = list(_places(versions, matcher, asked))
        wanted = {f"content:{one.content_digest}" for one in found}
        kept = pa.array(sorted({one.doc_id for one in found}), pa.string())
        texts = pa.array(sorted({one.content_digest for one in found}), pa.string())
        dropped = near.filter(pc.is_in(near.column("kept_doc_id"), value_set=kept)).column("content_digest")
        keepers = near.filter(pc.is_in(near.column("content_digest"), value_set=texts)).column("kept_doc_id")
        wanted |= {f"content:{value}" for value in dropped.to_pylist()}
        wanted |= {f"doc_id:{value}" for value in keepers.to_pylist()}
        standing = {str(entry) for entry in matcher.entries.values()}
        if wanted <= standing:
            return _grouped(found, near)
        more = (_from_key(key) for key in sorted(wanted - standing))
        matcher = Matcher([*matcher.entries.values(), *more])


def _grouped(found: Sequence[FoundDocument], near: pa.Table) -> list[FoundDocument]:
    """Number the groups of duplicates: the same document, the same text, or a near duplicate that was dropped."""
    leader: dict[str, str] = {}

    def lead(name: str) -> str:
        while (above := leader.setdefault(name, name)) != name:
            leader[name] = leader[above]
            name = leader[name]
        return name

    for one in found:
        leader[lead(one.doc_id)] = lead(one.content_digest)
    for text, document in zip(*(near.column(name).to_pylist() for name in near.column_names), strict=True):
        if text in leader and document in leader:
            leader[lead(text)] = lead(document)
    numbers: dict[str, int] = {}
    return [replace(one, group=numbers.setdefault(lead(one.doc_id), len(numbers))) for one in found]


def count_found(entries: Sequence[BlockEntry], found: Sequence[FoundDocument]) -> dict[str, Count]:
    """Return how many documents each entry names, and how many more are their duplicates, by the id of the entry."""
    members: dict[int, set[str]] = {}
    named: dict[str, set[str]] = {}
    groups: dict[str, set[int]] = {}
    for one in found:
        members.setdefault(one.group, set()).add(one.doc_id)
        for name in one.named_by:
            named.setdefault(name, set()).add(one.doc_id)
            groups.setdefault(name, set()).add(one.group)
    counts: dict[str, Count] = {}
    for entry in entries:
        own = named.get(entry.id, set())
        every = set[str]().union(*(members[group] for group in groups.get(entry.id, ())))
        counts[entry.id] = Count(documents=len(own), duplicates=len(every - own))
    return counts


def near_misses(store: ArtifactStore, entries: Sequence[BlockEntry], found: Iterable[str]) -> NearMisses:
    """Return what lies next to the entries in the snapshots that are in force; ``found`` names those that met rows."""
    near = NearMisses(entries, found)
    for snapshot in store.partitions(RAW_SHARDS) if near else ():
        current = store.current(RAW_SHARDS, snapshot)
        for batch in _rows(current, MATCHED) if current is not None else ():
            columns = [batch.column(name).to_pylist() if name in batch.schema.names else [None] * batch.num_rows
                       for name in MATCHED]  # fmt: skip
            for place in zip(*columns, strict=True):
                near.see(*place)
    return near


def kept_out(store: ArtifactStore) -> dict[str, list[str]]:
    """Return the entries by which the snapshots in force say that rows were refused, with those snapshots."""
    found: dict[str, list[str]] = {}
    for snapshot in store.partitions(RAW_SHARDS):
        current = store.current(RAW_SHARDS, snapshot)
        for name in applied_entries(current) if current is not None else ():
            found.setdefault(name, []).append(snapshot)
    return found


def new_request(
    entries: Sequence[BlockEntry], found: Sequence[FoundDocument], *, reason: str = "", at: datetime | None = None
) -> BlockRequest:
    """Return the line that goes into the list; its id follows from what was asked for and when."""
    moment = (at or datetime.now(UTC)).replace(microsecond=0)
    chosen = sorted(set(entries), key=str)
    counts = count_found(chosen, found)
    return BlockRequest(
        id=digest({"at": moment, "entries": [str(entry) for entry in chosen]})[:12],
        at=moment,
        reason=reason,
        entries=tuple(chosen),
        copies=tuple(sorted({one.content_digest for one in found})),
        documents=tuple(sorted({one.doc_id for one in found})),
        found=tuple(counts[entry.id] for entry in chosen),
    )


def unapplied(artifact: Artifact, entries: Sequence[BlockEntry]) -> frozenset[str]:
    """Return the ids of the entries that concern rows which a committed snapshot still holds.

    Entries that it names and that are no longer on the list count too: what they kept out may come back.
    """
    matcher = Matcher(entries)
    for batch in _rows(artifact, MATCHED) if entries else ():
        matcher(batch)
    return frozenset(matcher.hits | (applied_entries(artifact) - {entry.id for entry in entries}))


def applied_entries(artifact: Artifact) -> set[str]:
    """Return the ids of the entries by which rows of a snapshot were refused."""
    recorded: Any = artifact.manifest.metrics.get(BLOCKED_BY) or []
    return {str(name) for name in recorded}


def blocklist_input(ids: Iterable[str]) -> list[InputRef]:
    """Return what an identity takes of the list: nothing when no entry concerns the result."""
    names = sorted(ids)
    return [InputRef(asset=BLOCKLIST, data_version=entries_version(names), rows=len(names))] if names else []


def stale_snapshots(root: str) -> dict[str, frozenset[str]]:
    """Return the ingested snapshots of a data root that new entries of its list concern, with those entries."""
    if "://" in root:
        return {}
    blocklist = Blocklist(root)
    entries = tuple(blocklist.entries())
    store = ArtifactStore(root)
    found: dict[str, frozenset[str]] = {}
    for snapshot in store.partitions(RAW_SHARDS):
        current = store.current(RAW_SHARDS, snapshot)
        if current is not None and (entries or applied_entries(current)):
            concerned = _unapplied(root, snapshot, current.identity, entries)
            if concerned:
                found[snapshot] = concerned
    return found


@lru_cache(maxsize=4096)
def _unapplied(root: str, snapshot: str, identity: str, entries: tuple[BlockEntry, ...]) -> frozenset[str]:
    artifact = ArtifactStore(root).get(RAW_SHARDS, identity, snapshot)
    return frozenset() if artifact is None else unapplied(artifact, entries)


def _versions(store: ArtifactStore) -> Iterator[tuple[Artifact, bool]]:
    for snapshot in store.places(RAW_SHARDS):
        current = store.current(RAW_SHARDS, snapshot)
        for artifact in store.history(RAW_SHARDS, snapshot):
            yield artifact, current is not None and artifact.identity == current.identity


def _places(versions: Sequence[tuple[Artifact, bool]], matcher: Matcher, asked: Matcher) -> Iterator[FoundDocument]:
    for artifact, current in versions:
        snapshot = str(artifact.manifest.partition)
        for path in [*shard_paths(artifact.path), artifact.path / DUPLICATES_FILE]:
            kept = path.name != DUPLICATES_FILE
            for batch in _batches(path, [*_PLACE, "source"]):
                rows = batch.filter(pa.array(matcher(batch)))
                named = asked.named(rows) if rows.num_rows else {}
                for number, row in enumerate(rows.select(_PLACE).to_pylist()):
                    yield FoundDocument(
                        **row, snapshot=snapshot, kept=kept, named_by=frozenset(named.get(number, ())),
                        identity=artifact.identity, current=current,
                    )  # fmt: skip


def _rows(artifact: Artifact, columns: list[str]) -> Iterator[pa.RecordBatch]:
    for path in [*shard_paths(artifact.path), artifact.path / DUPLICATES_FILE]:
        yield from _batches(path, columns)


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    if path.is_file():
        with pq.ParquetFile(path, pre_buffer=False) as file:
            held = file.schema_arrow.names
            yield from file.iter_batches(columns=[name for name in columns if name in held])


def _near_pairs(artifacts: Iterable[Artifact]) -> pa.Table:
    """Return (content_digest, kept_doc_id) of every near duplicate that was dropped."""
    columns = ["content_digest", "kept_doc_id"]
    parts = [
        pq.read_table(
            artifact.path / DUPLICATES_FILE, columns=columns, filters=pc.field("kind") == "near_within"
        ).select(columns)
        for artifact in artifacts
        if (artifact.path / DUPLICATES_FILE).is_file()
    ]
    empty = pa.schema([pa.field(name, pa.string()) for name in columns]).empty_table()
    return pa.concat_tables([empty, *(part.cast(empty.schema) for part in parts)])


def _from_key(key: str) -> BlockEntry:
    kind, _, value = key.partition(":")
    return BlockEntry(kind="doc_id" if kind == "doc_id" else "content", value=value)
