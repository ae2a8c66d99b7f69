"""The landing folder: ``<root>/<snapshot>/…`` with crawl files of any layout, and ``_SUCCESS`` written last.

A snapshot without ``_SUCCESS`` is still being written and is not looked at. Hidden files and ``_SUCCESS`` are no data.
Links are followed only inside the snapshot's folder, or where :func:`land` itself made them and wrote their target into
``_SUCCESS``; every other link, folder link or special file is listed with its problem and becomes a quarantine row.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from gem_assets.lineage.durable import fsync_dir, fsync_file, make_dirs, write_atomic

SUCCESS: Final = "_SUCCESS"
MAX_NAME: Final = 100
LandingMode = Literal["copy", "link", "hardlink"]
Progress = Callable[[int, int, str], None]
"""Called with (files done, files in all, file that comes next)."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]*")
_BLOCK: Final = 1 << 20
# a file changed again inside one tick of the clock keeps its mtime: younger digests are not remembered
_SETTLED_NS: Final = 2_000_000_000


class LandingError(ValueError):
    """A snapshot cannot be landed as asked; the message says why and what to do."""


@dataclass(frozen=True)
class LandedFile:
    r"""One file of a landed snapshot.

    Attributes
    ----------
    relative
        Path below the snapshot's folder with forward slashes; bytes that are no UTF-8 are written as ``\xNN``.
    problem
        Why the file must not be opened, or None.
    """

    relative: str
    path: Path
    n_bytes: int
    problem: str | None = None


@dataclass(frozen=True)
class LandedSnapshot:
    """One folder of the landing area.

    Attributes
    ----------
    complete
        It holds ``_SUCCESS``.
    problem
        Why the folder cannot be used as a snapshot, or None.
    """

    name: str
    path: Path
    complete: bool
    n_files: int
    n_bytes: int
    problem: str | None = None


def validate_snapshot_name(name: str) -> str:
    """Return the name if it can be a snapshot's.

    Raises
    ------
    LandingError
        With the rule that the name breaks.
    """
    rule = (
        f"use 1 to {MAX_NAME} letters, digits, '.', '_', '=', '+' or '-', starting with a letter or digit, without "
        "'..' and other than 'all' (for example 2026-11 or CC-MAIN-2026-05)"
    )
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME or ".." in name or name == "all":
        raise LandingError(f"{name[:200]!r} is no name for a snapshot: {rule}")
    return name


def list_snapshots(landing_root: Path) -> list[LandedSnapshot]:
    """Return the folders of the landing area, sorted by name; never fails on what lies there."""
    try:
        entries = sorted(landing_root.iterdir())
    except OSError:
        return []
    return [
        _describe(path) for path in entries if not path.name.startswith(".") and (path.is_dir() or path.is_symlink())
    ]


def _describe(path: Path) -> LandedSnapshot:
    name = _printable(path.name)
    try:
        validate_snapshot_name(path.name)
        if path.is_symlink():
            raise LandingError("a link, and links out of the landing folder are not followed: move the folder here")
        files = landed_files(path)
        complete = (path / SUCCESS).is_file()
    except (LandingError, OSError) as error:
        return LandedSnapshot(name, path, False, 0, 0, str(error))
    return LandedSnapshot(name, path, complete, len(files), sum(file.n_bytes for file in files))


def landed_files(snapshot_dir: Path) -> list[LandedFile]:
    """Return the data files of a snapshot, sorted by relative path.

    Raises
    ------
    NotADirectoryError, FileNotFoundError
        There is no such folder.
    """
    root = snapshot_dir.resolve(strict=True)
    allowed = _recorded_links(snapshot_dir)
    found: list[LandedFile] = []
    # errors of single folders are rows, not failures
    for path in _walk(snapshot_dir):
        relative = path.relative_to(snapshot_dir).as_posix()
        found.append(_inspect(path, _printable(relative), root, allowed))
    return sorted(found, key=lambda file: file.relative)


