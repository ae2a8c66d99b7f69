"""Take a whole snapshot back out: its documents leave shards, vectors and labels, and every mixture made from now on.

A landing folder that is merely gone removes nothing: crawl files move to cold storage, and a lost mount must not delete
documents. Removal is asked for by name (``gem remove``), once the landing folder is gone. It can be killed anywhere and
run again: each step is done or not, and the pointers go first, so no later stage picks the snapshot up in between.
Table versions that a manifest pinned keep the rows (an audit needs them); landing the snapshot again brings it back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gem_assets.corpus.dedup.ownership import borrowed_texts
from gem_assets.corpus.landed import landing_lock
from gem_assets.corpus.shards import DUPLICATES_FILE
from gem_assets.stages import RAW_SHARDS, SNAPSHOT_WISE
from gem_assets.storage.durable import LockTimeoutError
from gem_assets.storage.manifest import check_partition
from gem_assets.storage.store import Store


class RemovalError(ValueError):
    """A snapshot cannot be removed as asked; the message says why and what to do."""


@dataclass(frozen=True)
class Removal:
    """What one call took out.

    Attributes
    ----------
    documents
        Documents that the snapshot kept.
    borrowers
        Snapshots that left texts to this one; they are read again from their own landing files and keep them from then.
    """

    snapshot: str
    documents: int
    rows: dict[str, int]
    borrowers: dict[str, int]


class Registered(Protocol):
    """The snapshots that a Dagster instance has registered as partitions."""

    def get_dynamic_partitions(self, partitions_def_name: str) -> Sequence[str]:
        """Return their names."""
        ...

    def delete_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> None:
        """Forget one."""
        ...


def remove_snapshot(store: Store, snapshot: str, *, instance: Registered | None = None, force: bool = False) -> Removal:
    """Remove one snapshot from artifacts, tables and, where an instance is given, from the partitions.

    It is refused while the snapshot is being landed; that no run reads it is for the caller to see to.

    Raises RemovalError when nothing of that name was ever ingested, when it still lies in the landing folder or is
    being landed, or when another snapshot left texts to it that cannot be read again.

    Parameters
    ----------
    snapshot
        Name of a snapshot that is no longer in the landing folder.
    force
        Remove it although another snapshot would lose texts for good.
    """
    check_partition(snapshot)
    try:
        with landing_lock(store.landing, snapshot):
            return _remove(store, snapshot, instance, force=force)
    except LockTimeoutError as error:
        raise RemovalError(f"{snapshot} is being landed right now: wait for it to end, then decide") from error


def _remove(store: Store, snapshot: str, instance: Registered | None, *, force: bool) -> Removal:
    artifacts = store.artifacts
    if snapshot not in artifacts.places(RAW_SHARDS):
        raise RemovalError(f"snapshot {snapshot} was never ingested in {store.root}; see gem status")
    folder = store.landing / snapshot
    if folder.exists():
        raise RemovalError(f"{folder} is still there and would be ingested again: move or delete it first")
    borrowers = borrowers_of(store, snapshot)
    stranded = sorted(name for name in borrowers if not (store.landing / name / "_SUCCESS").is_file())
    if stranded and not force:
        raise RemovalError(
            f"snapshot {snapshot} keeps {sum(borrowers[n] for n in stranded):,} texts for {', '.join(stranded)}, whose "
            "landing files are gone: they would be lost. Land those snapshots again first, or add --force"
        )
    current = artifacts.current(RAW_SHARDS, snapshot)
    documents = current.manifest.counts["kept"] if current is not None else 0
    for asset in reversed(SNAPSHOT_WISE):
        if snapshot in artifacts.places(asset) and not artifacts.removed(asset, snapshot):
            artifacts.remove(asset, snapshot)
    rows: dict[str, int] = {}
    for table in store.tables.tables():
        held = store.tables.count(table, snapshot=snapshot)
        if held:
            store.tables.delete_snapshot(table, snapshot)
            rows[table] = held
    if instance is not None and snapshot in instance.get_dynamic_partitions("snapshot"):
        instance.delete_dynamic_partition("snapshot", snapshot)
    return Removal(snapshot, documents, rows, borrowers)


def borrowers_of(store: Store, snapshot: str) -> dict[str, int]:
    """Count the texts that other snapshots left to this one, by snapshot."""
    found: dict[str, int] = {}
    for name in store.artifacts.partitions(RAW_SHARDS):
        artifact = store.artifacts.current(RAW_SHARDS, name)
        if artifact is None or name == snapshot:
            continue
        with store.spill() as spill:
            texts = borrowed_texts(artifact.path / DUPLICATES_FILE, spill).get(snapshot)
        if texts is not None:
            found[name] = len(texts)
    return found
