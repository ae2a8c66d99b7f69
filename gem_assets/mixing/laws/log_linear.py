"""Exponential laws: the log-linear law and the Data Mixing Law.

    log-linear          L(p) = e^c + exp(t·p)                         (Olmix's default regressor)
    Data Mixing Law     L(p) = e^c + Σ_m exp(t_m·p)                   (Ye et al. 2024, implicit validation domains)

On the simplex a bias inside the exponential is a constant added to all of ``t``, so it has none. Both are convex in
``p``. They are fitted to the Huber loss with ``δ`` of 0.02 by Gauss-Newton steps from several offsets ``e^c``; given
the offset the start is a least-squares line through ``log(L - e^c)``.

The Data Mixing Law of the paper sums the laws of the validation domains with their shares. For one target of unknown
composition that is this sum of M exponentials; the paper's boosting over thirty such networks is not reproduced. The
law is monotone in one linear score for M = 1: never fit it to a mean over targets.
"""

from typing import Any, Self

import numpy as np
from scipy.optimize import least_squares

from gem_assets.mixing.laws.base import checked_runs, normalised_rows
from gem_assets.types import Floats

HUBER = 0.02
_OFFSETS = (0.2, 0.5, 0.7, 0.85, 0.95, 0.99)


class ExponentialLaw:
    """Sum of ``components`` exponentials over a constant.

    Attributes
    ----------
    offset_
        ``e^c``, the loss that no mixture goes below.
    slopes_
        ``t``, ``(components, K)``.
    """

    offset_: float
    slopes_: Floats

    def __init__(self, components: int = 1, huber: float = HUBER, seed: int = 0) -> None:
        if components < 1:
            raise ValueError(f"an exponential law needs at least one component, not {components}")
        self.components = components
        self.huber = huber
        self.seed = seed

    def fit(self, mixtures: Floats, losses: Floats) -> Self:
        """Fit to runs; see :class:`~gem_assets.mixing.laws.base.Law`. Losses must be positive."""
        shares, values = checked_runs(mixtures, losses, 4)
        if values.min() <= 0:
            raise ValueError(
                f"run {int(np.argmin(values))} has loss {values.min()}; exponential laws need losses above 0"
            )
        rng = np.random.default_rng(self.seed)
        jacobian: Any = self._jacobian  # scipy's stubs know only the names of finite differences
        found: list[tuple[float, Floats]] = []
        for part in _OFFSETS:
            offset = part * values.min()
            line = np.linalg.lstsq(shares, np.log(values - offset), rcond=None)[0]
            # components start as equal parts of the line, pushed apart a little
            start = (
                line
                - np.log(self.components)
                + (0.3 * rng.standard_normal((self.components, len(line))) if self.components > 1 else 0.0)
            )
            first = np.concatenate([[np.log(offset)], np.reshape(start, (-1,))])
            result = least_squares(
                self._errors,
                first,
                jacobian,
                args=(shares, values),
                loss="huber",
                f_scale=self.huber,
                x_scale="jac",
                ftol=1e-10,
                xtol=1e-10,
                gtol=1e-10,
                max_nfev=300,
            )
            found.append((float(result.cost), np.asarray(result.x)))
        best = min(found, key=lambda pair: pair[0])[1]
        self.offset_ = float(np.exp(best[0]))
        self.slopes_ = best[1:].reshape(self.components, -1)
        return self

    def predict(self, mixtures: Floats) -> Floats:
        """Predict the losses of mixtures ``(m, K)``."""
        return self.offset_ + np.exp(normalised_rows(mixtures) @ self.slopes_.T).sum(axis=1)

    def gradient(self, mixture: Floats) -> Floats:
        """Gradient in the shares ``(K,)``."""
        return np.exp(self.slopes_ @ mixture) @ self.slopes_

    def _parts(self, parameters: Floats, shares: Floats) -> Floats:
        # a step that overshoots must stay finite to be refused
        return np.exp(np.minimum(shares @ parameters[1:].reshape(self.components, -1).T, 50.0))

    def _errors(self, parameters: Floats, shares: Floats, values: Floats) -> Floats:
        return np.exp(min(parameters[0], 50.0)) + self._parts(parameters, shares).sum(axis=1) - values

    def _jacobian(self, parameters: Floats, shares: Floats, values: Floats) -> Floats:
        parts = self._parts(parameters, shares)
        slopes = (parts[:, :, None] * shares[:, None, :]).reshape(len(values), -1)
        return np.column_stack([np.full(len(values), np.exp(min(parameters[0], 50.0))), slopes])


class LogLinearLaw(ExponentialLaw):
    """One exponential over a constant."""

    def __init__(self, seed: int = 0, huber: float = HUBER) -> None:
        super().__init__(1, huber, seed)


class DataMixingLaw(ExponentialLaw):
    """Several exponentials over a constant."""

    def __init__(self, seed: int = 0, components: int = 3, huber: float = HUBER) -> None:
        super().__init__(components, huber, seed)
