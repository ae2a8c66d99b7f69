"""Arithmetic on the simplex that the update rules share."""

import numpy as np

from gem_assets.types import Floats


def softmax(logits: Floats) -> Floats:
    """Normalised exponentials, safe against overflow; ``-inf`` gives 0."""
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def logarithm(weights: Floats) -> Floats:
    """Logarithm with ``-inf`` at 0, without a warning."""
    with np.errstate(divide="ignore"):
        return np.log(weights)


def as_weights(weights: Floats, count: int | None = None) -> Floats:
    """Return a float64 copy scaled to sum 1; refuse what is not a mixture."""
    found = np.array(weights, np.float64)
    if found.ndim != 1 or (count is not None and len(found) != count):
        raise ValueError(f"weights of shape {found.shape} do not fit {count} domains")
    if not np.isfinite(found).all() or np.any(found < 0) or found.sum() <= 0:
        raise ValueError("weights must be finite and not negative, one of them above 0")
    return found / found.sum()


def uniform(count: int) -> Floats:
    """Equal weights."""
    return np.full(count, 1.0 / count)
