"""The ascent: E-step, M-step, over-relaxation, and the check that the objective never falls.

Three stretches. While kappa is annealed and while lambda still follows kappa, the objective itself changes and no
claim is made. Then lambda stands still, every iteration has to raise F, and one that does not is an error.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gem_assets.teacher.engines import Engine
from gem_assets.teacher.esteps import EStep
from gem_assets.teacher.mstep import Sums, Theta, maximise, relax
from gem_assets.types import Floats

#: Burn-in ends when lambda moves by less than this between two iterations.
LAM_SETTLED = 2e-3
MAX_BURN_IN = 20
#: A cluster with less soft mass than this many documents is put elsewhere while no claim is made.
DEAD_MASS = 0.5
#: Cosine from which two directions count as one, and how far one of them is then pushed.
TWIN_COSINE = 1 - 1e-4
TWIN_PUSH = 0.05
#: Over-relaxation that is not worth a rejected E-step.
MIN_RELAXATION = 1.05


class MonotonicityError(RuntimeError):
    """The objective fell between two iterations by more than round-off: the result cannot be trusted."""


@dataclass(frozen=True)
class Iteration:
    """One line of the fit's record; ``claimed`` marks iterations over which F may not fall."""

    stage: str
    index: int
    objective: float
    gap: float
    lam: float
    kappa_mean: float
    moved: float
    claimed: bool
    relaxed: bool


Progress = Callable[[Iteration], None]
Rule = Callable[[Floats], float]


@dataclass(frozen=True)
class Plan:
    """What an ascent may do; see :class:`gem_assets.teacher.config.TeacherConfig` for the fields of the same name."""

    rule: Rule
    kappa_min: float
    kappa_max: float
    max_iter: int
    tol: float
    gap_tol: float
    churn_tol: float = 0.0
    relaxation: float = 1.0
    anneal_iter: int = 0
    anneal_start: float = 1.0
    anneal_lam: bool = False
    anchor: Sums | None = None


@dataclass(frozen=True)
class Ascended:
    """Where an ascent ended."""

    theta: Theta
    lam: float
    last: EStep
    trace: list[Iteration]
    converged: bool


