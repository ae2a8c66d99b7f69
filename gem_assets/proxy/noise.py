"""Measure how much of the difference between the proxies of a swarm is seed noise."""

from dataclasses import dataclass

import numpy as np

from gem_assets.proxy.swarm import SwarmFolderError, SwarmRows
from gem_assets.types import Floats


@dataclass(frozen=True)
class SeedNoise:
    """How much of the differences between mixtures is luck.

    Attributes
    ----------
    within, between : float64 arrays, shape (J,)
        Standard deviation over seeds of one mixture (pooled), and between mixtures of one seed, of each target.
    mean_within, mean_between
        The same of the mean over targets.
    repeats
        Proxies beyond the first of their mixture.
    """

    within: Floats
    between: Floats
    mean_within: float
    mean_between: float
    repeats: int

    @property
    def ratio(self) -> Floats:
        """Noise over signal of each target."""
        return self.within / np.maximum(self.between, 1e-12)


def seed_noise(rows: SwarmRows) -> SeedNoise:
    """Compare the spread over seeds with the spread between mixtures.

    Raises SwarmFolderError when no mixture was trained with more than one seed, or fewer than two mixtures with the
    commonest seed.
    """
    losses, seeds = rows.losses, rows.seeds
    groups: dict[tuple[float, ...], list[int]] = {}
    for i, shares in enumerate(rows.mixtures):
        groups.setdefault(tuple(shares.tolist()), []).append(i)
    repeated = [np.array(group) for group in groups.values() if len(group) > 1]
    values, counts = np.unique(seeds, return_counts=True)
    base = seeds == values[counts.argmax()] if len(values) else np.zeros(0, bool)
    if not repeated or base.sum() < 2:
        raise SwarmFolderError("noise needs a mixture with two seeds and two mixtures with one; raise proxy.repeats")
    freedom = sum(len(group) - 1 for group in repeated)

    def pooled(columns: Floats) -> Floats:
        squares = [((columns[group] - columns[group].mean(0)) ** 2).sum(0) for group in repeated]
        return np.sqrt(np.sum(squares, axis=0) / freedom)

    means = losses.mean(1, keepdims=True)
    return SeedNoise(
        within=pooled(losses),
        between=losses[base].std(0, ddof=1),
        mean_within=float(pooled(means)[0]),
        mean_between=float(means[base].std(ddof=1)),
        repeats=freedom,
    )
