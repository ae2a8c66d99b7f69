"""Small tables with a key, a snapshot, a text and a vector."""

import numpy as np
import pyarrow as pa

DIM = 4


def rows(snapshot: str, n: int, *, first: int = 0, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng([seed, first])
    flat = rng.normal(size=(n, DIM)).astype(np.float32)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    return pa.table(
        {
            "doc_id": pa.array([f"{i:032x}" for i in range(first, first + n)], pa.string()),
            "snapshot": pa.array([snapshot] * n, pa.string()),
            "text": pa.array([f"text {seed} {i}" for i in range(n)], pa.large_string()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), DIM),
        }
    )
