"""What a commit to a Lance table consists of, and what it reports."""

# pyarrow ships no types
# pyright: reportAttributeAccessIssue=false

from dataclasses import dataclass
from typing import Any

import lance
import pyarrow as pa
import pyarrow.compute as pc
from lance.fragment import write_fragments

from gem_assets.storage.lance_source import Source
from gem_assets.storage.manifest import LanceRef

# a row address holds the fragment in its upper half
_FRAGMENT = pa.scalar(32, pa.uint64())


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


@dataclass(frozen=True)
class Standing:
    """The rows that a commit replaces: how many, how many of them come again, and the fragments that hold them."""

    rows: int
    kept: int
    fragments: frozenset[int]


def standing_rows(dataset: lance.LanceDataset, key: str, condition: str, source: Source) -> Standing:
    """Look over the rows that pass a filter, in a stream; ``source`` tells which of their keys come again."""
    rows = kept = 0
    fragments = set[int]()
    for batch in dataset.scanner(columns=[key], filter=condition, with_row_address=True).to_batches():
        fragments |= set(pc.unique(pc.shift_right(batch.column("_rowaddr"), _FRAGMENT)).to_pylist())
        rows += batch.num_rows
        kept += source.keys.holds(batch.column(key))
    return Standing(rows, kept, frozenset(fragments))


def exchange(dataset: lance.LanceDataset, source: Source, condition: str, old: Standing) -> Any:
    """Write the rows of a snapshot as new fragments and mark its old ones deleted; nothing is committed.

    ``condition`` is a filter that the old rows pass.

    Returns what is to be committed once its files are on the disk.
    """
    new = write_fragments(source.reader(), dataset, schema=source.schema, mode="append") if source.rows else []
    removed: list[int] = []
    updated: list[Any] = []
    for fragment in dataset.get_fragments() if old.fragments else ():
        if fragment.fragment_id in old.fragments:
            rest = fragment.delete(condition)
            if rest is None:
                removed.append(fragment.fragment_id)
            else:
                updated.append(rest)
    return lance.LanceOperation.Update(removed_fragment_ids=removed, updated_fragments=updated, new_fragments=new)
