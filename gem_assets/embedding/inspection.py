"""Summary figures of vectors, which asset checks validate instead of the vectors themselves."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd


def vector_frame(batches: Iterable[pa.RecordBatch]) -> "pd.DataFrame":
    """Reduce batches of (doc_id, vector) to doc_id, Euclidean norm and whether all components are finite."""
    import pandas as pd

    ids: list[str] = []
    norms: list[np.ndarray] = []
    finite: list[np.ndarray] = []
    for batch in batches:
        column = batch.column("vector")
        values = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
        ids += batch.column("doc_id").to_pylist()
        norms.append(np.linalg.norm(values.astype(np.float64), axis=1))
        finite.append(np.isfinite(values).all(axis=1))
    return pd.DataFrame(
        {
            "doc_id": ids,
            "norm": np.concatenate(norms) if norms else np.empty(0),
            "finite": np.concatenate(finite) if finite else np.empty(0, bool),
        }
    )
