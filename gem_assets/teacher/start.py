"""Choose where a fit starts: the best of several short annealed fits on a subsample.

Random rows as directions, then kappa annealed from a tenth to the whole: at low concentration clusters share
documents and can still trade places. Measured against k-means++ and against single starts this gave the best final
objective and the most stable labels. Cost: ``n_init`` fits on ``init_rows`` rows, whatever the size of the corpus.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from gem_assets.teacher.ascent import Ascent, Plan, Progress, Rule
from gem_assets.teacher.engines import DenseEngine, Engine
from gem_assets.teacher.metrics import balance, effective_clusters
from gem_assets.teacher.mstep import Theta
from gem_assets.teacher.rows import Rows
from gem_assets.teacher.vmf import fit_kappa
from gem_assets.types import Floats

#: Rows of the subsample for each cluster, at least.
ROWS_PER_CLUSTER = 25
#: Ratios lambda / (mean(kappa) K) between which the rule "least" is searched.
LEAST_RATIOS = (1e-4, 4.0)
LEAST_STEPS = 9
#: While no start is balanced, up to this many times the number asked for are tried.
EXTRA_STARTS = 2
#: Relative difference of the objective below which two short fits count as ending alike.
SAME_END = 1e-7
#: Rows for each cluster below which sizes on the subsample say little.
ROWS_FOR_SIZES = 100


def draw_rows(n: int, count: int, seed: int) -> NDArray[np.int64]:
    """``count`` distinct row numbers, ascending."""
    if count >= n:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, count, replace=False))


def subsample(x: Rows, k: int, init_rows: int, seed: int) -> NDArray[np.float32]:
    """Rows for the short fits, at least 25 per cluster where there are that many."""
    rows = draw_rows(x.shape[0], max(init_rows, ROWS_PER_CLUSTER * k), seed)
    return np.asarray(x[rows], dtype=np.float32)


def seed_theta(x: NDArray[np.floating], k: int, rng: np.random.Generator, kappa_min: float, kappa_max: float) -> Theta:
    """Directions from ``k`` distinct rows; one concentration, that of the rows around their nearest direction."""
    chosen: list[int] = []
    seen: set[bytes] = set()
    for row in rng.permutation(x.shape[0]):
        key = np.ascontiguousarray(x[row], dtype=np.float32).tobytes()
        if key not in seen:
            seen.add(key)
            chosen.append(int(row))
        if len(chosen) == k:
            break
    # a subsample can hold fewer distinct rows than the corpus: the rest start from random directions
    extra = rng.standard_normal((k - len(chosen), x.shape[1]))
    mu = np.concatenate([x[chosen].astype(np.float64), extra])
    mu /= np.linalg.norm(mu, axis=1, keepdims=True)
    nearest = (x.astype(np.float64) @ mu.T).max(axis=1)
    kappa = fit_kappa(np.clip(nearest.mean(), 0.01, 0.999), x.shape[1], kappa_min, kappa_max)
    return Theta(mu, np.full(k, float(kappa)), np.zeros(k))


def short_fits(
    engine: Engine,
    x: NDArray[np.floating],
    plan: Plan,
    k: int,
    *,
    count: int,
    seed: int,
    max_over_min: float = np.inf,
    progress: Progress | None = None,
) -> Theta:
    """Best end of ``count`` annealed fits on all rows of ``x``, by the objective at a common lambda.

    Ends whose largest cluster is more than ``max_over_min`` times their smallest come last: a pocket of near
    duplicates that was split in two has an excellent density and cannot be filled up at any moderate lambda.

    Parameters
    ----------
    engine
        Holds the rows of ``x``.
    x
        The subsample, shape (m, d), from which directions are drawn.
    plan
        How each fit goes; its annealing is used and its climb kept short by its ``max_iter``.
    k
        Number of clusters.
    count, seed
        Number of fits and the seed from which their draws follow.
    """
    ends: list[Theta] = []
    lams: list[float] = []
    balanced: list[bool] = []
    most = EXTRA_STARTS * count if x.shape[0] >= ROWS_FOR_SIZES * k else count
    while len(ends) < count or (not any(balanced) and len(ends) < most):
        rng = np.random.default_rng([seed, len(ends)])
        theta = seed_theta(x, k, rng, plan.kappa_min, plan.kappa_max)
        end = Ascent(engine, plan, f"start {len(ends) + 1}", progress).run(theta)
        ends.append(end.theta)
        lams.append(end.lam)
        balanced.append(balance(engine.labels(), k).max_over_min <= max_over_min)
    if len(ends) == 1:
        return ends[0]
    common = float(np.mean(lams))
    values = [engine.e_step(theta, common, 1e-4).objective for theta in ends]
    wanted = np.where(np.asarray(balanced) if any(balanced) else True, values, -np.inf)
    # starts that end in the same place differ by round-off: the first of them is taken
    alike = wanted >= wanted.max() - SAME_END * max(1.0, abs(wanted.max()))
    return ends[int(np.argmax(alike))]


def scaled_rule(ratio: float) -> Rule:
    """Rule that sets lambda to ``ratio * mean(kappa) * K``."""
    return lambda kappa: ratio * float(kappa.mean()) * len(kappa)


def fixed_rule(lam: float) -> Rule:
    """Rule that leaves lambda where it is."""
    return lambda kappa: lam  # noqa: ARG005


def least_ratio(
    x: NDArray[np.floating],
    theta: Theta,
    plan: Plan,
    target: Floats,
    wanted: float,
    pool: ThreadPoolExecutor | None = None,
) -> float:
    """Smallest ratio lambda / (mean(kappa) K) whose labels on ``x`` reach ``wanted`` effective clusters.

    Bisection on the logarithm, every trial a warm start from ``theta``. The largest ratio tried is returned when none
    reaches it.
    """
    engine = DenseEngine(x, target, "dual", pool)
    low, high = np.log(LEAST_RATIOS[0]), np.log(LEAST_RATIOS[1])
    for _ in range(LEAST_STEPS):
        middle = (low + high) / 2
        rule = scaled_rule(float(np.exp(middle)))
        trial = Plan(
            rule, plan.kappa_min, plan.kappa_max, max_iter=15, tol=1e-3, gap_tol=1e-6, relaxation=plan.relaxation
        )
        Ascent(engine, trial, "least").run(theta)
        if effective_clusters(np.bincount(engine.labels(), minlength=theta.k)) >= wanted:
            high = middle
        else:
            low = middle
    return float(np.exp(high))
