import json
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_array

from gem_assets.corpus.text.features import TokenRules, token_blocks
from gem_assets.student.config import StudentConfig
from gem_assets.student.kernel import WeightTable
from gem_assets.student.labeller import StudentLabeller

CONFIG = StudentConfig(epochs=3, max_chars=2000)


@pytest.fixture(scope="module")
def news(shared_corpora):
    """Real news with its four topics as the teacher's clusters."""
    table = pq.read_table(shared_corpora / "labeled/ag_news_test.parquet")
    _, labels = np.unique(np.array(table["label"].to_pylist()), return_inverse=True)
    return table["text"], labels


@pytest.fixture(scope="module")
def split(news):
    order = np.random.default_rng(0).permutation(len(news[1]))
    return np.sort(order[:5000]), np.sort(order[5000:])


@pytest.fixture(scope="module")
def student(news, split):
    texts, labels = news
    return StudentLabeller.fit(texts.take(pa.array(split[0])), labels[split[0]], None, CONFIG)


def test_held_out_agreement_is_far_above_the_majority(news, split, student):
    texts, labels = news
    found = student.predict(texts.take(pa.array(split[1])))
    assert (found.cluster == labels[split[1]]).mean() > 0.8
    assert found.cluster.dtype == np.int16
    assert found.confidence.dtype == found.margin.dtype == np.float32


@pytest.mark.parametrize("change", [{"term_frequency": "count"}, {"bigrams": True}, {"hash_bits": 14}])
def test_other_readings_learn_too(news, split, change):
    texts, labels = news
    config = CONFIG.model_copy(update=change)
    student = StudentLabeller.fit(texts.take(pa.array(split[0])), labels[split[0]], None, config)
    assert (student.predict(texts.take(pa.array(split[1]))).cluster == labels[split[1]]).mean() > 0.8


def test_code_and_non_latin_scripts_are_told_apart(shared_corpora):
    table = pq.read_table(shared_corpora / "multidomain/webmix_dev.parquet", columns=["text", "lang", "label"])
    kinds = ["ar", "de", "es", "ru", "zh", "code_c", "code_js"]
    named = pc.if_else(pc.equal(table["lang"], "code"), table["label"], table["lang"])
    chosen = np.flatnonzero(np.isin(named.to_numpy(zero_copy_only=False), kinds))
    chosen = np.random.default_rng(0).permutation(chosen)[:900]
    labels = np.searchsorted(sorted(kinds), named.take(pa.array(chosen)).to_pylist())
    texts = table["text"].take(pa.array(chosen))
    student = StudentLabeller.fit(texts.slice(0, 700), labels[:700], None, CONFIG, n_clusters=7)
    right = student.predict(texts.slice(700)).cluster == labels[700:]
    assert right.mean() > 0.95
    for kind in np.unique(labels[700:]):
        assert right[labels[700:] == kind].mean() > 0.5


