"""The E-step: responsibilities that maximise the balanced objective for fixed directions and concentrations.

Per document, in nats,

    F(Gamma) = mean_i [ <gamma_i, l_i> + H(gamma_i) ] - (lam/2) ||pi - u||^2,     pi = mean_i gamma_i

with ``l`` (n, K) the log densities under the fixed prior and ``u`` the target shares. Three solvers:

``dual_newton``   exact. The coupling of all documents through ``pi`` is dualised into one offset per cluster: F's
                  maximum is the minimum over b in R^K of ``D(b) = mean logsumexp(l + b) - <b, u> + ||b||^2 / (2 lam)``,
                  which is smooth and strongly convex. ``D(b) - F(Gamma(b)) = (lam/2) ||grad D||^2`` in closed form:
                  the gap that certifies the answer. One to five Newton steps, each one pass over the scores.
``proximal_step`` closed form, minorise–maximise with a KL proximal term whose curvature adapts.
``mirror_step``   the separable surrogate with the quadratic proximal term, solved by a few exponentiated-gradient
                  steps: what the published description gives.

Only the first scales to large K; the other two are there to be compared and need the responsibilities in memory.
"""

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gem_assets.teacher.rows import Blocks
from gem_assets.types import Floats

F = TypeVar("F", bound=np.floating)

#: Passes with which a warm start has to be done before the problem is smoothed.
WARM_PASSES = 20
#: Factor between two temperatures of the smoothed problem.
COOLING = 4.0
#: First bound on the change of one offset in one step, in nats.
TRUST_START = 20.0
ARMIJO = 1e-4
MIN_STEP = 1e-6
#: Relative round-off of D, a sum over rows.
NOISE = 1e-14


@dataclass(frozen=True)
class Statistics:
    """Sums of one pass: ``pi`` (K,), mean log-sum-exp, and ``gram`` (K, K) = mean of gamma gamma^T when asked for."""

    pi: Floats
    mean_lse: float
    gram: Floats | None


class Scores(Protocol):
    """Log densities of all rows, however they are held."""

    n: int
    k: int

    def statistics(self, b: Floats, *, gram: bool, temperature: float = 1.0) -> Statistics:
        """Sums over rows of softmax((l + b) / temperature); the log-sum-exp is multiplied by the temperature."""
        ...

    def spread(self) -> float:
        """Mean range of a row's log densities: the scale on which offsets can have to move."""
        ...


class DenseScores:
    """All n x K log densities in memory.

    Parameters
    ----------
    log_density
        Shape (n, K), float64, or float32 less ``base``; the precision of the passes.
    blocks
        Row blocks over which the passes run.
    base
        Shape (n,), float64: what was taken from each row, so that float32 is precise where it matters.
    """

    def __init__(self, log_density: NDArray[np.floating], blocks: Blocks, base: Floats | None = None) -> None:
        self.values = log_density
        self.n, self.k = log_density.shape
        self._blocks = blocks
        self._base = 0.0 if base is None else float(base.mean())

    def statistics(self, b: Floats, *, gram: bool, temperature: float = 1.0) -> Statistics:
        """Sums over rows of softmax((l + b) / temperature); the log-sum-exp is multiplied by the temperature."""

        def one(rows: slice) -> tuple[Floats, float, Floats | None]:
            z = self.values[rows] + b.astype(self.values.dtype)
            if temperature != 1.0:
                z /= temperature
            gamma, lse = softmax_rows(z)
            mass = gamma.sum(axis=0, dtype=np.float64)
            return mass, float(lse.sum()), (gamma.T @ gamma).astype(np.float64) if gram else None

        pi = np.zeros(self.k)
        total = 0.0
        square = np.zeros((self.k, self.k)) if gram else None
        for part_pi, part_lse, part_square in self._blocks.map(one):
            pi += part_pi
            total += part_lse
            if square is not None and part_square is not None:
                square += part_square
        mean_lse = temperature * total / self.n + self._base
        return Statistics(pi / self.n, mean_lse, None if square is None else square / self.n)

    def spread(self) -> float:
        """Mean range of a row's log densities."""
        return float(np.mean(np.ptp(self.values, axis=1)))

    def responsibilities(self, b: Floats) -> Floats:
        """softmax(l + b), shape (n, K)."""
        return np.concatenate(list(self._blocks.map(lambda rows: softmax_rows(self.values[rows] + b)[0])))


