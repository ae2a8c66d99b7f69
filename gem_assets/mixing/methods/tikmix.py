"""TiKMiX: the mixture whose data moves the benchmarks most, by influence functions (arXiv 2508.17677).

The group influence of a domain with mean gradient ``g_i`` on a benchmark with gradient ``∇f_j`` is the fall of ``f_j``
per unit of weight on the domain,

    I_ij = ∇f_jᵀ (H + δ)⁻¹ g_i                  (the paper's, with the sign of an improvement)

``TiKMiX-D`` takes influences as additive and solves

    max_p  Σ_i p_i Σ_j w_j I_ij + τ · entropy(p)   subject to  Σ_i p_i I_ij ≥ Σ_i q_i I_ij for every j

so that no benchmark falls behind the mixture ``q`` of the stage before. ``TiKMiX-M`` drops additivity: it draws
mixtures around that solution, measures the influence of each blend, fits boosted trees and takes the best. What a blend
does that its parts do not is to bring its own curvature: with gradients ``g_kw`` of windows and ``G(p) = Σ p_k g_k``

    I_j(p) = ∇f_jᵀ (H(p) + δ)⁻¹ G(p)             H(p) = Σ_k p_k mean_w g_kw g_kwᵀ

which is concave where domains are orthogonal: the second half of a domain moves a target less than the first.

The paper has no public code, and its curvature is a factored approximation of the Hessian; here it is the empirical
Fisher matrix of the measured gradients, inverted exactly by Woodbury's identity. The weight of the entropy, how far M
looks around D, what a blend's influence is to M, and the form of its constraints are not published: they are arguments
and definitions here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gem_assets.mixing.online.hook import OnlineHook, at_least_one
from gem_assets.mixing.online.simplex import as_weights, softmax, uniform
from gem_assets.mixing.online.single_run import TOY, single_run
from gem_assets.types import Floats

if TYPE_CHECKING:
    import torch

    from gem_assets.mixing.method_data import MethodData
    from gem_assets.mixing.online.trainer import OnlineRun
    from gem_assets.proxy.config import ProxyConfig


#: The best candidates of M that are averaged.
AVERAGED = 16


class InfluenceError(ValueError):
    """Influences that no mixture can be drawn from; the message says which number is wrong."""


class EmpiricalFisher:
    """Curvature ``δ·I + (1/n) Σ g gᵀ`` of n gradients, never formed.

    Raises InfluenceError if a gradient is not finite or all are 0.

    Parameters
    ----------
    samples
        Gradients ``(n, P)``, n far below P.
    damping
        ``δ`` as a part of the mean eigenvalue over the span of the samples.
    """

    def __init__(self, samples: Floats, damping: float = 0.1) -> None:
        rows = np.asarray(samples, np.float64)
        if rows.ndim != 2 or not np.isfinite(rows).all():
            raise InfluenceError(f"gradients of shape {rows.shape} must be a finite matrix")
        if not damping > 0:
            raise InfluenceError(f"damping is {damping}; without some the matrix of {len(rows)} gradients is singular")
        self._rows = rows / np.sqrt(len(rows))
        gram = self._rows @ self._rows.T
        self.damping = damping * float(np.trace(gram)) / len(rows)
        if self.damping == 0:
            raise InfluenceError("all gradients are 0; nothing to tell domains apart by")
        self._inner = gram + self.damping * np.eye(len(rows))

    def solve(self, vectors: Floats) -> Floats:
        """Return ``H⁻¹ v`` for each row ``(m, P)``."""
        projected = np.linalg.solve(self._inner, self._rows @ vectors.T)
        return (vectors - (self._rows.T @ projected).T) / self.damping

    def influence(self, domains: Floats, targets: Floats) -> Floats:
        """Influence of each domain's mean gradient ``(K, P)`` on each target's ``(J, P)``; ``(K, J)``."""
        return domains @ self.solve(targets).T


class BlendedInfluence:
    """Influence of a blend of domains on each target, under the curvature of the blend itself.

    Everything that a blend needs are inner products of the measured gradients, taken once; a blend is then a system of
    as many equations as there are windows. The damping is that of the even blend for all, or they would not compare.

    Raises InfluenceError, as :class:`EmpiricalFisher` does.

    Parameters
    ----------
    samples
        Gradients of ``w`` windows of each domain, ``(w, K, P)``.
    targets
        Gradients of the targets, ``(J, P)``.
    damping
        ``δ`` as a part of the mean eigenvalue over the span of the samples.
    """

    def __init__(self, samples: Floats, targets: Floats, damping: float = 0.1) -> None:
        windows, domains, width = samples.shape
        rows = np.asarray(samples, np.float64).reshape(-1, width)
        self._damping = EmpiricalFisher(rows, damping).damping
        self._gram, self._reach = rows @ rows.T, np.asarray(targets, np.float64) @ rows.T
        self._windows, self._domain = windows, np.tile(np.arange(domains), windows)

    def __call__(self, shares: Floats) -> Floats:
        """Influence of the blend of a mixture ``(K,)`` on each target, ``(J,)``."""
        weights = np.asarray(shares, np.float64)[self._domain] / self._windows
        roots = np.sqrt(weights)
        moved = self._gram @ weights
        inner = roots[:, None] * self._gram * roots + self._damping * np.eye(len(roots))
        return self._reach @ (weights - roots * np.linalg.solve(inner, roots * moved)) / self._damping


@dataclass(frozen=True)
class DirectMixture:
    """What TiKMiX-D found.

    Attributes
    ----------
    shares
        ``(K,)``, sum 1.
    gain
        ``Σ_i p_i I_ij`` of each target, ``(J,)``.
    floor
        The same for the prior, ``(J,)``.
    multipliers
        Price of each target's constraint, ``(J,)``; 0 where it does not bind.
    """

    shares: Floats
    gain: Floats
    floor: Floats
    multipliers: Floats


def propose_direct(
    influence: Floats, prior: Floats, *, importance: Floats | None = None, entropy: float = 0.1, slack: float = 0.0
) -> DirectMixture:
    """Solve TiKMiX-D.

    The dual is a smooth convex function of one multiplier per target; its minimiser gives the shares in closed form,
    ``p ∝ exp((I (w + ν))/τ)`` over the domains of the prior.

    Raises InfluenceError if shapes or numbers do not make sense.

    Parameters
    ----------
    influence
        ``(K, J)``; larger is better.
    prior
        Mixture of the stage before ``(K,)``; a domain of prior 0 stays at 0.
    importance
        Weight of each target ``(J,)``; equal by default.
    entropy
        ``τ``, in units of the influence; small values give vertices.
    slack
        How far each target may fall below the prior's influence.
    """
    from scipy.optimize import minimize

    table, start = np.asarray(influence, np.float64), as_weights(prior)
    if table.ndim != 2 or len(table) != len(start) or not np.isfinite(table).all():
        raise InfluenceError(f"influences of shape {table.shape} do not fit {len(start)} domains, or are not finite")
    if not entropy > 0 or slack < 0:
        raise InfluenceError(f"entropy must be above 0 and slack not negative, not {entropy} and {slack}")
    weights = as_weights(np.ones(table.shape[1]) if importance is None else importance, table.shape[1])
    floor = start @ table
    base = np.where(start > 0, 0.0, -np.inf)

    def at(multipliers: Floats) -> Floats:
        return softmax(base + table @ (weights + multipliers) / entropy)

    def dual(multipliers: Floats) -> tuple[float, Floats]:
        logits = base + table @ (weights + multipliers) / entropy
        top = float(logits.max())
        value = entropy * (top + float(np.log(np.exp(logits - top).sum()))) - float(multipliers @ (floor - slack))
        return value, at(multipliers) @ table - (floor - slack)

    found = minimize(
        dual,
        np.zeros(table.shape[1]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * table.shape[1],
        options={"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-10},
    )
    multipliers = np.asarray(found.x, np.float64)
    shares = at(multipliers)
    return DirectMixture(shares, shares @ table, floor, multipliers)


def propose_blended(
    direct: Floats,
    blend: Callable[[Floats], Floats],
    *,
    importance: Floats | None = None,
    draws: int = 128,
    candidates: int = 20_000,
    concentration: float = 30.0,
    seed: int = 0,
) -> Floats:
    """TiKMiX-M: look around D's mixture with the influence of blends.

    Returns shares ``(K,)``.

    Raises InfluenceError if a measured influence is not finite.

    Parameters
    ----------
    direct
        Mixture that D found ``(K,)``.
    blend
        Influence of the blended data of a mixture on each target, ``(J,)``; called ``draws`` times.
    draws
        Mixtures measured, from ``Dirichlet(concentration · p)`` around D's.
    candidates
        Mixtures that the trees rank afterwards.
    """
    from gem_assets.mixing.laws.trees import TreesLaw

    centre = as_weights(direct)
    rng = np.random.default_rng(seed)
    alpha = concentration * np.maximum(centre, 1e-3)
    measured = np.vstack([centre[None], rng.dirichlet(alpha, draws - 1)])
    first = np.asarray(blend(measured[0]), np.float64)
    weights = as_weights(np.ones(len(first)) if importance is None else importance, len(first))
    gains = np.array([first @ weights, *(float(np.asarray(blend(p)) @ weights) for p in measured[1:])])
    if not np.isfinite(gains).all():
        raise InfluenceError(f"the influence of mixture {int(np.argmin(np.isfinite(gains)))} is not finite")
    trees = TreesLaw(seed).fit(measured, -gains)
    pool = np.vstack([measured, rng.dirichlet(alpha, candidates)])
    predicted = trees.predict(pool)
    answer = as_weights(pool[np.argsort(predicted, kind="stable")[:AVERAGED]].mean(axis=0))
    best = measured[int(np.argmax(gains))]
    # trees are flat between their splits: what was measured to be better than the average's measurement stays
    return best if gains.max() > float(np.asarray(blend(answer)) @ weights) else answer


class TiKMiXHook(OnlineHook):
    """TiKMiX-D (ByteDance 2025): at the end of every stage the mixture of largest group influence.

    Gradients of few windows are noise once a target's loss is low, and a small ``entropy`` turns noise into a vertex:
    on toys, 2 windows at 0.1 leave the target's own domain again after two stages, 6 at 0.5 stay.

    Parameters
    ----------
    windows
        Sequences of each domain; their gradients also make the curvature.
    targets
        Importance of the evaluation set's targets, ``(J,)``.
    damping
        Of the curvature, as a part of its mean eigenvalue.
    entropy
        See :func:`propose_direct`; the largest influence is scaled to 1.
    """

    def __init__(
        self,
        count: int,
        *,
        stage_steps: int = 100,
        windows: int = 8,
        targets: Floats | None = None,
        damping: float = 0.1,
        entropy: float = 0.5,
    ) -> None:
        super().__init__(uniform(count))
        at_least_one(stage_steps=stage_steps, windows=windows)
        self._stage, self._windows, self._targets = stage_steps, windows, targets
        self._damping, self._entropy = damping, entropy

    def after_step(self, run: "OnlineRun") -> None:
        """Re-estimate at the end of a stage."""
        if run.step % self._stage or run.left == 0:
            return
        import torch

        importance = run.importance(self._targets)
        samples = torch.stack([run.domain_gradients() for _ in range(self._windows)])
        self._shares = self.propose(samples, run.target_gradients(importance).double().numpy(), run.even(), importance)

    def propose(self, samples: "torch.Tensor", targets: Floats, prior: Floats, importance: Floats) -> Floats:
        """Find the next stage's mixture ``(K,)`` from gradients of windows ``(w, K, P)`` and of targets ``(J, P)``."""
        fisher = EmpiricalFisher(samples.flatten(0, 1).double().numpy(), self._damping)
        influence = fisher.influence(samples.mean(0).double().numpy(), targets)
        # one scale for all targets, so that `entropy` means the same at every step
        influence /= float(np.abs(influence).max()) or 1.0
        return propose_direct(influence, prior, importance=importance, entropy=self._entropy).shares