def _walk(folder: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.name.startswith(".") or entry.name == SUCCESS:
            continue
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            if os.access(path, os.R_OK | os.X_OK):
                yield from _walk(path)
            else:
                yield path
        else:
            yield path


def _inspect(path: Path, relative: str, root: Path, allowed: dict[str, str]) -> LandedFile:
    problem: str | None = None
    size = 0
    try:
        if path.is_symlink():
            target = path.resolve(strict=True)
            recorded = allowed.get(relative)
            if not target.is_relative_to(root) and recorded != str(target):
                problem = "outside_landing: a link that leads out of the landing folder"
            elif target.is_dir():
                problem = "outside_landing: a link to a folder"
        about = path.stat()
        if problem is None and not stat.S_ISREG(about.st_mode):
            problem = "unreadable_file: not a regular file"
        elif problem is None:
            size = about.st_size
            if not os.access(path, os.R_OK):
                problem = "unreadable_file: no permission to read"
    except (OSError, RuntimeError) as error:
        problem = f"outside_landing: a broken link ({type(error).__name__})"
    return LandedFile(relative, path, size, problem)


def _recorded_links(snapshot_dir: Path) -> dict[str, str]:
    try:
        written = json.loads((snapshot_dir / SUCCESS).read_bytes() or b"{}")
    except (OSError, ValueError):
        return {}
    links = written.get("links", {}) if isinstance(written, dict) else {}
    return {str(k): str(v) for k, v in links.items()} if isinstance(links, dict) else {}


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def landed_digests(snapshot_dir: Path, cache_file: Path | None = None) -> list[tuple[str, int, str]]:
    """Return (relative path, size in bytes, SHA-256 of the content) of every data file, sorted by path.

    A file that must not or cannot be opened has its problem in place of the digest.

    Parameters
    ----------
    snapshot_dir
        Folder of the snapshot.
    cache_file
        Where digests of single files are remembered under path, size and modification time, so that a second call
        reads only what changed. A cache that cannot be read or written is done without.
    """
    remembered = _read_cache(cache_file)
    fresh: dict[str, list[int | str]] = {}
    found: list[tuple[str, int, str]] = []
    for file in landed_files(snapshot_dir):
        digest, entry = _file_digest(file, remembered)
        if entry is not None:
            fresh[file.relative] = entry
        found.append((file.relative, file.n_bytes, digest))
    if cache_file is not None and fresh != remembered:
        try:
            make_dirs(cache_file.parent)
            write_atomic(cache_file, json.dumps(fresh, sort_keys=True).encode("utf-8"))
        except OSError:
            pass
    return found


def fingerprint(snapshot_dir: Path, cache_file: Path | None = None) -> str:
    """Return the SHA-256 over the lines of :func:`landed_digests`: the version of a snapshot's content."""
    total = hashlib.sha256()
    for line in landed_digests(snapshot_dir, cache_file):
        total.update(json.dumps(line, ensure_ascii=True).encode("ascii") + b"\n")
    return total.hexdigest()


def _read_cache(cache_file: Path | None) -> dict[str, list[int | str]]:
    try:
        loaded = json.loads(cache_file.read_bytes()) if cache_file is not None else {}
    except (OSError, ValueError):
        return {}
    if not isinstance(loaded, dict):
        return {}
    return {k: v for k, v in loaded.items() if isinstance(v, list) and len(v) == 3}


def _file_digest(file: LandedFile, remembered: dict[str, list[int | str]]) -> tuple[str, list[int | str] | None]:
    """Return the digest and, where it may be remembered, its cache entry."""
    if file.problem is not None:
        return file.problem, None
    try:
        about = file.path.stat()
        known = remembered.get(file.relative)
        if known is not None and known[:2] == [about.st_size, about.st_mtime_ns]:
            return str(known[2]), known
        started = time.time_ns()
        with file.path.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        settled = about.st_mtime_ns < started - _SETTLED_NS and file.path.stat().st_mtime_ns == about.st_mtime_ns
    except OSError as error:
        return f"unreadable_file: {type(error).__name__}", None
    return digest, [about.st_size, about.st_mtime_ns, digest] if settled else None


def land(
    sources: Sequence[Path],
    landing_root: Path,
    snapshot: str,
    *,
    mode: LandingMode = "copy",
    replace: bool = False,
    progress: Progress | None = None,
) -> LandedSnapshot:
    """Put files into the landing folder under a snapshot's name, and ``_SUCCESS`` last.

    A landing that was stopped can be repeated with the same sources.

    Parameters
    ----------
    sources
        Files, or folders whose files keep their relative layout. Hidden files and ``_SUCCESS`` are left behind.
    landing_root
        The landing area.
    snapshot
        Name of the snapshot.
    mode
        ``copy``; ``hardlink`` (same file system, and the sources must not change); ``link`` (symbolic links, recorded
        in ``_SUCCESS`` so that they are followed).
    replace
        Empty a snapshot that has landed already first.
    progress
        Called with (files done, files in all, file that comes next).

    Raises
    ------
    LandingError
        Bad name, nothing to land, two sources with one relative path, a link that leaves its source folder, a
        snapshot that has landed already, or a folder with files that are not from these sources.
    """
    validate_snapshot_name(snapshot)
    plan = _plan(sources)
    folder = landing_root / snapshot
    if (folder / SUCCESS).exists() and not replace:
        raise LandingError(f"{folder} has landed already; choose another name, or replace it")
    _make_room(folder, plan, replace=replace)
    make_dirs(folder)
    links: dict[str, str] = {}
    for done, (relative, source) in enumerate(plan.items()):
        if progress is not None:
            progress(done, len(plan), _printable(relative))
        target = folder / relative
        make_dirs(target.parent)
        temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            if mode == "copy":
                shutil.copyfile(source, temporary)
                fsync_file(temporary)
            elif mode == "hardlink":
                _hardlink(source, temporary)
            else:
                temporary.symlink_to(source)
                links[_printable(relative)] = str(source)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        fsync_dir(target.parent)
    about = {"files": len(plan), "links": links} if links else {"files": len(plan)}
    write_atomic(folder / SUCCESS, json.dumps(about, sort_keys=True).encode("utf-8") + b"\n")
    if progress is not None:
        progress(len(plan), len(plan), "")
    return _describe(folder)


def _plan(sources: Sequence[Path]) -> dict[str, Path]:
    """Return what lands where: relative path to resolved source file."""
    plan: dict[str, Path] = {}
    for source in sources:
        if source.is_dir():
            root = source.resolve()
            pairs = [(path.relative_to(source).as_posix(), path) for path in _walk(source)]
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
                raise LandingError(f"{path} is no regular file that can be read: remove it from the sources")
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
    (folder / SUCCESS).unlink(missing_ok=True)
    fsync_dir(folder)
    if replace:
        for entry in list(folder.iterdir()):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        return
    foreign = [path.relative_to(folder).as_posix() for path in _walk(folder)]
    foreign = [_printable(name) for name in foreign if name not in plan]
    if foreign:
        raise LandingError(
            f"{folder} is not complete and holds {len(foreign)} files that are not among the sources "
            f"(first: {foreign[0]}); remove them, or replace the snapshot"
        )


def _hardlink(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        raise LandingError(
            f"{source} cannot be hard-linked to {target.parent} ({error.strerror}): copy or link instead"
        ) from error
