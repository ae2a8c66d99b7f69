"""What the doctor says of one thing, and where it looks for things."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from gem_assets.frozen import Frozen
from gem_assets.storage.artifacts import Artifact
from gem_assets.storage.manifest import stage_name
from gem_assets.storage.store import Store

Severity = Literal["error", "warning", "info"]


class Finding(Frozen):
    """One thing that is not as it should be, and the way out.

    Attributes
    ----------
    severity
        ``error`` results are wrong or unreadable; ``warning`` something has to be made again or was lost;
        ``info`` nothing is wrong, but it is worth knowing.
    repairable
        ``repair`` mends it without anything being computed again.
    """

    kind: str
    severity: Severity
    where: str
    message: str
    remedy: str
    repairable: bool = False

    def __str__(self) -> str:
        return f"{self.severity} {self.where}: {self.message}. {self.remedy}"


def places(store: Store) -> Iterator[tuple[str, str | None]]:
    """Yield the assets and partitions that have ever been made."""
    artifacts = store.artifacts
    for asset in artifacts.assets():
        for partition in artifacts.places(asset):
            yield asset, partition


def current_results(store: Store) -> Iterator[tuple[str, Artifact]]:
    """Yield every result in force, with the name of its stage."""
    for asset, partition in places(store):
        artifact = store.artifacts.current(asset, partition)
        if artifact is not None:
            yield stage_name(asset, partition), artifact


def table_folders(store: Store) -> list[Path]:
    """Return the folders of the tables; none for tables on object storage."""
    root = store.tables.folder
    return [] if root is None else sorted(p for p in root.glob("*.lance") if p.is_dir())
