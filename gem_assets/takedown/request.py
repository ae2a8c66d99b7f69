"""A rights holder's request: which documents it means, which snapshots it makes stale, which mixtures held them.

``find_documents`` looks through every committed version of ``raw_shards`` that is still on the disk. A text that was
seen at a blocked address leaves with all its duplicates, exact and near, in whatever snapshot they are kept: otherwise
the copy that was dropped in its favour would take its place at the next ingest. ``unapplied`` says for one committed
snapshot which entries concern it and are not in it yet; this is what makes a partition stale, and nothing else does.

Cost: one pass over three narrow columns of the shards for each round of duplicates (two or three rounds).
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gem_assets.corpus.shards import DUPLICATES_FILE, shard_paths
from gem_assets.lineage.walk import walk
from gem_assets.mixing.recipe import RECIPE_NAME, Recipe
from gem_assets.proxy.contents import held_documents
from gem_assets.stages import BLOCKLIST, RAW_SHARDS, STUDENT_LABELS, TEACHER_CLUSTERS
from gem_assets.storage.artifacts import Artifact, ArtifactStore
from gem_assets.storage.identity import digest
from gem_assets.storage.manifest import InputRef
from gem_assets.storage.purged import PurgedError
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
TAKEN_DOWN = "taken_down"
"""Metric of prepared tokens that names the documents that have left them."""

MATCHED = ["doc_id", "content_digest", "url", "source"]
"""Columns that a matcher looks at."""
_PLACE = ["doc_id", "content_digest", "url", "file", "offset"]
_SAMPLE_FILE = "sample.parquet"


class TableScan(Protocol):
    """What is needed of the vector and label tables."""

    def scan(
        self,
        table: str,
        *,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        snapshot: str | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one version, of one snapshot if given."""
        ...


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
    identity
        Of the ``raw_shards`` that held it.
    current
        That result is the current one.
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


@dataclass(frozen=True)
class Holding:
    """A published mixture that held documents of a request.

    Attributes
    ----------
    asset, identity
        The recipe, or the training order.
    documents
        How many of them it could draw (a recipe) or did draw (an order).
    exposures
        How often they are shown in one run: expected from the epochs of their clusters for a recipe, counted in an
        order.
    tokens
        The same in tokens; None for an order, which does not hold them.
    current
        It is the mixture in force.
    ids
        The documents.
    """

    asset: str
    identity: str
    documents: int
    exposures: float
    tokens: float | None
    current: bool
    ids: frozenset[str]


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


def blocked_seed(gone: set[str], teacher: Artifact) -> list[str]:
    """Return the ids of seed documents of a teacher that were taken down, sorted."""
    if not gone or not (teacher.path / _SAMPLE_FILE).is_file():
        return []
    ids: list[str] = pq.read_table(teacher.path / _SAMPLE_FILE, columns=["doc_id"]).column("doc_id").to_pylist()
    return sorted(gone.intersection(ids))


def blocked_tokens(gone: set[str], tokens: Artifact | None) -> tuple[list[str], list[str]]:
    """Return the ids of documents that were taken down and that prepared tokens hold, or that have left them.

    Parameters
    ----------
    gone
        What was taken down: :func:`gem_assets.takedown.certificate.taken_down`.
    tokens
        Prepared tokens, if there are any.

    Returns
    -------
    held, all
        Sorted; ``all`` names what the tokens are to be without, and stays the same once ``held`` has left them.
    """
    if tokens is None:
        return [], []
    recorded: Any = tokens.manifest.metrics.get(TAKEN_DOWN) or []
    held = held_documents(tokens.path, gone)
    return held, sorted(gone.intersection(recorded).union(held))


def holdings(store: ArtifactStore, tables: TableScan, found: Sequence[FoundDocument]) -> list[Holding]:
    """Return every published recipe and training order that held the documents, by asset, oldest first.

    Parameters
    ----------
    store
        Where recipes and orders lie; every version that is still on the disk is looked at.
    tables
        The label tables, which say in which cluster a document was.
    found
        What :func:`find_documents` returned.
    """
    by_version: dict[tuple[str, str], set[str]] = {}
    for one in found:
        if one.kept:
            by_version.setdefault((one.snapshot, one.identity), set()).add(one.doc_id)
    clusters: dict[tuple[str, int, str], list[tuple[str, int, int]]] = {}
    result: list[Holding] = []
    for asset in store.assets():
        if asset.startswith("recipes/"):
            for artifact, current in _history(store, asset):
                holding = _recipe_holding(store, tables, artifact, by_version, clusters, current)
                result.extend([holding] if holding is not None else [])
        elif asset.startswith("training_order/"):
            ids = pa.array(sorted({one.doc_id for one in found}), pa.string())
            for artifact, current in _history(store, asset):
                shown, exposures = _shown(artifact, ids)
                if exposures:
                    held = Holding(asset, artifact.identity, len(shown), float(exposures), None, current, shown)
                    result.append(held)
    return result


