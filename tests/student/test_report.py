import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.student.labeller import StudentPrediction
from gem_assets.student.report import agreement_report, held_out_mask


def prediction(cluster, confidence=None, margin=None):
    n = len(cluster)
    return StudentPrediction(
        np.asarray(cluster, np.int16),
        np.asarray(confidence if confidence is not None else np.full(n, 0.75), np.float32),
        np.asarray(margin if margin is not None else np.full(n, 0.5), np.float32),
        np.ones(n, np.int32),
    )


def test_numbers_of_a_small_case_by_hand():
    report = agreement_report(
        np.array([0, 0, 1, 1, 2]),
        prediction([0, 1, 1, 1, 0], [0.95, 0.55, 0.95, 0.95, 0.55], [0.9, 0.1, 0.9, 0.9, 0.1]),
        4,
        n_bytes=np.array([10, 200, 201, 6000, 90_000]),
        groups={"lang": pa.array(["en", "de", "en", None, "en"])},
    )
    assert report.agreement == pytest.approx(3 / 5)
    assert report.confident_agreement == 1
    assert report.low_margin_share == pytest.approx(2 / 5)
    assert report.share_drift == pytest.approx(0.5 * (0 + 0.2 + 0.2))
    assert report.confusion.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert report.calibration_error == pytest.approx(3 / 5 * 0.05 + 2 / 5 * 0.55, abs=1e-6)
    rows = {(r["by"], r["group"]): r for r in report.groups.to_pylist()}
    assert rows["lang", "en"]["n_documents"] == 3
    assert rows["lang", "en"]["agreement"] == pytest.approx(2 / 3)
    assert rows["lang", ""]["n_documents"] == 1
    assert rows["cluster", "2"]["agreement"] == 0
    assert rows["length", "0-200"]["n_documents"] == 2
    assert rows["length", "201-500"]["n_documents"] == 1
    assert rows["length", "5001-20000"]["n_documents"] == 1
    assert rows["length", ">20000"]["n_documents"] == 1
    assert report.confusion_table().to_pylist()[0] == {"teacher": 0, "student": 0, "n_documents": 1}
    filled = [r for r in report.reliability.to_pylist() if r["n_documents"]]
    assert [r["agreement"] for r in filled] == [0, 1]
    assert {r["agreement"] for r in report.reliability.to_pylist() if not r["n_documents"]} == {None}
    assert report.summary()["n_documents"] == 5


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.floats(0, 1)), min_size=1, max_size=40))
def test_every_grouping_adds_up_to_the_whole(rows):
    labels = np.array([r[0] for r in rows])
    report = agreement_report(
        labels,
        prediction([r[1] for r in rows], [r[2] for r in rows], [r[2] for r in rows]),
        6,
        groups={"source": [f"s{r[0] % 2}" for r in rows]},
    )
    assert report.confusion.sum() == len(rows)
    assert report.confusion.trace() == round(report.agreement * len(rows))
    assert sum(report.reliability["n_documents"].to_pylist()) == len(rows)
    for by in ("cluster", "source"):
        group = [r for r in report.groups.to_pylist() if r["by"] == by]
        assert sum(r["n_documents"] for r in group) == len(rows)
        assert sum(r["n_documents"] * r["agreement"] for r in group) == pytest.approx(report.agreement * len(rows))
    assert 0 <= report.share_drift <= 1
    assert 0 <= report.calibration_error <= 1


def test_nothing_confident_is_nan_and_mismatch_is_an_error():
    report = agreement_report(np.array([0]), prediction([0], [0.5], [0.0]), 2)
    assert np.isnan(report.confident_agreement)
    with pytest.raises(ValueError, match="2 labels and 1"):
        agreement_report(np.array([0, 1]), prediction([0]), 2)
    with pytest.raises(ValueError, match="'lang' has 2"):
        agreement_report(np.array([0]), prediction([0]), 2, groups={"lang": ["en", "de"]})


@given(st.permutations(list(range(60))), st.integers(0, 2**32))
def test_held_out_choice_does_not_depend_on_order(order, seed):
    ids, strata = [f"doc-{i}" for i in range(60)], np.array([i % 3 for i in range(60)])
    mask = held_out_mask(ids, 0.2, seed, strata)
    shuffled = held_out_mask([ids[i] for i in order], 0.2, seed, strata[list(order)])
    assert np.array_equal(shuffled, mask[list(order)])
    assert [int(mask[strata == s].sum()) for s in range(3)] == [4, 4, 4]


def test_held_out_seeds_differ_and_single_documents_stay_for_training():
    ids = pa.array([f"d{i}" for i in range(200)])
    assert not np.array_equal(held_out_mask(ids, 0.5, 0), held_out_mask(ids, 0.5, 1))
    assert held_out_mask(["a", "b", "c"], 0.5, 0, np.array([0, 0, 1])).tolist()[2] is False
    with pytest.raises(ValueError, match=r"share is 1\.5"):
        held_out_mask(ids, 1.5, 0)


def test_margins_are_held_against_the_lead_over_the_runner_up():
    truth = np.array([0, 0, 1, 1])
    report = agreement_report(
        truth, prediction([0, 1, 1, 1], margin=[0.45, 0.45, 0.95, 0.95]), 3, runner_up=np.array([1, 0, 2, 0])
    )
    rows = {row["lower"]: row for row in report.margins.to_pylist() if row["n_documents"]}
    assert rows[0.4]["lead"] == pytest.approx(0.5 - 0.5)
    assert rows[0.9]["lead"] == pytest.approx(1)
    assert report.margin_error == pytest.approx(0.5 * 0.45 + 0.5 * 0.05)
    assert "margin_error" in report.summary()
    assert "margin_error" not in agreement_report(truth, prediction([0, 1, 1, 1]), 3).summary()
    with pytest.raises(ValueError, match="1 runners-up for 4"):
        agreement_report(truth, prediction([0, 1, 1, 1]), 3, runner_up=np.array([1]))