class TiKMiXBlendHook(TiKMiXHook):
    """TiKMiX-M: at the end of every stage the best blend that is found around D's mixture.

    Its gradients are those of D; a blend is then a system of as many equations as there are windows, so hundreds of
    blends cost less than one step of training.
    """

    def __init__(
        self,
        count: int,
        *,
        stage_steps: int = 100,
        windows: int = 8,
        targets: Floats | None = None,
        damping: float = 0.1,
        entropy: float = 0.5,
        draws: int = 128,
        candidates: int = 20_000,
        seed: int = 0,
    ) -> None:
        super().__init__(
            count, stage_steps=stage_steps, windows=windows, targets=targets, damping=damping, entropy=entropy
        )
        at_least_one(draws=draws, candidates=candidates)
        self._draws, self._candidates, self._seed = draws, candidates, seed

    def propose(self, samples: "torch.Tensor", targets: Floats, prior: Floats, importance: Floats) -> Floats:
        """See :class:`TiKMiXHook`; a domain without text stays out."""
        direct = super().propose(samples, targets, prior, importance)
        active = np.flatnonzero(prior)
        blend = BlendedInfluence(samples.double().numpy()[:, active], targets, self._damping)
        shares = np.zeros(len(prior))
        shares[active] = propose_blended(
            direct[active],
            blend,
            importance=importance,
            draws=self._draws,
            candidates=self._candidates,
            seed=self._seed,
        )
        return shares


