"""What methods that train on the prepared tokens work on, and what they hand back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gem_assets.mixing.online.simplex import as_weights
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.proxy.pool import EvaluationSet, PoolError, TokenPool
from gem_assets.types import Floats

if TYPE_CHECKING:
    from gem_assets.mixing.recipe_artifact import Tables

UNPROVEN = "not judged: one run of a tiny model has nothing to cross-validate"


@dataclass(frozen=True)
class MethodData:
    """Streams of the clusters that hold text, and windows.

    Attributes
    ----------
    active : int64 array, shape (A,)
        Their positions among all clusters.
    evaluation, importance
        Windows, and the weight of each target ``(J,)``.
    """

    pool: TokenPool
    active: NDArray[np.int64]
    evaluation: EvaluationSet
    importance: Floats

    @classmethod
    def load(cls, folder: Path, importance: Mapping[str, float] | None, context: int) -> "MethodData":
        """Read a prepared folder; a cluster with less text than one window is left out, and None weighs targets alike.

        Raises PoolError when fewer than two clusters are left.
        """
        whole, evaluation = TokenPool.load(folder), EvaluationSet.load(folder)
        active = np.flatnonzero(whole.sizes > context)
        if len(active) < 2:
            raise PoolError(f"{len(active)} clusters hold a window of {context} tokens; there is nothing to mix")
        pool = TokenPool.of([whole.domain(int(k)) for k in active], whole.vocab, whole.tokenizer)
        weights = np.array([1.0 if importance is None else importance.get(name, 0.0) for name in evaluation.names])
        return cls(pool, active, evaluation, as_weights(weights))

    def only(self, positions: NDArray[np.int64]) -> "MethodData":
        """Keep the windows of some targets, in ascending order; what nobody asks for need not be evaluated."""
        kept = np.unique(positions)
        return replace(self, evaluation=self.evaluation.only(kept), importance=as_weights(self.importance[kept]))

    def natural_shares(self, supply: ClusterSupply) -> Floats:
        """Shares of the inventory's tokens among the active clusters, ``(A,)``.

        Raises PoolError when tokens and inventory do not fit each other.
        """
        if len(supply.clusters) <= int(self.active.max()):
            raise PoolError(f"the tokens are of {int(self.active.max()) + 1} clusters, the inventory of fewer")
        natural = supply.token_shares[self.active]
        if not natural.sum() > 0:
            raise PoolError(
                "none of the clusters that tokens were prepared of has text left; materialize proxy_tokens again"
            )
        return as_weights(natural)


@dataclass(frozen=True)
class MethodResult:
    """What a method found.

    Attributes
    ----------
    shares
        Of the active clusters ``(A,)``, sum 1; caps may still have to be applied.
    predicted
        Loss of the answer, of proportional and of uniform, for those that predict.
    """

    shares: Floats
    tables: "Tables"
    notes: tuple[str, ...]
    verdict: str = UNPROVEN
    predicted: Sequence[float | None] = (None, None, None)
