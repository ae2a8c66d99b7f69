"""The online methods as hooks of the shared trainer.

    DoReMiHook      excess loss over a reference                    two forward passes a step, one reference
    AioliHook       loss drops under smoothed one-hot mixtures      sweeps x K probe runs and evaluations per round
    SkillItHook     a skill graph first, then losses                K branches before the start, evaluations
    DoGEHook        gradient alignment, clipped, averaged           K + J gradients an update
    DGAHook         gradient alignment, mirror steps                K + J gradients an update

Each owns its rule (``doremi``, ``aioli``, ...) and only feeds it what the run measures. ``targets`` weighs the targets
of the evaluation set; all count the same by default. TiKMiX is in ``influence``.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from gem_assets.mixing.methods.aioli import Aioli
from gem_assets.mixing.methods.doge import DGA, DoGE
from gem_assets.mixing.methods.doremi import DoReMi, domain_excess, loss_weights
from gem_assets.mixing.methods.skillit import SkillIt, graph_from_losses
from gem_assets.mixing.online.simplex import Floats, uniform
from gem_assets.mixing.online.trainer import Batch, OnlineHook, OnlineRun, at_least_one
from gem_assets.proxy.train import ProxyTrainer


class DoReMiHook(OnlineHook):
    """DoReMi (Xie et al. 2023): batches are drawn evenly, the loss carries the weights.

    Parameters
    ----------
    reference
        Model trained on the reference weights, of the same vocabulary; see ``trainer.train_reference``.
    initial
        Starting weights ``(K,)``.
    eta, smoothing
        See :class:`~gem_assets.mixing.methods.doremi.DoReMi`.
    """

    def __init__(self, reference: ProxyTrainer, initial: Floats, *, eta: float = 1.0, smoothing: float = 1e-3) -> None:
        super().__init__(initial)
        self._reference = reference
        self._even = uniform(len(self._shares))
        self.rule = DoReMi(initial, eta=eta, smoothing=smoothing)

    @property
    def sampling(self) -> Floats:
        """Even over the domains that hold text."""
        return self._even

    @property
    def mixture(self) -> Floats:
        """Mean of the weights over the steps."""
        return self.rule.average

    def begin(self, run: OnlineRun) -> None:
        """Look which domains hold text."""
        super().begin(run)
        self._even = run.even()

    def loss_weights(self, run: OnlineRun, batch: Batch) -> NDArray[np.float64]:
        """Update the weights from the excess loss of the batch, then weigh its sequences with them."""
        proxy, reference = run.token_losses(batch), run.token_losses(batch, self._reference)
        domains = np.repeat(batch.domains, proxy.shape[1])
        excess, present = domain_excess(proxy.ravel(), reference.ravel(), domains, run.pool.domains)
        weights = self.rule.update(excess, present)
        return loss_weights(weights, self._even)[batch.domains]


class AioliHook(OnlineHook):
    """Aioli (Chen et al. 2024): rounds that begin by measuring how each domain moves each target.

    Parameters
    ----------
    count
        Domains; all must hold text.
    round_steps
        Steps of a round, its probes included.
    sweeps, play_steps
        How often each smoothed one-hot mixture is played in a round, and for how long.
    eta, mass, ema
        See :class:`~gem_assets.mixing.methods.aioli.Aioli`.
    """

    def __init__(
        self,
        count: int,
        *,
        round_steps: int = 200,
        sweeps: int = 2,
        play_steps: int = 10,
        eta: float = 1.0,
        mass: float = 0.75,
        ema: float | None = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__(uniform(count))
        if round_steps <= sweeps * play_steps * count:
            raise ValueError(
                f"a round of {round_steps} steps is used up by {sweeps} sweeps of {count} mixtures for {play_steps} "
                "steps; make rounds longer or probes fewer"
            )
        self.rule = Aioli(count, eta=eta, mass=mass, ema=ema)
        self._round, self._sweeps, self._play = round_steps, sweeps, play_steps
        self._rng = np.random.default_rng(seed)
        self._next = 0

    @property
    def mixture(self) -> Floats:
        """Current weights."""
        return self.rule.weights

    def begin(self, run: OnlineRun) -> None:
        """Measure the first round."""
        super().begin(run)
        self.after_step(run)

    def after_step(self, run: OnlineRun) -> None:
        """Measure at the start of a round, where the steps left allow a full measurement."""
        count = run.pool.domains
        if run.step < self._next or run.left < self._sweeps * self._play * count:
            return
        self._next = run.step + self._round
        drops = np.zeros((len(run.evaluation.names), count))
        before = run.target_losses()
        for _ in range(self._sweeps):
            for j in self._rng.permutation(count):
                run.train(self.rule.mixtures[j], self._play)
                after = run.target_losses()
                drops[:, j] += before - after
                before = after
        self.rule.update(drops / self._sweeps)


class SkillItHook(OnlineHook):
    """Skill-It (Chen et al. 2023): a graph from short branches, then weights that follow the losses.

    Parameters
    ----------
    count
        Domains.
    graph_steps
        Steps on each domain alone from which the graph is read.
    every
        Steps between evaluations.
    eta, window
        See :class:`~gem_assets.mixing.methods.skillit.SkillIt`.
    graph
        A known graph ``(K, J)``; then none is learned.
    """

    def __init__(
        self,
        count: int,
        *,
        graph_steps: int = 50,
        every: int = 50,
        eta: float = 0.8,
        window: int = 3,
        graph: Floats | None = None,
    ) -> None:
        super().__init__(uniform(count))
        at_least_one(graph_steps=graph_steps, every=every)
        self._steps, self._every, self._eta, self._window = graph_steps, every, eta, window
        self._graph = graph
        self.rule: SkillIt | None = None

    @property
    def mixture(self) -> Floats:
        """Current weights."""
        return self._shares if self.rule is None else self.rule.weights

    def begin(self, run: OnlineRun) -> None:
        """Learn the graph, each domain from the untrained model."""
        super().begin(run)
        if self._graph is None:
            before = run.target_losses()
            after = np.tile(before, (run.pool.domains, 1))
            for k in np.flatnonzero(run.pool.sizes):
                with run.branch():
                    run.train(np.eye(run.pool.domains)[k], self._steps)
                    after[k] = run.target_losses()
            self._graph = graph_from_losses(before, after)
        self.rule = SkillIt(self._graph, eta=self._eta, window=self._window)

    def after_step(self, run: OnlineRun) -> None:
        """Evaluate now and then."""
        if self.rule is not None and run.step % self._every == 0 and run.left > 0:
            self.rule.update(run.target_losses())


class _AlignedHook(OnlineHook):
    """What DoGE and DGA share: inner products of domain gradients with that of the weighted targets."""

    def __init__(self, count: int, every: int, windows: int, targets: Floats | None) -> None:
        super().__init__(uniform(count))
        at_least_one(every=every, windows=windows)
        self._every, self._windows, self._targets = every, windows, targets

    def measure(self, run: OnlineRun) -> tuple[Floats, Floats] | None:
        """Inner products and norms of the domains' gradients, both ``(K,)``; ``None`` between updates."""
        if run.step % self._every or run.left == 0:
            return None
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
    mu, clip
        See :class:`~gem_assets.mixing.methods.doge.DoGE`.
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

    def after_step(self, run: OnlineRun) -> None:
        """Update every so many steps."""
        measured = self.measure(run)
        if measured is not None:
            self.rule.update(*measured, run.trainer.rate)


class DGAHook(_AlignedHook):
    """DGA (Fan et al. 2024): alignments divided by the squared mean norm of the domains' gradients.

    The paper leaves the scale of the alignments to the step size; dividing makes ``eta`` mean the same at every size.

    Parameters
    ----------
    every, windows, targets
        As of :class:`DoGEHook`.
    eta, beta
        See :class:`~gem_assets.mixing.methods.doge.DGA`.
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

    def after_step(self, run: OnlineRun) -> None:
        """Update every so many steps."""
        measured = self.measure(run)
        if measured is not None:
            products, norms = measured
            self.rule.update(products / (float(np.mean(norms)) ** 2 + 1e-12))
