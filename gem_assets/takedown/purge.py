"""Take away what is no longer in force and still holds documents that were taken down.

Two kinds of leftovers: older versions of Lance tables, and older shards, taxonomies and token streams of proxies, which
hold texts. A version that carries a tag, or a result from which a published mixture was made, is refused unless
``force`` says otherwise: afterwards that mixture can be accounted for (its audit and the certificate stay) but not
traced or made again.

A table version goes as a whole: its manifest, then every data file that no other version names. Rows of other
snapshots that manifests name at such a version stand unchanged in the newest one. No manifest is rewritten:
``purges.jsonl`` says, digest against digest, where such rows are read from then on, and on whose request the rest went
(``storage.purged``).

Exports in the data root that hold such documents go too; ``gem export`` makes them again.

A purge that was killed is finished by the next one: the list of purges is written first, folders lose their name before
their files, and what has no name any more (data files that no version names, folders on their way out) goes each time,
whatever else there is to do.
"""

import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from gem_assets.export.records import ExportHolding, find_in_exports, purge_export, sweep
from gem_assets.lineage.walk import walk
from gem_assets.stages import AUDITS, GIS_TAXONOMY, ORDERS, PROXY_TOKENS, RECIPES, strategy_of
from gem_assets.storage.artifacts import ArtifactStore
from gem_assets.storage.durable import fsync_dir
from gem_assets.storage.lance import LanceTables
from gem_assets.storage.lance_files import manifests
from gem_assets.storage.purged import Moved, Purge, Purges, Result, Version
from gem_assets.storage.store import Store, trace_index_folder
from gem_assets.takedown.blocklist import BlockRequest
from gem_assets.takedown.certificate import issue
from gem_assets.takedown.in_force import OldVersion, old_versions

PUBLISHED = (RECIPES, ORDERS, AUDITS)
# orders and audits hold ids and addresses and are the evidence of what was shown; they stay
TEXTS = ("raw_shards[", GIS_TAXONOMY, PROXY_TOKENS)
GRAVE_PREFIX = ".purged-"


class PurgeRefusedError(RuntimeError):
    """Something that would go is still referred to; the message names it and the way to insist."""


@dataclass(frozen=True)
class Purged:
    """What went, and how many pinned rows of snapshots are read at a newer version of their table from now on."""

    versions: tuple[str, ...]
    results: tuple[str, ...]
    exports: tuple[str, ...]
    files: int
    moved: int


def purge(
    store: Store,
    requests: Sequence[BlockRequest],
    *,
    force: bool = False,
    dry_run: bool = False,
    exports_only: bool = False,
) -> Purged:
    """Delete every older table version, result and export that holds documents of the requests.

    Raises PurgeRefusedError when a version is tagged or a result is part of a published mixture and ``force`` is not
    set, or the data root is on object storage. Nothing was deleted then.

    Parameters
    ----------
    store
        A data root; on object storage a purge is refused.
    force
        Delete tagged versions and what published mixtures were made from, too.
    dry_run
        Say what would go, and delete nothing; nothing is refused then.
    exports_only
        Delete exports and nothing else; nothing is refused then.
    """
    artifacts, tables = store.artifacts, store.tables
    if tables.folder is None:
        raise PurgeRefusedError(
            f"{store.root} is on object storage, where no lock keeps writers out while versions are deleted. Stop what "
            "writes there, copy it to a local data root, run gem takedown --apply and gem purge on that, and mirror it "
            "back with deletion (S3: aws s3 sync FOLDER URL --delete); where the bucket keeps old versions of objects, "
            "delete those too"
        )
    root = Path(store.root)
    old = {} if exports_only else {
        (one.where, one.version, one.identity): one for request in requests
        for one in old_versions(artifacts, tables, request)
    }  # fmt: skip
    versions = [one for one in old.values() if one.version is not None]
    results = [one for one in old.values() if one.identity is not None and one.where.startswith(TEXTS)]
    exports = _exports(root, requests)
    if not force and not dry_run:
        _refuse(artifacts, versions, results, len(exports))
    shown = Purged(
        tuple(f"{one.where} version {one.version}" for one in versions),
        tuple(f"{one.where} {str(one.identity)[:12]}" for one in results),
        tuple(f"{one.path} ({one.trainer})" for one, _ in exports.values()),
        0,
        0,
    )
    if dry_run:
        return shown
    for holding, asked in exports.values():
        purge_export(root, holding, asked)
    sweep(root)
    files = moved = 0
    if not exports_only:
        moved = _record(store, requests, versions, results)
        gone = {(one.where.removeprefix("table "), int(one.version or 0)) for one in versions}
        for table in sorted({table for table, _ in gone}):
            _drop(tables, table, sorted(version for name, version in gone if name == table))
        for one in results:
            asset, partition = _place(one.where)
            artifacts.discard(asset, str(one.identity), partition)
        files = _sweep(tables)
        artifacts.collect_orphans()
        # the index of gem trace quotes addresses of every version; it is made again when it is asked for
        shutil.rmtree(trace_index_folder(root), ignore_errors=True)
        store.forget_shards()
    for request in requests:
        issue(artifacts, tables, request)
    return replace(shown, files=files, moved=moved)


