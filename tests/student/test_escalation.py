import numpy as np
import pyarrow.parquet as pq
import pytest

from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.embedding.embedder import fit_embedder
from gem_assets.student.config import StudentConfig
from gem_assets.student.escalation import escalate, escalation_table
from gem_assets.student.labeller import StudentLabeller, StudentPrediction


def prediction(cluster, margin):
    margin = np.asarray(margin, np.float32)
    return StudentPrediction(np.asarray(cluster, np.int16), margin, margin, np.ones(len(margin), np.int32))


class Lengths:
    """An embedder that tells only the length of a text."""

    dimension = 1

    def transform(self, texts):
        return np.array([[len(t)] for t in texts.to_pylist()], np.float32)

    def save(self, directory):
        raise AssertionError


def teacher(vectors):
    return vectors[:, 0].astype(int)


def test_only_documents_below_the_margin_are_asked_about():
    asked = prediction([9, 9, 9, 9], [0.1, 0.9, 0.3, 0.2])
    found = escalate(["a", "bb", "ccc", "dddd"], asked, Lengths(), teacher, margin=0.25)
    assert found.escalated.tolist() == [True, False, False, True]
    assert found.prediction.cluster.tolist() == [1, 9, 9, 4]
    assert found.prediction.margin.tolist() == pytest.approx([1, 0.9, 0.3, 1])
    assert found.changed == 2
    assert asked.cluster.tolist() == [9, 9, 9, 9]


def test_share_limits_the_bill_lowest_margins_first():
    found = escalate(
        ["a", "bb", "ccc", "dddd"], prediction([9] * 4, [0.2, 0.1, 0.3, 0.0]), Lengths(), teacher, margin=1, at_most=0.5
    )
    assert found.escalated.tolist() == [False, True, False, True]
    nobody = escalate(["a"], prediction([3], [0.5]), Lengths(), teacher, margin=0.5)
    assert nobody.prediction.cluster.tolist() == [3]
    with pytest.raises(ValueError, match="1 texts and 2"):
        escalate(["a"], prediction([1, 2], [0, 0]), Lengths(), teacher, margin=1)


def test_escalation_lifts_agreement_with_a_real_teacher(shared_corpora):
    from sklearn.cluster import KMeans

    texts = pq.read_table(shared_corpora / "labeled/web_topics_formats.parquet", columns=["text"])["text"].slice(
        0, 2000
    )
    embedder = fit_embedder(texts, EmbeddingConfig(dimension=32, base_dimension=64, max_features=20_000))
    vectors = embedder.transform(texts)
    centres = KMeans(8, n_init=1, random_state=0).fit(vectors).cluster_centers_.astype(np.float32)

    def predict(x):
        return (x @ centres.T).argmax(axis=1)

    labels = predict(vectors)
    student = StudentLabeller.fit(texts.slice(0, 1500), labels[:1500], None, StudentConfig(epochs=4), n_clusters=8)
    unseen, truth = texts.slice(1500), labels[1500:]
    found = student.predict(unseen)
    before = (found.cluster == truth).mean()
    after = escalate(unseen, found, embedder, predict, margin=0.3)
    assert 0.02 < after.escalated.mean() < 0.5
    assert (after.prediction.cluster == truth).mean() > before + 0.02
    assert (found.cluster == truth)[after.escalated].mean() < before


def test_table_of_margins_by_hand():
    table = escalation_table(prediction([1, 1, 0, 0], [0.02, 0.3, 0.15, 0.8]), np.array([1, 1, 1, 0]), (0.01, 0.2, 0.9))
    assert table["escalated"].to_pylist() == [0, 0.5, 1]
    assert table["agreement_below"].to_pylist() == [None, 0.5, 0.75]
    assert table["agreement_above"].to_pylist() == [0.75, 1, None]
    assert table["agreement"].to_pylist() == [0.75, 1, 1]
