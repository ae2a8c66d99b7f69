"""How a recipe spends its tokens over the run: targets per cluster, and when each cluster's tokens are due.

A cluster's documents follow one curve through the whole run; phases change how fast the run moves along it. So a
phase is not a second draw: it is a bend in the line from a cluster's own tokens to the run's time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gem_assets.ordering.config import FinalPhase
from gem_assets.types import Floats


class EntryLike(Protocol):
    """One cluster of a recipe."""

    @property
    def cluster(self) -> int:
        """Cluster id."""
        ...

    @property
    def token_share(self) -> float:
        """Share of the token budget."""
        ...

    @property
    def cap(self) -> float:
        """Most epochs allowed."""
        ...


class PhaseLike(Protocol):
    """A stretch of the run with constant shares, in the order of the recipe's entries."""

    @property
    def fraction(self) -> float:
        """Part of the token budget."""
        ...

    @property
    def shares(self) -> Sequence[float]:
        """Token share of each entry."""
        ...


class RecipeLike(Protocol):
    """What ordering and export read of a recipe; ``gem_assets.mixing.recipe.Recipe`` is one."""

    @property
    def entries(self) -> Sequence[EntryLike]:
        """Clusters of the mixture."""
        ...

    @property
    def phases(self) -> Sequence[PhaseLike]:
        """Stretches of the run, in order."""
        ...

    @property
    def token_budget(self) -> int:
        """Tokens trained on."""
        ...


@dataclass(frozen=True)
class RunPlan:
    """Token targets of the clusters that the run trains on.

    Attributes
    ----------
    clusters
        (K,) int64, ascending; clusters with a share above zero.
    bounds
        (P + 1,) phase boundaries as fractions of the run, from 0 to 1.
    tokens
        (P, K) tokens of each cluster in each phase.
    caps
        (K,) most epochs that the recipe allows.
    """

    clusters: npt.NDArray[np.int64]
    bounds: Floats
    tokens: Floats
    caps: Floats

    @property
    def targets(self) -> Floats:
        """(K,) tokens of each cluster over the whole run."""
        return self.tokens.sum(axis=0)

    @property
    def shares(self) -> dict[int, float]:
        """Token share of each cluster over the whole run."""
        targets = self.targets
        return dict(zip(self.clusters.tolist(), (targets / targets.sum()).tolist(), strict=True))

    def run_time(self, index: int, progress: Floats) -> Floats:
        """When in the run (0 to 1) a cluster has trained on these fractions of its own tokens.

        Parameters
        ----------
        index
            Position of the cluster in ``clusters``.
        progress
            (m,) fractions of the cluster's tokens, 0 to 1.
        """
        part = self.tokens[:, index]
        used = np.flatnonzero(part)
        ends = np.cumsum(part[used]) / part.sum()
        starts = np.concatenate(([0.0], ends[:-1]))
        segment = np.minimum(np.searchsorted(ends, progress, side="right"), len(used) - 1)
        inside = (progress - starts[segment]) / (ends[segment] - starts[segment])
        low, high = self.bounds[used], self.bounds[used + 1]
        return low[segment] + inside * (high[segment] - low[segment])

    def phase_of(self, time: Floats) -> npt.NDArray[np.int16]:
        """(m,) phase number at these times of the run."""
        inner = np.searchsorted(self.bounds[1:-1], time, side="right")
        return inner.astype(np.int16)


def plan_run(recipe: RecipeLike, final_phase: FinalPhase | None = None) -> RunPlan:
    """Lay out a recipe's tokens over the run.

    Raises
    ------
    ValueError
        If the recipe gives no cluster a share, or `final_phase` contradicts the recipe.
    """
    entries = recipe.entries
    fractions = [phase.fraction for phase in recipe.phases]
    shares = np.array([list(phase.shares) for phase in recipe.phases], dtype=np.float64)
    if final_phase is not None:
        if len(fractions) > 1:
            raise ValueError(
                f"the recipe has {len(fractions)} phases of its own; drop final_phase, or use a recipe with one"
            )
        boosted = _boost(shares[0], [e.cluster for e in entries], final_phase.boost)
        fractions = [1 - final_phase.fraction, final_phase.fraction]
        shares = np.stack([shares[0], boosted])
    if shares.size == 0 or not shares.sum() > 0:
        raise ValueError("the recipe gives no cluster a token share above zero")
    tokens = np.array(fractions)[:, None] * shares * recipe.token_budget
    used = np.flatnonzero(tokens.sum(axis=0) > 0)
    clusters = np.array([e.cluster for e in entries], dtype=np.int64)[used]
    rank = np.argsort(clusters)
    bounds = np.concatenate(([0.0], np.cumsum(fractions)))
    bounds[-1] = 1.0
    return RunPlan(
        clusters=clusters[rank],
        bounds=bounds,
        tokens=tokens[:, used][:, rank],
        caps=np.array([e.cap for e in entries], dtype=np.float64)[used][rank],
    )


def _boost(shares: Floats, clusters: Sequence[int], boost: Mapping[int, float]) -> Floats:
    unknown = sorted(set(boost) - set(clusters))
    if unknown:
        raise ValueError(f"final_phase.boost names clusters that the recipe lacks: {unknown}")
    raised = shares * np.array([boost.get(c, 1.0) for c in clusters])
    if not raised.sum() > 0:
        raise ValueError("final_phase.boost leaves no cluster with a share above zero")
    return raised / raised.sum()
