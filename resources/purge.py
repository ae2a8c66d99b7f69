"""Take away what is no longer in force and still holds documents that were taken down.

Two kinds of leftovers: older versions of Lance tables, and older shards, taxonomies and token streams of proxies, which
hold texts. A version that carries a tag, or a result from which a published mixture was made, is refused unless
``force`` says otherwise: afterwards that mixture can be accounted for (its audit and the certificate stay) but not
traced or made again.

A table version goes as a whole: its manifest, then every data file that no other version names. Results that are in
force and were pinned to such a version hold rows of other snapshots, which stand unchanged in the newest version; they
are pinned to that one, digest against digest, before anything is deleted.

A purge that was killed is finished by the next one: folders lose their name before their files, and what has no name
any more (data files that no version names, folders on their way out) goes each time, whatever else there is to do.
"""

import logging
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gem_assets.lineage.artifacts import Artifact, ArtifactStore
from gem_assets.lineage.blocklist import BlockRequest
from gem_assets.lineage.certificate import OldVersion, issue, old_versions
from gem_assets.lineage.durable import fsync_dir
from gem_assets.lineage.manifest import MANIFEST_NAME, LanceRef, stage_name
from gem_assets.lineage.trace import trace_index_folder
from gem_assets.lineage.walk import walk
from resources.lance import LanceTables
from resources.lance_files import manifests
from resources.store import StoreResource

logger = logging.getLogger(__name__)

PUBLISHED = ("recipes/", "training_order/", "mixture_audit/")
# orders and audits hold ids and addresses and are the evidence of what was shown; they stay
TEXTS = ("raw_shards[", "gis_taxonomy", "proxy_tokens")
GRAVE_PREFIX = ".purged-"


class PurgeRefusedError(RuntimeError):
    """Something that would go is still referred to; the message names it and the way to insist."""


@dataclass(frozen=True)
class Purged:
    """What went, and the results that were pinned to a newer version of their table."""

    versions: tuple[str, ...]
    results: tuple[str, ...]
    files: int
    repinned: tuple[str, ...]


def purge(
    store: StoreResource, requests: Sequence[BlockRequest], *, force: bool = False, dry_run: bool = False
) -> Purged:
    """Delete every older table version and result that holds documents of the requests.

    Parameters
    ----------
    store
        A data root; on object storage a purge is refused.
    requests
        Lines of its blocklist.
    force
        Delete tagged versions and what published mixtures were made from, too.
    dry_run
        Say what would go, and delete nothing; nothing is refused then.

    Raises
    ------
    PurgeRefusedError
        When a version is tagged or a result is part of a published mixture and ``force`` is not set, or the data root
        is on object storage. Nothing was deleted then.
    """
    artifacts, tables = store.artifacts, store.tables
    if tables.folder is None:
        raise PurgeRefusedError(
            f"{store.root} is on object storage, where no lock keeps writers out while versions are deleted. Stop what "
            "writes there, copy it to a local data root, run gem takedown --apply and gem purge on that, and mirror it "
            "back with deletion (S3: aws s3 sync FOLDER URL --delete); where the bucket keeps old versions of objects, "
            "delete those too"
        )
    old = {(one.where, one.version, one.identity): one for request in requests
           for one in old_versions(artifacts, tables, request)}  # fmt: skip
    versions = [one for one in old.values() if one.version is not None]
    results = [one for one in old.values() if one.identity is not None and one.where.startswith(TEXTS)]
    if not force and not dry_run:
        _refuse(artifacts, versions, results)
    shown = Purged(
        tuple(f"{one.where} version {one.version}" for one in versions),
        tuple(f"{one.where} {str(one.identity)[:12]}" for one in results),
        0,
        (),
    )
    if dry_run:
        return shown
    _settle(artifacts)
    gone = {(one.where.removeprefix("table "), int(one.version or 0)) for one in versions}
    repinned = [name for name in (_repin(store, *place, gone) for place in _pinned(artifacts, gone)) if name]
    for table in sorted({table for table, _ in gone}):
        _drop(tables, table, sorted(version for name, version in gone if name == table))
    for one in results:
        asset, _, rest = one.where.partition("[")
        artifacts.discard(asset, str(one.identity), rest.removesuffix("]") or None)
    files = _sweep(tables)
    artifacts.collect_orphans()
    # the index of gem trace quotes addresses of every version; it is made again when it is asked for
    shutil.rmtree(trace_index_folder(Path(store.root)), ignore_errors=True)
    for request in requests:
        issue(artifacts, tables, request)
    return Purged(shown.versions, shown.results, files, tuple(repinned))


