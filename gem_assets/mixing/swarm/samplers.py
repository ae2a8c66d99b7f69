"""Which mixtures to train proxies on.

    regmix              Dirichlet around the flattened prior with many strengths, rejected above a usage cap
    hierarchical        the same twice: over groups, and over the clusters of each group
    d_optimal           those of a random pool that make the design matrix of the shares largest in determinant
    low_discrepancy     a scrambled Sobol sequence carried to the simplex around the prior

All start from the natural shares ``q``.
"""

import numpy as np
from numpy.typing import NDArray

from gem_assets.types import Floats

TEMPERATURE = 0.5
STRENGTHS = (0.1, 5.0, 15)
USAGE = 15.0
MINIMUM = 2e-4
OVERSAMPLE = 100
NEAR = 1e-5


def sample_regmix(
    prior: Floats,
    count: int,
    *,
    usage: float = USAGE,
    minimum: float = MINIMUM,
    oversample: int = OVERSAMPLE,
    seed: int = 42,
) -> Floats:
    """Draw mixtures as RegMix does.

    For each candidate one of the log-spaced strengths ``s`` is drawn and a mixture from ``Dirichlet(s · q')`` with
    ``q' ∝ q^TEMPERATURE``. A candidate in which any share exceeds ``min(usage · q_i, 1)``, with ``q`` before the
    temperature, is rejected. Shares below ``minimum`` become 0, the rest is normalised and rounded to multiples of it.
    Of the distinct candidates ``count`` are chosen at random.

    Returns ``(count, K)``; rows sum to 1 exactly up to float rounding: the last multiple goes to the largest share.

    Raises ValueError if the bounds leave fewer than ``count`` distinct mixtures.
    """
    q = _natural(prior)
    rng = np.random.default_rng(seed)
    kept = _within(rng, q, count * oversample, usage, minimum)
    return _choose(rng, _distinct(kept), count, count * oversample)


