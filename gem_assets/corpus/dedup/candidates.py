"""All candidate documents of a snapshot without their texts, for deciding which snapshot keeps what.

Ids and digests of all fragments, and who owns a text already, lie in a :class:`~gem_assets.storage.spill.Spill`
(54 bytes per document on disk); signatures are put into one memory-mapped file.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gem_assets.corpus.config import NearDuplicates
from gem_assets.corpus.dedup.digests import pack_hex, unpack_hex
from gem_assets.corpus.dedup.known import KnownContent, Owners, ask_owners
from gem_assets.corpus.dedup.verdicts import KEPT, Verdicts, decide, find_equals
from gem_assets.corpus.fragments import FileTally, fragment_path, read_fragment
from gem_assets.storage.spill import DIGEST, Spill, blocks_of

Blocked = Callable[[pa.RecordBatch], NDArray[np.bool_]]
"""Tells for candidate documents (all columns but the text) which ones must not be kept."""

BLOCKED: Final = 4
"""A verdict beside those of :mod:`gem_assets.corpus.dedup.verdicts`: refused by the takedown list."""


class Candidates:
    """Ids and digests of all candidates in canonical order.

    Parameters
    ----------
    scratch
        Folder of the fragments; the joined signatures go there too.
    tallies
        What each file gave, in canonical order.
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
        """Return what happens to every candidate, and who keeps its text already; blocked ones are ``BLOCKED``."""
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
        """Join the signature files; the pieces stay, as a try after this one takes them over."""
        if not len(self):
            return None
        joined = self._scratch / "signatures"
        with joined.open("wb") as out:
            for tally in self._tallies:
                with fragment_path(self._scratch, tally.index, "signatures").open("rb") as data:
                    while block := data.read(1 << 20):
                        out.write(block)
        return self._spill.read(joined, (len(self), near.num_perm), np.uint32)


__all__ = ["BLOCKED", "KEPT", "Blocked", "Candidates"]
