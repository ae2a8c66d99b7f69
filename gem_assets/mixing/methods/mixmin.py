"""MixMin: mix the predictions of one proxy per source (Thudi et al. 2025).

With one model per source, the ensemble with weights ``p`` has on a target text ``x`` the likelihood ``Σ_i p_i P_i(x)``;
the weights that maximise it are a convex problem in ``p`` alone,

    min_p  -mean_x  log( Σ_i p_i P_i(x) ) / len(x)

and are taken as the mixture to train on. Solved by exponentiated gradient; one proxy per source, no proxy per mixture.
"""

from typing import TYPE_CHECKING

import numpy as np

from gem_assets.mixing.method_data import MethodData, MethodResult
from gem_assets.mixing.online.simplex import logarithm, softmax, uniform
from gem_assets.mixing.online.single_run import single_run
from gem_assets.types import Floats

if TYPE_CHECKING:
    from gem_assets.proxy.config import ProxyConfig


def mixmin(log_likelihoods: Floats, lengths: Floats | None = None, *, tolerance: float = 1e-6) -> Floats:
    """Return the mixture of sources that explains the target best.

    Raises ValueError if a likelihood is NaN, or a text is impossible under every source.

    Parameters
    ----------
    log_likelihoods
        ``log P_i(x)`` of each target text under each source's model, ``(n, K)``, nats.
    lengths
        Tokens of each text ``(n,)``; 1 by default.
    tolerance
        Stop when the objective is at most this far above its minimum (its convexity gives the bound).
    """
    from scipy.special import logsumexp

    logs = np.asarray(log_likelihoods, np.float64)
    if logs.ndim != 2 or np.isnan(logs).any() or np.any(logs == np.inf):
        raise ValueError("log-likelihoods must be a matrix of finite numbers or -inf")
    impossible = ~np.isfinite(logs).any(axis=1)
    if impossible.any():
        raise ValueError(f"target text {int(np.argmax(impossible))} is impossible under every source; leave it out")
    scale = np.ones(len(logs)) if lengths is None else np.asarray(lengths, np.float64)
    if scale.shape != (len(logs),) or np.any(scale <= 0):
        raise ValueError("every target text needs a positive length")

    def value(shares: Floats) -> tuple[float, Floats]:
        mixed = np.asarray(logsumexp(logs + logarithm(shares), axis=1), np.float64)
        gradient = -np.mean(np.exp(logs - mixed[:, None]) / scale[:, None], axis=0)
        return float(-np.mean(mixed / scale)), gradient

    shares, step = uniform(logs.shape[1]), 1.0
    objective, gradient = value(shares)
    for _ in range(20_000):
        if float(gradient @ shares) - float(gradient.min()) <= tolerance:
            break
        candidate = softmax(logarithm(shares) - step * gradient)
        lower, slope = value(candidate)
        if lower > objective and step > 1e-12:
            step *= 0.5
            continue
        shares, objective, gradient = candidate, lower, slope
        step *= 1.1
    return shares


def mixed_by_likelihood(data: MethodData, natural: Floats, caps: Floats, config: "ProxyConfig") -> MethodResult:  # noqa: ARG001
    """MixMin: the mixture of the models' predictions that fits the windows best."""
    from gem_assets.mixing.domain_models import MergedProxies, model_rows, training_note

    units = MergedProxies(config).fit(data.pool)
    logs = units.log_likelihoods(data.evaluation)
    rows = data.importance[data.evaluation.target] > 0
    lengths = np.full(int(rows.sum()), float(data.evaluation.context))
    shares = mixmin(logs[rows], lengths)
    own = (-logs[rows] / data.evaluation.context).mean(axis=0)
    return MethodResult(shares, {"models": model_rows(data, shares, own)}, (training_note(units, data),))


METHOD = single_run(
    "mixmin",
    "MixMin: one proxy per cluster; the mixture of their predictions that explains the targets best. About half a "
    "proxy's training for each cluster.",
    run=mixed_by_likelihood,
    cost="half a proxy per cluster",
    use="there is text of the target",
    source="Thudi et al. 2025",
)
