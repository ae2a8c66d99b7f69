"""BiMix: a law of share and training length for each domain's own loss, with its optimum in closed form.

    L_i(r, s) = (B_i / s^β_i + C_i) / r^α_i                                             (Ge et al. 2024, Eq. 1)

``r`` is the domain's share, ``s`` the steps or tokens. The paper's factor ``A_i`` is absorbed by ``B_i`` and ``C_i``.
The law has no cross-domain terms and needs ``r > 0``.

At fixed ``s`` the mixture that minimises ``Σ w_i K_i r_i^(-α_i)``, ``K_i = B_i/s^β_i + C_i``, satisfies
``r_i = (w_i α_i K_i / μ)^(1/(α_i+1))``, with the one scalar ``μ`` that makes them sum to 1.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, root_scalar

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BiMixParameters:
    """Parameters of one domain's law: share exponent, and scale, exponent and floor of the training length."""

    alpha: float
    scale: float
    beta: float
    floor: float

    def loss(self, share: Floats | float, steps: Floats | float) -> Any:
        """Loss at a share and a training length."""
        return self.level(steps) / np.asarray(share) ** self.alpha

    def level(self, steps: Floats | float) -> Any:
        """``K = B/s^β + C``, the loss at share 1."""
        return self.scale / np.asarray(steps, np.float64) ** self.beta + self.floor


def fit_bimix(shares: Floats, steps: Floats, losses: Floats) -> BiMixParameters:
    """Fit one domain's law to its losses at several shares and training lengths.

    Parameters
    ----------
    shares, steps, losses
        One entry per observation, ``(n,)``; at least two distinct shares and three distinct lengths.

    Raises
    ------
    ValueError
        If a share, a length or a loss is not positive, or there are too few distinct ones.
    """
    for name, values in (("share", shares), ("step count", steps), ("loss", losses)):
        if not np.all(np.isfinite(values)) or np.any(values <= 0):
            raise ValueError(f"every {name} must be above 0 for BiMix; the smallest is {np.min(values)}")
    if len(np.unique(shares)) < 2 or len(np.unique(steps)) < 3:
        raise ValueError("BiMix needs at least 2 shares and 3 training lengths to tell its four parameters apart")
    log_share, log_loss = np.log(shares), np.log(losses)
    middle = float(np.exp(np.mean(np.log(steps))))
    relative = steps / middle
    best: tuple[float, Floats] | None = None
    for floor in (0.3, 0.6, 0.9):
        for beta in (0.1, 0.3, 0.8):
            start = np.array([0.05, np.log(max(1e-3, (1 - floor) * np.median(losses))), np.log(beta), 0.0])
            start[3] = np.log(floor * np.median(losses))

            def residual(v: Floats) -> Floats:
                level = np.exp(v[1]) * relative ** -np.exp(v[2]) + np.exp(v[3])
                return np.log(level) - v[0] * log_share - log_loss

            found = least_squares(residual, start, method="trf", xtol=1e-14, ftol=1e-14, gtol=1e-14, max_nfev=4000)
            if best is None or found.cost < best[0]:
                best = (float(found.cost), np.asarray(found.x))
    assert best is not None
    alpha, log_scale, log_beta, log_floor = best[1]
    beta = float(np.exp(log_beta))
    return BiMixParameters(float(alpha), float(np.exp(log_scale) * middle**beta), beta, float(np.exp(log_floor)))


def bimix_optimum(alpha: Floats, level: Floats, weights: Floats | None = None) -> Floats:
    """Shares that minimise ``Σ w_i K_i r_i^(-α_i)``; float64 ``(K,)``, sum 1.

    Parameters
    ----------
    alpha, level
        ``α_i > 0`` and ``K_i > 0`` of each domain.
    weights
        ``w_i ≥ 0``; equal by default. A domain of weight 0 gets no share.
    """
    importance = np.ones(len(alpha)) if weights is None else np.asarray(weights, np.float64)
    if np.any(alpha <= 0) or np.any(level <= 0) or np.any(importance < 0) or importance.sum() <= 0:
        raise ValueError("BiMix needs positive exponents and levels, and weights of which one is above 0")
    active = importance > 0
    force = np.log(importance[active] * alpha[active] * level[active])
    exponent = 1 / (alpha[active] + 1)

    def excess(log_mu: float) -> float:
        return float(np.exp((force - log_mu) * exponent).sum() - 1)

    # with μ at the smallest force every share is at least 1, with it far above the largest every share is small
    low, high = float(force.min()) - 1.0, float(force.max()) + 1.0
    while excess(high) > 0:
        high += 5.0
    log_mu = float(root_scalar(excess, bracket=(low, high), method="brentq", xtol=1e-14).root)
    shares = np.zeros(len(alpha))
    shares[active] = np.exp((force - log_mu) * exponent)
    return shares / shares.sum()
