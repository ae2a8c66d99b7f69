"""Critical mixture ratio of continual pre-training (CMR, arXiv 2407.17467).

A trained model is trained further on a part ``R`` of domain data and ``1 - R`` of general data. Domain loss falls with
``R``; general loss rises. ``R`` is feasible at ``T`` tokens when the general loss is at most ``ε`` above where it
started, and the critical ratio is the largest feasible one. General loss follows a power law in the ratio at each
``T``,

    L_gen(R) = α R^s + β          so that          R* = ((L_gen(0) + ε - β) / α)^(1/s)

and the critical ratio a power law in the tokens, ``R*(T) = β₀ + β₁ T^s``. Reported: 29.8 % for 460M and 47.8 % for
3.1B parameters at 20B tokens.

Neither code nor data are public, and the paper's exact conditions for a ratio to be feasible are not reproduced: this
is the definition above. Where general loss does not rise with the ratio, or rises above the bound already at 0, there
is no critical ratio inside (0, 1), and the answer says so.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.optimize import least_squares, nnls

from gem_assets.types import Floats

EXPONENTS = (0.05, 8.0)
TIME_EXPONENTS = (-3.0, 3.0)


class RatioError(ValueError):
    """Runs from which no ratio can be read; the message says what is missing."""


@dataclass(frozen=True)
class GeneralLossLaw:
    """General loss against the ratio at one number of tokens, ``α R^s + β``.

    Attributes
    ----------
    scale, exponent, floor
        ``α``, ``s`` and ``β``.
    residual
        Root mean squared error of the fit, nats.
    """

    scale: float
    exponent: float
    floor: float
    residual: float

    def at(self, ratio: Floats) -> Floats:
        """Predict the general loss."""
        return self.scale * np.asarray(ratio, np.float64) ** self.exponent + self.floor

    def critical(self, start: float, allowed: float) -> float:
        """Largest ratio in [0, 1] whose general loss is at most ``start + allowed``; 0 if none, 1 if all are."""
        room = start + allowed - self.floor
        if room < 0:
            return 0.0
        if self.scale <= 0:
            return 1.0
        return float(min(1.0, (room / self.scale) ** (1 / self.exponent)))


def fit_general_loss(ratios: Floats, losses: Floats) -> GeneralLossLaw:
    """Fit the law to runs at one number of tokens; ``α`` is not negative.

    For a given exponent the law is linear in the rest, so a grid over exponents and non-negative least squares find
    the basin and one descent finishes.

    Raises RatioError if there are fewer than three different ratios, or one is outside [0, 1].
    """
    r, values = np.asarray(ratios, np.float64), np.asarray(losses, np.float64)
    if r.shape != values.shape or not np.isfinite(values).all() or np.any(r < 0) or np.any(r > 1):
        raise RatioError("every run needs a ratio in [0, 1] and a finite loss")
    if len(np.unique(r)) < 3:
        raise RatioError(f"{len(np.unique(r))} different ratios do not determine a power law; run three or more")

    def solved(exponent: float) -> tuple[float, float, Floats]:
        rows = r**exponent
        # the floor may be negative in principle; shifting by the least loss keeps both coefficients non-negative
        found, _ = nnls(np.column_stack([rows, np.ones_like(r)]), values - values.min() + 1.0)
        floor = float(found[1]) + float(values.min()) - 1.0
        return float(found[0]), floor, found[0] * rows + floor - values

    grid = np.geomspace(*EXPONENTS, 60)
    start = min(grid, key=lambda s: float(np.sum(solved(float(s))[2] ** 2)))
    done = least_squares(lambda x: solved(float(np.exp(x[0])))[2], [np.log(start)], bounds=np.log(EXPONENTS))
    exponent = float(np.exp(done.x[0]))
    scale, floor, residual = solved(exponent)
    return GeneralLossLaw(scale, exponent, floor, float(np.sqrt(np.mean(residual**2))))


class CriticalRatio:
    """Critical ratio as a function of the tokens of continual pre-training.

    ``allowed`` is ``ε``: nats that general loss may rise above its start.

    Attributes
    ----------
    tokens_ : float64 array, shape (n,)
        Token counts at which runs were compared.
    ratios_ : float64 array, shape (n,)
        Critical ratio at each.
    coefficients_
        ``(β₀, β₁, s)`` with tokens in units of the largest count.
    """

    tokens_: Floats
    ratios_: Floats
    laws_: tuple[GeneralLossLaw, ...]
    coefficients_: tuple[float, float, float]

    def __init__(self, allowed: float = 0.0) -> None:
        if not (allowed >= 0 and np.isfinite(allowed)):
            raise RatioError(f"the allowed rise of general loss must be finite and not negative, not {allowed}")
        self.allowed = allowed

    def fit(self, tokens: Floats, ratios: Floats, general_losses: Floats, start: float) -> Self:
        """Fit to the runs of a grid.

        ``tokens``, ``ratios`` and ``general_losses`` have one entry per run and checkpoint, ``(n,)``.

        Raises RatioError if some token count has fewer than three ratios.
        """
        t = np.asarray(tokens, np.float64)
        self.tokens_ = np.unique(t)
        self.laws_ = tuple(
            fit_general_loss(np.asarray(ratios)[t == level], np.asarray(general_losses)[t == level])
            for level in self.tokens_
        )
        self.ratios_ = np.array([law.critical(start, self.allowed) for law in self.laws_])
        self.coefficients_ = _power_law(self.tokens_ / self.tokens_[-1], self.ratios_)
        return self

    def predict(self, tokens: Floats) -> Floats:
        """Critical ratio at other token counts, in [0, 1]."""
        b0, b1, s = self.coefficients_
        return np.clip(b0 + b1 * (np.asarray(tokens, np.float64) / self.tokens_[-1]) ** s, 0.0, 1.0)


def _power_law(tokens: Floats, ratios: Floats) -> tuple[float, float, float]:
    """Least squares for ``b0 + b1 t^s``; a constant where fewer than three counts are there."""
    if len(tokens) < 3 or np.ptp(ratios) == 0:
        return float(ratios.mean()), 0.0, 1.0

    def solved(exponent: float) -> tuple[Floats, Floats]:
        columns = np.column_stack([np.ones_like(tokens), tokens**exponent])
        found = np.asarray(np.linalg.lstsq(columns, ratios, rcond=None)[0], np.float64)
        return found, columns @ found - ratios

    grid = [s for s in np.linspace(*TIME_EXPONENTS, 61) if abs(s) > 0.04]
    start = min(grid, key=lambda s: float(np.sum(solved(float(s))[1] ** 2)))
    done = least_squares(lambda x: solved(float(x[0]))[1], [start], bounds=TIME_EXPONENTS)
    found, _ = solved(float(done.x[0]))
    return float(found[0]), float(found[1]), float(done.x[0])
