"""The two kinds of storage below the artifact store: a folder, or anything that fsspec can reach.

The store speaks in keys (``teacher_clusters/all/CURRENT``). On a folder every write is atomic and
durable, and an artifact appears by one rename. Object stores have neither rename nor folders, but a
single object appears whole, so there the files go up first, then ``manifest.json``, and only then the
pointer; an artifact without a manifest does not exist for a reader.
"""

import contextlib
import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Protocol, cast

import fsspec  # pyright: ignore[reportMissingTypeStubs]

from gem_assets.storage.durable import (
    LockTimeoutError,
    file_lock,
    fsync_dir,
    fsync_tree,
    is_abandoned,
    locked_folder,
    make_dirs,
    set_usual_modes,
    write_atomic,
)
from gem_assets.storage.manifest import MANIFEST_NAME

DRAFT_PREFIX = ".draft-"
_LOCK_NAME = ".lock"


class Backend(Protocol):
    """What the artifact store needs of a storage."""

    def read(self, key: str) -> bytes | None:
        """Return the bytes under a key, or None."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Replace the bytes under a key as one durable step."""
        ...

    def folders(self, key: str) -> list[str]:
        """Return the names of the folders directly below a key, sorted, hidden ones left out."""
        ...

    def draft(self, key: str) -> contextlib.AbstractContextManager[Path]:
        """Give an empty local folder; whatever was not published is gone afterwards."""
        ...

    def publish(self, draft: Path, key: str) -> None:
        """Make the draft's content the folder ``key``; nobody sees half of it."""
        ...

    def fetch(self, key: str, files: dict[str, int]) -> Path:
        """Return a local folder with the content of ``key``.

        ``files`` gives path to size of what must be there.
        """
        ...

    def sizes(self, key: str) -> dict[str, int]:
        """Return relative path to size of every file below a key."""
        ...

    def delete(self, key: str) -> None:
        """Remove a folder and everything in it."""
        ...

    def lock(self, key: str) -> contextlib.AbstractContextManager[None]:
        """Keep other writers of the folder ``key`` out, as far as the storage allows."""
        ...

    def orphans(self) -> list[str]:
        """Return what killed writers left behind and nobody is writing any more."""
        ...


class FolderBackend:
    """A folder of a local (or mounted) file system."""

    def __init__(self, root: Path, *, lock_timeout: float = 60.0) -> None:
        self.root = root
        self.lock_timeout = lock_timeout

    def read(self, key: str) -> bytes | None:
        """Return the bytes of a file, or None."""
        try:
            return (self.root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, key: str, data: bytes) -> None:
        """Replace a file atomically and durably."""
        path = self.root / key
        make_dirs(path.parent)
        write_atomic(path, data)

    def folders(self, key: str) -> list[str]:
        """Return folder names below ``key``."""
        try:
            entries = list((self.root / key).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))

    def draft(self, key: str) -> contextlib.AbstractContextManager[Path]:
        """Give a hidden folder beside the target, locked as long as its writer lives."""
        return locked_folder(self.root / key, DRAFT_PREFIX)

    def publish(self, draft: Path, key: str) -> None:
        """Set the usual modes, force the draft to the disk, rename it into place, force the new name to the disk."""
        target = self.root / key
        set_usual_modes(draft)
        fsync_tree(draft)
        make_dirs(target.parent)
        try:
            draft.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # what stands there was found torn; it leaves by rename, so the target is never half of each
            grave = target.parent / f"{DRAFT_PREFIX}{uuid.uuid4().hex}"
            target.rename(grave)
            draft.rename(target)
            shutil.rmtree(grave, ignore_errors=True)
        fsync_dir(target.parent)

    def fetch(self, key: str, files: dict[str, int]) -> Path:  # noqa: ARG002
        """Return the folder itself."""
        return self.root / key

    def sizes(self, key: str) -> dict[str, int]:
        """Return relative path to size."""
        return dict(_sizes(str(self.root / key)))

    def delete(self, key: str) -> None:
        """Remove a folder, which loses its name first, or a file."""
        path = self.root / key
        if path.is_file():
            path.unlink()
        elif path.exists():
            grave = path.parent / f"{DRAFT_PREFIX}{uuid.uuid4().hex}"
            path.rename(grave)
            shutil.rmtree(grave, ignore_errors=True)

    def lock(self, key: str) -> contextlib.AbstractContextManager[None]:
        """Lock between the processes of this machine."""
        return file_lock(self.root / key / _LOCK_NAME, timeout=self.lock_timeout, purpose=f"commit {key}")

    def orphans(self) -> list[str]:
        """Return drafts whose writer is gone, and half-written pointer files."""
        drafts = sorted(self.root.glob(f"*/*/{DRAFT_PREFIX}*"))
        found = [path.relative_to(self.root).as_posix() for path in drafts if is_abandoned(path)]
        for path in sorted(self.root.glob("*/*/.*.tmp")):
            # such a file is written under the folder's lock; whoever cannot get the lock looks at a live writer
            with (
                contextlib.suppress(LockTimeoutError),
                file_lock(path.parent / _LOCK_NAME, timeout=0.0, purpose="collect orphans"),
            ):
                if path.exists():
                    found.append(path.relative_to(self.root).as_posix())
        return found


