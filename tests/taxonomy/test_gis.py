import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.taxonomy import gis
from gem_assets.taxonomy.config import TaxonomyConfig
from gem_assets.taxonomy.gis import geometric_influence, local_density, select_exemplars


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def sample(seed=0, n=200, d=8, k=3):
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(k, d)))
    labels = rng.integers(0, k, n)
    vectors = unit(centres[labels] * 2 + rng.normal(size=(n, d)) * 0.4)
    cosine = np.sum(vectors * centres[labels], axis=1)
    return vectors, labels, -rng.random(n) * 0.3, 900 * cosine.astype(np.float64)


def test_density_is_the_mean_cosine_to_the_nearest_others():
    vectors = unit(np.random.default_rng(1).normal(size=(60, 5)))
    cosines = (vectors @ vectors.T).astype(np.float64)
    np.fill_diagonal(cosines, -np.inf)
    expected = np.sort(cosines, axis=1)[:, ::-1][:, :7].mean(axis=1)
    found = local_density(vectors, TaxonomyConfig(density_neighbours=7))
    assert np.allclose(found, expected, atol=1e-6)


def test_both_searches_agree(monkeypatch):
    vectors = sample()[0]
    with_faiss = local_density(vectors, TaxonomyConfig())
    monkeypatch.setattr(gis, "find_spec", lambda name: None)
    assert np.allclose(local_density(vectors, TaxonomyConfig()), with_faiss, atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_small_clusters_have_a_density(n):
    vectors = unit(np.random.default_rng(0).normal(size=(n, 4)))
    assert np.all(np.isfinite(local_density(vectors, TaxonomyConfig(density_neighbours=10))))


def test_exact_duplicates_do_not_count_themselves():
    vectors = unit([[1, 0], [1, 0], [0, 1]])
    assert local_density(vectors, TaxonomyConfig(density_neighbours=1)).tolist() == pytest.approx([1, 1, 0])


def test_a_sampled_reference_is_close_to_the_whole_and_repeatable():
    vectors = sample(n=1500, k=1)[0]
    whole = local_density(vectors, TaxonomyConfig())
    config = TaxonomyConfig(density_reference=750)
    part = local_density(vectors, config)
    assert np.array_equal(part, local_density(vectors, config))
    assert np.corrcoef(whole, part)[0, 1] > 0.9


def test_among_equals_the_denser_document_ranks_higher():
    rng = np.random.default_rng(3)
    crowd = unit(np.array([1.0, 0, 0]) + 0.02 * rng.normal(size=(30, 3)))
    loner = unit([[0.6, 0.8, 0]])
    vectors = np.concatenate([crowd, loner])
    for form in ("zscore", "literal"):
        scores = geometric_influence(
            vectors, np.zeros(31, int), np.full(31, -0.1), np.full(31, 5.0), TaxonomyConfig(gis=form)
        )
        assert np.argmin(scores) == 30


def test_literal_form_is_the_printed_sum():
    vectors, labels, responsibility, density = sample()
    config = TaxonomyConfig(gis="literal", beta=0.5)
    scores = geometric_influence(vectors, labels, responsibility, density, config)
    for k in range(3):
        rows = labels == k
        rho = local_density(vectors[rows], config, salt=k)
        assert np.allclose(scores[rows], responsibility[rows] + density[rows] + 0.5 * np.log(rho))


def test_standardised_form_lets_every_term_count_and_the_literal_does_not():
    vectors, labels, responsibility, density = sample(n=900)
    ranks = {}
    for form in ("zscore", "literal"):
        scores = geometric_influence(vectors, labels, responsibility, density, TaxonomyConfig(gis=form))
        own = labels == 0
        ranks[form] = {
            name: abs(np.corrcoef(scores[own], term[own])[0, 1])
            for name, term in (("confidence", responsibility), ("centrality", density))
        }
    assert ranks["literal"]["centrality"] > 0.999
    assert ranks["zscore"]["confidence"] > 0.3


def test_standardised_scores_do_not_depend_on_the_scale_of_kappa():
    vectors, labels, responsibility, density = sample()
    base = geometric_influence(vectors, labels, responsibility, density, TaxonomyConfig())
    scaled = geometric_influence(vectors, labels, responsibility, 7 * density - 100, TaxonomyConfig())
    assert np.allclose(base, scaled)


def test_other_clusters_are_minus_infinity():
    vectors, labels, responsibility, density = sample()
    scores = geometric_influence(vectors, labels, responsibility, density, TaxonomyConfig(), cluster=1)
    assert np.all(np.isneginf(scores[labels != 1]))
    both = geometric_influence(vectors, labels, responsibility, density, TaxonomyConfig())
    assert np.array_equal(scores[labels == 1], both[labels == 1])


def test_identical_documents_score_zero_not_noise():
    vectors = unit(np.tile([[1.0, 2.0, 3.0]], (5, 1)))
    scores = geometric_influence(vectors, np.zeros(5, int), np.full(5, -0.2), np.full(5, 3.0), TaxonomyConfig())
    assert np.array_equal(scores, np.zeros(5))


@pytest.mark.parametrize("where", ["vectors", "responsibility", "density"])
def test_values_that_are_not_finite_are_named_by_row(where):
    vectors, labels, responsibility, density = sample()
    {"vectors": vectors[17], "responsibility": responsibility, "density": density}[where][
        3 if where == "vectors" else 17
    ] = np.nan
    with pytest.raises(ValueError, match="row 17"):
        geometric_influence(vectors, labels, responsibility, density, TaxonomyConfig())


def test_lengths_that_differ_are_refused():
    vectors, labels, responsibility, density = sample()
    with pytest.raises(ValueError, match="log_density has shape"):
        geometric_influence(vectors, labels, responsibility, density[:-1], TaxonomyConfig())


@given(st.integers(0, 1000), st.integers(1, 6), st.floats(0.5, 0.99))
@settings(deadline=None, max_examples=30)
def test_exemplars_are_distinct_members_in_order_of_score(seed, per_cluster, limit):
    vectors, labels, responsibility, density = sample(seed, n=80, d=4)
    vectors[10:14] = vectors[10]
    labels[10:14] = labels[10]
    scores = geometric_influence(vectors, labels, responsibility, density, TaxonomyConfig())
    chosen = select_exemplars(scores, labels, vectors, per_cluster, limit)
    assert set(chosen) == set(np.unique(labels).tolist())
    for k, rows in chosen.items():
        assert 1 <= len(rows) <= per_cluster
        assert np.all(labels[rows] == k)
        assert list(scores[rows]) == sorted(scores[rows], reverse=True)
        cosines = vectors[rows] @ vectors[rows].T
        assert np.all(cosines[np.triu_indices(len(rows), 1)] <= limit + 1e-6)
        assert scores[rows[0]] == scores[labels == k].max()


def test_pages_of_one_template_count_as_duplicates_by_their_words():
    vectors = unit(np.eye(4))
    scores, labels = np.array([4.0, 3, 2, 1]), np.zeros(4, int)
    page = "This command is an alias of {}. View documentation for the original command: tldr {}"
    texts = [page.format("kcat", "kcat"), page.format("chromium", "chromium"), "a letter from the whale", ""]
    assert select_exemplars(scores, labels, vectors, 3, 0.95, texts, 0.5) == {0: [0, 2, 3]}
    assert select_exemplars(scores, labels, vectors, 3, 0.95, texts, 1.0) == {0: [0, 1, 2]}
    assert select_exemplars(scores, labels, vectors, 3, 0.95) == {0: [0, 1, 2]}
