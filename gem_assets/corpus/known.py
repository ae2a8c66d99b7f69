"""Which texts other snapshots already keep."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gem_assets.corpus.digests import pack_hex


@dataclass(frozen=True)
class KnownTexts:
    """Some texts of one snapshot: content digests and ids of the documents, S16 (n,) each."""

    snapshot: str
    digests: NDArray[np.bytes_]
    doc_ids: NDArray[np.bytes_]


class KnownContent(Protocol):
    """Tells which texts other snapshots keep."""

    def texts(self) -> Iterator[KnownTexts]:
        """Yield all of them in batches. The first snapshot that names a text owns it."""
        ...


class NothingKnown:
    """The first snapshot, or duplicates across snapshots switched off."""

    def texts(self) -> Iterator[KnownTexts]:
        """Yield nothing."""
        yield from ()


class ParquetKnown:
    """The document shards of other snapshots, of which two columns are streamed.

    Parameters
    ----------
    shards
        Document shards of each snapshot. Where several snapshots keep a text, the first by name owns it.
    """

    def __init__(self, shards: Mapping[str, Sequence[Path]]) -> None:
        self._shards = {name: sorted(shards[name]) for name in sorted(shards)}

    def texts(self) -> Iterator[KnownTexts]:
        """Yield the texts by snapshot name; memory is one batch."""
        for snapshot, paths in self._shards.items():
            for path in paths:
                with pq.ParquetFile(path, pre_buffer=False) as file:
                    for batch in file.iter_batches(columns=["content_digest", "doc_id"]):
                        yield KnownTexts(
                            snapshot, pack_hex(batch.column("content_digest")), pack_hex(batch.column("doc_id"))
                        )
