"""What a commit to a Lance table is made of, and what it says afterwards."""

# pyarrow ships no types
# pyright: reportAttributeAccessIssue=false

from dataclasses import dataclass
from typing import Any

import lance
import pyarrow as pa
import pyarrow.compute as pc
from lance.fragment import write_fragments

from gem_assets.lineage.manifest import LanceRef
from resources.lance_source import Source


@dataclass(frozen=True)
class Commit:
    """What one call did. ``changed`` is False when the content was there already and nothing was written."""

    table: str
    version: int
    rows: int
    digest: str
    rows_inserted: int = 0
    rows_updated: int = 0
    rows_deleted: int = 0
    changed: bool = True

    @property
    def ref(self) -> LanceRef:
        """What a manifest records of it."""
        return LanceRef(table=self.table, version=self.version, rows=self.rows, digest=self.digest)


def exchange(dataset: lance.LanceDataset, source: Source, condition: str, addresses: pa.ChunkedArray) -> Any:
    """Write the rows of a snapshot as new fragments and mark its old ones deleted; nothing is committed.

    Parameters
    ----------
    condition
        Filter that the old rows pass.
    addresses
        Row addresses of the old rows, uint64: fragment in the upper half.

    Returns
    -------
    lance.LanceOperation.Update
        To be committed once its files are on the disk.
    """
    touched = set(pc.unique(pc.shift_right(addresses, pa.scalar(32, pa.uint64()))).to_pylist())
    new = write_fragments(source.reader(), dataset, schema=source.schema, mode="append") if source.rows else []
    removed: list[int] = []
    updated: list[Any] = []
    for fragment in dataset.get_fragments() if touched else ():
        if fragment.fragment_id in touched:
            rest = fragment.delete(condition)
            if rest is None:
                removed.append(fragment.fragment_id)
            else:
                updated.append(rest)
    return lance.LanceOperation.Update(removed_fragment_ids=removed, updated_fragments=updated, new_fragments=new)
