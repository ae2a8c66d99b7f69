"""Small corpora and recipes for the ordering and export tests."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Entry:
    cluster: int
    token_share: float
    cap: float = 1000.0
    name: str = ""


@dataclass(frozen=True)
class Phase:
    fraction: float
    shares: Sequence[float]


@dataclass(frozen=True)
class SmallRecipe:
    entries: Sequence[Entry]
    phases: Sequence[Phase]
    token_budget: int


def recipe(shares: dict[int, float], budget: int, *phases: tuple[float, Sequence[float]]) -> SmallRecipe:
    """A recipe of one phase, or of those given."""
    spans = phases or ((1.0, list(shares.values())),)
    return SmallRecipe(
        entries=[Entry(c, s, name=f"cluster {c}") for c, s in shares.items()],
        phases=[Phase(f, s) for f, s in spans],
        token_budget=budget,
    )


def corpus(sizes: dict[int, tuple[int, int]], seed: int = 0, *, distinct_scores: bool = True) -> pa.RecordBatch:
    """Documents by cluster: {cluster: (documents, mean tokens)}."""
    rng = np.random.default_rng(seed)
    cluster = np.concatenate([np.full(n, c) for c, (n, _) in sizes.items()]).astype(np.int16)
    tokens = np.concatenate([rng.integers(1, 2 * mean + 1, n) for n, mean in sizes.values()])
    n = len(cluster)
    shuffled = rng.permutation(n)
    scores = rng.permutation(n) / n if distinct_scores else rng.integers(0, 4, n).astype(float)
    return pa.record_batch(
        {
            "doc_id": pa.array([f"{seed:08x}{i:024x}" for i in range(n)]),
            "cluster": pa.array(cluster[shuffled]),
            "n_tokens": pa.array(tokens[shuffled].astype(np.int64)),
            "q": pa.array(scores.astype(np.float32)),
            "dup_count": pa.array(rng.integers(1, 7, n).astype(np.int32)),
        }
    )


def in_pieces(batch: pa.RecordBatch, rows: int) -> Iterator[pa.RecordBatch]:
    """The batch in slices."""
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)
