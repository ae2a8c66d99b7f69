"""Look a data root over: is it what its manifests say, and what did killed runs leave behind?

``examine`` reads and changes nothing; ``repair`` removes what no reader can see (drafts, spools and data files of
killed writers), sets torn table versions aside and rewrites torn pointers. Nothing that a manifest names is ever
deleted. What a repair cannot fix says which asset to materialize; a stage then finds its result missing and makes it
again, identical by construction.

What ``gem lineage --verify`` checks of one mixture is checked here of everything in force, by the same code
(``maintenance.verify``).

Cost: quick, one pass over the key and vector columns of each table and the sizes of files; ``deep`` also hashes every
file, landed ones too, and every row of the pinned and the newest versions (about 1 GB/s and 0.3 million rows per second
per core), accounts for every audit again and builds every index of ``gem trace`` again.
"""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from gem_assets.export.records import DRAFT_PREFIX, EXPORTS, GRAVE_PREFIX, RECORDS, export_places, unregistered
from gem_assets.lineage.walk import everything
from gem_assets.maintenance.findings import Finding, places, table_folders
from gem_assets.maintenance.table_findings import coverage, rows_and_manifests, table_contents, torn_versions
from gem_assets.maintenance.verify import verify
from gem_assets.storage.artifacts import Artifact, Entry
from gem_assets.storage.durable import is_abandoned
from gem_assets.storage.lance import LanceTables
from gem_assets.storage.lance_files import manifests
from gem_assets.storage.lance_source import SPOOL_PREFIX
from gem_assets.storage.manifest import stage_name
from gem_assets.storage.purged import PURGES_NAME, PurgedError, Purges
from gem_assets.storage.store import RAW_SHARDS, SCRATCH_PREFIX, Store, trace_index_folder
from gem_assets.takedown.blocklist import BLOCKLIST_NAME, BlocklistError, blocklist_of
from gem_assets.takedown.certificate import checked_requests, read_certificate
from gem_assets.tracing.index import TraceIndex


def examine(
    store: Store,
    *,
    deep: bool = False,
    versions: int = 5,
    fingerprint: Callable[[Path], str] | None = None,
) -> list[Finding]:
    """Return everything that is wrong below a data root, errors first.

    Parameters
    ----------
    deep
        Also hash every file and every row, and recompute audits and caches.
    versions
        How many of the newest versions of each table have to be readable.
    fingerprint
        Content digest of a landed snapshot; given, landed bytes are compared with what was ingested.
    """
    tables = LanceTables(store.tables.uri, read_only=True)
    found = [*_artifacts(store), *torn_versions(store)]
    for table in tables.tables():
        found.extend(table_contents(tables, table, versions))
    found.extend(rows_and_manifests(store, tables))
    found.extend(_verified(store, tables, found, deep=deep))
    found.extend(_caches(store, tables) if deep else ())
    found.extend(coverage(store, tables))
    found.extend(_landing(store, fingerprint))
    found.extend(_left_behind(store))
    found.extend(_takedowns(store))
    found.extend(_exports(store))
    order = ["error", "warning", "info"]
    return sorted(found, key=lambda f: (order.index(f.severity), f.kind, f.where))


