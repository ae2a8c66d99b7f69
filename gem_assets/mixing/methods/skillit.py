"""Skill-It: more of the skills that still have loss and that others need (Chen et al. 2023, Algorithm 1).

A graph ``A`` holds how much training on skill ``i`` helps skill ``j``: the relative drop of j's loss after some steps
on i alone. The weights start at ``p ∝ exp(η A·1)`` and follow the losses,

    p_i ∝ exp(η Σ_j A_ij Σ_(last w evaluations) L_j)

from uniform each time, so the window ``w`` is the method's memory.
"""

from collections import deque

import numpy as np

from gem_assets.mixing.online.declaration import TOY, single_run
from gem_assets.mixing.online.simplex import Floats, softmax

HALF = 0.5


def graph_from_losses(before: Floats, after: Floats) -> Floats:
    """Skill graph from measurements.

    Parameters
    ----------
    before
        Loss of every skill before training, ``(M,)``.
    after
        Loss of every skill after training on each of K skills, ``(K, M)``.

    Returns
    -------
    NDArray[np.float64]
        ``(L0 - LT)/L0``, negative entries cut to 0; ``(K, M)``.
    """
    if np.any(before <= 0):
        raise ValueError(f"the loss of skill {int(np.argmin(before))} before training is {before.min()}, not above 0")
    return np.maximum((before - after) / before, 0.0)


def graph_from_edges(edges: Floats) -> Floats:
    """Skill graph from a 0/1 matrix of a person's making: off-diagonal ones weigh a half."""
    graph = np.asarray(edges, np.float64).copy()
    off = ~np.eye(*graph.shape, dtype=bool)
    graph[off & (graph == 1)] = HALF
    return graph


class SkillIt:
    """State of the weights over evaluations.

    Parameters
    ----------
    graph
        ``A``, ``(K, M)``: row is trained on, column evaluated.
    eta
        Step size.
    window
        Evaluations that count.
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
            raise ValueError(f"expected {self.graph.shape[1]} finite losses, one a skill")
        self._losses.append(np.asarray(losses, np.float64))
        self.weights = softmax(self.eta * (self.graph @ np.sum(self._losses, axis=0)))
        return self.weights


METHOD = single_run(
    "skillit",
    "Skill-It: a graph of which cluster helps which target, from short branches, and then the losses." + TOY,
    cost="1.6 times plain training: a short run per cluster before the start",
    use="which cluster helps which is stable",
    source="Chen et al. 2023",
)
