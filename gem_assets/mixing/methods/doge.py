"""Methods that follow gradient alignment: DoGE and DGA.

Both ask how far a step on one domain's gradient lowers a target's loss, ``<∇L_i, ∇L_target>``, and move weight there by
mirror steps. They differ in scaling, clipping and smoothing. K + 1 gradients per update: done every ten to twenty
steps.
"""

from typing import TYPE_CHECKING

import numpy as np

from gem_assets.mixing.online.hook import OnlineHook, at_least_one
from gem_assets.mixing.online.simplex import as_weights, logarithm, softmax, uniform
from gem_assets.mixing.online.single_run import TOY, single_run
from gem_assets.types import Floats

if TYPE_CHECKING:
    from gem_assets.mixing.method_data import MethodData
    from gem_assets.mixing.online.trainer import OnlineRun
    from gem_assets.proxy.config import ProxyConfig


class DoGE:
    """Domain reweighting with generalisation estimation (Fan et al. 2023).

    ``score_i = lr · <∇L_i, ∇L_val> / (mean gradient norm + 1e-6)``, clipped to ``[0, 5 lr]``; ``p ∝ p · exp(score/μ)``.
    The result is the average of the weights over the updates.

    Parameters
    ----------
    count
        Number of domains; weights start uniform.
    mu
        Bregman coefficient; 0.01 in the published runs.
    clip
        Largest score in units of the learning rate.
    """

    def __init__(self, count: int, *, mu: float = 0.01, clip: float = 5.0) -> None:
        if not mu > 0 or not clip > 0:
            raise ValueError(f"mu and clip must be above 0, not {mu} and {clip}")
        self.weights = uniform(count)
        self.mu, self.clip = mu, clip
        self.steps = 0
        self._sum = np.zeros(count)

    def update(self, products: Floats, norms: Floats, learning_rate: float) -> Floats:
        """Take one step.

        Parameters
        ----------
        products
            Inner product of each domain's gradient with the target's, ``(K,)``.
        norms
            Norm of each domain's gradient, ``(K,)``.
        """
        raw = learning_rate * np.asarray(products, np.float64) / (float(np.mean(norms)) + 1e-6)
        if not np.isfinite(raw).all():
            raise ValueError(f"the gradient product of domain {int(np.argmin(np.isfinite(raw)))} is not finite")
        scores = np.clip(raw, 0.0, self.clip * learning_rate)
        self.weights = softmax(logarithm(self.weights) + scores / self.mu)
        self._sum += self.weights
        self.steps += 1
        return self.weights

    @property
    def average(self) -> Floats:
        """The result: mean of the weights over the updates."""
        return self._sum / self.steps if self.steps else self.weights.copy()


class DGA:
    """Dynamic gradient alignment (Fan et al. 2024): mirror steps with a running average.

    ``p' ∝ p · exp(η a)`` with ``a_i = <∇L_i, ∇L_target>``, then ``p ← (1 - β) p + β p'``. For thousands of domains let
    the entries be a few basis distributions and read :meth:`mixture`. No public code exists; the rule is the published
    one, the scaling of ``a`` is the caller's.
    """

    def __init__(self, initial: Floats, *, eta: float = 1.0, beta: float = 1.0, basis: Floats | None = None) -> None:
        if not eta > 0 or not 0 < beta <= 1:
            raise ValueError(f"eta must be above 0 and beta in (0, 1], not {eta} and {beta}")
        self.weights = as_weights(initial)
        self.eta, self.beta, self.basis = eta, beta, basis

    def update(self, products: Floats) -> Floats:
        """Take the alignments ``(K,)`` and return the new weights."""
        if not np.isfinite(products).all():
            raise ValueError(f"the gradient product of domain {int(np.argmin(np.isfinite(products)))} is not finite")
        moved = softmax(logarithm(self.weights) + self.eta * np.asarray(products, np.float64))
        self.weights = (1 - self.beta) * self.weights + self.beta * moved
        return self.weights

    @property
    def mixture(self) -> Floats:
        """Weights over the domains: those of the basis distributions, spread out."""
        return self.weights if self.basis is None else as_weights(self.weights @ self.basis)


