"""Sums of a snapshot, and what they say beside those of the teacher's snapshots."""

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from gem_assets.drift.config import DriftConfig, Threshold
from gem_assets.drift.report import EVERY_LANGUAGE, DriftReport, jensen_shannon, publish_drift, read_sums
from gem_assets.drift.statistics import publish_statistics
from gem_assets.sphere.gem import GemTeacher
from tests.sphere.conftest import unit

K, D = 4, 16
CONFIG = DriftConfig(least_documents=50)


def vectors_near(centres, seed):
    rng = np.random.default_rng(seed)
    return unit(np.eye(D)[centres] + 0.25 * rng.standard_normal((len(centres), D)) / np.sqrt(D)).astype(np.float32)


@pytest.fixture(scope="module")
def teacher():
    options = {"n_init": 2, "anneal_iter": 10, "threads": 1, "init_rows": 256}
    return GemTeacher(K, **options).fit(vectors_near(np.repeat(np.arange(K), 100), 0))


def measure(teacher, out, centres, seed, *, langs=None, unsure=0.0):
    out.mkdir()
    x = vectors_near(np.asarray(centres), seed)
    ids = [f"{seed:08x}{i:024x}" for i in range(len(x))]
    margins = np.where(np.random.default_rng(seed).random(len(x)) < unsure, 0.1, 0.9)
    labels = pa.RecordBatch.from_pydict(
        {"doc_id": ids, "lang": langs or ["en"] * len(x), "cluster": teacher.predict(x), "margin": margins}
    )
    flat = pa.array(x.ravel(), pa.float32())
    rows = pa.RecordBatch.from_pydict({"doc_id": ids, "vector": pa.FixedSizeListArray.from_arrays(flat, D)})
    return publish_statistics([labels], lambda columns: [rows.select(list(columns))], teacher, CONFIG, out)


@pytest.fixture
def statistics(teacher, tmp_path):
    even = np.tile(np.arange(K), 100)
    crawls = {
        "01": {"centres": even, "langs": ["en", "de"] * 200},
        "02": {"centres": even, "langs": ["en", "de"] * 200},
        "03": {"centres": np.repeat([0, 0, 1, 2], 100)},
        "04": {"centres": np.full(400, 9), "langs": ["en"] * 380 + ["fr"] * 20},
        "05": {"centres": even, "unsure": 0.3},
        "06": {"centres": even[:40] * 0},
    }
    for seed, (name, given) in enumerate(crawls.items(), 1):
        measure(teacher, tmp_path / name, given.pop("centres"), seed, **given)
    return {name: tmp_path / name for name in crawls}


def report_of(statistics, tmp_path):
    out = tmp_path / "report"
    out.mkdir()
    made = publish_drift(statistics, ["01"], K, "t" * 64, CONFIG, out)
    assert DriftReport.read(out) == made
    assert (out / "drift.png").read_bytes().startswith(b"\x89PNG")
    return made


def test_sums_hold_every_document_by_language(teacher, tmp_path):
    counts = measure(teacher, tmp_path / "s", [0, 0, 1, 3], 1, langs=["en", "de", None, "en"], unsure=1.0)
    assert counts == {"documents": 4, "unsure": 4, "scored": 4}
    sums = read_sums(tmp_path / "s", K)
    assert set(sums) == {"en", "de", "und", EVERY_LANGUAGE}
    assert sums["en"].documents == 2
    assert sums[EVERY_LANGUAGE].documents == 4
    assert sums[EVERY_LANGUAGE].total == pytest.approx(sum(sums[lang].total for lang in ("en", "de", "und")))


def test_each_kind_of_drift_is_seen_and_steady_snapshots_are_left_alone(statistics, tmp_path):
    found = report_of(statistics, tmp_path)
    whole = {row.snapshot: row for row in found.rows if row.lang == EVERY_LANGUAGE}
    assert whole["01"].reference
    assert whole["02"].level == "steady"
    assert whole["02"].divergence == pytest.approx(0, abs=0.01)
    # a cluster without a document: (1/2, 1/4, 1/4, 0) against even shares
    assert whole["03"].divergence == pytest.approx(
        jensen_shannon(np.array([2, 1, 1, 0]) / 4, np.full(4, 0.25)), abs=0.01
    )
    assert whole["03"].level == "refit"
    # pages that no cluster is about
    assert whole["04"].likelihood_drop > CONFIG.likelihood_drop.refit
    assert whole["05"].unsure_rise == pytest.approx(0.3, abs=0.06)
    assert whole["05"].level == "refit"
    assert found.level == "refit"
    # too small to judge, whatever it says
    assert not whole["06"].judged
    assert whole["06"].level == "steady"
    assert {row.lang for row in found.rows} == {"all", "en", "de", "fr"}


def test_a_language_alone_warns_and_never_asks_for_a_refit(statistics, tmp_path):
    found = report_of({name: statistics[name] for name in ("01", "02")}, tmp_path)
    assert found.level == "steady"
    assert found.beyond == ()


def test_divergence_is_zero_for_equal_and_one_for_disjoint_shares():
    assert jensen_shannon(np.array([0.3, 0.7]), np.array([0.3, 0.7])) == 0
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(1)


def test_thresholds_have_an_order():
    with pytest.raises(ValidationError, match="at most refit"):
        Threshold(warn=0.5, refit=0.1)


def test_a_teacher_whose_snapshots_are_not_measured_yet_is_steady(tmp_path):
    found = publish_drift({}, ["01"], K, "t" * 64, CONFIG, tmp_path)
    assert found.level == "steady"
    assert found.rows == ()