def tikmix_hook(data: "MethodData", natural: Floats, config: "ProxyConfig") -> TiKMiXHook:  # noqa: ARG001
    """Build TiKMiX-D with periods that fit the run."""
    return TiKMiXHook(
        data.pool.domains, stage_steps=max(1, config.steps // 5), windows=4, targets=data.importance
    )  # fmt: skip


def tikmix_m_hook(data: "MethodData", natural: Floats, config: "ProxyConfig") -> TiKMiXBlendHook:  # noqa: ARG001
    """Build TiKMiX-M with periods that fit the run."""
    stage = max(1, config.steps // 5)
    return TiKMiXBlendHook(
        data.pool.domains, stage_steps=stage, windows=4, targets=data.importance, seed=config.seed
    )  # fmt: skip


METHODS = (
    single_run(
        "tikmix",
        "TiKMiX-D: at the end of each stage the mixture of largest group influence on the targets." + TOY,
        hook=tikmix_hook,
        cost="1.5 times plain training",
        use="there are several targets, and none may fall",
        source="ByteDance 2025",
    ),
    single_run(
        "tikmix_m",
        "TiKMiX-M: the same, and at the end of each stage the best of some hundred blends around that mixture, each "
        "under its own curvature." + TOY,
        hook=tikmix_m_hook,
        cost="that of tikmix, and half a second per stage",
        use="influences do not add",
        source="ByteDance 2025",
    ),
)
