"""Sums of a snapshot, and what they say beside those of the teacher's snapshots."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from gem_assets.drift.config import DriftConfig, Threshold
from gem_assets.drift.report import (
    EVERY_LANGUAGE,
    METRICS,
    SHOWN_COLUMNS,
    DriftReport,
    Sums,
    compare,
    jensen_shannon,
    publish_drift,
    read_sums,
    shown_rows,
)
from gem_assets.drift.statistics import COUNTS_NAME, LIKELIHOOD_NAME, Seen, publish_statistics
from gem_assets.teacher.gem import GemTeacher
from tests.teacher.conftest import unit

K, D = 4, 16
CONFIG = DriftConfig(least_documents=50)


def vectors_near(centres, seed):
    rng = np.random.default_rng(seed)
    return unit(np.eye(D)[centres] + 0.25 * rng.standard_normal((len(centres), D)) / np.sqrt(D)).astype(np.float32)


@pytest.fixture(scope="module")
def teacher():
    options = {"n_init": 2, "anneal_iter": 10, "threads": 1, "init_rows": 256}
    return GemTeacher(K, **options).fit(vectors_near(np.repeat(np.arange(K), 100), 0))


def measure(teacher, out, centres, seed, *, langs=None, unsure=0.0, seen=0):
    out.mkdir()
    x = vectors_near(np.asarray(centres), seed)
    ids = [f"{seed:08x}{i:024x}" for i in range(len(x))]
    margins = np.where(np.random.default_rng(seed).random(len(x)) < unsure, 0.1, 0.9)
    labels = pa.RecordBatch.from_pydict(
        {"doc_id": ids, "lang": langs or ["en"] * len(x), "cluster": teacher.predict(x), "margin": margins}
    )
    flat = pa.array(x.ravel(), pa.float32())
    rows = pa.RecordBatch.from_pydict({"doc_id": ids, "vector": pa.FixedSizeListArray.from_arrays(flat, D)})
    fitted_on = pa.array(ids[:seen], pa.string())

    def scan(columns):
        return [rows.select(list(columns))]

    return publish_statistics([labels], scan, teacher, Seen(fitted_on, fitted_on), CONFIG, out)


@pytest.fixture
def statistics(teacher, tmp_path):
    even = np.tile(np.arange(K), 100)
    crawls = {
        "01": {"centres": even, "langs": ["en", "de"] * 200},
        "02": {"centres": even, "langs": ["en", "de"] * 200},
        "03": {"centres": np.repeat([0, 0, 0, 1], 100)},
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
    assert counts == {"documents": 4, "unseen": 4, "unsure": 4, "scored": 4}
    sums = read_sums(tmp_path / "s", K)
    assert set(sums) == {"en", "de", "und", EVERY_LANGUAGE}
    assert sums["en"].documents == 2
    assert sums["en"].scored.tolist() == [0, 2]
    assert sums[EVERY_LANGUAGE].documents == 4
    assert sums[EVERY_LANGUAGE].total[1] == pytest.approx(sum(sums[lang].total[1] for lang in ("en", "de", "und")))


def test_labels_of_documents_that_the_student_was_trained_on_say_nothing_of_how_unsure_it_is(teacher, tmp_path):
    even = np.tile(np.arange(K), 100)
    counts = measure(teacher, tmp_path / "s", even, 1, unsure=0.5, seen=300)
    assert counts["documents"] == 400
    assert counts["unseen"] == 100
    assert 30 < counts["unsure"] < 70
    sums = read_sums(tmp_path / "s", K)[EVERY_LANGUAGE]
    assert (sums.documents, sums.unseen, sums.unsure) == (400, 100, counts["unsure"])
    assert sums.scored.tolist() == [300, 100]
    # half of all labels are unsure here and in the reference, which was seen but for a quarter
    found = compare("s", "all", sums, sums, False, CONFIG)
    assert found.unsure_share == pytest.approx(0.5, abs=0.2)
    assert found.unsure_rise == 0


def drawn(shares, n, unsure, score, seed):
    rng = np.random.default_rng(seed)
    scores = rng.normal(score, 1.0, n)
    unseen = np.array([0.0, 1.0])
    counts = rng.multinomial(n, shares).astype(float)
    return Sums(counts, n, rng.binomial(n, unsure), unseen * n, unseen * scores.sum(), unseen * (scores**2).sum())


@pytest.mark.parametrize("n", [200, 1_000, 5_000])
def test_a_snapshot_of_the_same_distribution_stays_steady_however_small(n):
    shares = np.random.default_rng(0).dirichlet(np.ones(48))
    base = drawn(shares, 20_000, 0.3, 0.0, 1)
    levels = [compare("s", "all", drawn(shares, n, 0.3, 0.0, s), base, False, DriftConfig()).level for s in range(200)]
    assert levels.count("steady") == 200


@pytest.mark.parametrize(
    "changed",
    [{"unsure": 0.6}, {"score": -2.0}, {"shares": np.eye(48)[:4].mean(axis=0)}],
    ids=["unsure", "likelihood", "shares"],
)
@pytest.mark.parametrize("n", [200, 5_000])
def test_a_change_is_seen_in_a_small_snapshot_too(n, changed):
    shares = np.full(48, 1 / 48)
    base = drawn(shares, 20_000, 0.3, 0.0, 1)
    own = drawn(**{"shares": shares, "n": n, "unsure": 0.3, "score": 0.0, "seed": 2, **changed})
    assert compare("s", "all", own, base, False, DriftConfig()).level != "steady"


@pytest.mark.parametrize(("unseen", "drop"), [(500, 0.0), (20, -2.0)])
def test_likelihoods_of_fitted_documents_count_only_where_there_are_no_others(unseen, drop):
    shares = np.full(4, 0.25)
    fitted, others = drawn(shares, 20_000, 0.3, -2.0, 1), drawn(shares, unseen, 0.3, 0.0, 2)
    swapped = [part[::-1] for part in (fitted.scored, fitted.total, fitted.squares)]
    base = Sums(fitted.counts, fitted.unseen, fitted.unsure, *swapped) + others
    found = compare("s", "all", drawn(shares, 5_000, 0.3, 0.0, 3), base, False, CONFIG)
    assert found.likelihood_drop == pytest.approx(drop, abs=0.15)


def test_more_documents_make_the_same_change_more_certain():
    shares = np.full(4, 0.25)
    base = drawn(shares, 20_000, 0.3, 0.0, 1)
    rows = [compare("s", "all", drawn(shares, n, 0.4, 0.0, 2), base, False, CONFIG) for n in (200, 2_000, 20_000)]
    certain = [row.certain("unsure_rise") for row in rows]
    assert certain == sorted(certain)
    assert certain[0] < 0.05 < certain[2] < rows[2].unsure_rise


def test_each_kind_of_drift_is_seen_and_steady_snapshots_are_left_alone(statistics, tmp_path):
    found = report_of(statistics, tmp_path)
    whole = {row.snapshot: row for row in found.rows if row.lang == EVERY_LANGUAGE}
    assert whole["01"].reference
    assert whole["02"].level == "steady"
    assert whole["02"].divergence == pytest.approx(0, abs=0.01)
    # two clusters without a document: (3/4, 1/4, 0, 0) against even shares
    assert whole["03"].divergence == pytest.approx(
        jensen_shannon(np.array([3, 1, 0, 0]) / 4, np.full(4, 0.25)), abs=0.01
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
    shown = {row["snapshot"]: row for row in shown_rows(found) if row["lang"] == EVERY_LANGUAGE}
    assert list(shown["05"]) == SHOWN_COLUMNS
    assert {name: row["level"] for name, row in shown.items()} == {
        "01": "reference",
        "02": "steady",
        "03": "refit",
        "04": "refit",
        "05": "refit",
    }
    assert 0 < shown["05"]["unsure_rise"] < whole["05"].unsure_rise


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


def test_what_the_first_version_wrote_is_still_read(statistics, tmp_path):
    found = report_of(statistics, tmp_path)
    earlier = found.model_dump()
    for row in earlier["rows"]:
        for metric in METRICS:
            del row[f"certain_{metric}"]
    assert DriftReport.model_validate(earlier).level == found.level
    folder = tmp_path / "05"
    expected = read_sums(folder, K)[EVERY_LANGUAGE]
    for name in (COUNTS_NAME, LIKELIHOOD_NAME):
        table = pq.read_table(folder / name)
        pq.write_table(table.drop_columns(["unseen"]), folder / name)
    sums = read_sums(folder, K)[EVERY_LANGUAGE]
    assert (sums.documents, sums.unseen, sums.unsure) == (expected.documents, expected.documents, expected.unsure)
    assert sums.scored.tolist() == [0, expected.scored.sum()]


def test_a_snapshot_in_which_nothing_is_new_is_steady(teacher, tmp_path):
    folders = {name: tmp_path / name for name in ("first", "again")}
    measure(teacher, folders["first"], [0, 1, 2, 3] * 50, 1)
    folders["again"].mkdir()
    nothing = Seen(pa.array([], pa.string()), pa.array([], pa.string()))
    counts = publish_statistics([], lambda columns: [], teacher, nothing, CONFIG, folders["again"])
    assert set(counts.values()) == {0}
    (tmp_path / "drift").mkdir()
    report = publish_drift(folders, ["first"], K, "t", CONFIG, tmp_path / "drift")
    (row,) = [row for row in report.rows if row.snapshot == "again"]
    assert (row.lang, row.documents, row.level, row.judged) == (EVERY_LANGUAGE, 0, "steady", False)
    assert report.level == "steady"
