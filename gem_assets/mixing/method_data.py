"""What methods work on, and those that train one model a cluster: MixMin and merging.

All models of a run come from one seed model (``merging``). MixMin mixes their predictions, which needs no descent
through a network; merging averages their parameters, and the mixture is the one at which the average loses least on the
targets, under a divergence from the natural shares and within the caps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gem_assets.mixing.caps import apply_caps
from gem_assets.mixing.domain_models import MergedLaw, MergedProxies
from gem_assets.mixing.laws.proposal import propose_convex
from gem_assets.mixing.methods.mixmin import mixmin
from gem_assets.mixing.online.simplex import as_weights, uniform
from gem_assets.mixing.recipe_artifact import Floats, Tables
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.proxy.config import ProxyConfig
from gem_assets.proxy.pool import EvaluationSet, PoolError, TokenPool

UNPROVEN = "not judged: one run of a tiny model has nothing to cross-validate"
_MERGED = (
    "not judged: merged models are no trained ones, and on the toy of benchmarks.methods they rank mixtures for the "
    "mean of three targets with a correlation of .41"
)
# descent through a network: what later steps gain is far below what merging gets wrong
_STEPS, _TOLERANCE = 60, 1e-3


@dataclass(frozen=True)
class MethodData:
    """Streams of the clusters that hold text, and windows.

    Attributes
    ----------
    pool
        Of the active clusters alone.
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

        Raises
        ------
        PoolError
            When fewer than two clusters are left.
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

        Raises
        ------
        PoolError
            When tokens and inventory do not fit each other.
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
    tables
        To be shown with the recipe.
    notes, verdict
        For its evidence.
    predicted
        Loss of the answer, of proportional and of uniform, for those that predict.
    """

    shares: Floats
    tables: Tables
    notes: tuple[str, ...]
    verdict: str = UNPROVEN
    predicted: Sequence[float | None] = (None, None, None)


def mixed_by_likelihood(data: MethodData, config: ProxyConfig) -> MethodResult:
    """MixMin: the mixture of the models' predictions that fits the windows best."""
    units = MergedProxies(config).fit(data.pool)
    logs = units.log_likelihoods(data.evaluation)
    rows = data.importance[data.evaluation.target] > 0
    lengths = np.full(int(rows.sum()), float(data.evaluation.context))
    shares = mixmin(logs[rows], lengths)
    own = (-logs[rows] / data.evaluation.context).mean(axis=0)
    return MethodResult(shares, {"models": _models(data, shares, own)}, (_cost(units, data),))


def merged(data: MethodData, natural: Floats, caps: Floats, config: ProxyConfig) -> MethodResult:
    """Merging: the mixture at which the average of the models' parameters loses least on the targets.

    Parameters
    ----------
    natural, caps
        Natural shares, sum 1, and largest shares of the active clusters, both ``(A,)``.

    Raises
    ------
    InfeasibleMixtureError
        When the caps of the active clusters do not let the shares sum to 1.
    """
    units = MergedProxies(config).fit(data.pool)
    law = MergedLaw(units, data.evaluation, data.importance)
    proposal = propose_convex([law], natural, caps, tolerance=_TOLERANCE, max_iterations=_STEPS)
    even = apply_caps(np.where(natural > 0, uniform(len(natural)), 0.0), caps)
    predicted = law.predict(np.array([proposal.shares, apply_caps(natural, caps), even]))
    own = law.predict(np.eye(len(natural)))
    return MethodResult(
        proposal.shares,
        {"models": _models(data, proposal.shares, own)},
        (_cost(units, data), f"{proposal.iterations} steps of descent through the average of the models"),
        _MERGED,
        predicted.tolist(),
    )


def _models(data: MethodData, shares: Floats, own: Floats) -> Sequence[Mapping[str, Any]]:
    return [
        {"cluster": int(k), "share": float(p), "loss_of_its_model": float(loss)}
        for k, p, loss in zip(data.active, shares, own, strict=True)
    ]


def _cost(units: MergedProxies, data: MethodData) -> str:
    return f"{data.pool.domains} models, {units.tokens_:,} tokens in all"
