"""All candidate documents of a snapshot, without their texts: who keeps what.

Ids and digests of all fragments, and who owns a text already, lie in a :class:`~gem_assets.spill.Spill` (54 bytes a
document on the disk); signatures are put into one file that is mapped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gem_assets.corpus.config import NearDuplicates
from gem_assets.corpus.dedup import KEPT, Verdicts, decide, find_equals
from gem_assets.corpus.digests import pack_hex, unpack_hex
from gem_assets.corpus.fragments import FileTally, fragment_path, read_fragment
from gem_assets.corpus.known import KnownContent
from gem_assets.spill import DIGEST, Spill, blocks_of, find_digests

Blocked = Callable[[pa.RecordBatch], NDArray[np.bool_]]
"""Tells for candidate documents (all columns but the text) which ones must not be kept."""

BLOCKED: Final = 4
"""A verdict beside those of :mod:`gem_assets.corpus.dedup`: refused by the takedown list."""


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
    names
        Snapshots, in their order.
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


class Candidates:
    """Ids and digests of all candidates in canonical order.

    Parameters
    ----------
    scratch
        Folder of the fragments; the joined signatures go there too.
    tallies
        What each file gave, in canonical order.
    blocked
        The takedown list, if there is one.
    spill
        Where the figures of the documents lie.
    """

    def __init__(self, scratch: Path, tallies: Sequence[FileTally], blocked: Blocked | None, spill: Spill) -> None:
        n = sum(tally.candidates for tally in tallies)
        self.doc_ids, self.digests = spill.zeros(n, DIGEST), spill.zeros(n, DIGEST)
        self.refused = spill.zeros(n, bool)
        self._scratch, self._tallies, self._spill = scratch, tallies, spill
        end = 0
        for tally in tallies:
            for batch in read_fragment(fragment_path(scratch, tally.index, "documents"), without="text"):
                rows = slice(end, end := end + batch.num_rows)
                self.doc_ids[rows] = pack_hex(batch.column("doc_id"))
                self.digests[rows] = pack_hex(batch.column("content_digest"))
                if blocked is not None:
                    self.refused[rows] = np.asarray(blocked(batch), bool)
            spill.settle()

    def __len__(self) -> int:
        return len(self.doc_ids)

    def judge(self, known: KnownContent, near: NearDuplicates) -> tuple[Verdicts, Owners]:
        """Return what becomes of every candidate, and who keeps its text already; blocked ones are ``BLOCKED``."""
        spill = self._spill
        equals = find_equals(self.digests, spill, self.refused)
        owners = ask_owners(known, equals.distinct, spill)
        owned = spill.zeros(len(self), bool)
        for part in blocks_of(len(self)) if owners.names else ():
            owned[part] = owners.index(self.digests[part], spill) >= 0
        signatures = self._signatures(near) if near.enabled else None
        verdicts = decide(equals, owned, signatures, near, spill, self.refused)
        for part in blocks_of(len(self)):
            verdicts.kind[part][self.refused[part]] = BLOCKED
        return verdicts, owners

    def stand_ins(
        self, rows: NDArray[np.int64], verdicts: Verdicts, owners: Owners, snapshot: str
    ) -> tuple[list[str], list[str]]:
        """Return, for dropped documents, the id and the snapshot of the document kept in their stead."""
        keeper = verdicts.keeper[rows]
        foreign = owners.index(self.digests[keeper], self._spill)
        ids = self.doc_ids[keeper].copy()
        ids[foreign >= 0] = owners.doc_ids[foreign[foreign >= 0]]
        names = [snapshot if i < 0 else owners.names[owners.snapshot[i] - 1] for i in foreign.tolist()]
        return unpack_hex(ids), names

    def _signatures(self, near: NearDuplicates) -> NDArray[np.uint32] | None:
        """Join the signature files; the pieces go as they are copied, so the disk holds them once."""
        if not len(self):
            return None
        joined = self._scratch / "signatures"
        with joined.open("wb") as out:
            for tally in self._tallies:
                piece = fragment_path(self._scratch, tally.index, "signatures")
                with piece.open("rb") as data:
                    while block := data.read(1 << 20):
                        out.write(block)
                piece.unlink()
        return self._spill.read(joined, (len(self), near.num_perm), np.uint32)


__all__ = ["BLOCKED", "KEPT", "Blocked", "Candidates", "Owners", "ask_owners"]