def sample_hierarchical(
    prior: Floats, groups: NDArray[np.int64], count: int, *, usage: float = USAGE, seed: int = 42
) -> Floats:
    """Draw shares of groups, and shares of the clusters within each group, both as :func:`sample_regmix`.

    The bound on usage holds at both levels, so a cluster may reach ``usage²`` times its natural share. Shares of one
    level may repeat, as they must where a bound leaves few; the mixtures are distinct.

    ``groups``, ``(K,)``, is the group of each cluster, numbered from 0.

    Raises ValueError if the bounds leave fewer than ``count`` distinct mixtures.
    """
    q = _natural(prior)
    members = [np.flatnonzero(groups == g) for g in range(int(groups.max()) + 1)]
    members = [m for m in members if q[m].sum() > 0]
    tops = np.array([q[m].sum() for m in members])
    rng = np.random.default_rng(seed)
    wanted = count * max(4, OVERSAMPLE // 10)

    def level(shares: Floats) -> Floats:
        if np.count_nonzero(shares) == 1:
            return np.tile((shares > 0).astype(np.float64), (wanted, 1))
        found = _within(rng, shares / shares.sum(), count * OVERSAMPLE, usage, MINIMUM)
        if len(found) == 0:
            raise ValueError(f"no draw of {count * OVERSAMPLE} keeps the bounds; raise usage")
        return found[rng.integers(0, len(found), wanted)]

    outer = level(tops)
    mixtures = np.zeros((wanted, len(q)))
    for number, rows in enumerate(members):
        mixtures[:, rows] = outer[:, [number]] * level(q[rows])
    return _choose(rng, _distinct(mixtures), count, wanted)


def sample_low_discrepancy(prior: Floats, count: int, *, seed: int = 42) -> Floats:
    """Spread mixtures evenly: scrambled Sobol points, carried to ``Dirichlet(K · q)`` by gamma quantiles."""
    q = _natural(prior)
    active = np.flatnonzero(q > 0)
    from scipy.stats import gamma, qmc  # most of a second, which a command that reads recipes does not pay

    engine = qmc.Sobol(len(active), scramble=True, rng=np.random.default_rng(seed))
    points = np.clip(engine.random(1 << max(0, (count - 1).bit_length()))[:count], 1e-12, 1 - 1e-12)
    weights = gamma.ppf(points, np.maximum(len(active) * q[active], 1e-3))
    weights = np.maximum(weights, 1e-300)
    mixtures = np.zeros((count, len(q)))
    mixtures[:, active] = weights / weights.sum(axis=1, keepdims=True)
    return mixtures


def sample_d_optimal(prior: Floats, count: int, *, seed: int = 42) -> Floats:
    """Choose the most informative mixtures of a RegMix pool for a law that is linear in the shares.

    Greedy in ``log det(XᵀX + ridge)``: each step takes the mixture of largest leverage and updates by the
    matrix-determinant lemma; ``O(pool · K²)`` in all for each mixture taken.
    """
    candidates = sample_regmix(prior, min(2000, 4 * count + 200), oversample=40, seed=seed)
    inverse = np.eye(candidates.shape[1]) * 1e3
    chosen: list[int] = []
    free = np.ones(len(candidates), bool)
    for _ in range(count):
        leverage = np.where(free, np.einsum("ij,jk,ik->i", candidates, inverse, candidates), -np.inf)
        best = int(np.argmax(leverage))
        chosen.append(best)
        free[best] = False
        step = inverse @ candidates[best]
        inverse -= np.outer(step, step) / (1 + float(leverage[best]))
    return candidates[chosen]


def on_grid(mixtures: Floats, minimum: float) -> Floats:
    """Drop shares below ``minimum`` and round the rest to its multiples; rows keep their sum of 1."""
    rows = np.where(mixtures < minimum, 0.0, mixtures)
    rows /= rows.sum(axis=1, keepdims=True)
    steps = np.round(rows / minimum)
    # what rounding lost or won goes to the largest share, where it weighs least
    steps[np.arange(len(rows)), rows.argmax(axis=1)] += np.round(1 / minimum) - steps.sum(axis=1)
    return steps / steps.sum(axis=1, keepdims=True)


def _within(
    rng: np.random.Generator,
    q: Floats,
    drawn: int,
    usage: float,
    minimum: float,
) -> Floats:
    """Draw around ``q^TEMPERATURE`` with many strengths and return those on the grid that keep the bound on usage."""
    flat = q**TEMPERATURE * (q > 0)
    flat /= flat.sum()
    levels = np.logspace(np.log10(STRENGTHS[0]), np.log10(STRENGTHS[1]), STRENGTHS[2])
    rows = _dirichlet_rows(rng, flat, levels[rng.integers(0, len(levels), drawn)])
    return on_grid(rows[np.all(rows <= np.minimum(usage * q, 1.0) + 1e-12, axis=1)], minimum)


def _choose(rng: np.random.Generator, distinct: Floats, count: int, drawn: int) -> Floats:
    if len(distinct) < count:
        raise ValueError(
            f"the bounds leave {len(distinct)} distinct mixtures of {drawn} drawn, {count} are asked; raise usage or "
            "oversample, or ask for fewer"
        )
    return distinct[rng.choice(len(distinct), count, replace=False)]


def _dirichlet_rows(rng: np.random.Generator, base: Floats, strengths: Floats) -> Floats:
    # log of a gamma with a tiny shape: G(a) = G(a+1) · U^(1/a), which does not underflow as the plain draw does
    shape = strengths[:, None] * base
    active = base > 0
    logs = np.full(shape.shape, -np.inf)
    plain = rng.standard_gamma(shape[:, active] + 1.0)
    logs[:, active] = np.log(plain) + np.log(rng.random(plain.shape)) / shape[:, active]
    logs -= logs.max(axis=1, keepdims=True)
    weights = np.exp(logs)
    return weights / weights.sum(axis=1, keepdims=True)


def _distinct(mixtures: Floats) -> Floats:
    if len(mixtures) == 0:
        return mixtures
    ordered = mixtures[np.lexsort(mixtures.T)]
    kept = [ordered[0]]
    for row in ordered[1:]:
        if np.abs(row - kept[-1]).sum() > NEAR:
            kept.append(row)
    return np.array(kept)


def _natural(prior: Floats) -> Floats:
    q = np.asarray(prior, np.float64)
    if q.ndim != 1 or len(q) < 2 or not np.isfinite(q).all() or np.any(q < 0) or q.sum() <= 0:
        raise ValueError("the prior must hold at least two non-negative shares, one above 0")
    return q / q.sum()
