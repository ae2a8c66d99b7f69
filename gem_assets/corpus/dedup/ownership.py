"""Which snapshot keeps a text that several have seen, and whether it still does.

The snapshot that was committed first keeps a text; the others record the place where they saw it and who keeps it
(``duplicates.parquet``, kind ``exact_across``). When a keeper is made again without that text, the snapshots that point
at it dangle: their own landing files still hold the text, so reading them again brings it back. Nothing is lost, and
only those snapshots are read again.
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gem_assets.corpus.columns import strings
from gem_assets.corpus.dedup.digests import pack_hex, unpack_hex
from gem_assets.corpus.dedup.known import ParquetKnown, ask_owners
from gem_assets.storage.spill import DIGEST, Spill, blocks_of, distinct_digests


def borrowed_texts(duplicates: Path, spill: Spill) -> dict[str, NDArray[np.bytes_]]:
    """Return the content digests that other snapshots keep for this one, sorted and distinct, by keeper.

    ``duplicates`` is the ``duplicates.parquet`` of a snapshot.
    """
    places: Counter[str] = Counter()
    for batch in _across(duplicates, "kept_snapshot"):
        places.update(batch.column("kept_snapshot").to_pylist())
    at: dict[str, int] = {}
    for keeper in sorted(places):
        at[keeper] = sum(places[name] for name in at)
    everything = spill.zeros(places.total(), DIGEST)
    ends = dict(at)
    for batch in _across(duplicates, "kept_snapshot", "content_digest"):
        keepers = batch.column("kept_snapshot")
        for keeper in keepers.unique().to_pylist():
            own = pack_hex(batch.filter(_is(keepers, keeper)).column("content_digest"))
            everything[ends[keeper] : ends[keeper] + len(own)] = own
            ends[keeper] += len(own)
        spill.settle()
    return {keeper: distinct_digests(everything[at[keeper] : ends[keeper]], spill) for keeper in at}


def borrowing_version(digests: NDArray[np.bytes_]) -> str:
    """Return a version of what is borrowed from one keeper: a digest over the sorted content digests."""
    version = sha256()
    for part in blocks_of(len(digests)):
        version.update(("\n" * (part.start > 0) + "\n".join(unpack_hex(digests[part]))).encode("ascii"))
    return version.hexdigest()


def dangling_texts(duplicates: Path, shards: Mapping[str, Sequence[Path]], spill: Spill) -> int:
    """Count the texts that this snapshot leaves to others and that no other keeps any more.

    ``shards`` are the document shards of the other snapshots that are current, by snapshot.
    """
    missing = 0
    for keeper, digests in borrowed_texts(duplicates, spill).items():
        kept = ask_owners(ParquetKnown({keeper: shards.get(keeper, [])}), digests, spill).snapshot
        missing += len(digests) - sum(int(np.count_nonzero(kept[part])) for part in blocks_of(len(kept)))
    return missing


def _across(duplicates: Path, *columns: str) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(duplicates, pre_buffer=False) as file:
        for batch in file.iter_batches(columns=["kind", *columns]):
            mine = batch.filter(_is(batch.column("kind"), "exact_across"))
            if mine.num_rows:
                yield mine


def _is(column: pa.Array, value: str) -> pa.Array:
    # pc.equal would make a scalar, and so import pandas
    return pc.is_in(column, value_set=strings([value]))
