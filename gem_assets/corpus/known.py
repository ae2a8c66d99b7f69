"""Which texts other snapshots already keep.

Every ingest asks all other snapshots. Opening a parquet file costs more than reading the few columns of a small one, so
what a snapshot keeps is written down once in a file of 32 bytes a text (:class:`RememberedKnown`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gem_assets.corpus.digests import pack_hex
from gem_assets.lineage.durable import atomic_file
from gem_assets.spill import BLOCK_ROWS, DIGEST

_ROW: Final = np.dtype([("digest", DIGEST), ("doc_id", DIGEST)])


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
                    for batch in file.iter_batches(columns=["content_digest", "doc_id"], use_threads=False):
                        yield KnownTexts(
                            snapshot, pack_hex(batch.column("content_digest")), pack_hex(batch.column("doc_id"))
                        )


class RememberedKnown:
    """The same from files of digests and ids, which are made from the shards where they are missing.

    Parameters
    ----------
    shards
        Document shards of each snapshot.
    identities
        Identity of each snapshot's result: the name of its file. A result never changes, so neither does the file.
    folder
        Where the files lie; may be emptied at any time.
    """

    def __init__(self, shards: Mapping[str, Sequence[Path]], identities: Mapping[str, str], folder: Path) -> None:
        self._shards = {name: sorted(shards[name]) for name in sorted(shards)}
        self._identities = identities
        self._folder = folder

    def texts(self) -> Iterator[KnownTexts]:
        """Yield the texts by snapshot name; memory is one block."""
        for snapshot, paths in self._shards.items():
            path = self._folder / self._identities[snapshot]
            if not path.exists():
                self._remember(snapshot, paths, path)
            with path.open("rb") as file:
                while block := file.read(BLOCK_ROWS * _ROW.itemsize):
                    rows = np.frombuffer(block, _ROW)
                    yield KnownTexts(snapshot, rows["digest"], rows["doc_id"])

    def _remember(self, snapshot: str, paths: Sequence[Path], path: Path) -> None:
        # several ingests may make the same file: whoever is last replaces it by its equal
        with atomic_file(path) as file:
            for part in ParquetKnown({snapshot: paths}).texts():
                rows = np.empty(len(part.digests), _ROW)
                rows["digest"], rows["doc_id"] = part.digests, part.doc_ids
                file.write(rows.tobytes())
