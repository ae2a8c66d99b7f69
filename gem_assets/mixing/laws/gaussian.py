"""Gaussian process over the shares, or over their square roots.

Matérn kernel with ν = 3/2 and a noise term, on normalised losses; the square root makes the Euclidean distance between
two mixtures their Hellinger distance, which does not let large clusters drown small ones. Gives a standard deviation
with each prediction, which is what Bayesian optimisation needs. Cost ``O(n³)`` per restart: for swarms up to a few
hundred runs.
"""

import warnings
from typing import Any, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from gem_assets.mixing.laws.base import checked_runs, normalised_rows
from gem_assets.types import Floats


class GaussianLaw:
    """Gaussian-process regression; ``predict_with_deviation`` also gives its doubt."""

    model_: Any

    def __init__(self, seed: int = 0, smoothness: float = 1.5, restarts: int = 2, root: bool = True) -> None:
        self.smoothness = smoothness
        self.restarts = restarts
        self.seed = seed
        self.root = root

    def fit(self, mixtures: Floats, losses: Floats) -> Self:
        """Fit to runs; see :class:`~gem_assets.mixing.laws.base.Law`."""
        shares, values = checked_runs(mixtures, losses, 2)
        kernel = ConstantKernel(1.0, (1e-2, 1e3)) * Matern(0.5, (5e-2, 2e1), nu=self.smoothness) + WhiteKernel(
            1e-3, (1e-8, 1.0)
        )
        self.model_ = GaussianProcessRegressor(
            kernel, normalize_y=True, n_restarts_optimizer=self.restarts, random_state=self.seed
        )
        with warnings.catch_warnings():
            # a length at its bound is an answer here, not a failure
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model_.fit(self._features(shares), values)
        return self

    def predict(self, mixtures: Floats) -> Floats:
        """Predict the losses of mixtures ``(m, K)``."""
        return np.asarray(self.model_.predict(self._features(normalised_rows(mixtures))), np.float64)

    def predict_with_deviation(self, mixtures: Floats) -> tuple[Floats, Floats]:
        """Predict losses and their standard deviations, both ``(m,)``."""
        mean, deviation = self.model_.predict(self._features(normalised_rows(mixtures)), return_std=True)
        return np.asarray(mean, np.float64), np.asarray(deviation, np.float64)

    def joint(self, mixtures: Floats) -> tuple[Floats, Floats]:
        """Predict losses ``(m,)`` and their covariance ``(m, m)``, the noise of single runs left out."""
        mean, covariance = self.model_.predict(self._features(normalised_rows(mixtures)), return_cov=True)
        noise = float(self.model_.kernel_.k2.noise_level) * float(self.model_._y_train_std) ** 2
        return np.asarray(mean, np.float64), np.asarray(covariance, np.float64) - noise * np.eye(len(mixtures))

    def _features(self, shares: Floats) -> Floats:
        return np.sqrt(shares) if self.root else shares
