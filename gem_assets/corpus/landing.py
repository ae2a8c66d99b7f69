"""Put crawl files into the landing folder: ``<root>/<snapshot>/…``, with ``_SUCCESS`` written last.

Size and digest of every file are written down beside the landing folder (:mod:`gem_assets.corpus.fingerprints`). How
such a folder is read again is in :mod:`gem_assets.corpus.landed`.
"""

import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gem_assets.corpus.fingerprints import Recorded, copy_hashed, fingerprint, landed_digests, record_landing
from gem_assets.corpus.landed import (
    SUCCESS,
    LandedFile,
    LandedSnapshot,
    LandingError,
    describe_landed,
    landed_files,
    landing_lock,
    links_file,
    list_snapshots,
    printable,
    validate_snapshot_name,
    walk_files,
)
from gem_assets.storage.durable import LockTimeoutError, fsync_dir, fsync_file, make_dirs, remove_tree, write_atomic

if TYPE_CHECKING:
    from gem_assets.types import Progress

__all__ = [
    "SUCCESS",
    "LandedFile",
    "LandedSnapshot",
    "LandingError",
    "LandingMode",
    "fingerprint",
    "land",
    "landed_digests",
    "landed_files",
    "list_snapshots",
    "validate_snapshot_name",
]

LandingMode = Literal["copy", "link", "hardlink"]
"""Called with (files done, files in all, file that comes next)."""


def land(
    sources: Sequence[Path],
    landing_root: Path,
    snapshot: str,
    *,
    mode: LandingMode = "copy",
    replace: bool = False,
    progress: "Progress | None" = None,
) -> LandedSnapshot:
    """Put files into the landing folder under a snapshot's name, and ``_SUCCESS`` last.

    A landing that was stopped can be repeated with the same sources. Of two that run at once one is refused.

    Raises LandingError on a bad name, nothing to land, two sources with one relative path, a link that leaves its
    source folder, a snapshot that has landed already or is being landed, or a folder with files that are not from these
    sources.

    Parameters
    ----------
    sources
        Files, or folders whose files keep their relative layout. Hidden files and ``_SUCCESS`` are left behind.
    mode
        ``copy``; ``hardlink`` (same file system, and the sources must not change); ``link`` (symbolic links, written
        down beside the landing folder so that they are followed).
    replace
        Empty a snapshot that has landed already first.
    progress
        Called with (files done, files in all, file that comes next).
    """
    validate_snapshot_name(snapshot)
    plan = _plan(sources)
    folder = landing_root / snapshot
    try:
        with landing_lock(landing_root, snapshot):
            return _land(plan, folder, mode, replace, progress)
    except LockTimeoutError as error:
        raise LandingError(
            f"{snapshot} is being landed by another command, or removed; wait for it to end, then look with gem status"
        ) from error


def _land(
    plan: dict[str, Path], folder: Path, mode: LandingMode, replace: bool, progress: "Progress | None"
) -> LandedSnapshot:
    if folder.is_symlink():
        raise LandingError(f"{folder} is a link, and links out of the landing folder are not followed: remove it")
    if os.path.lexists(folder / SUCCESS) and not replace:
        raise LandingError(f"{folder} has landed already; choose another name, or replace it")
    _make_room(folder, plan, replace=replace)
    make_dirs(folder)
    links: dict[str, str] = {}
    landed: dict[str, Recorded] = {}
    for done, (relative, source) in enumerate(plan.items()):
        if progress is not None:
            progress(done, len(plan), printable(relative))
        target = folder / relative
        make_dirs(target.parent)
        temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
        digest: str | None = None
        try:
            if mode == "copy":
                digest = copy_hashed(source, temporary)
                fsync_file(temporary)
            elif mode == "hardlink":
                _hardlink(source, temporary)
            else:
                temporary.symlink_to(source)
                links[printable(relative)] = str(source)
            landed[printable(relative)] = (temporary.stat().st_size, digest)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        fsync_dir(target.parent)
    _record_links(folder, links)
    about = {"files": len(plan)}
    write_atomic(folder / SUCCESS, json.dumps(about, sort_keys=True).encode("utf-8") + b"\n")
    record_landing(folder, landed)
    if progress is not None:
        progress(len(plan), len(plan), "")
    return describe_landed(folder)


def _record_links(folder: Path, links: dict[str, str]) -> None:
    record = links_file(folder)
    if links:
        make_dirs(record.parent)
        write_atomic(record, json.dumps(links, sort_keys=True).encode("utf-8") + b"\n")
    else:
        record.unlink(missing_ok=True)


def _plan(sources: Sequence[Path]) -> dict[str, Path]:
    """Return what lands where: relative path to resolved source file."""
    plan: dict[str, Path] = {}
    for source in sources:
        if source.is_dir():
            root = source.resolve()
            pairs = [(name, source / name) for name, _ in walk_files(source)]
        elif source.is_file():
            root = None
            pairs = [(source.name, source)]
        else:
            raise LandingError(f"{source} is neither a file nor a folder")
        for relative, path in pairs:
            try:
                target = path.resolve(strict=True)
            except (OSError, RuntimeError) as error:
                raise LandingError(f"{path} is a broken link: remove it, or repair it") from error
            if root is not None and not target.is_relative_to(root):
                raise LandingError(f"{path} is a link out of {source}: land {target} by its own name instead")
            if not target.is_file():
                raise LandingError(f"{path} is not a regular file that can be read: remove it from the sources")
            if relative in plan:
                raise LandingError(
                    f"{plan[relative]} and {target} would both land as {relative}: rename one, or land a folder that "
                    "holds both"
                )
            plan[relative] = target
    if not plan:
        raise LandingError("nothing to land: " + (", ".join(map(str, sources)) or "no sources were given"))
    return dict(sorted(plan.items()))


def _make_room(folder: Path, plan: dict[str, Path], *, replace: bool) -> None:
    if not folder.is_dir():
        return
    # without the mark first: a stop half-way must not leave a snapshot that looks whole
    _remove(folder / SUCCESS)
    fsync_dir(folder)
    if replace:
        for entry in list(folder.iterdir()):
            _remove(entry)
        return
    foreign = [printable(name) for name, _ in walk_files(folder) if name not in plan]
    if foreign:
        raise LandingError(
            f"{folder} is not complete and holds {len(foreign)} files that are not among the sources "
            f"(first: {foreign[0]}); remove them, or replace the snapshot"
        )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def _hardlink(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        raise LandingError(
            f"{source} cannot be hard-linked to {target.parent} ({error.strerror}): copy or link instead"
        ) from error
