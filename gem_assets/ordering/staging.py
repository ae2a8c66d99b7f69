"""Check the documents to be ordered and store the few columns that ordering needs.

Input is read once; everything after reads the staged file, which holds only documents of clusters that have a share.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gem_assets.ordering.config import OrderingConfig
from gem_assets.ordering.draw import Candidates, Supply
from gem_assets.ordering.external import Spool
from gem_assets.ordering.hashing import document_keys
from gem_assets.ordering.ids import pack
from gem_assets.ordering.plan import RunPlan

_STAGED = pa.schema(
    [
        ("doc_id", pa.string()),
        ("index", pa.int32()),
        ("n_tokens", pa.int64()),
        ("weight", pa.float64()),
        ("key", pa.uint64()),
        ("score", pa.float64()),
    ]
)
_CANDIDATE = ["index", "n_tokens", "weight", "key"]

NO_SHARE = "cluster without a share"
NO_TOKENS = "no tokens"
# documents may leave between recipe and order; past this the recipe no longer describes the corpus
CAP_SLACK = 1.1


@dataclass(frozen=True)
class Staged:
    """Staged documents and what was left out.

    Attributes
    ----------
    spool
        The documents.
    packed
        Whether every id is 32 hexadecimal digits.
    left_out
        Documents by reason.
    """

    spool: Spool
    packed: bool
    left_out: Mapping[str, int]

    def replay(self) -> Iterator[Candidates]:
        """Candidates of the draw, batch by batch."""
        for batch in self.spool.read(_CANDIDATE):
            yield _candidates(batch)

    def rows(self) -> Iterator[tuple[Candidates, pa.Array, npt.NDArray[np.float64]]]:
        """Candidates with doc_id and score, batch by batch."""
        for batch in self.spool.read():
            yield _candidates(batch), batch.column("doc_id"), batch.column("score").to_numpy()

    def require_tokens(self, supply: Supply, plan: RunPlan) -> None:
        """Raise if a cluster with a share has nothing to train on, or far too little for its cap."""
        missing = plan.clusters[(plan.targets > 0) & (supply.tokens == 0)].tolist()
        if missing:
            raise ValueError(
                f"clusters {missing} have a token share in the recipe and no tokens among the documents; land text "
                "for them or build the recipe again from the current inventory"
            )
        epochs = plan.targets / supply.tokens
        worst = int(np.argmax(epochs / plan.caps))
        if epochs[worst] > plan.caps[worst] * CAP_SLACK:
            raise ValueError(
                f"cluster {int(plan.clusters[worst])} would be seen {epochs[worst]:.4g} times, its cap is "
                f"{plan.caps[worst]:.4g}: {int(supply.tokens[worst])} tokens are left for a target of "
                f"{plan.targets[worst]:.0f}; build the recipe again from the current inventory, lower the budget, or "
                "boost the cluster less"
            )


def stage(documents: Iterable[pa.RecordBatch], plan: RunPlan, config: OrderingConfig, path: Path) -> Staged:
    """Write the usable documents of all batches to one scratch file.

    Raises
    ------
    ValueError
        If a batch lacks a column, or holds a null, a negative token count, or a score that cannot be ranked.
    """
    left_out: Counter[str] = Counter()
    first = 0
    packed = True
    with Spool(path, _STAGED) as spool:
        for batch in documents:
            if batch.num_rows:
                usable = _usable(batch, first, plan, config, left_out)
                packed = packed and pack(usable.column("doc_id")) is not None
                spool.write(usable)
                first += batch.num_rows
    return Staged(spool=spool, packed=packed, left_out=dict(left_out))


def _usable(
    batch: pa.RecordBatch, first: int, plan: RunPlan, config: OrderingConfig, left_out: Counter[str]
) -> pa.RecordBatch:
    needed = ["doc_id", "cluster", "n_tokens", config.score] + (["dup_count"] if config.rehydrate else [])
    missing = [name for name in needed if name not in batch.schema.names]
    if missing:
        raise ValueError(
            f"documents from row {first} have no column {', '.join(missing)}; they have {', '.join(batch.schema.names)}"
        )
    for name in needed:
        if name != config.score and batch.column(name).null_count:
            raise ValueError(f"column {name} holds {batch.column(name).null_count} nulls among rows from {first}")
    cluster = batch.column("cluster").to_numpy()
    n_tokens = batch.column("n_tokens").to_numpy()
    if int(n_tokens.min()) < 0:
        at = int(n_tokens.argmin())
        raise ValueError(f"document {batch.column('doc_id')[at].as_py()} has {int(n_tokens[at])} tokens")
    if int(n_tokens.max()) > np.iinfo(np.int32).max:
        at = int(n_tokens.argmax())
        raise ValueError(
            f"document {batch.column('doc_id')[at].as_py()} has {int(n_tokens[at])} tokens; split it below 2**31"
        )
    index = np.minimum(np.searchsorted(plan.clusters, cluster), len(plan.clusters) - 1)
    shared = plan.clusters[index] == cluster
    left_out[NO_SHARE] += int((~shared).sum())
    left_out[NO_TOKENS] += int((shared & (n_tokens == 0)).sum())
    rows = np.flatnonzero(shared & (n_tokens > 0))
    doc_id = batch.column("doc_id").take(pa.array(rows)).cast(pa.string())
    return pa.record_batch(
        [
            doc_id,
            pa.array(index[rows].astype(np.int32)),
            pa.array(n_tokens[rows].astype(np.int64)),
            pa.array(_weights(batch, config.rehydrate)[rows]),
            pa.array(document_keys(doc_id)),
            pa.array(_scores(batch, config)[rows]),
        ],
        schema=_STAGED,
    )


def _scores(batch: pa.RecordBatch, config: OrderingConfig) -> npt.NDArray[np.float64]:
    column = batch.column(config.score)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)):
        raise ValueError(f"score column {config.score} is {column.type}; choose a numeric column")
    score = pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False).copy()
    bad = ~np.isfinite(score)
    if bad.any():
        if config.missing_score == "refuse":
            doc_id = batch.column("doc_id")[int(bad.argmax())].as_py()
            raise ValueError(
                f"{int(bad.sum())} documents of a batch have no finite {config.score}, the first is {doc_id}; choose "
                "another score or set missing_score='lowest'"
            )
        score[bad] = np.finfo(np.float64).min
    # -0.0 becomes 0.0, so that equal scores tie
    return score + 0.0


def _weights(batch: pa.RecordBatch, rehydrate: Mapping[int, float] | None) -> npt.NDArray[np.float64]:
    if rehydrate is None:
        return np.ones(batch.num_rows)
    thresholds = np.array(sorted(rehydrate), dtype=np.int64)
    values = np.array([rehydrate[int(t)] for t in thresholds])
    dup_count = batch.column("dup_count").to_numpy()
    return values[np.maximum(np.searchsorted(thresholds, dup_count, side="right") - 1, 0)]


def _candidates(batch: pa.RecordBatch) -> Candidates:
    return Candidates(
        cluster=batch.column("index").to_numpy().astype(np.int64),
        n_tokens=batch.column("n_tokens").to_numpy(),
        weight=batch.column("weight").to_numpy(),
        key=batch.column("key").to_numpy(),
    )
