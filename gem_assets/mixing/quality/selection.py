"""What every rule that chooses documents by their scores needs: one quality, whole copies, and the error it raises."""

import numpy as np
from numpy.typing import NDArray

from gem_assets.types import Floats


class SelectionError(ValueError):
    """Documents that cannot be selected from; the message names the document or the cluster."""


def weighted_quality(scores: Floats, weights: Floats) -> Floats:
    """Weighted sum of standard scores, ``(n,)``; a score that is the same everywhere counts 0."""
    values = np.asarray(scores, np.float64)
    if values.ndim != 2 or weights.shape != (values.shape[1],):
        raise SelectionError(f"{len(weights)} weights do not fit scores of shape {values.shape}")
    centred = values - values.mean(axis=0)
    deviation = centred.std(axis=0)
    return centred / np.where(deviation > 0, deviation, 1.0) @ weights


def draw_copies(values: Floats, seed: int = 0) -> NDArray[np.int64]:
    """Turn expected copies into copies: the integer part, and one more with the fraction as probability."""
    whole = np.floor(values)
    return (whole + (np.random.default_rng(seed).random(len(values)) < values - whole)).astype(np.int64)
