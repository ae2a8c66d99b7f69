"""Which texts other snapshots already keep.

Every ingest asks all other snapshots. Opening a parquet file costs more than reading the few columns of a small one, so
what a snapshot keeps is written down once in a file of 32 bytes per text (:class:`RememberedKnown`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gem_assets.corpus.dedup.digests import pack_hex
from gem_assets.storage.durable import atomic_file
from gem_assets.storage.spill import BLOCK_ROWS, DIGEST, Spill, find_digests

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

    Where several snapshots keep a text, the first by name owns it.
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


@dataclass(frozen=True)
class Owners:
    """Which of some texts other snapshots keep.

    Attributes
    ----------
    texts
        S16 (m,): content digests that were asked for, sorted and distinct.
    snapshot
        int32 (m,): place in ``names`` of the snapshot that keeps the text, counted from 1; 0 where none does.
    doc_ids
        S16 (m,): the document that keeps it.
    """

    texts: NDArray[np.bytes_]
    snapshot: NDArray[np.int32]
    doc_ids: NDArray[np.bytes_]
    names: list[str]

    def index(self, digests: NDArray[np.bytes_], spill: Spill) -> NDArray[np.int64]:
        """Return, for every digest, the row of its owner, or -1."""
        found = np.full(len(digests), -1, np.int64)
        if self.names:
            hits, places = find_digests(digests, self.texts, spill)
            found[hits] = np.where(self.snapshot[places] > 0, places, -1)
        return found


NO_OWNERS: Final = Owners(np.empty(0, DIGEST), np.empty(0, np.int32), np.empty(0, DIGEST), [])


def ask_owners(known: KnownContent, texts: NDArray[np.bytes_], spill: Spill) -> Owners:
    """Return who keeps texts (sorted, distinct) already: the first snapshot that names one, by its least id there."""
    snapshot, doc_ids = spill.zeros(len(texts), np.int32), spill.zeros(len(texts), DIGEST)
    names: list[str] = []
    for batch in known.texts() if len(texts) else ():
        hits, places = find_digests(batch.digests, texts, spill)
        if not len(hits):
            continue
        if batch.snapshot not in names[-1:]:
            names.append(batch.snapshot)
        # the least id of each text last, so that it is what stays
        order = np.argsort(batch.doc_ids[hits], kind="stable")[::-1]
        places, ids = places[order], batch.doc_ids[hits][order]
        wins = (snapshot[places] == 0) | ((snapshot[places] == len(names)) & (ids < doc_ids[places]))
        snapshot[places[wins]], doc_ids[places[wins]] = len(names), ids[wins]
        spill.settle()
    return Owners(texts, snapshot, doc_ids, names) if names else NO_OWNERS
