"""All candidate documents of a snapshot, without their texts: who keeps what.

Loads ids and digests of all fragments (32 bytes a document) and puts their signatures into one file that is read
through a memory map.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gem_assets.corpus.config import CorpusConfig, NearDuplicates
from gem_assets.corpus.dedup import KEPT, Verdicts, decide
from gem_assets.corpus.fragments import FileTally, fragment_path, read_fragment
from gem_assets.corpus.known import KnownContent
from gem_assets.corpus.text import DIGEST_BYTES

Blocked = Callable[[pa.RecordBatch], NDArray[np.bool_]]
"""Tells for candidate documents (all columns but the text) which ones must not be kept."""

BLOCKED: Final = 4
"""A verdict beside those of :mod:`gem_assets.corpus.dedup`: refused by the takedown list."""

_ID: Final = f"S{DIGEST_BYTES}"


def pack_hex(column: pa.Array) -> NDArray[np.bytes_]:
    """Return a column of 32 hex digits as (n,) raw bytes."""
    return np.frombuffer(bytes.fromhex("".join(column.to_pylist())), _ID)


def unpack_hex(packed: NDArray[np.bytes_]) -> list[str]:
    """Return raw bytes as hex strings."""
    # not .tolist(): numpy drops zero bytes at the end of byte strings
    joined = np.ascontiguousarray(packed).tobytes().hex()
    width = 2 * DIGEST_BYTES
    return [joined[i : i + width] for i in range(0, len(joined), width)]


@dataclass(frozen=True)
class Owners:
    """Texts of this snapshot that other snapshots keep, sorted by digest."""

    digests: NDArray[np.bytes_]
    doc_ids: NDArray[np.bytes_]
    snapshots: list[str]

    def index(self, digests: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """Return, for every digest, the row of its owner, or -1."""
        if not len(self.digests):
            return np.full(len(digests), -1, np.int64)
        at = np.minimum(np.searchsorted(self.digests, digests), len(self.digests) - 1)
        return np.where(self.digests[at] == digests, at, -1).astype(np.int64)

    def counts(self) -> dict[str, int]:
        """Return how many texts each other snapshot keeps."""
        return dict(sorted(Counter(self.snapshots).items()))

    def digest(self) -> str:
        """Return the SHA-256 over the texts and their owners; '' without any."""
        if not self.snapshots:
            return ""
        total = hashlib.sha256()
        rows = zip(unpack_hex(self.digests), unpack_hex(self.doc_ids), self.snapshots, strict=True)
        for text, doc_id, snapshot in rows:
            total.update(f"{text} {doc_id} {snapshot}\n".encode())
        return total.hexdigest()


NO_OWNERS: Final = Owners(np.empty(0, _ID), np.empty(0, _ID), [])


def ask_owners(known: KnownContent, digests: NDArray[np.bytes_]) -> Owners:
    """Return who keeps the given texts already."""
    if not len(digests):
        return NO_OWNERS
    table = known.owners(pa.array(unpack_hex(np.unique(digests)), pa.string())).combine_chunks()
    if not table.num_rows:
        return NO_OWNERS
    table = table.sort_by("content_digest")
    columns = [pack_hex(table.column(name).combine_chunks()) for name in ("content_digest", "doc_id")]
    if len(np.unique(columns[0])) != len(columns[0]):
        raise ValueError(f"{type(known).__name__}.owners returned two owners for one text; it has to choose one")
    return Owners(columns[0], columns[1], table.column("snapshot").to_pylist())


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
    """

    def __init__(self, scratch: Path, tallies: Sequence[FileTally], blocked: Blocked | None) -> None:
        doc_ids: list[NDArray[np.bytes_]] = [np.empty(0, _ID)]
        digests: list[NDArray[np.bytes_]] = [np.empty(0, _ID)]
        refused: list[NDArray[np.bool_]] = [np.empty(0, bool)]
        for tally in tallies:
            for batch in read_fragment(fragment_path(scratch, tally.index, "documents"), without="text"):
                doc_ids.append(pack_hex(batch.column("doc_id")))
                digests.append(pack_hex(batch.column("content_digest")))
                mask = np.zeros(batch.num_rows, bool) if blocked is None else np.asarray(blocked(batch), bool)
                refused.append(mask)
        self.doc_ids = np.concatenate(doc_ids)
        self.digests = np.concatenate(digests)
        self.refused = np.concatenate(refused)
        self._scratch = scratch
        self._tallies = tallies

    def __len__(self) -> int:
        return len(self.doc_ids)

    def judge(self, owners: Owners, config: CorpusConfig) -> Verdicts:
        """Return what becomes of every candidate; blocked ones have the kind ``BLOCKED``."""
        alive = np.flatnonzero(~self.refused)
        owned = owners.index(self.digests[alive]) >= 0
        signatures = self._signatures(config.near) if config.near.enabled else None
        found = decide(self.digests[alive], owned, signatures, config.near, alive)
        kind = np.full(len(self), BLOCKED, np.int8)
        keeper = np.arange(len(self))
        counts = np.zeros(len(self), np.int32)
        kind[alive], keeper[alive], counts[alive] = found.kind, alive[found.keeper], found.dup_count
        return Verdicts(kind, keeper, counts)

    def stand_ins(
        self, rows: NDArray[np.int64], verdicts: Verdicts, owners: Owners, snapshot: str
    ) -> tuple[list[str], list[str]]:
        """Return, for dropped documents, the id and the snapshot of the document kept in their stead."""
        keeper = verdicts.keeper[rows]
        foreign = owners.index(self.digests[keeper])
        ids = self.doc_ids[keeper].copy()
        ids[foreign >= 0] = owners.doc_ids[foreign[foreign >= 0]]
        names = [snapshot if i < 0 else owners.snapshots[i] for i in foreign.tolist()]
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
        return np.memmap(joined, np.uint32, mode="r", shape=(len(self), near.num_perm))


__all__ = ["BLOCKED", "KEPT", "NO_OWNERS", "Blocked", "Candidates", "Owners", "ask_owners", "pack_hex", "unpack_hex"]
