"""botorch's multi-fidelity process for :mod:`~gem_assets.mixing.search.fidelity`: the ``botorch`` extra.

The model of the published ADMIRE runs (``SingleTaskMultiFidelityGP``, the fidelity as last input), with botorch's
priors on its hyperparameters. It is fitted again for every run that is proposed, in seconds where scikit-learn's takes
tenths. Pass ``surrogate=BotorchSurrogate`` to ``search_fidelities``.
"""

import importlib
from typing import Any

import numpy as np
import torch

from gem_assets.types import Floats


class MissingExtraError(ImportError):
    """botorch is not installed; the message says how to get it."""


class BotorchSurrogate:
    """See :class:`~gem_assets.mixing.search.fidelity.Surrogate`.

    Raises MissingExtraError if botorch is not installed.
    """

    def __init__(self, seed: int = 0) -> None:
        try:
            self._models: Any = importlib.import_module("botorch.models")
            self._fit: Any = importlib.import_module("botorch.fit")
            self._mlls: Any = importlib.import_module("gpytorch.mlls")
        except ImportError as error:
            raise MissingExtraError(
                "botorch is not installed: pip install 'gem-assets[botorch]', or use the default GaussianSurrogate"
            ) from error
        self.seed = seed

    def fit(self, features: Floats, values: Floats) -> "BotorchSurrogate":
        """Learn from rows ``(n, K + 1)``, the fidelity last, and their scaled losses ``(n,)``."""
        x = torch.from_numpy(np.asarray(features, np.float64))
        y = torch.from_numpy(np.asarray(values, np.float64))[:, None]
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.model_: Any = self._models.SingleTaskMultiFidelityGP(x, y, data_fidelities=[x.shape[1] - 1])
            self._fit.fit_gpytorch_mll(self._mlls.ExactMarginalLogLikelihood(self.model_.likelihood, self.model_))
        return self

    def joint(self, features: Floats) -> tuple[Floats, Floats]:
        """Mean ``(m,)`` and covariance ``(m, m)`` of the noiseless losses."""
        with torch.no_grad():
            found = self.model_.posterior(torch.from_numpy(np.asarray(features, np.float64)))
            return found.mean.squeeze(-1).numpy(), found.distribution.covariance_matrix.numpy()