def repair(store: Store, *, older_than_s: float = 600.0, deep: bool = False) -> list[str]:
    """Remove what killed writers left, set torn table versions aside, rewrite torn pointers.

    Returns what was done, a line each.

    Parameters
    ----------
    older_than_s
        Age from which table files that no version names are removed.
    deep
        Also build the indexes of ``gem trace`` again, and remove those that differ.
    """
    done: list[str] = []
    artifacts = store.artifacts
    for asset, partition in places(store):
        entry, current = artifacts.pointer(asset, partition), artifacts.current(asset, partition)
        if current is None:
            continue
        whole = entry is not None and _pointer_is_whole(store, asset, partition)
        if entry is None or not whole or _pointer_is_behind(store, entry, current):
            artifacts.make_current(current)
            done.append(f"pointer of {stage_name(asset, partition)} set to identity {current.identity[:12]}")
        elif artifacts.rolled_back(asset, partition) is not None:
            artifacts.follow_history(asset, partition)
            done.append(f"pointer of {stage_name(asset, partition)} set to what its HISTORY ends with")
    done.extend(f"removed artifacts/{key}" for key in artifacts.collect_orphans())
    for path in [*_abandoned_folders(store), *_abandoned_files(store)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        done.append(f"removed {path}")
    for finding in _caches(store, LanceTables(store.tables.uri, read_only=True)) if deep else ():
        shutil.rmtree(finding.where)
        done.append(f"removed {finding.where}")
    tables = store.tables
    for folder in table_folders(store):
        before = set(manifests(folder))
        tables.version(folder.stem)
        done.extend(f"set version {v} of table {folder.stem} aside" for v in sorted(before - set(manifests(folder))))
        done.extend(f"removed {path}" for path in tables.remove_orphans(folder.stem, older_than_s=older_than_s))
    return done


def repair_and_examine(
    store: Store, look: Callable[[Store], list[Finding]], *, deep: bool = False
) -> tuple[list[str], list[Finding]]:
    """Repair, then look; returns what was done and what is still to be said."""
    done = repair(store, deep=deep)
    return done, look(store)


def _verified(store: Store, tables: LanceTables, said: Sequence[Finding], *, deep: bool) -> Iterator[Finding]:
    """Everything that verification finds and nothing above has said of the same artifact."""
    local = deep and "://" not in store.root and store.landing.is_dir()
    faults = verify(
        store.artifacts, everything(store.artifacts), landing=store.landing if local else None, tables=tables, deep=deep
    )
    known = {(_ALIKE.get(one.kind, one.kind), one.where) for one in said}
    for fault in faults:
        kind, where = _KINDS.get(fault.kind, fault.kind), fault.where.partition("@")[0]
        if (_ALIKE.get(kind, kind), where) in known:
            continue
        known.add((_ALIKE.get(kind, kind), where))
        landed = fault.kind.startswith("landing_")
        pointer = fault.kind == "pointer_changed"
        remedy = _REMEDIES.get(fault.kind, "Materialize {where} again").format(where=where, folder=fault.folder)
        yield Finding(
            kind=kind, severity="warning" if landed else "error", where=where, message=fault.message,
            remedy=remedy, repairable=pointer,
        )  # fmt: skip
    try:
        blocklist = blocklist_of(store.root)
        lines, requests = Purges(store.root).lines, blocklist.requests() if blocklist is not None else []
    except BlocklistError:
        return  # said with the takedowns
    except PurgedError as error:
        yield Finding(
            kind="purges_damaged", severity="error", where=PURGES_NAME, message=str(error),
            remedy="Restore it from a backup: it says what was deleted on whose request",
        )  # fmt: skip
        return
    asked = {request.id for request in requests}
    for line in lines:
        unknown = sorted(set(line.requests) - asked)
        if unknown:
            yield Finding(
                kind="purge_unasked", severity="error", where=PURGES_NAME,
                message=f"{', '.join(unknown)} is not on the blocklist, but things are said to be {line}",
                remedy="Restore the blocklist or the list of purges from a backup",
            )  # fmt: skip


_KINDS = {"table_changed": "rows_differ", "table_missing": "rows_unreadable"}
#: A torn artifact is missing: one finding says it.
_ALIKE = {"artifact_torn": "artifact_missing", "pointer_behind": "pointer_changed"}
_REMEDIES = {
    "audit_mismatch": "It was made or edited by something else; delete {folder} and materialize {where} again",
    "file_changed": "Delete {folder} and materialize {where} again",
    "file_extra": "Delete it, or find out who put it there",
    "landing_changed": "If nobody changed it on purpose, restore the file",
    "landing_missing": "Put the file back to trace documents down to the crawl files",
    "pointer_changed": "gem doctor --repair lets CURRENT follow HISTORY",
}


def _caches(store: Store, tables: LanceTables) -> Iterator[Finding]:
    """Build every index of ``gem trace`` again and compare; an index that answers otherwise hides or invents."""
    if "://" in store.root:
        return

    def scan(labels: Artifact, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        ref = labels.manifest.lance[0]
        return tables.scan(ref.table, version=ref.version, columns=columns, snapshot=labels.manifest.partition)

    index = TraceIndex(trace_index_folder(Path(store.root)), scan)
    for folder in index.differing(store.artifacts):
        yield Finding(
            kind="cache_differs", severity="error", where=str(folder), repairable=True,
            message="it is not what the artifact gives; gem trace answered from it",
            remedy="gem doctor --repair removes it, and it is made again when it is asked for",
        )  # fmt: skip


def _artifacts(store: Store) -> Iterator[Finding]:
    artifacts = store.artifacts
    for asset, partition in places(store):
        name = stage_name(asset, partition)
        if not _pointer_is_whole(store, asset, partition):
            yield Finding(
                kind="pointer_torn", severity="warning", where=name, message="CURRENT is empty or cut",
                remedy="gem doctor --repair writes it again from HISTORY", repairable=True,
            )  # fmt: skip
        entry = artifacts.pointer(asset, partition)
        if entry is None or entry.identity is None:
            continue
        found, torn = artifacts.examine(asset, entry.identity, partition)
        if found is None:
            fallback = artifacts.current(asset, partition)
            state = f"identity {fallback.identity[:12]} stands in for it" if fallback else "nothing stands in for it"
            yield Finding(
                kind="artifact_torn", severity="error", where=name, remedy=f"Materialize {name} again",
                message=f"{'; '.join(torn) or 'its folder is gone'}; {state}",
            )  # fmt: skip
            continue
        if _pointer_is_behind(store, entry, found):
            yield Finding(
                kind="pointer_behind", severity="warning", where=name, repairable=True,
                message="its manifest was replaced, and the run that did it was killed before CURRENT said so",
                remedy="gem doctor --repair writes CURRENT again",
            )  # fmt: skip


def _landing(store: Store, fingerprint: Callable[[Path], str] | None) -> Iterator[Finding]:
    if "://" in store.root or not store.landing.is_dir():
        return
    ingested = set(store.artifacts.partitions(RAW_SHARDS))
    for snapshot in store.absent(RAW_SHARDS):
        yield Finding(
            kind="not_ingested", severity="info", where=f"landing/{snapshot}", message="it landed and was not ingested",
            remedy=f"Materialize {RAW_SHARDS}[{snapshot}], or look at why its run failed",
        )  # fmt: skip
    for snapshot in sorted(ingested):
        folder = store.landing / snapshot
        artifact = store.artifacts.current(RAW_SHARDS, snapshot)
        if not folder.is_dir():
            yield Finding(
                kind="landing_gone", severity="info", where=f"{RAW_SHARDS}[{snapshot}]",
                message="its landing folder is gone; results stand, the raw bytes cannot be verified any more",
                remedy="Put the folder back to trace documents down to the crawl files",
            )  # fmt: skip
        elif fingerprint is not None and artifact is not None:
            version = fingerprint(folder)
            if not artifact.data_version.startswith(f"{version}:"):
                yield Finding(
                    kind="landing_changed", severity="warning", where=f"{RAW_SHARDS}[{snapshot}]",
                    message="the landed bytes are not those that were ingested",
                    remedy="The automation ingests them again; if nobody changed them on purpose, restore the files",
                )  # fmt: skip


def _left_behind(store: Store) -> Iterator[Finding]:
    orphans = store.artifacts.collect_orphans(dry_run=True)
    names = [f"artifacts/{key}" for key in orphans]
    names += [str(path) for path in [*_abandoned_folders(store), *_abandoned_files(store)]]
    for name in names:
        yield Finding(
            kind="left_behind", severity="info", where=name, message="a killed run left it", repairable=True,
            remedy="gem doctor --repair removes it",
        )  # fmt: skip


def _takedowns(store: Store) -> Iterator[Finding]:
    if "://" in store.root:
        return
    try:
        requests = checked_requests(store.artifacts)
    except BlocklistError as error:
        yield Finding(
            kind="blocklist_damaged", severity="error", where=BLOCKLIST_NAME, message=str(error),
            remedy="No snapshot is ingested until then",
        )  # fmt: skip
        return
    for request in requests:
        written = read_certificate(store.root, request.id)
        if written is None or written.state == "pending":
            state = "has no certificate" if written is None else "is pending"
            yield Finding(
                kind="takedown_pending", severity="warning", where=f"request {request.id}", message=f"it {state}",
                remedy="gem dev or gem takedown --apply takes the documents down; gem certificate looks again",
            )  # fmt: skip


def _exports(store: Store) -> Iterator[Finding]:
    if "://" in store.root:
        return
    try:
        names = unregistered(Path(store.root))
    except ValueError as error:
        yield Finding(
            kind="record_damaged", severity="error", where=RECORDS, message=str(error),
            remedy="Without it no takedown knows what that export holds",
        )  # fmt: skip
        return
    for name in names:
        yield Finding(
            kind="export_unregistered", severity="info", where=name,
            message="no record says what it holds, so a takedown searches it by document ids alone",
            remedy="Export it again with gem export, or delete it",
        )  # fmt: skip


def _pointer_is_whole(store: Store, asset: str, partition: str | None) -> bool:
    return store.artifacts.pointer(asset, partition, strict=True) is not None


def _pointer_is_behind(store: Store, entry: Entry, artifact: Artifact) -> bool:
    """Tell whether a result has another manifest than CURRENT says, and one that was written down all the same."""
    if entry.identity != artifact.identity or entry.manifest in (None, artifact.manifest_sha256):
        return False
    manifest = artifact.manifest
    known = store.artifacts.recorded_manifests(manifest.asset, manifest.identity, manifest.partition)
    return artifact.manifest_sha256 in known


def _abandoned_folders(store: Store) -> list[Path]:
    """Folders of work under way whose process is dead, also beside exports that were written elsewhere."""
    root = store.tables.folder
    if root is None:
        return []
    base = root.parent
    found = [*(base / "scratch").glob(f"{SCRATCH_PREFIX}*"), *root.glob(f"{SPOOL_PREFIX}*")]
    found += [*(base / "cache").rglob(".draft-*"), *(base / "audits").glob(".audit-*")]
    with contextlib.suppress(ValueError):  # a torn record is a finding of its own
        found += [path for place in export_places(base) for path in place.glob(".export-*")]
    found += [*(base / EXPORTS).glob(f"{GRAVE_PREFIX}*"), *(base / RECORDS).glob(f"{DRAFT_PREFIX}*")]
    return sorted(path for path in found if path.is_dir() and is_abandoned(path))


def _abandoned_files(store: Store, older_than_s: float = 600.0) -> list[Path]:
    """Files of writes that were cut off before they got their name."""
    if store.tables.folder is None:
        return []
    oldest = time.time() - older_than_s
    found = (store.tables.folder.parent / "cache").rglob(".*.tmp")
    return sorted(path for path in found if path.is_file() and path.stat().st_mtime <= oldest)
