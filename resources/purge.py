"""Take away what is no longer in force and still holds documents that were taken down.

Two kinds of leftovers: older versions of Lance tables, and older shards, taxonomies and token streams of proxies, which
hold texts. A version that carries a tag, or a result from which a published mixture was made, is refused unless
``force`` says otherwise: afterwards that mixture can be accounted for (its audit and the certificate stay) but not
traced or made again.

A table version goes as a whole: its manifest, then every data file that no other version names. Results that are in
force and were pinned to such a version hold rows of other snapshots, which stand unchanged in the newest version; they
are pinned to that one, digest against digest, before anything is deleted.
"""

import logging
import shutil
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
        A local data root.
    requests
        Lines of its blocklist.
    force
        Delete tagged versions and what published mixtures were made from, too.
    dry_run
        Say what would go, and delete nothing; nothing is refused then.

    Raises
    ------
    PurgeRefusedError
        When a version is tagged or a result is part of a published mixture and ``force`` is not set. Nothing was
        deleted then.
    """
    artifacts, tables = store.artifacts, store.tables
    if tables.folder is None:
        raise ValueError(f"{store.root}: versions on object storage are cleaned up with the tools of that storage")
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
    gone = {(one.where.removeprefix("table "), int(one.version or 0)) for one in versions}
    repinned = [name for name in (_repin(store, *place, gone) for place in _pinned(artifacts, gone)) if name]
    files = sum(_drop(tables, table, sorted(v for t, v in gone if t == table)) for table in {t for t, _ in gone})
    for one in results:
        for folder in _folders(artifacts, one):
            shutil.rmtree(folder)
            fsync_dir(folder.parent)
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


def _drop(tables: LanceTables, table: str, versions: list[int]) -> int:
    """Delete versions of a table and the files that only they name; returns how many files that were."""
    tables.untag(table, versions)
    folder = Path(tables.path(table))
    for version in versions:
        path = manifests(folder).get(version)
        if path is not None:
            path.unlink()
            fsync_dir(path.parent)
    if not manifests(folder):
        files = sum(path.is_file() for path in folder.rglob("*"))
        shutil.rmtree(folder)
        fsync_dir(folder.parent)
        return files
    return len(tables.remove_orphans(table, older_than_s=-1.0))


def _folders(artifacts: ArtifactStore, one: OldVersion) -> list[Path]:
    asset, _, rest = one.where.partition("[")
    artifact, _torn = artifacts.examine(asset, str(one.identity), rest.removesuffix("]") or None)
    return [artifact.path] if artifact is not None else []
