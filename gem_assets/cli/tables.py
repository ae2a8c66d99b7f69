"""Hand the table store to library functions; it is opened only when a table is read, and read-only."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gem_assets.lineage.mixtures import LabelScan
from gem_assets.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from gem_assets.storage.artifacts import Artifact
    from gem_assets.storage.lance import LanceTables


def open_tables(settings: Settings) -> "LanceTables":
    """Return the tables of a data root, to read only."""
    # a second of imports that a command which reads no table does not pay
    from gem_assets.storage.lance import LanceTables

    return LanceTables(settings.data_root / "tables", read_only=True)


def label_scan(settings: Settings) -> LabelScan:
    """Return the function that reads the labels of one artifact at its table version."""

    def scan(labels: "Artifact", columns: Sequence[str]) -> "Iterator[pa.RecordBatch]":
        table = labels.manifest.lance[0]
        return open_tables(settings).scan(
            table.table, version=table.version, columns=columns, snapshot=labels.manifest.partition
        )

    return scan