def fitted_on(store: ArtifactStore, documents: Iterable[str]) -> list[tuple[str, int]]:
    """Return the identities of teachers whose seed sample held the documents, with how many."""
    wanted = set(documents)
    result: list[tuple[str, int]] = []
    for artifact, _ in _history(store, TEACHER_CLUSTERS):
        if (artifact.path / _SAMPLE_FILE).is_file():
            ids = pq.read_table(artifact.path / _SAMPLE_FILE, columns=["doc_id"]).column("doc_id").to_pylist()
            held = len(wanted.intersection(ids))
            result.extend([(artifact.identity, held)] if held else [])
    return result


def _recipe_holding(
    store: ArtifactStore,
    tables: TableScan,
    recipe: Artifact,
    by_version: Mapping[tuple[str, str], set[str]],
    clusters: dict[tuple[str, int, str], list[tuple[str, int, int]]],
    current: bool,
) -> Holding | None:
    lineage = walk(store, recipe.manifest.asset, identity=recipe.identity)
    epochs = {entry.cluster: entry.implied_epochs for entry in Recipe.read(recipe.path / RECIPE_NAME).entries}
    held, exposures, tokens = list[str](), 0.0, 0.0
    for node in lineage.nodes.values():
        if node.manifest.asset != STUDENT_LABELS or not node.manifest.lance:
            continue
        shards = next((ref for ref in node.manifest.inputs if ref.asset == RAW_SHARDS), None)
        ids = by_version.get((str(node.manifest.partition), str(shards.identity))) if shards is not None else None
        if not ids:
            continue
        ref = node.manifest.lance[0]
        key = (ref.table, ref.version, str(node.manifest.partition))
        if key not in clusters:
            clusters[key] = list(_clusters(tables, key, ids))
        for doc_id, cluster, n_tokens in clusters[key]:
            held.append(doc_id)
            exposures += epochs.get(cluster, 0.0)
            tokens += epochs.get(cluster, 0.0) * n_tokens
    name, identity, ids = recipe.manifest.asset, recipe.identity, frozenset(held)
    return Holding(name, identity, len(held), exposures, tokens, current, ids) if held else None


def _clusters(tables: TableScan, key: tuple[str, int, str], ids: set[str]) -> Iterator[tuple[str, int, int]]:
    table, version, snapshot = key
    wanted = pa.array(sorted(ids), pa.string())
    # of a version that a purge took away, the certificate keeps what was found before
    with contextlib.suppress(PurgedError):
        for batch in tables.scan(table, version=version, columns=["doc_id", "cluster", "n_tokens"], snapshot=snapshot):
            hit = batch.filter(pc.is_in(batch.column("doc_id"), value_set=wanted))
            yield from zip(*(hit.column(name).to_pylist() for name in ("doc_id", "cluster", "n_tokens")), strict=True)


def _shown(order: Artifact, ids: pa.Array) -> tuple[frozenset[str], int]:
    shown: set[str] = set()
    exposures = 0
    for path in sorted(order.path.glob("*.parquet")):
        with pq.ParquetFile(path, pre_buffer=False) as file:
            if "doc_id" not in file.schema_arrow.names:
                continue
            for batch in file.iter_batches(columns=["doc_id"]):
                column = batch.column("doc_id").cast(pa.string())
                hit = column.filter(pc.is_in(column, value_set=ids))
                exposures += len(hit)
                shown.update(hit.to_pylist())
    return frozenset(shown), exposures


def _history(store: ArtifactStore, asset: str) -> Iterator[tuple[Artifact, bool]]:
    current = store.current(asset)
    for artifact in store.history(asset):
        yield artifact, current is not None and artifact.identity == current.identity


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