def test_prediction_is_the_argmax_of_the_probabilities(news, student):
    texts = news[0].slice(0, 500)
    found, p = student.predict(texts), student.predict_proba(texts)
    assert np.allclose(p.sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(p.argmax(axis=1), found.cluster)
    ordered = np.sort(p, axis=1)
    assert np.allclose(ordered[:, -1], found.confidence, atol=1e-5)
    assert np.allclose(ordered[:, -1] - ordered[:, -2], found.margin, atol=1e-5)


TEXT = "oil oil oil prices rose as oil exports fell " + "up " * 300


@pytest.mark.parametrize("frequency", ["log", "count"])
def test_scores_are_the_linear_model_over_the_documents_words(news, frequency):
    texts, labels = news
    config = CONFIG.model_copy(update={"term_frequency": frequency, "epochs": 1})
    student = StudentLabeller.fit(texts.slice(0, 1000), labels[:1000], None, config, n_clusters=4)
    (block,) = token_blocks([TEXT], TokenRules(config.max_chars))
    rows, counts = np.unique(block.hashes >> np.uint32(32 - config.hash_bits), return_counts=True)
    weights = 1 + np.log(np.minimum(counts, 255)) if frequency == "log" else counts
    norm = np.sqrt((weights**2).sum() if frequency == "log" else counts.sum())
    scores = weights @ student.table_.weights()[rows] / norm + student.bias_
    expected = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    assert np.allclose(student.predict_proba([TEXT])[0], expected, atol=1e-5)
    assert student.predict([TEXT]).n_features.tolist() == [309]


def test_same_seed_same_bytes_whatever_the_chunks_and_threads(news, split, student, tmp_path):
    import torch

    texts, labels = news
    before = torch.get_num_threads()
    torch.set_num_threads(1 if before > 1 else 2)
    try:
        whole = texts.take(pa.array(split[0])).combine_chunks()
        again = StudentLabeller.fit(
            pa.chunked_array([whole.slice(0, 7), whole.slice(7)]), labels[split[0]], None, CONFIG
        )
    finally:
        torch.set_num_threads(before)
    for name, model in (("a", student), ("b", again)):
        (tmp_path / name).mkdir()
        model.save(tmp_path / name)
    for file in ("student.json", "student.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    one, two = student.predict(texts), student.predict(texts.combine_chunks(), threads=3)
    for field in ("cluster", "confidence", "margin", "n_features"):
        assert np.array_equal(getattr(one, field), getattr(two, field))


def test_saved_student_predicts_the_same_bits(news, student, tmp_path):
    student.save(tmp_path)
    opened = StudentLabeller.load(tmp_path)
    one, two = student.predict(news[0]), opened.predict(news[0])
    assert np.array_equal(one.confidence, two.confidence)
    assert np.array_equal(one.cluster, two.cluster)
    assert opened.temperature_ == student.temperature_


@pytest.fixture(scope="module")
def full_precision(news):
    texts, labels = news
    config = CONFIG.model_copy(update={"weight_bits": 32, "epochs": 1, "min_steps": 200})
    return StudentLabeller.fit(texts.slice(0, 1000), labels[:1000], None, config, n_clusters=4)


@pytest.mark.parametrize(("bits", "same"), [(8, 0.97), (16, 0.999), (32, 1.0)])
def test_rounded_weights_label_alike_and_survive_the_file(news, full_precision, tmp_path, bits, same):
    config = full_precision.config.model_copy(update={"weight_bits": bits})
    table = WeightTable.of(full_precision.table_.weights(), bits)
    rounded = StudentLabeller(config, table, full_precision.bias_, full_precision.temperature_)
    found = rounded.predict(news[0])
    assert (found.cluster == full_precision.predict(news[0]).cluster).mean() >= same
    rounded.save(tmp_path)
    opened = StudentLabeller.load(tmp_path)
    assert opened.table_.values.dtype.itemsize * 8 == bits
    assert np.array_equal(opened.table_.weights(), table.weights())
    assert np.array_equal(opened.predict(news[0]).margin, found.margin)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_student_keeps_the_bits_it_is_told_to(news, full_precision, bits):
    texts, labels = news
    config = full_precision.config.model_copy(update={"weight_bits": bits})
    student = StudentLabeller.fit(texts.slice(0, 1000), labels[:1000], None, config, n_clusters=4)
    assert student.table_.values.dtype.itemsize * 8 == bits
    assert np.allclose(student.table_.weights(), full_precision.table_.weights(), atol=student.table_.unit)


def test_empty_null_and_unseen_documents_get_the_prior(student):
    found = student.predict(["", None, "…", "東京の天気"])
    assert found.n_features.tolist()[:3] == [0, 0, 0]
    assert found.n_features[3] > 0
    prior = np.exp(student.bias_) / np.exp(student.bias_).sum()
    assert np.allclose(student.predict_proba([""])[0], prior, atol=1e-6)
    assert len(student.predict([])) == 0
    assert student.predict_proba([]).shape == (0, 4)


def test_only_the_first_characters_count(student):
    text = "The team won the cup final. " * 200
    head = text[: CONFIG.max_chars]
    assert np.array_equal(student.predict_proba([head]), student.predict_proba([head + "Oil prices fell. " * 50]))


def test_shares_of_the_student_match_the_teachers(news):
    """A teacher with one large cluster: without the correction the student's shares are further off."""
    texts, labels = news
    rng = np.random.default_rng(0)
    kept = np.flatnonzero((labels == 0) | (rng.random(len(labels)) < 0.15))
    train, test = kept[::2], kept[1::2]
    drift = {}
    for match in (True, False):
        config = StudentConfig(epochs=2, match_shares=match, calibration_share=0.3)
        student = StudentLabeller.fit(texts.take(pa.array(train)), labels[train], None, config)
        p = student.predict_proba(texts.take(pa.array(test)))
        drift[match] = np.abs(p.mean(axis=0) - np.bincount(labels[test]) / len(test)).sum() / 2
    assert drift[True] < 0.03
    assert drift[True] <= drift[False] + 1e-3


def test_confidence_is_calibrated(news, split, student):
    texts, labels = news
    found = student.predict(texts.take(pa.array(split[1])))
    assert abs(found.confidence.mean() - (found.cluster == labels[split[1]]).mean()) < 0.04


def test_responsibilities_teach_what_the_hard_labels_hide(news, split):
    """Soft targets: with labels all the same, only the responsibilities can tell the topics apart."""
    texts, labels = news
    train, test = split
    soft = np.full((len(train), 4), 0.02)
    soft[np.arange(len(train)), labels[train]] = 0.94
    config = CONFIG.model_copy(update={"soft_temperature": 1.0, "match_shares": False})
    student = StudentLabeller.fit(texts.take(pa.array(train)), np.zeros(len(train), int), csr_array(soft), config)
    assert (student.predict(texts.take(pa.array(test))).cluster == labels[test]).mean() > 0.8


def test_labels_a_worker_process(news, student, tmp_path):
    student.save(tmp_path)
    with ProcessPoolExecutor(1) as pool:
        found = pool.submit(_predict_in_worker, str(tmp_path), news[0].slice(0, 50).to_pylist()).result()
    assert np.array_equal(pickle.loads(found), student.predict(news[0].slice(0, 50)).cluster)


def _predict_in_worker(directory: str, texts: list[str]) -> bytes:
    from pathlib import Path

    return pickle.dumps(StudentLabeller.load(Path(directory)).predict(texts).cluster)


def test_bad_input_is_named(news, student, tmp_path):
    texts = news[0].slice(0, 10)
    with pytest.raises(ValueError, match="10 texts"):
        StudentLabeller.fit(texts, np.zeros(9, int))
    with pytest.raises(ValueError, match=r"-1\.\.0"):
        StudentLabeller.fit(texts, np.array([-1] + [0] * 9))
    with pytest.raises(ValueError, match=r"\(10, 3\)"):
        StudentLabeller.fit(texts, np.zeros(10, int), csr_array((9, 3)))
    with pytest.raises(FileNotFoundError, match="no student"):
        StudentLabeller.load(tmp_path)
    student.save(tmp_path)
    description = json.loads((tmp_path / "student.json").read_text()) | {"tokeniser": "older"}
    (tmp_path / "student.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match="older"):
        StudentLabeller.load(tmp_path)
