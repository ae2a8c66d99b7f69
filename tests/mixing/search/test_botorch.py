import sys

import numpy as np
import pytest

from gem_assets.mixing.search.botorch import BotorchSurrogate, MissingExtraError
from gem_assets.mixing.search.fidelity import search_fidelities


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "botorch.models", None)
    with pytest.raises(MissingExtraError, match=r"gem-assets\[botorch\]"):
        BotorchSurrogate()


def test_botorch_interpolates_and_proposes():
    pytest.importorskip("botorch", reason="the botorch extra is not installed")
    rng = np.random.default_rng(0)
    pool = rng.dirichlet(np.ones(2), 12)
    truth = (pool[:, 0] - 0.6) ** 2
    rows = np.column_stack([pool, np.ones(12)])
    model = BotorchSurrogate().fit(rows, (truth - truth.mean()) / truth.std())
    mean, covariance = model.joint(rows)
    assert np.corrcoef(mean, truth)[0, 1] > 0.99
    assert np.linalg.eigvalsh(covariance).min() > -1e-8
    found = search_fidelities(
        pool, lambda i, s: float(truth[i]) + (1 - s), [0.0, 1.0], [0.25, 1.0], 3.0, first=5, surrogate=BotorchSurrogate
    )
    assert truth[found.recommended] <= np.sort(truth)[2]
