"""Writes that survive a power cut: bytes, then name, then folder, each forced to the disk.

A rename without these steps may leave, after a power cut, the new name on an empty file. ``fsync`` of the
file comes before the rename and ``fsync`` of the folder after it, so a reader finds the old content or
the new one.
"""

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

logger = logging.getLogger(__name__)


class LockTimeoutError(TimeoutError):
    """Another process holds the lock for longer than we were told to wait."""


def fsync_file(path: Path) -> None:
    """Force the bytes of a file to the disk."""
    _fsync(path, os.O_RDONLY)


def fsync_dir(path: Path) -> None:
    """Force the names in a folder to the disk.

    File systems that cannot (some network mounts) are left alone.
    """
    try:
        _fsync(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise


def fsync_tree(root: Path) -> None:
    """Force every file and folder below ``root`` to the disk, leaves first."""
    for folder, _, files in os.walk(root, topdown=False):
        for name in files:
            fsync_file(Path(folder) / name)
        fsync_dir(Path(folder))


def set_usual_modes(root: Path) -> None:
    """Give every file below ``root`` the mode that the umask gives, as ``root`` has it by having been made plainly.

    Libraries that write through a temporary file leave it readable by its owner alone, whatever the umask says.
    """
    usual = stat.S_IMODE(root.stat().st_mode) & 0o666
    for folder, _, files in os.walk(root):
        for name in files:
            path = Path(folder) / name
            if stat.S_IMODE(path.stat().st_mode) != usual:
                path.chmod(usual)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace the content of ``path`` as one step: a reader sees the old bytes or the new ones."""
    with atomic_file(path) as handle:
        handle.write(data)


@contextlib.contextmanager
def atomic_file(path: Path) -> Generator[BinaryIO]:
    """Give a file to write to that takes the place of ``path`` as one step when the block ends without an error."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_dir(path.parent)


def make_dirs(path: Path) -> None:
    """Create a folder and its parents, and force the new names to the disk."""
    missing = [p for p in (path, *path.parents) if not p.exists()]
    # one by one: a folder may lie deeper than functions may call themselves
    for folder in reversed(missing or [path]):
        folder.mkdir(exist_ok=True)
    for created in reversed(missing):
        fsync_dir(created.parent)


def remove_tree(root: Path) -> None:
    """Remove a folder, however deep its folders are nested: what lies below a folder is moved up before it goes.

    ``shutil.rmtree`` calls itself for each level, and no call takes a path as long as a deep folder can have.
    """
    while entries := list(root.iterdir()):
        for entry in entries:
            if _is_folder(entry):
                _empty_into(entry, root)
                entry.rmdir()
            else:
                entry.unlink()
    root.rmdir()


def _empty_into(folder: Path, root: Path) -> None:
    for entry in list(folder.iterdir()):
        if not _is_folder(entry):
            entry.unlink()
            continue
        try:
            entry.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            entry.rename(root / f".{uuid.uuid4().hex}.removed")


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)


def local_folder(data_root: Path, *parts: str) -> Path:
    """Return a folder for caches and scratch: below the data root, or where that cannot be written, of this user's own.

    A copy that may only be read answers questions all the same; what it remembers lies below ``$XDG_CACHE_HOME``
    (``~/.cache``), or below the temporary folder where that cannot be written either.
    """
    wanted = data_root.joinpath(*parts)
    nearest = next(folder for folder in (wanted, *wanted.parents) if folder.exists())
    if os.access(nearest, os.W_OK | os.X_OK):
        return wanted
    mark = hashlib.sha256(os.fsencode(data_root)).hexdigest()[:16]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gem-assets"
    with contextlib.suppress(OSError):
        home.mkdir(parents=True, exist_ok=True)
    if not os.access(home, os.W_OK | os.X_OK):
        home = Path(tempfile.gettempdir()) / f"gem-assets-{os.getuid()}"
        home.mkdir(mode=0o700, exist_ok=True)
        if home.lstat().st_uid != os.getuid() or home.is_symlink():
            raise PermissionError(errno.EPERM, "belongs to another user, so nothing of it is believed", str(home))
    return home.joinpath(mark, *parts)


@contextlib.contextmanager
def file_lock(path: Path, *, timeout: float = 60.0, purpose: str = "write") -> Generator[None]:
    """Hold an exclusive lock between processes of one machine; freed by the kernel when the holder dies.

    Raises LockTimeoutError when ``timeout`` seconds pass; names the lock file and, where it is known, the holder.
    """
    make_dirs(path.parent)
    with path.open("a+") as handle:
        _acquire(handle.fileno(), path, timeout, purpose)
        handle.seek(0)
        handle.truncate()
        handle.write(f"pid {os.getpid()}: {purpose}\n")
        handle.flush()
        try:
            yield
        finally:
            handle.seek(0)
            handle.truncate()
            handle.flush()
            fcntl.flock(handle.fileno(), fcntl.LOCK_UN)


@contextlib.contextmanager
def locked_folder(parent: Path, prefix: str) -> Generator[Path]:
    """Give an empty folder that is gone afterwards; while its owner lives, :func:`is_abandoned` says no."""
    make_dirs(parent)
    path, descriptor = _new_locked(parent, prefix)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def is_abandoned(path: Path) -> bool:
    """Tell whether the process that made a :func:`locked_folder` is dead."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _new_locked(parent: Path, prefix: str) -> tuple[Path, int]:
    """Create a folder and lock it; a collector may take it between the two, so look again."""
    while True:
        path = parent / f"{prefix}{uuid.uuid4().hex}"
        path.mkdir()
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():
            return path, descriptor
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, timeout: float, purpose: str) -> None:
    deadline = time.monotonic() + timeout
    pause = 0.005
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = path.read_text(errors="replace").strip() or "an unknown process"
                raise LockTimeoutError(
                    f"waited {timeout:g} s for {path} to {purpose}; it is held by {holder}. One "
                    "writer per table: wait for it to end, or end it (the lock is freed with its process)"
                ) from None
            time.sleep(pause)
            pause = min(pause * 2, 0.2)
        else:
            return


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