class Ascent:
    """One ascent over one engine."""

    def __init__(self, engine: Engine, plan: Plan, stage: str, progress: Progress | None = None) -> None:
        self._engine = engine
        self._plan = plan
        self._stage = stage
        self._progress = progress
        self._trace: list[Iteration] = []
        self._labels: NDArray[np.int32] | None = None

    def run(self, theta: Theta) -> Ascended:
        """Anneal, settle lambda, climb.

        Raises
        ------
        MonotonicityError
            If F falls by more than round-off once lambda stands still.
        """
        theta = self._anneal(theta)
        theta, lam = self._settle(theta)
        return self._climb(theta, lam)

    def _anneal(self, theta: Theta) -> Theta:
        plan = self._plan
        factor = plan.anneal_start
        for t in range(plan.anneal_iter):
            lam = plan.rule(theta.kappa) * (factor if plan.anneal_lam else 1.0)
            step = self._engine.e_step(theta, lam, max(plan.gap_tol, 1e-4))
            self._engine.accept()
            self._record(step, theta, lam, claimed=False)
            factor = plan.anneal_start + (1 - plan.anneal_start) * min(1.0, (t + 1) / plan.anneal_iter)
            theta = self._m_step(theta.with_offsets(step.b), factor, revive=True)
        return theta

    def _settle(self, theta: Theta) -> tuple[Theta, float]:
        plan = self._plan
        lam = plan.rule(theta.kappa)
        for _ in range(MAX_BURN_IN):
            step = self._engine.e_step(theta, lam, max(plan.gap_tol, 1e-6))
            self._engine.accept()
            self._record(step, theta, lam, claimed=False)
            dead = step.pi * self._engine.n < DEAD_MASS
            theta = self._m_step(theta.with_offsets(step.b), 1.0, revive=True)
            new = plan.rule(theta.kappa)
            settled = abs(new - lam) <= LAM_SETTLED * lam and not dead.any()
            lam = new
            if settled:
                break
        return theta, lam

    def _climb(self, theta: Theta, lam: float) -> Ascended:
        plan, engine = self._plan, self._engine
        factor = plan.relaxation
        plain: Theta | None = None
        best: float | None = None
        converged = renewed = False
        step = engine.e_step(theta, lam, plan.gap_tol)
        accepted = 0
        while True:
            value = step.objective + self._anchor_value(theta)
            slack = engine.noise * max(1.0, abs(value)) + engine.left_out + plan.gap_tol
            if best is not None and value < best - slack:
                if plain is None and not renewed:
                    # an engine that works on a selection may have missed something: only a full look is proof
                    renewed = True
                    engine.renew()
                    step = engine.e_step(theta, lam, plan.gap_tol)
                    continue
                if plain is None:
                    raise MonotonicityError(
                        f"F fell from {best:.12g} to {value:.12g} nats per document in stretch {self._stage!r}: "
                        "a defect in the fit, not a property of the data"
                    )
                theta, plain = plain, None
                factor = 1 + (factor - 1) / 2
                step = engine.e_step(theta, lam, plan.gap_tol)
                continue
            engine.accept()
            renewed = False
            accepted += 1
            moved = self._record(step, theta, lam, claimed=True, relaxed=plain is not None)
            converged = best is not None and (value - best < plan.tol or moved < plan.churn_tol)
            best = value
            if converged or accepted == plan.max_iter:
                break
            old = theta.with_offsets(step.b)
            theta = self._m_step(old, 1.0, revive=False)
            plain = None
            if factor > MIN_RELAXATION:
                plain = theta
                theta = relax(old, theta, factor, plan.kappa_min, plan.kappa_max)
            step = engine.e_step(theta, lam, plan.gap_tol)
        return Ascended(theta.with_offsets(step.b), lam, step, self._trace, converged)

    def _m_step(self, old: Theta, kappa_factor: float, *, revive: bool) -> Theta:
        plan = self._plan
        sums = self._engine.sums()
        theta = maximise(
            sums if plan.anchor is None else sums + plan.anchor, old, plan.kappa_min, plan.kappa_max, kappa_factor
        )
        if not revive or plan.anchor is not None:
            return theta
        theta = part_twins(theta, len(self._trace))
        dead = np.flatnonzero(sums.mass < DEAD_MASS)
        if dead.size == 0 or dead.size == theta.k:
            return theta
        mu, kappa, b = theta.mu.copy(), theta.kappa.copy(), theta.b.copy()
        mu[dead] = self._engine.outliers(dead.size)
        mu[dead] /= np.linalg.norm(mu[dead], axis=1, keepdims=True)
        kappa[dead] = np.median(np.delete(kappa, dead))
        b[dead] = 0.0
        return Theta(mu, kappa, b)

    def _anchor_value(self, theta: Theta) -> float:
        anchor = self._plan.anchor
        if anchor is None:
            return 0.0
        constants = theta.constants() + np.log(theta.k)
        fit = float(anchor.mass @ constants) + float(np.sum(theta.directions() * anchor.resultant))
        return fit / self._engine.n

    def _record(self, step: EStep, theta: Theta, lam: float, *, claimed: bool, relaxed: bool = False) -> float:
        labels = self._engine.labels()
        moved = 1.0 if self._labels is None else float(np.mean(labels != self._labels))
        self._labels = labels
        value = step.objective + self._anchor_value(theta)
        kappa = float(theta.kappa.mean())
        line = Iteration(
            self._stage, len(self._trace), value, step.gap, lam, kappa, moved, claimed=claimed, relaxed=relaxed
        )
        self._trace.append(line)
        if self._progress is not None:
            self._progress(line)
        return moved


def part_twins(theta: Theta, seed: int) -> Theta:
    """Push apart clusters whose directions coincide.

    At low concentration clusters can fall onto one another, and equal parameters stay equal under every later step.
    """
    cosine = np.tril(theta.mu @ theta.mu.T, k=-1)
    twins = np.flatnonzero(cosine.max(axis=1) > TWIN_COSINE)
    if twins.size == 0:
        return theta
    push = np.random.default_rng(seed).standard_normal((twins.size, theta.d))
    push *= TWIN_PUSH / np.linalg.norm(push, axis=1, keepdims=True)
    mu = theta.mu.copy()
    mu[twins] += push
    mu[twins] /= np.linalg.norm(mu[twins], axis=1, keepdims=True)
    return Theta(mu, theta.kappa, theta.b)
