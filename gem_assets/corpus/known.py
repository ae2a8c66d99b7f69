"""Which texts other snapshots already keep."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

OWNER_SCHEMA: Final = pa.schema(
    [
        pa.field("content_digest", pa.string(), nullable=False),
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("snapshot", pa.string(), nullable=False),
    ]
)


class KnownContent(Protocol):
    """Answers, for many content digests at once, who keeps them already."""

    def owners(self, content_digests: pa.Array, /) -> pa.Table:
        """Return one row of ``OWNER_SCHEMA`` for each digest that is known; unknown ones have no row."""
        ...


class NothingKnown:
    """The first snapshot, or duplicates across snapshots switched off."""

    def owners(self, content_digests: pa.Array, /) -> pa.Table:  # noqa: ARG002
        """Return no rows."""
        return OWNER_SCHEMA.empty_table()


class ParquetKnown:
    """The document shards of other snapshots, of which two columns are streamed.

    Parameters
    ----------
    shards
        Document shards of each snapshot. Where several snapshots keep a text, the first by name owns it.
    """

    def __init__(self, shards: Mapping[str, Sequence[Path]]) -> None:
        self._shards = {name: sorted(shards[name]) for name in sorted(shards)}

    def owners(self, content_digests: pa.Array, /) -> pa.Table:
        """Return the owners; memory holds the digests asked for, the hits and one batch."""
        hits: list[pa.Table] = []
        for snapshot, paths in self._shards.items():
            for path in paths:
                with pq.ParquetFile(path, pre_buffer=False) as file:
                    for batch in file.iter_batches(columns=["content_digest", "doc_id"]):
                        ours = pc.is_in(batch.column("content_digest"), value_set=content_digests)  # pyright: ignore[reportAttributeAccessIssue]
                        found = batch.filter(ours)
                        if found.num_rows:
                            columns = [
                                found.column("content_digest"),
                                found.column("doc_id"),
                                pa.repeat(pa.scalar(snapshot), found.num_rows),
                            ]
                            hits.append(pa.Table.from_arrays(columns, schema=OWNER_SCHEMA))
        if not hits:
            return OWNER_SCHEMA.empty_table()
        return one_owner_each(pa.concat_tables(hits))


def one_owner_each(owners: pa.Table) -> pa.Table:
    """Keep, for each digest, the owner that is first by snapshot name and then by document id."""
    order = pc.sort_indices(  # pyright: ignore[reportAttributeAccessIssue]
        owners, sort_keys=[("content_digest", "ascending"), ("snapshot", "ascending"), ("doc_id", "ascending")]
    )
    owners = owners.take(order).combine_chunks()
    digests = owners.column("content_digest")
    if owners.num_rows < 2:
        return owners
    differs = pc.not_equal(digests.slice(1), digests.slice(0, owners.num_rows - 1))  # pyright: ignore[reportAttributeAccessIssue]
    keep = pa.concat_arrays([pa.array([True]), *differs.chunks])
    return owners.filter(keep)