def softmax_rows(z: NDArray[F]) -> tuple[NDArray[F], Floats]:
    """Softmax of every row in the precision of ``z``, which is overwritten, and its log-sum-exp in float64."""
    top = z.max(axis=1)
    z -= top[:, None]
    np.exp(z, out=z)
    total = z.sum(axis=1)
    z /= total[:, None]
    return z, top.astype(np.float64) + np.log(total, dtype=np.float64)


@dataclass(frozen=True)
class EStep:
    """A solved E-step: offsets, shares, objective, duality gap (infinite where none is known), passes used."""

    b: Floats
    pi: Floats
    objective: float
    gap: float
    passes: int


def uniform(k: int) -> Floats:
    """Equal target shares."""
    return np.full(k, 1 / k)


def penalty(pi: Floats, target: Floats, lam: float) -> float:
    """``(lam/2) ||pi - u||^2``."""
    return 0.5 * lam * float(np.sum((pi - target) ** 2))


def dual_newton(
    scores: Scores,
    lam: float,
    target: Floats,
    b: Floats | None = None,
    *,
    gap_tol: float = 1e-8,
    max_passes: int = 60,
) -> EStep:
    """Exact E-step by damped Newton on the offsets.

    Parameters
    ----------
    scores
        Log densities of the rows.
    lam
        Weight of the balance term in nats, at least 0; 0 is plain EM with a fixed prior.
    target
        Shares aimed at, shape (K,), summing to 1.
    b
        Offsets to start from, zeros when absent.
    gap_tol
        Stop when the duality gap is at most this.
    max_passes
        Most passes over the scores in the last stretch.

    Returns
    -------
    EStep
        Its gap is the certificate: ``objective`` is within ``gap`` of the maximum over all responsibilities.
    """
    if lam == 0:
        zero = np.zeros(scores.k)
        s = scores.statistics(zero, gram=False)
        return EStep(zero, s.pi, s.mean_lse, 0.0, 1)
    start = np.zeros(scores.k) if b is None else b - b.mean()
    state, passes = _newton(scores, lam, target, start, gap_tol=gap_tol, max_passes=WARM_PASSES)
    if state.gap > gap_tol:
        # far from the answer D is nearly piecewise linear and Newton zigzags between its kinks: round them off first
        temperature = max(scores.spread(), 1.0)
        while temperature > 1.0:
            state, used = _newton(
                scores, lam, target, state.b, temperature, gap_tol=1e-3 * temperature, max_passes=WARM_PASSES
            )
            passes += used
            temperature /= COOLING
        state, used = _newton(scores, lam, target, state.b, gap_tol=gap_tol, max_passes=max_passes)
        passes += used
    pi, b = state.statistics.pi, state.b
    objective = state.statistics.mean_lse - float(b @ pi) - penalty(pi, target, lam)
    return EStep(b, pi, objective, state.gap, passes)


@dataclass(frozen=True)
class _Point:
    """Offsets with what one pass found there."""

    b: Floats
    statistics: Statistics
    value: float
    gradient: Floats
    gap: float


def _newton(
    scores: Scores,
    lam: float,
    target: Floats,
    b: Floats,
    temperature: float = 1.0,
    *,
    gap_tol: float,
    max_passes: int,
) -> tuple[_Point, int]:
    """Damped Newton on the dual at one temperature, at most ``max_passes`` passes over the scores."""

    def at(offsets: Floats) -> _Point:
        s = scores.statistics(offsets, gram=True, temperature=temperature)
        value = s.mean_lse - float(offsets @ target) + float(offsets @ offsets) / (2 * lam)
        gradient = s.pi - target + offsets / lam
        return _Point(offsets, s, value, gradient, 0.5 * lam * float(gradient @ gradient))

    trust = np.full(scores.k, TRUST_START * temperature)
    now = at(b)
    passes = 1
    while now.gap > gap_tol and passes < max_passes:
        step = _clipped_step(now, lam, temperature, trust)
        slope = float(now.gradient @ step)
        noise = NOISE * max(1.0, abs(now.value))
        size = 1.0
        while True:
            trial = at(now.b + size * step)
            passes += 1
            if trial.value <= now.value + ARMIJO * size * slope + noise:
                break
            size *= 0.5
            if passes >= max_passes or size < MIN_STEP:
                return now, passes
        # at the floor of round-off a step that no longer lowers the gap is the end
        if abs(slope) < noise and trial.gap >= now.gap:
            break
        grown = np.where(np.abs(step) >= trust, 2 * trust, trust)
        trust = grown if size == 1.0 else np.maximum(trust * size, 1e-3)
        now = trial
    return now, passes


