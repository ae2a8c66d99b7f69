"""Times and sizes of what lies in a data root: they tell whether anything has moved, without reading it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gem_assets.orchestration.reconcile import Place
from gem_assets.settings import SETTINGS_FILE
from gem_assets.storage.artifacts import CURRENT, UNPARTITIONED

BLOCKLIST = ("blocklist.jsonl", "blocklist.head.json")

Stamp = tuple[int, int, int] | None
"""Modification time in nanoseconds, size in bytes and number of a file; None when it is not there."""


class Stamps:
    """Stamps of one data root, as they were at the last :meth:`take`.

    Attributes
    ----------
    common
        Of what every asset reads: settings and blocklist.
    landed
        Of every file of a snapshot's landing folder, by snapshot.
    """

    def __init__(self, root: str) -> None:
        self._root = Path(root)
        self._pointers: Mapping[Place, Stamp] = {}
        self.common: tuple[Any, ...] = ()
        self.landed: Mapping[str, Any] = {}

    def take(self, landing: Path, snapshots: Sequence[str]) -> Any:
        """Read all stamps; returns something that differs when one of them does."""
        self._pointers = dict(_pointers(self._root / "artifacts"))
        self.common = tuple(stamp_of(self._root / name) for name in (SETTINGS_FILE, *BLOCKLIST))
        self.landed = {name: _tree(landing / name) for name in snapshots}
        return self.common, self._pointers, self.landed

    def pointer(self, place: Place) -> Stamp:
        """Return the stamp of what says which result of a place is current."""
        return self._pointers.get(place)

    def pointers_of(self, asset: str) -> tuple[Any, ...]:
        """Return the same of every snapshot of an asset, or of every asset below ``asset/``."""
        return tuple(
            (place, stamp)
            for place, stamp in self._pointers.items()
            if place[0] == asset or (asset.endswith("/") and place[0].startswith(asset))
        )


def stamp_of(path: Path) -> Stamp:
    """Return the stamp of one file."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size, about.st_ino


def _pointers(artifacts: Path) -> Iterator[tuple[Place, Stamp]]:
    for asset in _folders(artifacts):
        name = asset.name.replace(".", "/")
        for part in _folders(Path(asset.path)):
            yield (name, None if part.name == UNPARTITIONED else part.name), stamp_of(Path(part.path) / CURRENT)


def _folders(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return []
    return sorted(found, key=lambda entry: entry.name)


def _tree(folder: Path) -> tuple[Any, ...]:
    return tuple(
        (base, name, stamp_of(Path(base, name))) for base, _, names in sorted(os.walk(folder)) for name in sorted(names)
    )
