"""What a law is, and the checks that every fit shares."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gem_assets.types import Floats

# published swarm tables round shares to three decimals; 17 of them may be off by this much in sum
ROUNDING = 0.02


class Law(Protocol):
    """Predicts one target's loss from a mixture."""

    def fit(self, mixtures: Floats, losses: Floats) -> Self:
        """Learn from runs: ``mixtures`` ``(n, K)``, rows sum to 1; ``losses`` ``(n,)``."""
        ...

    def predict(self, mixtures: Floats) -> Floats:
        """Predict the losses of mixtures ``(m, K)``; float64 ``(m,)``."""
        ...


@runtime_checkable
class SmoothLaw(Protocol):
    """A law that is convex in the shares and knows its gradient, so that a proposal is a convex program."""

    def fit(self, mixtures: Floats, losses: Floats) -> Self:
        """As in :class:`Law`."""
        ...

    def predict(self, mixtures: Floats) -> Floats:
        """As in :class:`Law`."""
        ...

    def gradient(self, mixture: Floats) -> Floats:
        """Gradient of the prediction in the shares, at one mixture ``(K,)``."""
        ...


@dataclass(frozen=True)
class LawEntry:
    """A law on offer.

    Attributes
    ----------
    make
        Builds an unfitted law from a seed.
    least_runs
        Fewest runs with which it is worth trying, from the number of clusters.
    """

    make: Callable[[int], Law]
    least_runs: Callable[[int], int]


def checked_runs(mixtures: Floats, losses: Floats, least: int) -> tuple[Floats, Floats]:
    """Return mixtures with exact row sums and the losses, both float64.

    Raises ValueError if shapes differ, there are fewer than ``least`` runs, a value is not finite, a share is negative,
    or a row's sum is further from 1 than rounding explains; the message names the row.
    """
    shares, values = np.asarray(mixtures, np.float64), np.asarray(losses, np.float64)
    if shares.ndim != 2 or values.shape != (len(shares),):
        raise ValueError(f"mixtures of shape {shares.shape} do not fit losses of shape {values.shape}")
    if len(shares) < least:
        raise ValueError(f"{len(shares)} runs are too few for this law, it needs {least}; train more proxies")
    if not np.isfinite(values).all():
        raise ValueError(f"the loss of run {int(np.argmin(np.isfinite(values)))} is not finite; drop the run")
    return normalised_rows(shares), values


def normalised_rows(mixtures: Floats) -> Floats:
    """Scale rows to sum 1; refuse what is not a mixture up to rounding, naming the row."""
    shares = np.atleast_2d(np.asarray(mixtures, np.float64))
    sums = shares.sum(axis=1)
    wrong = ~np.isfinite(shares).all(axis=1) | (shares < 0).any(axis=1) | ~(np.abs(sums - 1) <= ROUNDING)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"row {row} is not a mixture: shares sum to {sums[row]:.6g}, smallest {shares[row].min():.6g}")
    return shares / sums[:, None]


def folds(n: int, count: int, seed: int = 0) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Split ``n`` runs into ``count`` folds of equal size, seeded; pairs of (train, test) row numbers."""
    order = np.random.default_rng(seed).permutation(n)
    parts = [np.sort(order[i::count]) for i in range(min(count, n))]
    return [(np.setdiff1d(np.arange(n), part), part) for part in parts]
