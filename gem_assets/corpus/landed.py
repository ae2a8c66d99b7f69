"""List what lies in the landing folder, treating every file as untrusted.

``<root>/<snapshot>/…`` holds crawl files of any layout, and ``_SUCCESS`` once the snapshot is whole; without it a
snapshot is still being written and is not looked at. Hidden files and ``_SUCCESS`` are not data. ``_SUCCESS`` is never
opened: that it is a plain file is all that counts. Links are followed only inside the snapshot's folder, or where
``gem land --link`` made them and wrote their target down beside the landing folder, where a delivery does not reach.
Every other link, folder link or special file is listed with its problem and becomes a quarantine row.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final

from gem_assets.storage.durable import file_lock
from gem_assets.storage.faults import is_storage_error

SUCCESS: Final = "_SUCCESS"
MAX_NAME: Final = 100
RECORDS_FOLDER: Final = "landing-records"
"""Beside the landing folder, where no delivery reaches: what was landed, which links may lead out, and a lock."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]*")
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")
_KINDS: Final = {
    stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


class LandingError(ValueError):
    """A snapshot cannot be landed or read as asked; the message says why and what to do."""


@dataclass(frozen=True)
class LandedFile:
    r"""One file of a landed snapshot.

    Attributes
    ----------
    relative
        Path below the snapshot's folder with forward slashes, as :func:`printable` writes it.
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

    ``problem`` says why the folder cannot be used as a snapshot.
    """

    name: str
    path: Path
    complete: bool
    n_files: int
    n_bytes: int
    problem: str | None = None


def validate_snapshot_name(name: str) -> str:
    """Return the name if it can be a snapshot's.

    Raises LandingError with the rule that the name breaks.
    """
    rule = (
        f"use 1 to {MAX_NAME} letters, digits, '.', '_', '=', '+' or '-', starting with a letter or digit, without "
        "'..' and other than 'all' (for example 2026-11 or CC-MAIN-2026-05)"
    )
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME or ".." in name or name == "all":
        raise LandingError(f"{name[:200]!r} is not a name for a snapshot: {rule}")
    return name


def list_snapshots(landing_root: Path) -> list[LandedSnapshot]:
    """Return the folders of the landing area, sorted by name; never fails on what lies there."""
    try:
        with os.scandir(landing_root) as entries:
            found = sorted((e.name, e.is_symlink() or e.is_dir(follow_symlinks=False)) for e in entries)
    except OSError:
        return []
    return [describe_landed(landing_root / name) for name, folder in found if folder and not name.startswith(".")]


def describe_landed(path: Path) -> LandedSnapshot:
    """Return what one folder of the landing area is; whatever is wrong with it is its problem."""
    name = printable(path.name)
    try:
        validate_snapshot_name(path.name)
        if path.is_symlink():
            raise LandingError("a link, and links out of the landing folder are not followed: move the folder here")
        files = landed_files(path)
        complete = is_complete(path)
    except (LandingError, OSError, RuntimeError) as error:
        return LandedSnapshot(name, path, False, 0, 0, str(error))
    return LandedSnapshot(name, path, complete, len(files), sum(file.n_bytes for file in files))


def is_complete(folder: Path) -> bool:
    """Tell whether a snapshot's folder holds its mark.

    Raises LandingError when something else than a plain file has the mark's name.
    """
    try:
        mode = (folder / SUCCESS).lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISREG(mode):
        raise LandingError(
            f"its {SUCCESS} is {_KINDS.get(stat.S_IFMT(mode), 'something else')} and not a plain file: remove it, and "
            "write an empty file of that name once the snapshot is whole"
        )
    return True


def complete_folder(landing_root: Path, snapshot: str) -> Path:
    """Return the folder of a snapshot that has landed.

    Raises LandingError when there is no such snapshot, or it is not complete: with the way to land it.
    """
    folder = landing_root / validate_snapshot_name(snapshot)
    if not is_complete(folder):
        state = "has no _SUCCESS yet: finish landing it" if folder.is_dir() else "does not exist: land it first"
        raise LandingError(f"{folder} {state} (gem land … --snapshot {snapshot})")
    return folder


def landed_files(snapshot_dir: Path) -> list[LandedFile]:
    """Return the data files of a snapshot, sorted by relative path.

    Raises OSError when there is no such folder, or the storage fails.
    """
    root = snapshot_dir.resolve(strict=True)
    allowed = _recorded_links(snapshot_dir)
    found: list[LandedFile] = []
    for name, problem in walk_files(snapshot_dir):
        relative = printable(name)
        path = snapshot_dir / name
        if problem is None:
            found.append(_inspect(path, relative, root, allowed))
        else:
            found.append(LandedFile(relative, path, 0, problem))
    return sorted(found, key=lambda file: file.relative)


def walk_files(folder: Path) -> Iterator[tuple[str, str | None]]:
    """Yield the path of everything below a folder that is neither a folder, hidden nor a mark, and its problem.

    A folder whose path is too long to list is yielded itself, with the reason.

    Raises OSError when the folder itself cannot be listed, or the storage fails.
    """
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(folder / below) as entries:
                listed = [(e.name, e.is_dir(follow_symlinks=False)) for e in entries]
        except OSError as error:
            if not below or is_storage_error(error):
                raise
            yield below, f"unreadable_file: a folder that cannot be listed ({errno.errorcode.get(error.errno or 0)})"
            continue
        for name, is_folder in listed:
            if name.startswith(".") or name == SUCCESS:
                continue
            path = f"{below}/{name}" if below else name
            if is_folder:
                waiting.append(path)
            else:
                yield path, None


def _inspect(path: Path, relative: str, root: Path, allowed: dict[str, str]) -> LandedFile:
    problem: str | None = None
    size, link = 0, False
    try:
        link = path.is_symlink()
        if link:
            target = path.resolve(strict=True)
            if not target.is_relative_to(root) and allowed.get(relative) != str(target):
                problem = "outside_landing: a link that leads out of the landing folder"
            elif target.is_dir():
                problem = "outside_landing: a link to a folder"
        about = path.stat()
        if problem is None and not stat.S_ISREG(about.st_mode):
            problem = "unreadable_file: not a regular file"
        elif problem is None:
            size = about.st_size
            if not os.access(path, os.R_OK):
                raise PermissionError(errno.EACCES, "no permission to read", str(path))
    except (OSError, RuntimeError) as error:
        # a delivery may hold a link to nothing; what gem land linked was there
        dangling = link and relative not in allowed and isinstance(error, FileNotFoundError)
        if is_storage_error(error) and not dangling:
            raise
        kind = type(error).__name__
        problem = f"outside_landing: a broken link ({kind})" if link else f"unreadable_file: {kind}"
    return LandedFile(relative, path, size, problem)


def printable(name: str) -> str:
    r"""Return a file name or path as text, one text for each name and one name for each text.

    Bytes that are not UTF-8 are written as ``\xNN``; so is a backslash that stands before what looks like that.
    """
    text = _ESCAPE.sub(lambda found: f"\\x5c{found[0][1:]}", name)
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def landed_path(folder: Path, relative: str) -> Path:
    """Return where the file lies whose relative path :func:`printable` wrote."""
    name = b"".join(
        bytes([int(part, 16)]) if number % 2 else part.encode("utf-8", "surrogateescape")
        for number, part in enumerate(_ESCAPE.split(relative))
    )
    return folder / os.fsdecode(name)


def open_regular(path: Path) -> BufferedReader:
    """Open a file that may have been exchanged for a pipe or a device since it was listed, without ever waiting.

    Raises OSError when it cannot be opened, or is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def landing_lock(landing_root: Path, snapshot: str) -> AbstractContextManager[None]:
    """Keep others from landing or removing a snapshot; raises LockTimeoutError at once when another process does."""
    path = landing_root.parent / RECORDS_FOLDER / f"{snapshot}.lock"
    return file_lock(path, timeout=0.0, purpose=f"land or remove {snapshot}")


def links_file(snapshot_dir: Path) -> Path:
    """Return where the links of a snapshot are written down that ``gem land`` made."""
    return snapshot_dir.parent.parent / RECORDS_FOLDER / f"{snapshot_dir.name}.json"


def _recorded_links(snapshot_dir: Path) -> dict[str, str]:
    try:
        with open_regular(links_file(snapshot_dir)) as handle:
            written = json.loads(handle.read())
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(k): str(v) for k, v in written.items()} if isinstance(written, dict) else {}
