import numpy as np
import pytest

from gem_assets.teacher.baselines import METHODS, ImportedTaxonomy, LearnedPrior, baseline, spherical_kmeans_labels
from gem_assets.teacher.gem import GemTeacher
from gem_assets.teacher.metrics import agreement, balance, cosine_coherence
from tests.teacher.conftest import mixture


@pytest.mark.parametrize("method", METHODS)
def test_every_method_labels_its_rows_and_new_ones_and_repeats_itself(method: str) -> None:
    x = mixture(1500, 24, 20, spread=0.8)
    model = baseline(method, 5, seed=3).fit(x)
    assert model.labels_.dtype == np.int32
    assert set(np.unique(model.labels_)) <= set(range(5))
    np.testing.assert_array_equal(model.predict(x), model.labels_)
    np.testing.assert_array_equal(baseline(method, 5, seed=3).fit(x).labels_, model.labels_)
    coherent = cosine_coherence(x, model.labels_, 5)
    assert (coherent < 0.35) == (method == "random")


def test_unknown_method_is_named() -> None:
    with pytest.raises(ValueError, match=r"'kmedoids'.*spherical_kmeans"):
        baseline("kmedoids", 4)


def test_learnt_prior_follows_true_sizes_and_transport_levels_them() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(16)[:4]
    truth = rng.choice(4, 3000, p=[0.4, 0.3, 0.2, 0.1])
    x = centres[truth] + 0.6 * rng.standard_normal((3000, 16)) / 4
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    learnt = LearnedPrior(4, seed=1).fit(x)
    np.testing.assert_allclose(np.sort(learnt.prior_), [0.1, 0.2, 0.3, 0.4], atol=0.02)
    assert agreement(learnt.labels_, truth).ari > 0.98
    level = baseline("balanced_ot", 4, seed=1).fit(x)
    assert balance(level.labels_, 4).n_eff > 3.99


def test_imported_taxonomy_keeps_missing_values_apart() -> None:
    column = ImportedTaxonomy(["b", None, "a", "b"])
    assert list(column.names_) == ["", "a", "b"]
    assert list(column.labels_) == [2, 0, 1, 2]


def test_imported_taxonomy_labels_new_rows_by_the_nearest_value() -> None:
    x = mixture(600, 16, 3, spread=0.3)
    truth = GemTeacher(3, n_init=2, threads=1).fit(x).labels_
    column = ImportedTaxonomy([None if label == 2 else "ab"[label] for label in truth]).fit(x[:600])
    fresh = column.predict(x)
    assert agreement(fresh, truth).ari > 0.98
    assert agreement(column.labels_, truth).ari == pytest.approx(1)
    with pytest.raises(ValueError, match="600 values for 10 rows"):
        column.fit(x[:10])


def test_spherical_kmeans_labels() -> None:
    x = mixture(800, 16, 4, spread=0.3)
    labels = spherical_kmeans_labels(x, 4, seed=1)
    assert labels.shape == (800,)
    assert balance(labels, 4).empty == 0
