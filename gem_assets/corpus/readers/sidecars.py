"""Files that engines write next to a table (marks, logs, footers, checksums); they hold no document."""

import re
from pathlib import PurePosixPath
from typing import Final

_FOLDERS: Final = frozenset(
    {"_delta_log", "_spark_metadata", "_temporary", "_delta_index", "_symlink_format_manifest", "_change_data"}
)
_NAME: Final = re.compile(
    r"_SUCCESS|_metadata|_common_metadata|_last_checkpoint|_(?:committed|started)_\w+|.+\.crc|dataset_infos?\.json"
)
_ICEBERG: Final = re.compile(r".+\.metadata\.json|(?:snap-.+|.+-m\d+)\.avro|version-hint\.text|.+\.stats")


def is_sidecar(relative: str) -> bool:
    """Tell by its place and name whether a file of a snapshot is a sidecar of Spark, Hive, Delta Lake or Iceberg."""
    path = PurePosixPath(relative)
    if not _FOLDERS.isdisjoint(path.parts[:-1]) or _NAME.fullmatch(path.name):
        return True
    return path.parent.name == "metadata" and _ICEBERG.fullmatch(path.name) is not None
