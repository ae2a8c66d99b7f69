"""Ablation: an entropy in place of the squared distance as the balance term.

    F_ent(Gamma) = mean_i [ <gamma_i, l_i> + H(gamma_i) ] + beta H(pi)

is what "entropy-regularised clustering" suggests and not what the teacher uses. It is maximised by a closed-form
minorise–maximise step (the KL Bregman identity gives a separable bound with curvature beta), and has a dual like the
teacher's: ``H(pi) = min_b <b, pi> / beta + logsumexp(-b / beta)``, so a gap can be stated. At its fixed point clusters
carry the inverse prior ``pi^-beta``: the pull weakens with the logarithm of the share, where the teacher's is linear.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from gem_assets.teacher.ascent import Ascended, Ascent, Plan, Progress
from gem_assets.teacher.engines import DenseEngine
from gem_assets.teacher.esteps import EStep, SoftEStep, softmax_rows, uniform
from gem_assets.teacher.mstep import Theta
from gem_assets.types import Floats

TINY = 1e-300


def entropy_objective(gamma: Floats, log_density: Floats, beta: float) -> float:
    """``F_ent`` of responsibilities of shape (n, K)."""
    pi = gamma.mean(axis=0)
    gain = float(np.sum(gamma * (log_density - np.log(np.maximum(gamma, TINY))))) / gamma.shape[0]
    return gain - beta * float(np.sum(pi * np.log(np.maximum(pi, TINY))))


def entropy_step(log_density: Floats, gamma: Floats, beta: float) -> SoftEStep:
    """One closed-form step on ``F_ent``; it never falls."""
    pi = np.maximum(gamma.mean(axis=0), TINY)
    z = (log_density - beta * np.log(pi) + beta * np.log(np.maximum(gamma, TINY))) / (1 + beta)
    new = softmax_rows(z)[0]
    return SoftEStep(new, entropy_objective(new, log_density, beta), beta)


def entropy_gap(gamma: Floats, log_density: Floats, beta: float) -> float:
    """Upper bound on what ``F_ent`` can still gain at fixed parameters, from the dual at ``b = -beta log pi``."""
    b = -beta * np.log(np.maximum(gamma.mean(axis=0), TINY))
    dual = float(softmax_rows(log_density + b)[1].mean()) + beta * float(np.asarray(logsumexp(-b / beta)))
    return dual - entropy_objective(gamma, log_density, beta)


class EntropyEngine(DenseEngine):
    """Dense engine whose lambda is beta and whose E-step takes ``inner`` steps on ``F_ent``."""

    def __init__(
        self, x: NDArray[np.floating], k: int, inner: int = 20, pool: ThreadPoolExecutor | None = None
    ) -> None:
        super().__init__(x, uniform(k), "proximal", pool)
        self._inner = inner

    def e_step(self, theta: Theta, lam: float, gap_tol: float) -> EStep:
        """Improve the responsibilities for ``theta``; the gap is that of ``F_ent``."""
        values = self.score(theta)
        gamma = softmax_rows(values.copy())[0] if self._accepted is None else self._accepted.gamma
        step = SoftEStep(gamma, entropy_objective(gamma, values, lam), lam)
        gap = np.inf
        for _ in range(self._inner):
            step = entropy_step(values, step.gamma, lam)
            gap = entropy_gap(step.gamma, values, lam)
            if gap <= gap_tol:
                break
        pi = step.gamma.mean(axis=0)
        self._soft, self._b = step, -lam * np.log(np.maximum(pi, TINY))
        return EStep(self._b, pi, step.objective, gap, self._inner)


@dataclass(frozen=True)
class EntropyFit:
    """End of an entropy-regularised fit."""

    labels: NDArray[np.int32]
    end: Ascended


def fit_entropy(
    x: NDArray[np.floating], start: Theta, beta: float, *, max_iter: int = 100, progress: Progress | None = None
) -> EntropyFit:
    """Fit from given parameters with ``beta H(pi)`` as the balance term.

    Parameters
    ----------
    x
        Unit rows (n, d).
    start
        Parameters to start from, such as a teacher's.
    beta
        Weight of the entropy in nats, above 0.
    """
    engine = EntropyEngine(x, start.k)
    plan = Plan(lambda kappa: beta, 1.0, 10_000.0, max_iter=max_iter, tol=1e-5, gap_tol=1e-8)  # noqa: ARG005
    end = Ascent(engine, plan, "entropy", progress).run(start)
    return EntropyFit(engine.labels(), end)
