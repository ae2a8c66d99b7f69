"""The files below a Lance table, and what a power cut or a killed writer does to them.

Lance renames data files into place and links the manifest, and forces none of it to the disk (no fsync in its
local store). A power cut may therefore leave a newest manifest that is empty or full of zeros, after which every
plain open fails although all older versions are whole. So: after a commit we force its files to the disk, and
before an open we look at the newest manifest and at the files it names. A torn one is moved aside (``.torn``),
with a loud warning, and the version before it is the newest again.
"""

import contextlib
import logging
import os
import stat
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import lance

from gem_assets.storage.durable import fsync_dir, fsync_file

logger = logging.getLogger(__name__)

_MAGIC = b"LANC"
_FOOTER = 16
_MAX_VERSION = 2**64 - 1
_COMMIT_FOLDERS = ("data", "_deletions", "_transactions", "_versions")


def manifests(table: Path) -> dict[int, Path]:
    """Return version to manifest file, newest first; both naming schemes of Lance are read."""
    return {version: table / "_versions" / name for version, name in manifest_names(table).items()}


def manifest_names(table: Path) -> dict[int, str]:
    """Return version to name of the manifest file, newest first."""
    found: dict[int, str] = {}
    for name in _files(table / "_versions"):
        stem = name.removesuffix(".manifest")
        if stem != name and stem.isdigit():
            # the newer scheme counts down from 2^64 - 1 so that the newest version lists first
            found[_MAX_VERSION - int(stem) if len(stem) == 20 else int(stem)] = name
    return dict(sorted(found.items(), reverse=True))


def torn_manifest(path: Path) -> str | None:
    """Return why a manifest cannot be whole, or None; looks at its size and its last 16 bytes."""
    size = path.stat().st_size
    if size < _FOOTER:
        return f"it has {size} bytes"
    with path.open("rb") as handle:
        handle.seek(-_FOOTER, 2)
        footer = handle.read(_FOOTER)
    if footer[-4:] != _MAGIC:
        return "its end is missing"
    if int.from_bytes(footer[:8], "little") >= size:
        return "its footer points behind its end"
    return None


def torn_version(table: Path, version: int) -> str | None:
    """Return why a version cannot be read in full, or None: manifest, then name and size of every data file."""
    name = manifest_names(table).get(version)
    if name is None:
        return "it has no manifest"
    path = table / "_versions" / name
    if why := torn_manifest(path):
        return f"of its manifest {path.name}: {why}"
    try:
        dataset = lance.dataset(str(table), version=version)
    except (OSError, ValueError) as error:
        return f"its manifest {path.name} does not open: {error}"
    data = f"{table}/data/"
    for fragment in dataset.get_fragments():
        for file in fragment.data_files():
            size, expected = _size(data + file.path), file.file_size_bytes
            if size is None or (expected is not None and size != expected) or size == 0:
                return f"data file {file.path} has {'no' if size is None else size} bytes, not {expected}"
    return None


def newest_intact(table: Path) -> int | None:
    """Return the newest version that can be read in full, changing nothing; None without any."""
    return next((version for version in manifest_names(table) if torn_version(table, version) is None), None)


def heal(table: Path, lock: AbstractContextManager[None]) -> int | None:
    """Move torn newest versions aside until an intact one is newest; return its number, None without any.

    Only the fault that a power cut leaves is healed: the youngest commits are torn and the ones before them are
    whole. It waits for the writer's lock, so that a commit in progress is never taken for a torn one.
    """
    newest = next(iter(manifest_names(table)), None)
    if newest is None or torn_version(table, newest) is None:
        return newest
    with lock:
        for version, path in manifests(table).items():
            why = torn_version(table, version)
            if why is None:
                return version
            aside = path.with_name(f"{path.name}.torn")
            logger.error(
                "table %s: version %d is torn because %s. It is set aside as %s and version %s is used; "
                "materialize the snapshots written last again",
                table.name, version, why, aside.name, _before(manifests(table), version),
            )  # fmt: skip
            path.rename(aside)
            fsync_dir(aside.parent)
    return None


class CommitFiles:
    """The files that a commit adds, found by listing the table's folders before and after."""

    def __init__(self, table: Path) -> None:
        self.table = table
        self.before = self._list()

    def sync_data(self) -> None:
        """Force new data and deletion files to the disk; call before the manifest is written."""
        self._sync(("data", "_deletions"))

    def sync(self) -> None:
        """Force everything new to the disk, names included; call after the commit."""
        self._sync(_COMMIT_FOLDERS)
        fsync_dir(self.table)
        fsync_dir(self.table.parent)

    def discard(self) -> None:
        """Delete what a failed commit wrote: only files that no version names."""
        for path in self._new(("data", "_deletions")):
            path.unlink(missing_ok=True)

    def _new(self, folders: Iterable[str]) -> list[Path]:
        return sorted(self.table / folder / name for folder, name in self._list() - self.before if folder in folders)

    def _sync(self, folders: Iterable[str]) -> None:
        touched: set[Path] = set()
        for path in self._new(folders):
            # without a lock, this may be a temporary file of another writer
            with contextlib.suppress(FileNotFoundError):
                fsync_file(path)
                touched.add(path.parent)
        for folder in sorted(touched):
            fsync_dir(folder)

    def _list(self) -> set[tuple[str, str]]:
        return {(folder, name) for folder in _COMMIT_FOLDERS for name in _files(self.table / folder)}


def fragments_of(dataset: Any, condition: str, rows: int) -> list[Any] | None:
    """Return the newest fragments if they alone hold ``rows`` rows that pass a filter, or None.

    A commit writes one snapshot into fragments of its own, the newest of its version, so that a reader who knows how
    many rows to find need not look at the fragments of a thousand other snapshots.

    Parameters
    ----------
    dataset
        Of the version that the commit wrote.
    condition
        Filter that the rows of the snapshot pass.
    """
    found: list[Any] = []
    have = 0
    for fragment in sorted(dataset.get_fragments(), key=lambda one: one.fragment_id, reverse=True):
        if have >= rows:
            break
        found.insert(0, fragment)
        have += fragment.count_rows()
    if have < rows:
        return None
    passing = dataset.scanner(columns=[], filter=condition, fragments=found, with_row_id=True).count_rows()
    return found if passing == rows else None


def orphan_files(table: Path) -> list[Path]:
    """Return data and deletion files that no version names: what killed writers left.

    Nothing is an orphan while some version cannot be opened for another reason than a torn manifest: it may name it.
    """
    used: set[str] = set()
    for version, path in manifests(table).items():
        if torn_manifest(path) is not None:
            continue
        try:
            fragments = lance.dataset(str(table), version=version).get_fragments()
        except (OSError, ValueError):
            return []
        for fragment in fragments:
            used.update(f"data/{file.path}" for file in fragment.data_files())
            deletion = fragment.deletion_file()
            if deletion:
                used.add(str(deletion))
    found = [p for name in ("data", "_deletions") for p in (table / name).glob("*") if p.is_file()]
    return sorted(p for p in found if p.relative_to(table).as_posix() not in used)


def _files(folder: Path) -> list[str]:
    """Return the names of the files of a folder; its tables may have thousands, so no path objects."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_file()]
    except FileNotFoundError:
        return []


def _size(path: str) -> int | None:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _before(versions: dict[int, Path], version: int) -> str:
    older = [v for v in versions if v < version]
    return str(max(older)) if older else "none"