def _exports(root: Path, requests: Sequence[BlockRequest]) -> dict[str, tuple[ExportHolding, list[str]]]:
    """Return the exports in the data root that hold documents of requests, by path, and the ids of those requests."""
    found: dict[str, tuple[ExportHolding, list[str]]] = {}
    for request in requests:
        for one in find_in_exports(root, request.documents):
            if one.inside and one.state == "holds":
                found.setdefault(one.path, (one, []))[1].append(request.id)
    return found


def _record(
    store: Store,
    requests: Sequence[BlockRequest],
    versions: Sequence[OldVersion],
    results: Sequence[OldVersion],
) -> int:
    """Write down what is about to go and where pinned rows stand; returns how many of those there are."""
    if not versions and not results:
        return 0
    gone = {Version(table=one.where.removeprefix("table "), version=int(one.version or 0)) for one in versions}
    purges = Purges(store.root)
    moved = sorted(_moves(store, purges, gone), key=lambda one: (one.table, one.version, str(one.snapshot)))
    purges.append(
        Purge(
            at=datetime.now(UTC).replace(microsecond=0),
            requests=tuple(request.id for request in requests),
            versions=tuple(sorted(gone, key=lambda one: (one.table, one.version))),
            moved=tuple(moved),
            results=tuple(
                Result(asset=asset, partition=partition, identity=str(one.identity))
                for one in results for asset, partition in (_place(one.where),)
            ),
        )
    )  # fmt: skip
    return len(moved)


def _moves(store: Store, purges: Purges, gone: set[Version]) -> set[Moved]:
    """Return where the rows stand that any manifest, or an earlier move, names at a version that goes."""
    named = {
        (ref.table, ref.version, artifact.manifest.partition, ref.digest)
        for asset in store.artifacts.assets()
        for partition in store.artifacts.places(asset)
        for artifact in store.artifacts.history(asset, partition)
        for ref in artifact.manifest.lance
    } | {(one.table, one.to, one.snapshot, one.digest) for one in purges.moved}
    digests: dict[tuple[str, str | None], str] = {}
    found: set[Moved] = set()
    for table, version, snapshot, digest in named:
        if digest is None or Version(table=table, version=version) not in gone:
            continue
        newest = store.tables.version(table)
        if newest is None or Version(table=table, version=newest) in gone:
            continue
        if (table, snapshot) not in digests:
            digests[table, snapshot] = store.tables.digest(table, snapshot=snapshot)
        if digests[table, snapshot] == digest:
            found.add(Moved(table=table, version=version, snapshot=snapshot, digest=digest, to=newest))
    return found


def _place(where: str) -> tuple[str, str | None]:
    """Return asset and partition of ``asset[partition]``."""
    asset, _, rest = where.partition("[")
    return asset, rest.removesuffix("]") or None


def _refuse(
    artifacts: ArtifactStore, versions: Sequence[OldVersion], results: Sequence[OldVersion], exports: int
) -> None:
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
        + (f". gem purge --exports deletes the {exports} exports alone" if exports else "")
    )


def _used_by_published(artifacts: ArtifactStore) -> set[str]:
    used: set[str] = set()
    for asset in artifacts.assets():
        if strategy_of(asset, *PUBLISHED):
            for artifact in artifacts.history(asset):
                nodes = walk(artifacts, asset, identity=artifact.identity).nodes.values()
                used.update(node.manifest.identity for node in nodes)
    return used


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
