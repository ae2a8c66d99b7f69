"""Which snapshot keeps a text that several have seen, and whether it still does.

The snapshot that was committed first keeps a text; the others record the place where they saw it and who keeps it
(``duplicates.parquet``, kind ``exact_across``). When a keeper is made again without that text, the snapshots that point
at it dangle: their own landing files still hold the text, so reading them again brings it back. Nothing is lost, and
only those snapshots are read again.
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gem_assets.corpus.known import ParquetKnown


def borrowed_texts(duplicates: Path) -> dict[str, pa.Array]:
    """Return the content digests that other snapshots keep for this one, by keeper.

    Parameters
    ----------
    duplicates
        A snapshot's ``duplicates.parquet``.
    """
    rows = pq.read_table(
        duplicates, columns=["kept_snapshot", "content_digest"], filters=pc.field("kind") == "exact_across"
    )
    keepers = sorted(set(rows.column("kept_snapshot").to_pylist()))
    found: dict[str, pa.Array] = {}
    for keeper in keepers:
        own = rows.filter(pc.equal(rows.column("kept_snapshot"), keeper)).column("content_digest")
        distinct = own.combine_chunks().unique()
        found[keeper] = distinct.take(pc.sort_indices(distinct))
    return found


def borrowing_version(digests: pa.Array) -> str:
    """Return a version of what is borrowed from one keeper: a digest over the sorted content digests."""
    return sha256("\n".join(digests.to_pylist()).encode("ascii")).hexdigest()


def dangling_texts(duplicates: Path, shards: Mapping[str, Sequence[Path]]) -> int:
    """Count the texts that this snapshot leaves to others and that no other keeps any more.

    Parameters
    ----------
    duplicates
        The snapshot's ``duplicates.parquet``.
    shards
        Document shards of the other snapshots that are current, by snapshot.
    """
    missing = 0
    for keeper, digests in borrowed_texts(duplicates).items():
        kept = ParquetKnown({keeper: shards[keeper]}).owners(digests).num_rows if keeper in shards else 0
        missing += len(digests) - kept
    return missing