def _refuse(artifacts: ArtifactStore, versions: Sequence[OldVersion], results: Sequence[OldVersion]) -> None:
    tagged = [one for one in versions if one.tags]
    used = _used_by_published(artifacts)
    needed = [one for one in results if one.identity in used]
    if not tagged and not needed:
        return
    names = [f"{one.where} version {one.version} ({', '.join(one.tags)})" for one in tagged]
    names += [f"{one.where} {str(one.identity)[:12]}" for one in needed]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    raise PurgeRefusedError(
        f"{len(tagged)} table versions are tagged and {len(needed)} results belong to published mixtures: "
        f"{'; '.join(names[:5])}{more}. Nothing was deleted. With --force they go, and those mixtures can no longer be "
        "traced below their audit or made again"
    )


def _used_by_published(artifacts: ArtifactStore) -> set[str]:
    used: set[str] = set()
    for asset in artifacts.assets():
        if asset.startswith(PUBLISHED):
            for artifact in artifacts.history(asset):
                nodes = walk(artifacts, asset, identity=artifact.identity).nodes.values()
                used.update(node.manifest.identity for node in nodes)
    return used


def _pinned(artifacts: ArtifactStore, gone: set[tuple[str, int]]) -> list[tuple[str, str | None]]:
    """Return the places whose current result is pinned to a version that goes."""
    found: list[tuple[str, str | None]] = []
    for asset in artifacts.assets():
        for partition in artifacts.places(asset):
            current = artifacts.current(asset, partition)
            if current is not None and any((ref.table, ref.version) in gone for ref in current.manifest.lance):
                found.append((asset, partition))
    return found


def _settle(artifacts: ArtifactStore) -> None:
    """Let CURRENT follow where a killed purge had pinned a result anew and not said so yet."""
    for asset in artifacts.assets():
        for partition in artifacts.places(asset):
            entry, current = artifacts.pointer(asset, partition), artifacts.current(asset, partition)
            if entry is None or current is None or entry.identity != current.identity:
                continue
            if entry.manifest not in (None, current.manifest_sha256):
                artifacts.make_current(current)


def _repin(store: StoreResource, asset: str, partition: str | None, gone: set[tuple[str, int]]) -> str | None:
    """Write the manifest of a result in force again, with the newest version of its table."""
    current = store.artifacts.current(asset, partition)
    assert current is not None
    moved = [
        _newest(store.tables, ref, partition) if (ref.table, ref.version) in gone else ref
        for ref in current.manifest.lance
    ]
    if None in moved:
        logger.warning("%s: its rows are not in the newest version of its table; materialize it again",
                       stage_name(asset, partition))  # fmt: skip
        return None
    _rewrite(store.artifacts, current, [ref for ref in moved if ref is not None])
    return stage_name(asset, partition)


def _newest(tables: LanceTables, ref: LanceRef, partition: str | None) -> LanceRef | None:
    version = tables.version(ref.table)
    if version is None or tables.digest(ref.table, version=version, snapshot=partition) != ref.digest:
        return None
    return ref.model_copy(update={"version": version})


def _rewrite(artifacts: ArtifactStore, current: Artifact, lance: list[LanceRef]) -> None:
    manifest = current.manifest
    with artifacts.write(manifest.asset, manifest.identity, manifest.partition, replace=True) as draft:
        for path in current.path.iterdir():
            if path.name != MANIFEST_NAME:
                copy = shutil.copytree if path.is_dir() else shutil.copy2
                copy(path, draft.path / path.name)
        draft.data_version, draft.code_version = manifest.data_version, manifest.code_version
        draft.config, draft.libraries, draft.seed = manifest.config, manifest.libraries, manifest.seed
        draft.inputs, draft.lance = manifest.inputs, lance
        draft.counts, draft.metrics = manifest.counts, manifest.metrics


def _drop(tables: LanceTables, table: str, versions: list[int]) -> None:
    """Delete versions of a table; a table without any other loses its name."""
    tables.untag(table, versions)
    folder = Path(tables.path(table))
    for version in versions:
        path = manifests(folder).get(version)
        if path is not None:
            path.unlink()
            fsync_dir(path.parent)
    if not manifests(folder):
        folder.rename(folder.with_name(f"{GRAVE_PREFIX}{uuid.uuid4().hex}"))
        fsync_dir(folder.parent)


def _sweep(tables: LanceTables) -> int:
    """Delete files that no version of a table names, and tables without a name; returns how many files that were."""
    files = sum(len(tables.remove_orphans(table, older_than_s=-1.0)) for table in tables.tables())
    assert tables.folder is not None
    for grave in tables.folder.glob(f"{GRAVE_PREFIX}*"):
        files += sum(path.is_file() for path in grave.rglob("*"))
        shutil.rmtree(grave)
    return files
