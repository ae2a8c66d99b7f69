"""Bayesian optimisation over mixtures and model sizes (after ADMIRE-BayesOpt, Chen et al. 2025).

A Gaussian process over (mixture, fidelity) learns from cheap small runs and expensive large ones at once; a large run
is paid for only where it tells more. With fidelity ``s`` in [0, 1], 1 the target size, the kernel is

    k((p, s), (p', s')) = k_1(p, p') + (1 - s)(1 - s') k_2(p, p') + offsets

the truncated-linear form that botorch uses for its multi-fidelity model: ``k_1`` is what all sizes share, ``k_2`` the
error of small ones. Losses of each fidelity are centred and scaled by themselves, since sizes differ in level and
spread but rank alike.

The next run maximises the information about the best loss at fidelity 1 per unit of cost (max-value entropy search,
Wang and Jegelka 2017; for lower fidelities Takeno et al. 2020). With ``f`` the loss at the target, ``y`` the
observation, ``ρ`` their correlation and ``m`` a sampled best loss, the gain is the fall in entropy of ``y`` once ``f ≥
m`` is known, a one-dimensional integral done by Gauss-Hermite quadrature.

ADMIRE's code uses botorch's model and one sampled optimum; here it is scikit-learn's process, whose hyperparameters
have bounds instead of priors, and five optima are averaged. Any other :class:`Surrogate` can take its place, such as
botorch's (``search.botorch``).
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, KernelOperator, Matern, WhiteKernel

from gem_assets.mixing.laws.base import normalised_rows
from gem_assets.types import Floats

OPTIMA = 5
_NODES, _MASSES = np.polynomial.hermite_e.hermegauss(48)


class BudgetError(ValueError):
    """A search whose pool, fidelities or budget do not fit each other."""


class FidelityKernel(KernelOperator):
    """``k1 + (1 - s)(1 - s') k2`` with the fidelity ``s`` as the last column of the features."""

    def __call__(self, X: Any, Y: Any = None, eval_gradient: bool = False) -> Any:
        """Kernel matrix, and its gradient in the logarithms of the hyperparameters; see scikit-learn."""
        p, error = X[:, :-1], 1 - X[:, -1]
        if eval_gradient:
            shared, d_shared = self.k1(p, eval_gradient=True)
            own, d_own = self.k2(p, eval_gradient=True)
            mask = np.outer(error, error)
            return shared + mask * own, np.dstack([d_shared, mask[:, :, None] * d_own])
        q, other = (p, error) if Y is None else (Y[:, :-1], 1 - Y[:, -1])
        return self.k1(p, None if Y is None else q) + np.outer(error, other) * self.k2(p, None if Y is None else q)

    def diag(self, X: Any) -> Any:
        """Diagonal of the kernel matrix."""
        return self.k1.diag(X[:, :-1]) + (1 - X[:, -1]) ** 2 * self.k2.diag(X[:, :-1])

    def is_stationary(self) -> bool:
        """Whether it depends on differences alone: it does not."""
        return False

    def __repr__(self) -> str:
        return f"{self.k1} + (1-s)(1-s') {self.k2}"


class Surrogate(Protocol):
    """A model of the scaled losses over (mixture, fidelity)."""

    def fit(self, features: Floats, values: Floats) -> "Surrogate":
        """Learn from rows ``(n, K + 1)``, the fidelity last."""
        ...

    def joint(self, features: Floats) -> tuple[Floats, Floats]:
        """Mean ``(m,)`` and covariance ``(m, m)`` of the noiseless losses."""
        ...


class GaussianSurrogate:
    """The default: scikit-learn's Gaussian process with :class:`FidelityKernel`.

    Its hyperparameters are sought again when a tenth more runs are there than at the last time, from the same start:
    what a handful of runs says of them is often that all is noise, and a search from there does not come back.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        shared = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(0.5, (5e-2, 2e1), nu=2.5)
        own = ConstantKernel(0.1, (1e-4, 1e1)) * Matern(0.5, (5e-2, 2e1), nu=2.5)
        self._start: Any = FidelityKernel(shared, own) + WhiteKernel(1e-3, (1e-6, 1.0))
        self._kernel, self._sought = self._start, 0

    def fit(self, features: Floats, values: Floats) -> "GaussianSurrogate":
        """See :class:`Surrogate`."""
        seek = len(values) >= 1.1 * self._sought
        optimizer: Any = "fmin_l_bfgs_b" if seek else None
        kernel = self._start if seek else self._kernel
        self.model_: Any = GaussianProcessRegressor(kernel, optimizer=optimizer, random_state=self.seed)
        with warnings.catch_warnings():
            # a length at its bound is an answer here, not a failure
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model_.fit(features, values)
        if seek:
            self._kernel, self._sought = self.model_.kernel_, len(values)
        return self

    def joint(self, features: Floats) -> tuple[Floats, Floats]:
        """See :class:`Surrogate`."""
        mean, covariance = self.model_.predict(features, return_cov=True)
        noise = float(self.model_.kernel_.k2.noise_level)
        return np.asarray(mean, np.float64), np.asarray(covariance, np.float64) - noise * np.eye(len(features))


@dataclass(frozen=True)
class FidelitySearch:
    """Runs made, in order.

    Attributes
    ----------
    tried
        Pairs (row of the pool, number of the fidelity); those that were known come first.
    recommended
        Row of the pool with the lowest expected loss at the target fidelity.
    """

    tried: tuple[tuple[int, int], ...]
    losses: tuple[float, ...]
    cost: float
    recommended: int


@dataclass(frozen=True)
class FittedRuns:
    """A surrogate fitted to runs of several fidelities.

    A loss at the target is ``centre + spread · value``; NaN and 1 while nothing was run there.
    """

    surrogate: Surrogate
    centre: float
    spread: float

    def at_target(self, mixtures: Floats) -> tuple[Floats, Floats]:
        """Mean ``(m,)`` and covariance ``(m, m)`` of the losses of mixtures ``(m, K)`` at the target fidelity."""
        mean, covariance = self.surrogate.joint(np.column_stack([normalised_rows(mixtures), np.ones(len(mixtures))]))
        return self.centre + self.spread * mean, self.spread**2 * covariance


def fit_runs(
    pool: Floats,
    fidelities: Sequence[float],
    tried: Sequence[tuple[int, int]],
    losses: Sequence[float],
    surrogate: Surrogate,
) -> FittedRuns:
    """Fit a surrogate to runs ``tried`` (row, number of the fidelity) of a pool ``(n, K)`` and their losses.

    Losses are standardised within their fidelity, and each higher one is moved to where the one below puts the same
    mixtures: runs at a high fidelity are on promising mixtures, and centred by themselves the best would look average.
    """
    rows, levels = normalised_rows(pool), np.asarray(fidelities, np.float64)
    values, level, where = np.array(losses), np.array([s for _, s in tried]), np.array([i for i, _ in tried])
    out, spread, mean = np.zeros(len(values)), 1.0, float("nan")
    present = np.unique(level)
    for s in present:
        own = values[level == s]
        # a fidelity of one or two runs takes the spread of the one below
        spread, mean = float(own.std()) if len(own) > 2 and own.std() > 0 else spread, float(own.mean())
        out[level == s] = (own - mean) / spread
    shift = 0.0
    for below, s in pairwise(present):
        known, mine = level == below, level == s
        # nearest mixture of the level below, itself where it was run there
        distance = np.abs(rows[where[mine]][:, None] - rows[where[known]][None]).sum(-1)
        shift = float(np.mean(out[known][distance.argmin(axis=1)]))
        out[mine] += shift
    fitted = surrogate.fit(_features(rows, levels, tried), out)
    reached = present[-1] == len(levels) - 1
    return FittedRuns(fitted, mean - spread * shift if reached else float("nan"), spread if reached else 1.0)


def information_gain(mean: Floats, deviation: Floats, correlation: Floats, best: float) -> Floats:
    """Information of an observation about a lowest loss ``best`` at the target, nats, ``(m,)``.

    Parameters
    ----------
    mean, deviation
        Of the target loss ``f`` at each candidate.
    correlation
        Of the observation with ``f``; at 1 the result is the closed form of max-value entropy search.
    """
    scale = np.maximum(deviation, 1e-12)
    gamma = (mean - best) / scale
    rho = np.clip(correlation, -0.99999, 0.99999)
    # density of the standardised observation, given f >= best, relative to the unconditional one
    inside = (gamma[:, None] + rho[:, None] * _NODES) / np.sqrt(1 - rho[:, None] ** 2)
    log_weight = log_ndtr(inside) - log_ndtr(gamma)[:, None]
    weight = np.exp(log_weight)
    log_normal = -0.5 * _NODES**2 - 0.5 * np.log(2 * np.pi)
    gain = (weight * log_weight + (weight - 1) * log_normal) @ (_MASSES / _MASSES.sum())
    return np.where(deviation > 1e-12, np.maximum(gain, 0.0), 0.0)


def search_fidelities(
    pool: Floats,
    evaluate: Callable[[int, int], float],
    fidelities: Sequence[float],
    costs: Sequence[float],
    budget: float,
    *,
    first: int = 4,
    known: Mapping[tuple[int, int], float] | None = None,
    choices: Sequence[int] | None = None,
    surrogate: Callable[[int], Surrogate] = GaussianSurrogate,
    seed: int = 0,
) -> FidelitySearch:
    """Spend a budget on runs of several sizes.

    Raises BudgetError if the arguments do not fit each other, or a loss is not finite.

    Parameters
    ----------
    pool
        Mixtures ``(n, K)``.
    evaluate
        Loss of (row, number of the fidelity).
    fidelities
        Ascending, in [0, 1], the last 1.
    costs
        Of one run at each fidelity, all above 0.
    budget
        Total cost; the search stops when no run fits in any more.
    first
        Runs at the lowest fidelity on random mixtures before the process decides; none where runs are known.
    known
        Losses of runs that are there already, by (row, number of the fidelity); they cost nothing.
    choices
        Rows that may be run and recommended; all by default.
    """
    rows, levels, price = normalised_rows(pool), np.asarray(fidelities, np.float64), np.asarray(costs, np.float64)
    start = dict(known or {})
    _check(len(rows), levels, price, budget, first, start)
    usable = np.unique(np.arange(len(rows)) if choices is None else np.asarray(choices, np.int64))
    rng = np.random.default_rng(seed)
    drawn = [] if start else [(int(i), 0) for i in rng.choice(usable, first, replace=False)]
    tried = [*start, *drawn]
    losses = [*start.values(), *(_finite(evaluate(*run), run) for run in drawn)]
    spent, model = len(drawn) * float(price[0]), surrogate(seed)
    while True:
        free = [
            (i, s)
            for s in range(len(levels))
            if spent + price[s] <= budget + 1e-12
            for i in np.setdiff1d(usable, [i for i, own in tried if own == s])
        ]
        if not free:
            break
        fitted = fit_runs(rows, fidelities, tried, losses, model).surrogate
        run = _next(rows, levels, price, usable, free, fitted, rng)
        tried.append(run)
        losses.append(_finite(evaluate(*run), run))
        spent += float(price[run[1]])
    fitted = fit_runs(rows, fidelities, tried, losses, model).surrogate
    mean, _ = fitted.joint(_features(rows, levels, [(int(i), len(levels) - 1) for i in usable]))
    return FidelitySearch(tuple(tried), tuple(losses), spent, int(usable[np.argmin(mean)]))


def _features(rows: Floats, levels: Floats, runs: Sequence[tuple[int, int]]) -> Floats:
    return np.array([[*rows[i], levels[s]] for i, s in runs])


def _next(
    rows: Floats,
    levels: Floats,
    price: Floats,
    usable: NDArray[np.int64],
    free: Sequence[tuple[int, int]],
    fitted: Surrogate,
    rng: np.random.Generator,
) -> tuple[int, int]:
    n, top = len(usable), len(levels) - 1
    others = [s for s in sorted({s for _, s in free}) if s != top]
    mean, covariance = fitted.joint(_features(rows, levels, [(int(i), s) for s in (top, *others) for i in usable]))
    target, deviation = mean[:n], np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    root = _root(covariance[:n, :n])
    optima = (target[:, None] + root @ rng.standard_normal((n, OPTIMA))).min(axis=0)
    utility = np.full((len(levels), n), -np.inf)
    for block, s in enumerate([top, *others]):
        span = slice(block * n, (block + 1) * n)
        across = np.diag(covariance[:n, span]) / (deviation[:n] * deviation[span])
        gains = [information_gain(target, deviation[:n], across, float(m)) for m in optima]
        utility[s] = np.mean(gains, axis=0) / price[s]
    allowed = np.full_like(utility, -np.inf)
    for i, s in free:
        place = int(np.searchsorted(usable, i))
        allowed[s, place] = utility[s, place]
    s, place = np.unravel_index(int(np.argmax(allowed)), allowed.shape)
    return int(usable[place]), int(s)


def _root(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def _check(
    n: int, levels: Floats, price: Floats, budget: float, first: int, known: Mapping[tuple[int, int], float]
) -> None:
    if len(levels) < 1 or levels[-1] != 1 or np.any(np.diff(levels) <= 0) or levels[0] < 0:
        raise BudgetError(f"fidelities must ascend within [0, 1] to 1, not {levels.tolist()}")
    if price.shape != levels.shape or np.any(price <= 0):
        raise BudgetError(f"{len(levels)} fidelities need as many costs above 0, not {price.tolist()}")
    for run, loss in known.items():
        if not (0 <= run[0] < n and 0 <= run[1] < len(levels)):
            raise BudgetError(f"a known run names row {run[0]} at fidelity {run[1]}, which the pool lacks")
        _finite(loss, run)
    if len(known) == 1:
        raise BudgetError("one known run is not enough to start from; give two or more, or none")
    if not known and (not 2 <= first <= n or first * price[0] > budget):
        raise BudgetError(
            f"{first} first runs at {price[0]:g} each do not fit a pool of {n} and a budget of {budget:g}"
        )


def _finite(loss: float, run: tuple[int, int]) -> float:
    if not np.isfinite(loss):
        raise BudgetError(f"mixture {run[0]} at fidelity {run[1]} has loss {loss}; a failed run must not be counted")
    return float(loss)
