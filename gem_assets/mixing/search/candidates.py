"""What the searches that continue from the swarm share: their start, and the mixtures that they choose among.

They choose among a fixed set of mixtures within the caps: half of them spread around the natural shares, half around
the swarm's best. What they propose follows from the runs so far and the seed; so a search that was killed proposes the
same again, finds those rows in the table, and loses at most the run that it was in.
"""

from collections.abc import Callable

import numpy as np

from gem_assets.mixing.caps import apply_caps
from gem_assets.mixing.recipe_artifact import MixtureFrame
from gem_assets.mixing.swarm.runs import TrainedSwarm
from gem_assets.mixing.swarm.samplers import sample_low_discrepancy
from gem_assets.types import Floats

#: From mixtures ``(m, K)`` and a label to losses ``(m, J)`` of the swarm's targets; trains what is missing.
Train = Callable[[Floats, str], Floats]

_BEST = 4
_CONCENTRATION = 30.0
_DRAWS = 2000
# a share that is next to nothing, so that no cluster is out of reach of the draws
_LEAST = 1e-3
_NOTHING = 1e-9


def candidate_mixtures(best: Floats, frame: MixtureFrame, count: int) -> Floats:
    """Draw mixtures within the caps, ``(count, K)``: half around the natural shares, half around the given ones.

    ``best`` are mixtures that were seen to be good, ``(m, K)``.
    """
    prior, rng = frame.supply.token_shares, np.random.default_rng([frame.config.seed, 3])
    active = prior > 0
    spread = sample_low_discrepancy(prior, count - count // 2, seed=frame.config.seed)
    near = np.zeros((count // 2, len(prior)))
    for i in range(len(near)):
        centre = np.maximum(best[i % len(best)][active], _LEAST)
        near[i, active] = rng.dirichlet(_CONCENTRATION * centre / centre.sum())
    return np.array([within_caps(row, frame) for row in np.concatenate([spread, near])])


def within_caps(shares: Floats, frame: MixtureFrame) -> Floats:
    """Bring a mixture within the caps; where its own clusters cannot fill the budget the others do."""
    return apply_caps(shares + _NOTHING * frame.supply.token_shares, frame.caps)


def known_runs(swarm: TrainedSwarm, objective: Callable[[Floats], Floats]) -> tuple[Floats, Floats]:
    """Mixtures ``(n, K)`` of the swarm and their objective ``(n,)``.

    Raises ValueError when the swarm has fewer than 8 runs.
    """
    if len(swarm.labels) < 8:
        raise ValueError(f"the swarm has {len(swarm.labels)} runs, a search needs 8 to start from; train more proxies")
    return swarm.table.mixtures, objective(swarm.table.losses)


def best_mixtures(mixtures: Floats, values: Floats) -> Floats:
    """Those of lowest value, best first."""
    return mixtures[np.argsort(values, kind="stable")[:_BEST]]


def posterior_draws(mean: Floats, covariance: Floats, seed: int) -> Floats:
    """Draw from the posterior of a process at some points, ``(b, n)``."""
    return np.random.default_rng([seed, 4]).multivariate_normal(mean, covariance, _DRAWS, method="eigh")