def _sizes(folder: str, below: str = "") -> Iterator[tuple[str, int]]:
    """Every file below a folder: asked of each of a thousand snapshots at once, so without path objects."""
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(entry.path, f"{below}{entry.name}/")
            elif entry.is_file():
                yield f"{below}{entry.name}", entry.stat().st_size


class ObjectBackend:
    """Any fsspec URL: ``s3://bucket/prefix``, ``memory://x``. Read through a local cache.

    One writer per partition is the caller's duty here (a Dagster pool): object stores have no lock of
    ours. Two writers of one identity write the same bytes, so the worst case is wasted work.
    """

    def __init__(self, url: str, cache: Path, **storage_options: Any) -> None:
        self.fs, prefix = cast("Any", fsspec.core).url_to_fs(url, **storage_options)
        self.fs: Any
        self.prefix = str(prefix).rstrip("/")
        self.cache = cache

    def read(self, key: str) -> bytes | None:
        """Return the bytes of an object, or None."""
        try:
            return self.fs.cat_file(self._at(key))
        except FileNotFoundError:
            return None

    def write(self, key: str, data: bytes) -> None:
        """Put one object."""
        self.fs.pipe_file(self._at(key), data)

    def folders(self, key: str) -> list[str]:
        """Return the names below ``key`` that have something below them."""
        self.fs.invalidate_cache()
        try:
            entries = self.fs.ls(self._at(key), detail=True)
        except FileNotFoundError:
            return []
        names = [str(e["name"]).rstrip("/").rsplit("/", 1)[-1] for e in entries if e["type"] == "directory"]
        return sorted(name for name in names if not name.startswith("."))

    @contextlib.contextmanager
    def draft(self, key: str) -> Generator[Path]:  # noqa: ARG002
        """Give a temporary folder of this machine."""
        with tempfile.TemporaryDirectory(prefix="gem-draft-") as folder:
            yield Path(folder)

    def publish(self, draft: Path, key: str) -> None:
        """Upload every file, the manifest last."""
        shutil.rmtree(self.cache / key, ignore_errors=True)
        files = sorted(p for p in draft.rglob("*") if p.is_file())
        for path in sorted(files, key=lambda p: p.relative_to(draft).as_posix() == MANIFEST_NAME):
            self.fs.put_file(str(path), self._at(f"{key}/{path.relative_to(draft).as_posix()}"))

    def fetch(self, key: str, files: dict[str, int]) -> Path:
        """Download once; later calls answer from the cache, which is keyed by identity and so never stale."""
        target = self.cache / key
        if all(_has(target / name, size) for name, size in files.items()) and (target / MANIFEST_NAME).is_file():
            return target
        make_dirs(target.parent)
        with tempfile.TemporaryDirectory(prefix=DRAFT_PREFIX, dir=target.parent) as folder:
            filled = Path(folder) / "content"
            for name in (*files, MANIFEST_NAME):
                (filled / name).parent.mkdir(parents=True, exist_ok=True)
                self.fs.get_file(self._at(f"{key}/{name}"), str(filled / name))
            if target.exists():
                shutil.rmtree(target)
            filled.rename(target)
        return target

    def sizes(self, key: str) -> dict[str, int]:
        """Return relative path to size."""
        self.fs.invalidate_cache()
        base = self._at(key)
        try:
            found: dict[str, Any] = self.fs.find(base, detail=True)
        except FileNotFoundError:
            return {}
        skip = len(base.lstrip("/")) + 1
        return {str(name).lstrip("/")[skip:]: int(info["size"]) for name, info in found.items()}

    def delete(self, key: str) -> None:
        """Remove every object below ``key``, the manifest first: no reader takes the rest for whole."""
        base = self._at(key)
        if self.fs.exists(f"{base}/{MANIFEST_NAME}"):
            self.fs.rm_file(f"{base}/{MANIFEST_NAME}")
        if self.fs.exists(base):
            self.fs.rm(base, recursive=True)
        shutil.rmtree(self.cache / key, ignore_errors=True)

    def lock(self, key: str) -> contextlib.AbstractContextManager[None]:  # noqa: ARG002
        """Do nothing; see the class."""
        return contextlib.nullcontext()

    def orphans(self) -> list[str]:
        """Return artifact folders that hold files and no manifest: uploads that were cut off."""
        self.fs.invalidate_cache()
        found: list[str] = []
        for asset in self.folders(""):
            for partition in self.folders(asset):
                for name in self.folders(f"{asset}/{partition}"):
                    key = f"{asset}/{partition}/{name}"
                    if not self.fs.exists(self._at(f"{key}/{MANIFEST_NAME}")):
                        found.append(key)
        return found

    def _at(self, key: str) -> str:
        return f"{self.prefix}/{key}".rstrip("/")


def _has(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
