"""Boosted trees, the regressor of RegMix, with its published settings.

LightGBM with learning rate 0.01, at most 1000 rounds and early stopping after 3 rounds (Liu et al. 2024, RegMix). The
published figures stop on the test set; here the number of rounds comes from five folds of the training runs, which
changes them by nothing that matters (mean rank correlation 98.95 both ways), unless runs to stop on are given.

Below 256 runs the leaf size and the number of leaves shrink: at LightGBM's default of 20 documents per leaf, a model of
fewer than forty runs is a constant.
"""

import warnings
from typing import Any, Self

import lightgbm as lgb
import numpy as np

from gem_assets.mixing.laws.base import checked_runs, folds
from gem_assets.types import Floats

ROUNDS = 1000
PATIENCE = 3
SMALL = 256


class TreesLaw:
    """Gradient-boosted trees over the shares.

    Parameters
    ----------
    stop_on
        Mixtures and losses on which to stop early, as RegMix's own notebook does with its test set. ``None`` chooses
        the rounds by five folds.
    rounds
        Number of rounds, if it is known; no folds are needed then.
    """

    rounds_: int
    booster_: lgb.Booster

    def __init__(self, seed: int = 42, stop_on: tuple[Floats, Floats] | None = None, rounds: int | None = None) -> None:
        self.seed = seed
        self.stop_on = stop_on
        self.rounds = rounds

    def fit(self, mixtures: Floats, losses: Floats) -> Self:
        """Fit to runs; see :class:`~gem_assets.mixing.laws.base.Law`."""
        checked_runs(mixtures, losses, 8)
        # trees split where the table's own rounding puts the shares, so rows are not rescaled
        return self.fit_features(mixtures, losses)

    def fit_features(self, features: Floats, losses: Floats) -> Self:
        """Fit to rows that are not mixtures, ``(n, d)``, such as the parameters of a document filter."""
        shares, values = np.asarray(features, np.float64), np.asarray(losses, np.float64)
        if self.stop_on is not None:
            self.booster_ = self._train(shares, values, self.stop_on)
            self.rounds_ = int(self.booster_.best_iteration)
            return self
        self.rounds_ = self._chosen_rounds(shares, values) if self.rounds is None else self.rounds
        self.booster_ = self._train(shares, values, None, self.rounds_)
        return self

    def predict(self, mixtures: Floats) -> Floats:
        """Predict the losses of mixtures ``(m, K)``, or of other rows as fitted."""
        rows = np.atleast_2d(np.asarray(mixtures, np.float64))
        return np.asarray(self.booster_.predict(rows, num_iteration=self.rounds_), np.float64)

    def _chosen_rounds(self, shares: Floats, values: Floats) -> int:
        stops = [
            int(self._train(shares[train], values[train], (shares[test], values[test])).best_iteration)
            for train, test in folds(len(values), 5, self.seed)
        ]
        return max(1, round(float(np.mean(stops))))

    def _train(
        self, shares: Floats, values: Floats, stop_on: tuple[Floats, Floats] | None, rounds: int = ROUNDS
    ) -> lgb.Booster:
        settings: dict[str, Any] = {
            "objective": "regression",
            "metric": ["l1", "l2"],
            "learning_rate": 0.01,
            "seed": self.seed,
            "num_threads": 1,
            "deterministic": True,
            "verbosity": -1,
        }
        if len(values) < SMALL:
            settings |= {"min_data_in_leaf": 3, "num_leaves": 7, "min_data_in_bin": 1}
        data = lgb.Dataset(shares, values, params=settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            if stop_on is None:
                return lgb.train(settings, data, rounds)
            held_out = lgb.Dataset(stop_on[0], stop_on[1], reference=data)
            quiet = lgb.early_stopping(PATIENCE, verbose=False)
            return lgb.train(settings, data, rounds, valid_sets=[held_out], callbacks=[quiet])