class _AlignedHook(OnlineHook):
    """What DoGE and DGA share: inner products of domain gradients with that of the weighted targets."""

    def __init__(self, count: int, every: int, windows: int, targets: Floats | None) -> None:
        super().__init__(uniform(count))
        at_least_one(every=every, windows=windows)
        self._every, self._windows, self._targets = every, windows, targets

    def measure(self, run: "OnlineRun") -> tuple[Floats, Floats] | None:
        """Inner products and norms of the domains' gradients, both ``(K,)``; ``None`` between updates."""
        if run.step % self._every or run.left == 0:
            return None
        import torch

        importance = run.importance(self._targets)
        domains = run.domain_gradients(self._windows)
        target = torch.from_numpy(importance.astype(np.float32)) @ run.target_gradients(importance)
        return (domains @ target).double().numpy(), domains.norm(dim=1).double().numpy()


class DoGEHook(_AlignedHook):
    """DoGE (Fan et al. 2023); ``targets`` are held-out texts of the domains, or one of their own.

    Parameters
    ----------
    every
        Steps between updates; 1 in the paper, at K + J further gradients a step.
    windows
        Sequences of each domain that a gradient is taken on.
    targets
        Importance of the evaluation set's targets, ``(J,)``.
    """

    def __init__(
        self,
        count: int,
        *,
        every: int = 10,
        windows: int = 1,
        targets: Floats | None = None,
        mu: float = 0.01,
        clip: float = 5.0,
    ) -> None:
        super().__init__(count, every, windows, targets)
        self.rule = DoGE(count, mu=mu, clip=clip)

    @property
    def sampling(self) -> Floats:
        """Current weights."""
        return self.rule.weights

    @property
    def mixture(self) -> Floats:
        """Mean of the weights over the updates."""
        return self.rule.average

    def after_step(self, run: "OnlineRun") -> None:
        """Update every so many steps."""
        measured = self.measure(run)
        if measured is not None:
            self.rule.update(*measured, run.trainer.rate)


class DGAHook(_AlignedHook):
    """DGA (Fan et al. 2024): alignments divided by the squared mean norm of the domains' gradients.

    The paper leaves the scale of the alignments to the step size; dividing makes ``eta`` mean the same at every size.
    """

    def __init__(
        self,
        count: int,
        *,
        every: int = 10,
        windows: int = 1,
        targets: Floats | None = None,
        eta: float = 1.0,
        beta: float = 1.0,
    ) -> None:
        super().__init__(count, every, windows, targets)
        self.rule = DGA(uniform(count), eta=eta, beta=beta)

    @property
    def mixture(self) -> Floats:
        """Current weights."""
        return self.rule.mixture

    def after_step(self, run: "OnlineRun") -> None:
        """Update every so many steps."""
        measured = self.measure(run)
        if measured is not None:
            products, norms = measured
            self.rule.update(products / (float(np.mean(norms)) ** 2 + 1e-12))


def doge_hook(data: "MethodData", natural: Floats, config: "ProxyConfig") -> DoGEHook:  # noqa: ARG001
    """Build DoGE with periods that fit the run."""
    return DoGEHook(data.pool.domains, every=max(1, config.steps // 32), windows=2, targets=data.importance)


def dga_hook(data: "MethodData", natural: Floats, config: "ProxyConfig") -> DGAHook:  # noqa: ARG001
    """Build DGA with periods that fit the run."""
    return DGAHook(data.pool.domains, every=max(1, config.steps // 32), windows=2, targets=data.importance)


METHODS = (
    single_run(
        "doge",
        "DoGE: weight to the clusters whose gradients agree with those of the targets." + TOY,
        hook=doge_hook,
        cost="2.5 times plain training at an update every 5 steps",
        use="there is one target",
        source="Fan et al. 2023",
    ),
    single_run(
        "dga",
        "Dynamic gradient alignment: mirror steps along the agreement of gradients." + TOY,
        hook=dga_hook,
        cost="1.6 times plain training",
        use="there are one target and many domains",
        source="Fan et al. 2024",
    ),
)
