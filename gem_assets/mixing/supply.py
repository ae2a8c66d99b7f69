"""What there is to mix: documents, tokens and bytes per cluster.

The label tables are read once, batch by batch, and reduced to one row per cluster, snapshot and language;
that table is the domain inventory, some thousand rows whatever the corpus weighs. Memory is one batch plus
those rows.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

UNDETERMINED = "und"

INVENTORY_SCHEMA = pa.schema(
    [
        pa.field("cluster", pa.int16(), nullable=False),
        pa.field("snapshot", pa.string(), nullable=False),
        pa.field("lang", pa.string(), nullable=False),
        pa.field("n_docs", pa.int64(), nullable=False),
        pa.field("n_tokens", pa.int64(), nullable=False),
        pa.field("n_bytes", pa.int64(), nullable=False),
    ]
)

_KEYS = ["cluster", "snapshot", "lang"]
_SUMS = ["n_docs", "n_tokens", "n_bytes"]
_NEEDED = ["cluster", "snapshot", "lang", "n_tokens", "n_bytes"]
_FOLD_ROWS = 100_000


def build_inventory(label_batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Reduce label rows to one row per cluster, snapshot and language.

    Of the batches only ``cluster``, ``snapshot``, ``lang``, ``n_tokens`` and ``n_bytes`` are read.

    Returns ``INVENTORY_SCHEMA``, sorted by cluster, snapshot and language, so the order of the batches leaves no trace.
    A document without a language counts under ``und``.

    Raises ValueError if a column is missing, a cluster or a count is null, or a count is negative.
    """
    folded = INVENTORY_SCHEMA.empty_table()
    pending: list[pa.Table] = []
    waiting = 0
    for number, batch in enumerate(label_batches):
        if batch.num_rows == 0:
            continue
        part = _reduce(_as_inventory_rows(batch, number))
        pending.append(part)
        waiting += part.num_rows
        if waiting > _FOLD_ROWS:
            folded = _reduce(pa.concat_tables([folded, *pending]))
            pending, waiting = [], 0
    table = _reduce(pa.concat_tables([folded, *pending]))
    return table.sort_by([(key, "ascending") for key in _KEYS])


def _as_inventory_rows(batch: pa.RecordBatch, number: int) -> pa.Table:
    missing = [name for name in _NEEDED if name not in batch.schema.names]
    if missing:
        raise ValueError(
            f"label batch {number} has no column {', '.join(missing)}; it has {', '.join(batch.schema.names)}"
        )
    for name in ("cluster", "snapshot", "n_tokens", "n_bytes"):
        if batch.column(name).null_count:
            raise ValueError(
                f"label batch {number} holds {batch.column(name).null_count} rows without {name}; "
                "label the snapshot again"
            )
    for name in ("n_tokens", "n_bytes"):
        low = batch.column(name).to_numpy().min()
        if low < 0:
            raise ValueError(f"label batch {number} holds a negative {name}: {low}")
    langs = pc.fill_null(batch.column("lang").cast(pa.string()), UNDETERMINED)
    empty_as_und = pc.ReplaceSubstringOptions("^$", UNDETERMINED)
    langs = pc.call_function("replace_substring_regex", [langs], empty_as_und)
    columns = {
        "cluster": batch.column("cluster").cast(pa.int16()),
        "snapshot": batch.column("snapshot").cast(pa.string()),
        "lang": langs,
        "n_docs": pa.array(np.ones(batch.num_rows, np.int64)),
        "n_tokens": batch.column("n_tokens").cast(pa.int64()),
        "n_bytes": batch.column("n_bytes").cast(pa.int64()),
    }
    return pa.table(columns, schema=INVENTORY_SCHEMA)


def _reduce(rows: pa.Table) -> pa.Table:
    summed = rows.group_by(_KEYS, use_threads=False).aggregate([(name, "sum") for name in _SUMS])
    arrays = {name: summed.column(name) for name in _KEYS} | {name: summed.column(f"{name}_sum") for name in _SUMS}
    return pa.table(arrays).select(INVENTORY_SCHEMA.names).cast(INVENTORY_SCHEMA)


@dataclass(frozen=True)
class ClusterSupply:
    """Text available per cluster, ordered by cluster id.

    The arrays are int64 ``(K,)``. A cluster of the taxonomy that holds no text has zeros.
    """

    clusters: NDArray[np.int64]
    docs: NDArray[np.int64]
    tokens: NDArray[np.int64]
    n_bytes: NDArray[np.int64]

    def __post_init__(self) -> None:
        sizes = {len(a) for a in (self.clusters, self.docs, self.tokens, self.n_bytes)}
        if len(sizes) != 1:
            raise ValueError(f"the supply's arrays differ in length: {sorted(sizes)}")
        if np.any(np.diff(self.clusters) <= 0):
            raise ValueError("cluster ids of a supply must be distinct and ascending")
        for name, values in (("docs", self.docs), ("tokens", self.tokens), ("n_bytes", self.n_bytes)):
            if np.any(values < 0):
                worst = int(np.argmin(values))
                raise ValueError(f"cluster {self.clusters[worst]} has negative {name}: {values[worst]}")
        ghosts = (self.docs == 0) & (self.tokens > 0)
        if np.any(ghosts):
            worst = int(np.argmax(ghosts))
            raise ValueError(
                f"cluster {self.clusters[worst]} has {self.tokens[worst]} tokens but no documents; rebuild "
                "the inventory"
            )

    @classmethod
    def from_inventory(cls, inventory: pa.Table, n_clusters: int | None = None) -> Self:
        """Sum an inventory over snapshots and languages.

        With ``n_clusters``, ids ``0..n_clusters-1`` all appear, those without text with zeros; without it only the ids
        of the table do.

        Raises ValueError if the inventory names a cluster outside ``0..n_clusters-1``.
        """
        ids = inventory.column("cluster").to_numpy().astype(np.int64)
        clusters = np.arange(n_clusters, dtype=np.int64) if n_clusters is not None else np.unique(ids)
        slots = np.searchsorted(clusters, ids)
        outside = (ids < 0) | (slots >= len(clusters))
        if np.any(outside):
            raise ValueError(
                f"the inventory names cluster {ids[np.argmax(outside)]}, the taxonomy has "
                f"0..{len(clusters) - 1}; "
                "label the snapshots with the current teacher"
            )
        sums: list[NDArray[np.int64]] = []
        for name in _SUMS:
            total = np.zeros(len(clusters), np.int64)
            np.add.at(total, slots, inventory.column(name).to_numpy())
            sums.append(total)
        return cls(clusters, *sums)

    @property
    def total_tokens(self) -> int:
        """Tokens over all clusters."""
        return int(self.tokens.sum())

    @property
    def tokens_per_doc(self) -> NDArray[np.float64]:
        """Mean tokens of a document per cluster, float64 ``(K,)``; zero where there is no document."""
        return np.divide(self.tokens, self.docs, out=np.zeros(len(self.docs), np.float64), where=self.docs > 0)

    @property
    def token_shares(self) -> NDArray[np.float64]:
        """Share of the available tokens per cluster, float64 ``(K,)``: the natural prior of every method."""
        if self.total_tokens == 0:
            raise ValueError("the inventory holds no tokens; land and label a snapshot first")
        return self.tokens / self.total_tokens
