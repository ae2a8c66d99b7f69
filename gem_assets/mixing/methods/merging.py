"""Modular merging: the mixture at which the average of one model per domain loses least on the targets.

The models and their average are in ``domain_models``.
"""

from typing import TYPE_CHECKING

import numpy as np

from gem_assets.mixing.caps import apply_caps
from gem_assets.mixing.laws.proposal import propose_convex
from gem_assets.mixing.method_data import MethodData, MethodResult
from gem_assets.mixing.online.simplex import uniform
from gem_assets.mixing.online.single_run import single_run
from gem_assets.types import Floats

if TYPE_CHECKING:
    from gem_assets.proxy.config import ProxyConfig

_VERDICT = (
    "not judged: merged models are not trained, and on the toy of benchmarks.methods they rank mixtures for the "
    "mean of three targets with a correlation of .41"
)
# descent through a network: what later steps gain is far below what merging gets wrong
_STEPS, _TOLERANCE = 60, 1e-3


def merged(data: MethodData, natural: Floats, caps: Floats, config: "ProxyConfig") -> MethodResult:
    """Merging: the mixture at which the average of the models' parameters loses least on the targets.

    ``natural`` (sum 1) and ``caps`` are those of the active clusters, both ``(A,)``.

    Raises InfeasibleMixtureError when the caps of the active clusters do not let the shares sum to 1.
    """
    from gem_assets.mixing.domain_models import MergedLaw, MergedProxies, model_rows, training_note

    units = MergedProxies(config).fit(data.pool)
    law = MergedLaw(units, data.evaluation, data.importance)
    proposal = propose_convex([law], natural, caps, tolerance=_TOLERANCE, max_iterations=_STEPS)
    even = apply_caps(np.where(natural > 0, uniform(len(natural)), 0.0), caps)
    predicted = law.predict(np.array([proposal.shares, apply_caps(natural, caps), even]))
    own = law.predict(np.eye(len(natural)))
    return MethodResult(
        proposal.shares,
        {"models": model_rows(data, proposal.shares, own)},
        (training_note(units, data), f"{proposal.iterations} steps of descent through the average of the models"),
        _VERDICT,
        predicted.tolist(),
    )


METHOD = single_run(
    "merging",
    "Modular merging: one proxy per cluster from a shared start, and the mixture at which the average of their "
    "parameters loses least on the targets, under a divergence from the natural shares. Merged models rank mixtures "
    "for several targets at once poorly (correlation .41 on a toy).",
    run=merged,
    cost="half a proxy per cluster, and a dozen steps of descent through their average",
    use="targets are to be compared; for many at once confirm it",
    source="Na et al. 2024",
)
