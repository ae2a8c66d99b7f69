"""TiKMiX as hooks of the shared trainer.

    TiKMiXHook         D, influences that add             K gradients a window and J a stage, a convex program
    TiKMiXBlendHook    M, influences of blends            the same, and trees on the influence of some hundred blends

The rules are in ``methods.tikmix``.
"""

import numpy as np
import torch

from gem_assets.mixing.methods.tikmix import BlendedInfluence, EmpiricalFisher, propose_blended, propose_direct
from gem_assets.mixing.online.simplex import Floats, uniform
from gem_assets.mixing.online.trainer import OnlineHook, OnlineRun, at_least_one


class TiKMiXHook(OnlineHook):
    """TiKMiX-D (ByteDance 2025): at the end of every stage the mixture of largest group influence.

    Gradients of few windows are noise once a target's loss is low, and a small ``entropy`` turns noise into a vertex:
    on toys, 2 windows at 0.1 leave the target's own domain again after two stages, 6 at 0.5 stay.

    Parameters
    ----------
    count
        Domains.
    stage_steps
        Steps between re-estimates.
    windows
        Sequences of each domain; their gradients also make the curvature.
    targets
        Importance of the evaluation set's targets, ``(J,)``.
    damping
        Of the curvature, as a part of its mean eigenvalue.
    entropy
        See :func:`~gem_assets.mixing.methods.tikmix.propose_direct`; the largest influence is scaled to 1.
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

    def after_step(self, run: OnlineRun) -> None:
        """Re-estimate at the end of a stage."""
        if run.step % self._stage or run.left == 0:
            return
        importance = run.importance(self._targets)
        samples = torch.stack([run.domain_gradients() for _ in range(self._windows)])
        self._shares = self.propose(samples, run.target_gradients(importance).double().numpy(), run.even(), importance)

    def propose(self, samples: torch.Tensor, targets: Floats, prior: Floats, importance: Floats) -> Floats:
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

    Parameters
    ----------
    count, stage_steps, windows, targets, damping, entropy
        As of :class:`TiKMiXHook`.
    draws, candidates, seed
        See :func:`~gem_assets.mixing.methods.tikmix.propose_blended`.
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

    def propose(self, samples: torch.Tensor, targets: Floats, prior: Floats, importance: Floats) -> Floats:
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
