"""Skill-It: more of the skills that still have loss and that others need (Chen et al. 2023, Algorithm 1).

A graph ``A`` holds how much training on skill ``i`` helps skill ``j``: the relative drop of j's loss after some steps
on i alone. The weights start at ``p ∝ exp(η A·1)`` and follow the losses,

    p_i ∝ exp(η Σ_j A_ij Σ_(last w evaluations) L_j)

from uniform each time, so the window ``w`` is the method's memory.
"""

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from gem_assets.mixing.online.hook import OnlineHook, at_least_one
from gem_assets.mixing.online.simplex import softmax, uniform
from gem_assets.mixing.online.single_run import TOY, single_run
from gem_assets.types import Floats

if TYPE_CHECKING:
    from gem_assets.mixing.method_data import MethodData
    from gem_assets.mixing.online.trainer import OnlineRun
    from gem_assets.proxy.config import ProxyConfig


def graph_from_losses(before: Floats, after: Floats) -> Floats:
    """Skill graph from measurements.

    Returns ``(L0 - LT)/L0``, negative entries cut to 0; ``(K, M)``.

    Parameters
    ----------
    before
        Loss of every skill before training, ``(M,)``.
    after
        Loss of every skill after training on each of K skills, ``(K, M)``.
    """
    if np.any(before <= 0):
        raise ValueError(f"the loss of skill {int(np.argmin(before))} before training is {before.min()}, not above 0")
    return np.maximum((before - after) / before, 0.0)


class SkillIt:
    """State of the weights over evaluations.

    ``graph`` is ``A``, ``(K, M)``: row is trained on, column evaluated.
    """

    def __init__(self, graph: Floats, *, eta: float = 0.8, window: int = 3) -> None:
        if graph.ndim != 2 or not np.isfinite(graph).all():
            raise ValueError(f"the skill graph must be a finite matrix, not of shape {graph.shape}")
        if window < 1:
            raise ValueError(f"the window must hold at least one evaluation, not {window}")
        self.graph, self.eta = np.asarray(graph, np.float64), eta
        self.weights = softmax(eta * self.graph.sum(axis=1))
        self._losses: deque[Floats] = deque(maxlen=window)

    def update(self, losses: Floats) -> Floats:
        """Take an evaluation ``(M,)`` and return the new weights ``(K,)``."""
        if losses.shape != (self.graph.shape[1],) or not np.isfinite(losses).all():
            raise ValueError(f"expected {self.graph.shape[1]} finite losses, one per skill")
        self._losses.append(np.asarray(losses, np.float64))
        self.weights = softmax(self.eta * (self.graph @ np.sum(self._losses, axis=0)))
        return self.weights


class SkillItHook(OnlineHook):
    """Skill-It (Chen et al. 2023): a graph from short branches, then weights that follow the losses.

    Parameters
    ----------
    graph_steps
        Steps on each domain alone from which the graph is read.
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

    def begin(self, run: "OnlineRun") -> None:
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

    def after_step(self, run: "OnlineRun") -> None:
        """Evaluate now and then."""
        if self.rule is not None and run.step % self._every == 0 and run.left > 0:
            self.rule.update(run.target_losses())


def hook(data: "MethodData", natural: Floats, config: "ProxyConfig") -> SkillItHook:  # noqa: ARG001
    """Build the method with periods that fit the run."""
    return SkillItHook(
        data.pool.domains, graph_steps=max(4, config.steps // 16), every=max(1, config.steps // 10)
    )  # fmt: skip


METHOD = single_run(
    "skillit",
    "Skill-It: a graph of which cluster helps which target, from short branches, and then the losses." + TOY,
    hook=hook,
    cost="1.6 times plain training: a short run per cluster before the start",
    use="which cluster helps which is stable",
    source="Chen et al. 2023",
)
