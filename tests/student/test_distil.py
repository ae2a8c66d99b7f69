import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_array

from gem_assets.student.config import StudentConfig
from gem_assets.student.distil import MODEL_FOLDER, StudentReport, choose_training, distil
from gem_assets.student.labeller import StudentLabeller

TOPICS = ["insulin diabetes blood treatment dose", "court law judge appeal verdict", "goal match team league score"]
FILLER = ["the", "of", "and", "to", "in", "a", "is", "that", "it", "was", "for", "on", "are", "with", "as"]


@pytest.fixture(scope="module")
def world():
    """Three topics; every fourth document is half of one and half of the next, and so hard."""
    rng = np.random.default_rng(0)
    n, k = 600, len(TOPICS)
    labels = np.arange(n) % k
    shares = np.full((n, k), 0.01)
    texts = []
    for i, label in enumerate(labels):
        mixed = i % 4 == 0
        own, other = TOPICS[label].split(), TOPICS[(label + 1) % k].split()
        words = [*rng.choice(own, 3), *rng.choice(other if mixed else own, 3 if mixed else 2), *rng.choice(FILLER, 10)]
        rng.shuffle(words)
        texts.append(" ".join(words))
        shares[i, label] += 0.57 if mixed else 0.97
        shares[i, (label + 1) % k] += 0.4 if mixed else 0.0
    shares /= shares.sum(axis=1, keepdims=True)
    sample = pa.table(
        {
            "doc_id": [f"{i:032x}" for i in range(n)],
            "text": texts,
            "source": ["a" if i % 3 else "b" for i in range(n)],
            "lang": [None if i % 7 == 0 else "en" for i in range(n)],
            "n_bytes": [len(t.encode()) for t in texts],
            "label": pa.array(labels, pa.int16()),
        }
    )
    return sample, csr_array(shares), rng.normal(size=n)


@pytest.fixture(scope="module")
def distilled(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("student")
    config = StudentConfig(hash_bits=12, epochs=6, min_steps=200, held_out_share=0.3)
    return distil(*world, config, out), out


def test_the_report_tells_agreement_by_source_language_both_and_length(distilled):
    report, out = distilled
    assert report.summary["agreement"] > 0.75
    assert {row["group"] for row in report.by_source} == {"a", "b"}
    assert {row["group"] for row in report.by_lang} == {"", "en"}
    assert {row["group"] for row in report.by_source_and_lang} == {"a · en", "a · und", "b · en", "b · und"}
    for rows in (report.by_source, report.by_lang, report.by_source_and_lang, report.by_length):
        assert sum(row["n_documents"] for row in rows) == report.summary["n_documents"]
        mean = sum(row["n_documents"] * row["agreement"] for row in rows) / report.summary["n_documents"]
        assert mean == pytest.approx(report.summary["agreement"])
    assert StudentReport.model_validate(json.loads((out / "report.json").read_text())) == report


def test_escalation_rows_tell_the_price_and_the_gain(distilled):
    report, _ = distilled
    shares = [row["escalated"] for row in report.escalation]
    gains = [row["agreement"] for row in report.escalation]
    assert shares == sorted(shares)
    assert gains == sorted(gains)
    assert gains[-1] >= report.summary["agreement"]
    hardest = report.escalation[-1]
    assert hardest["agreement_below"] < hardest["agreement_above"]


def test_every_figure_of_the_page_is_in_the_artifact(distilled):
    report, out = distilled
    margins = pq.read_table(out / "margins.parquet")
    assert sum(margins["n_documents"].to_pylist()) == report.summary["n_documents"]
    assert 0 <= report.summary["margin_error"] < 0.2
    assert {p.name for p in out.iterdir()} >= {
        "agreement.png",
        "reliability.png",
        "groups.parquet",
        "confusion.parquet",
    }
    assert StudentLabeller.load(out / MODEL_FOLDER).n_clusters == len(TOPICS)


def test_published_recipe_takes_the_same_number_from_the_top_of_every_cluster(world):
    _, _, influence = world
    labels = np.array([0] * 400 + [1] * 100 + [2] * 100)
    allowed = np.ones(600, bool)
    allowed[::5] = False
    chosen = choose_training(labels, influence, allowed, StudentConfig(gis_share=1.0))
    assert np.all(allowed[chosen])
    assert np.bincount(labels[chosen]).tolist() == [160, 80, 80]
    rest = np.setdiff1d(np.flatnonzero(allowed & (labels == 0)), chosen)
    assert influence[chosen[labels[chosen] == 0]].min() >= influence[rest].max()