def _clipped_step(point: _Point, lam: float, temperature: float, trust: Floats) -> Floats:
    """Newton step with every coordinate inside its trust region; its mean is zero, as that of the solution is."""
    s = point.statistics
    assert s.gram is not None
    curvature = s.pi / temperature + 1 / lam
    hessian = np.diag(curvature) - s.gram / temperature
    for ridge in (0.0, 1e-12, 1e-9, 1e-6, 1e-3):
        try:
            factor = np.linalg.cholesky(hessian + ridge * np.diag(curvature))
        except np.linalg.LinAlgError:
            continue
        newton = -np.linalg.solve(factor.T, np.linalg.solve(factor, point.gradient))
        step = np.clip(newton, -trust, trust)
        step -= step.mean()
        if point.gradient @ step < 0:
            return step
        break
    # clipping turned the step away: the gradient, scaled as a whole, never does
    downhill = -(point.gradient - point.gradient.mean()) / curvature.max()
    return downhill * min(1.0, float(np.min(trust / np.maximum(np.abs(downhill), 1e-300))))


def primal(gamma: Floats, log_density: Floats, target: Floats, lam: float) -> float:
    """F of given responsibilities, shape (n, K)."""
    entropy = -float(np.sum(gamma * np.log(np.maximum(gamma, 1e-300))))
    gain = float(np.sum(gamma * log_density))
    return (gain + entropy) / gamma.shape[0] - penalty(gamma.mean(axis=0), target, lam)


@dataclass(frozen=True)
class SoftEStep:
    """A step that is carried by its responsibilities, with the curvature to start the next one from."""

    gamma: Floats
    objective: float
    curvature: float


def proximal_step(
    log_density: Floats, gamma: Floats, lam: float, target: Floats, curvature: float | None = None
) -> SoftEStep:
    """One minorise–maximise step with a KL proximal term, in closed form; F never falls.

    The maximiser of the linearised objective minus ``tau * mean KL(gamma' || gamma)`` is a softmax. ``tau = lam / 2``
    always minorises; a smaller one is tried first and kept when ``(lam/2) ||pi' - pi||^2 <= tau * mean KL``, which is
    all that the proof of ascent needs.

    Parameters
    ----------
    log_density, gamma
        Shape (n, K): log densities and the responsibilities to improve.
    lam, target
        Balance term.
    curvature
        The tau accepted last time; the step starts from a quarter of it.
    """
    limit = lam / 2
    pi = gamma.mean(axis=0)
    log_gamma = np.log(np.maximum(gamma, 1e-300))
    shifted = log_density - lam * (pi - target)
    tau = min(limit, max((curvature if curvature is not None else limit) / 4, 1e-6))
    while True:
        new, _ = softmax_rows((shifted + tau * log_gamma) / (1 + tau))
        divergence = float(np.sum(new * (np.log(np.maximum(new, 1e-300)) - log_gamma))) / len(new)
        if tau >= limit or limit * float(np.sum((new.mean(axis=0) - pi) ** 2)) <= tau * divergence:
            return SoftEStep(new, primal(new, log_density, target, lam), tau)
        tau = min(2 * tau, limit)


def mirror_step(log_density: Floats, gamma: Floats, lam: float, target: Floats, inner: int = 5) -> SoftEStep:
    """One step on the separable surrogate, solved by ``inner`` exponentiated-gradient steps; F never falls.

    The surrogate replaces ``||pi' - pi||^2`` by the mean of ``||gamma_i' - gamma_i||^2`` (Jensen). Its negative is
    ``1 + lam/2`` smooth relative to the entropy because ``||p - q||^2 <= KL(p || q)``, hence the step size
    ``1 / (1 + lam/2)``; that is small at useful lambda, so this E-step converges slowly.
    """
    pull = log_density - lam * (gamma.mean(axis=0) - target)
    eta = 1 / (1 + lam / 2)
    new = gamma.copy()
    for _ in range(inner):
        log_new = np.log(np.maximum(new, 1e-300))
        gradient = pull - log_new - lam * (new - gamma)
        new, _ = softmax_rows(log_new + eta * gradient)
    return SoftEStep(new, primal(new, log_density, target, lam), lam)
