"""Stochastic fit, shard by shard, for data that is seen once.

The sums of the M-step and the Hessian of the offsets' dual are running means over shards with step
``(t + 1) ** -0.6``; the offsets take a preconditioned stochastic step. Every shard adds noise of about
``lam * sqrt(1 / (K m))`` nats to the offsets before averaging, so shards should hold tens of thousands of rows. No
ascent is claimed and no gap certified: where the rows can be read again (:class:`gem_assets.teacher.rows.StackedRows`
reads them from files), a fit anchored at nothing (``anchor=0``) that starts from the result is exact and short.
"""

from dataclasses import dataclass

import numpy as np

from gem_assets.teacher.engines import DenseEngine
from gem_assets.teacher.esteps import Statistics
from gem_assets.teacher.mstep import Floats, Sums, Theta, maximise

DECAY = 0.6
#: Largest change of an offset that one shard may cause, in units of mean(kappa).
LARGEST_STEP = 0.05


@dataclass(frozen=True)
class OnlineState:
    """Running means per document: soft mass (K,), resultant (K, d), gamma gamma^T (K, K); and the shards seen."""

    sums: Sums
    gram: Floats
    shards: int


def first_state(engine: DenseEngine, theta: Theta) -> OnlineState:
    """State after the shard on which ``theta`` was fitted."""
    gram = engine.statistics(theta.b).gram
    assert gram is not None
    return OnlineState(engine.sums().scaled(1 / engine.n), gram, 1)


def absorb(
    engine: DenseEngine,
    theta: Theta,
    state: OnlineState,
    lam: float,
    target: Floats,
    kappa_min: float,
    kappa_max: float,
) -> tuple[Theta, OnlineState, Statistics]:
    """Parameters and state after one more shard, and what the shard showed before it was learnt from."""
    engine.score(theta)
    seen = engine.statistics(theta.b)
    assert seen.gram is not None
    rate = float((state.shards + 1) ** -DECAY)
    gram = (1 - rate) * state.gram + rate * seen.gram
    pi = (1 - rate) * state.sums.mass + rate * seen.pi
    b = theta.b
    if lam > 0:
        hessian = np.diag(pi + 1 / lam) - gram
        step = -np.linalg.solve(hessian + 1e-9 * np.diag(pi + 1 / lam), seen.pi - target + b / lam)
        bound = LARGEST_STEP * float(theta.kappa.mean())
        b = b + rate * np.clip(step, -bound, bound)
        b = b - b.mean()
    fresh = engine.sums_at(b).scaled(1 / engine.n)
    sums = state.sums.scaled(1 - rate) + fresh.scaled(rate)
    # the mass floor of the M-step counts documents
    new = maximise(sums.scaled(float(engine.n)), theta.with_offsets(b), kappa_min, kappa_max)
    return new, OnlineState(sums, gram, state.shards + 1), seen
