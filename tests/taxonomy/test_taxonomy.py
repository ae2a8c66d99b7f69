import json

import numpy as np
import pyarrow as pa
import pytest

from gem_assets.taxonomy.config import TaxonomyConfig
from gem_assets.taxonomy.llm_namer import ClusterName
from gem_assets.taxonomy.taxonomy import Taxonomy, build_taxonomy

TOPICS = [
    ("insulin diabetes blood sugar treatment", "medical", "en"),
    ("court law judge appeal defendant", "legal", "en"),
    ("法院判决被告人上诉", "zh_law", "zh"),
]


def world(seed=0, n=90, k=4, d=6):
    """Three topics and a fourth cluster that no document belongs to."""
    rng = np.random.default_rng(seed)
    mu = np.eye(k, d)
    labels = np.arange(n) % 3
    vectors = (mu[labels] + 0.15 * rng.normal(size=(n, d))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [f"{TOPICS[c][0]} number{i % 7}\n\n  more" for i, c in enumerate(labels)]
    sample = pa.table(
        {
            "doc_id": [f"{i * 7919 % 1000:032d}" for i in range(n)],
            "text": texts,
            "url": [None if i % 2 else f"https://example.org/{i}" for i in range(n)],
            "source": [TOPICS[c][1] for c in labels],
            "lang": [TOPICS[c][2] for c in labels],
            "label": pa.array(labels, pa.int16()),
            "log_responsibility": -0.1 * rng.random(n),
            "log_density": 100 * np.sum(vectors * mu[labels], axis=1),
        }
    )
    return sample, vectors, mu, np.full(k, 100.0)


def build(**changes):
    # the texts of this world are of one template each
    return build_taxonomy(*world(), TaxonomyConfig(duplicate_words=1.0), version="v1", **changes)


def test_clusters_are_described():
    taxonomy = build()
    medical, legal, chinese, empty = taxonomy.clusters
    assert medical.share == pytest.approx(1 / 3)
    assert "insulin" in medical.keywords
    assert "court" in legal.keywords
    assert any("法院" in k for k in chinese.keywords)
    assert medical.sources[0].value == "medical"
    assert chinese.languages[0].value == "zh"
    assert 0.5 < medical.coherence <= 1
    assert [len(c.exemplars) for c in taxonomy.clusters[:3]] == [5, 5, 5]
    assert all(len(e.snippet) <= 160 and "\n" not in e.snippet for c in taxonomy.clusters for e in c.exemplars)
    assert len(medical.neighbours) == 3
    assert all(n.cluster != 0 for n in medical.neighbours)
    assert (empty.documents, empty.share, empty.keywords, empty.exemplars) == (0, 0.0, (), ())
    assert empty.name == "Cluster 3"


def test_order_of_the_rows_leaves_no_trace(tmp_path):
    sample, vectors, mu, kappa = world()
    order = np.random.default_rng(5).permutation(sample.num_rows)
    config = TaxonomyConfig(duplicate_words=1.0)
    shuffled = build_taxonomy(sample.take(pa.array(order)), vectors[order], mu, kappa, config, version="v1")
    build().write(tmp_path / "a.json")
    shuffled.write(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_file_reads_back_and_a_broken_one_is_named(tmp_path):
    taxonomy = build()
    path = tmp_path / "taxonomy.json"
    taxonomy.write(path)
    assert Taxonomy.read(path) == taxonomy
    content = json.loads(path.read_text())
    content["clusters"][1]["name"] = content["clusters"][0]["name"].upper()
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"(?s)taxonomy\.json.*share the name"):
        Taxonomy.read(path)


def test_names_of_an_earlier_taxonomy_are_kept():
    first = build()
    renamed = first.model_copy(update={"clusters": (first.clusters[0].model_copy(update={"name": "Diabetes"}),)})
    second = build(previous=renamed)
    assert second.clusters[0].name == "Diabetes"
    assert second.clusters[0].named_by == "previous"
    assert second.clusters[1].name == first.clusters[1].name
    assert second.clusters[1].named_by == "keywords"


def test_a_kept_name_is_not_given_to_another_cluster():
    first = build()
    taken = first.model_copy(
        update={"clusters": (first.clusters[0].model_copy(update={"name": first.clusters[1].name}),)}
    )
    names = list(build(previous=taken).names.values())
    assert len(set(names)) == len(names)


def test_namer_is_asked_only_for_new_clusters_and_its_gaps_are_filled():
    asked = []

    def namer(briefs):
        asked.extend(b.cluster for b in briefs)
        return [ClusterName("Same Name", "d") if b.cluster != 2 else None for b in briefs]

    first = build()
    previous = first.model_copy(update={"clusters": first.clusters[:1]})
    taxonomy = build(namer=namer, previous=previous)
    assert asked == [1, 2, 3]
    assert [c.named_by for c in taxonomy.clusters] == ["previous", "model", "keywords", "model"]
    assert taxonomy.clusters[1].name == "Same Name"
    assert taxonomy.clusters[3].name == "Same Name (3)"


def test_nothing_but_duplicates_still_gives_a_taxonomy():
    sample, vectors, mu, kappa = world(n=12)
    vectors[:] = vectors[0]
    texts = pa.array(["same text"] * 12)
    sample = sample.set_column(1, "text", texts)
    taxonomy = build_taxonomy(sample, vectors, mu, kappa, TaxonomyConfig(), version="v1")
    assert len({c.name for c in taxonomy.clusters}) == 4
    assert all(len(c.exemplars) <= 1 for c in taxonomy.clusters)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, v: (s.drop_columns(["lang"]), v), "no column lang"),
        (lambda s, v: (s, v[:-1]), "89 vectors for 90 documents"),
        (
            lambda s, v: (s.set_column(5, "label", pa.array([9] * 90, pa.int16())), v),
            r"label 9, the teacher has 0\.\.3",
        ),
        (lambda s, v: (pa.concat_tables([s, s]), np.concatenate([v, v])), "stands twice"),
    ],
)
def test_bad_samples_are_refused_with_the_reason(change, message):
    sample, vectors, mu, kappa = world()
    with pytest.raises(ValueError, match=message):
        build_taxonomy(*change(sample, vectors), mu, kappa, TaxonomyConfig(), version="v1")
