import json
from pathlib import Path

import numpy as np
import pytest

from gem_assets.teacher.ascent import Ascent, Iteration, Plan
from gem_assets.teacher.config import TeacherConfig
from gem_assets.teacher.engines import DenseEngine
from gem_assets.teacher.esteps import uniform
from gem_assets.teacher.gem import GemTeacher, NotFittedError, RowError
from gem_assets.teacher.metrics import balance
from gem_assets.teacher.mstep import Theta
from gem_assets.teacher.start import fixed_rule
from gem_assets.teacher.teach import fit_teacher, report
from tests.teacher.conftest import mixture, unit

FAST = {"n_init": 2, "anneal_iter": 12, "threads": 1}


def rises(teacher: GemTeacher) -> bool:
    slack = 1e-9 * abs(teacher.objective_[-1]) + 1e-8
    return bool(np.all(np.diff(teacher.objective_) >= -slack))


@pytest.mark.parametrize("e_step", ["dual", "proximal", "mirror"])
def test_fit_is_monotone_certified_and_balanced(e_step: str) -> None:
    x = mixture(3000, 32, 12, skew=1.0)
    lines: list[Iteration] = []
    teacher = GemTeacher(6, e_step=e_step, max_iter=40, **FAST).fit(x, progress=lines.append)
    assert rises(teacher)
    assert len(teacher.objective_) >= 2
    assert teacher.gap_ < 1e-8
    assert lines == teacher.trace_
    assert not lines[0].claimed
    assert balance(teacher.labels_, 6).n_eff_over_k > 0.95
    assert teacher.shares_.sum() == pytest.approx(1)
    np.testing.assert_allclose(np.linalg.norm(teacher.mu_, axis=1), 1)


def test_exact_e_step_ends_at_least_as_high_as_the_others() -> None:
    x = mixture(1500, 24, 10, skew=1.0)
    ends = {
        name: GemTeacher(5, lam=400.0, e_step=name, max_iter=60, **FAST).fit(x).objective_[-1]
        for name in ("dual", "proximal", "mirror")
    }
    assert ends["dual"] >= ends["proximal"] - 1e-3
    assert ends["dual"] >= ends["mirror"] - 1e-3


def test_penalty_evens_out_what_plain_em_leaves_uneven() -> None:
    x = mixture(4000, 32, 8, skew=1.5)
    plain = GemTeacher(8, lam=0.0, **FAST).fit(x)
    balanced = GemTeacher(8, **FAST).fit(x)
    assert not plain.b_.any()
    assert balance(balanced.labels_, 8).n_eff > balance(plain.labels_, 8).n_eff + 0.5


def test_lambda_rules() -> None:
    x = mixture(3000, 32, 30)
    auto = GemTeacher(24, **FAST).fit(x)
    assert auto.lam_ / auto.kappa_.mean() == pytest.approx(5.5, rel=0.03)
    paper = GemTeacher(10, "paper", **FAST).fit(x)
    assert paper.lam_ / paper.kappa_.mean() == pytest.approx(5.5, rel=0.03)
    scaled = GemTeacher(10, "auto", **FAST).fit(x)
    assert scaled.lam_ / scaled.kappa_.mean() == pytest.approx(2.3, rel=0.03)
    assert GemTeacher(10, 321.0, **FAST).fit(x).lam_ == 321.0


def test_least_lambda_reaches_its_aim_with_less_weight_than_auto() -> None:
    x = mixture(4000, 32, 9, skew=1.2, spread=1.5)
    least = GemTeacher(12, "least", **FAST).fit(x)
    auto = GemTeacher(12, "auto", **FAST).fit(x)
    assert balance(least.labels_, 12).n_eff_over_k >= 0.95
    assert least.lam_ < auto.lam_


def test_predictions_on_the_rows_of_the_fit_are_its_labels() -> None:
    x = mixture(1200, 48, 6)
    teacher = GemTeacher(6, **FAST).fit(x)
    np.testing.assert_array_equal(teacher.predict(x), teacher.labels_)
    np.testing.assert_array_equal(teacher.log_joint(x).argmax(axis=1), teacher.labels_)
    proba = teacher.predict_proba(x)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    np.testing.assert_allclose(teacher.responsibilities_.toarray(), proba, atol=1e-6)
    assert teacher.dropped_mass_ < 1e-6
    own = teacher.log_density(x, teacher.labels_)
    expected = (teacher.log_joint(x) - teacher.b_ + np.log(6))[np.arange(len(x)), teacher.labels_]
    np.testing.assert_allclose(own, expected)
    assert teacher.score(x) == pytest.approx(teacher.score_samples(x).mean())
    assert teacher.score(x) > teacher.score(mixture(1200, 48, 6, seed=99))


def test_offsets_keep_new_documents_balanced() -> None:
    x = mixture(8000, 32, 12, skew=1.0, spread=1.5)
    teacher = GemTeacher(8, **FAST).fit(x[:4000])
    unseen = balance(teacher.predict(x[4000:]), 8).n_eff
    without = (teacher.log_joint(x[4000:]) - teacher.b_).argmax(axis=1)
    assert unseen > balance(without, 8).n_eff


def test_a_wanted_distribution_is_followed() -> None:
    x = mixture(4000, 32, 16, spread=2.0)
    target = (0.4, 0.3, 0.2, 0.1)
    teacher = GemTeacher(4, lam=20_000.0, target=target, **FAST).fit(x)
    np.testing.assert_allclose(teacher.shares_, target, atol=0.01)


def test_equal_input_gives_equal_bytes_whatever_the_threads() -> None:
    x = mixture(20_000, 16, 6)
    options = {**FAST, "max_iter": 5}
    one = GemTeacher(6, seed=3, **options).fit(x)
    two = GemTeacher(6, seed=3, **{**options, "threads": 3}).fit(x)
    assert one.mu_.tobytes() == two.mu_.tobytes()
    assert one.b_.tobytes() == two.b_.tobytes()


def test_rotating_the_space_or_the_order_of_rows_moves_nothing_else() -> None:
    x = mixture(1000, 16, 4).astype(np.float64)
    teacher = GemTeacher(4, lam=200.0, **FAST).fit(x)
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((16, 16)))[0]
    turned = GemTeacher(4, lam=200.0, **FAST).fit(x @ rotation)
    np.testing.assert_array_equal(turned.labels_, teacher.labels_)
    np.testing.assert_allclose(turned.mu_, teacher.mu_ @ rotation, atol=1e-4)
    order = np.random.default_rng(2).permutation(len(x))
    shuffled = GemTeacher(4, lam=200.0, anchor=0.0, **FAST).fit(x[order], previous=teacher)
    assert np.mean(shuffled.labels_ == teacher.labels_[order]) > 0.999


def test_anchored_refit_keeps_more_documents_in_place_than_a_cold_one() -> None:
    x = mixture(6000, 32, 20, skew=0.5, spread=1.6)
    old = GemTeacher(10, **FAST).fit(x[:3000])
    new = x[3000:]
    anchored = fit_teacher(new, TeacherConfig(k=10, seed=7, **FAST), previous=old)
    cold = fit_teacher(new, TeacherConfig(k=10, seed=7, **FAST))
    assert rises(anchored)
    kept = np.mean(anchored.predict(x) == old.predict(x))
    assert kept > 0.8
    assert kept > np.mean(cold.predict(x) == old.predict(x))
    assert balance(anchored.labels_, 10).n_eff_over_k > 0.95


def test_save_and_load(tmp_path: Path) -> None:
    x = mixture(600, 16, 4)
    teacher = GemTeacher(4, **FAST).fit(x)
    teacher.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["teacher.json", "teacher.safetensors"]
    back = GemTeacher.load(tmp_path)
    np.testing.assert_array_equal(back.predict(x), teacher.labels_)
    assert back.config == teacher.config
    assert back.trace_ == teacher.trace_
    assert (back.lam_, back.gap_, back.objective_) == (teacher.lam_, teacher.gap_, teacher.objective_)
    (tmp_path / "again").mkdir()
    back.save(tmp_path / "again")
    for name in ("teacher.json", "teacher.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_a_record_of_an_earlier_fit_opens_and_one_of_another_format_is_refused(tmp_path: Path) -> None:
    x = mixture(100, 8, 2)
    teacher = GemTeacher(2, **FAST).fit(x)
    teacher.save(tmp_path)
    record = tmp_path / "teacher.json"
    text = record.read_text()
    earlier = json.loads(text)
    del earlier["format"]
    record.write_text(json.dumps({**earlier, "code_version": "0"}))
    np.testing.assert_array_equal(GemTeacher.load(tmp_path).predict(x), teacher.labels_)
    record.write_text(text.replace('"format": 1', '"format": 7'))
    with pytest.raises(ValueError, match="format 7"):
        GemTeacher.load(tmp_path)


def test_bad_rows_are_refused_by_name() -> None:
    x = mixture(400, 16, 4)
    ids = [f"doc-{i}" for i in range(400)]
    for value, words in ((np.nan, "NaN"), (np.inf, "NaN"), (0.0, "zero vectors"), (3.0, "not of length 1")):
        broken = x.copy()
        broken[[17, 203]] = value
        with pytest.raises(RowError, match=rf"doc-17, doc-203.*{words}"):
            GemTeacher(4, **FAST).fit(broken, ids=ids)
    with pytest.raises(RowError, match="rows 17, 203"):
        GemTeacher(4, **FAST).fit(broken)
    with pytest.raises(RowError, match="399 ids for 400 rows"):
        GemTeacher(4, **FAST).fit(x, ids=ids[1:])
    with pytest.raises(RowError, match="shape"):
        GemTeacher(4, **FAST).fit(x[0])


def test_too_few_distinct_rows_are_refused() -> None:
    x = mixture(20, 16, 4)
    with pytest.raises(RowError, match="20 rows cannot make K = 24"):
        GemTeacher(24, **FAST).fit(x)
    with pytest.raises(RowError, match="only 20 distinct rows among 200 for K = 24"):
        GemTeacher(24, **FAST).fit(np.repeat(x, 10, axis=0))


def test_duplicates_are_survived() -> None:
    x = np.concatenate([np.repeat(mixture(12, 16, 4), 60, axis=0), mixture(300, 16, 4, seed=5)])
    teacher = GemTeacher(12, **FAST).fit(x)
    assert rises(teacher)
    assert np.all(np.isfinite(teacher.mu_))
    assert teacher.kappa_.max() <= teacher.config.kappa_max
    copies = teacher.labels_[:720].reshape(12, 60)
    assert np.all(copies == copies[:, :1])


def test_one_document_a_cluster() -> None:
    x = mixture(8, 32, 8, seed=4)
    teacher = GemTeacher(8, **FAST).fit(x)
    assert rises(teacher)
    assert sorted(teacher.labels_) == list(range(8))


@pytest.mark.parametrize("d", [2, 16, 100, 1024, 4096])
def test_dimensions(d: int) -> None:
    x = mixture(400, d, 4, spread=0.5)
    teacher = GemTeacher(4, max_iter=15, **FAST).fit(x)
    assert rises(teacher)
    assert teacher.gap_ < 1e-8


def test_half_precision_and_mapped_rows(tmp_path: Path) -> None:
    x = mixture(600, 32, 4)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(GemTeacher(4, **FAST).fit(mapped).labels_, GemTeacher(4, **FAST).fit(x).labels_)
    assert GemTeacher(4, **FAST).fit(x.astype(np.float16)).gap_ < 1e-8


def test_unfitted_and_mismatched_teachers_say_so() -> None:
    x = mixture(200, 16, 4)
    with pytest.raises(NotFittedError, match="call fit"):
        GemTeacher(4).predict(x)
    teacher = GemTeacher(4, **FAST).fit(x)
    with pytest.raises(ValueError, match="d = 16"):
        teacher.predict(unit(np.ones((3, 5))))
    with pytest.raises(ValueError, match="crosswalk"):
        GemTeacher(5, **FAST).fit(x, previous=teacher)


@pytest.mark.slow
def test_real_corpus_is_balanced_monotone_and_certified(webmix: np.ndarray) -> None:
    teacher = fit_teacher(webmix, TeacherConfig(k=24))
    figures = report(teacher)
    assert figures.monotone
    assert figures.gap < 1e-8
    assert figures.n_eff_over_k >= 0.95
    assert figures.max_over_min <= 5
    assert teacher.lam_ / teacher.kappa_.mean() == pytest.approx(5.5, rel=0.03)


def test_auto_raises_lambda_until_sizes_keep_to_the_bound() -> None:
    pockets = mixture(60, 32, 2, spread=0.05, seed=8)
    x = np.concatenate([mixture(3000, 32, 12, spread=1.2), pockets])
    loose = GemTeacher(8, max_over_min=1000.0, **FAST).fit(x)
    tight = GemTeacher(8, max_over_min=1.5, **FAST).fit(x)
    assert balance(loose.labels_, 8).max_over_min > 1.5
    assert balance(tight.labels_, 8).max_over_min <= 1.5
    assert tight.lam_ / tight.kappa_.mean() > loose.lam_ / loose.kappa_.mean()
    assert rises(tight)


def test_clusters_that_fell_together_come_apart_again() -> None:
    x = unit(np.repeat(np.eye(16)[:4], 300, axis=0) + 0.1 * np.random.default_rng(1).standard_normal((1200, 16)))
    same = Theta(np.repeat(unit(np.ones((1, 16))).astype(np.float64), 4, axis=0), np.full(4, 5.0), np.zeros(4))
    plan = Plan(fixed_rule(1.0), 1.0, 1e4, max_iter=50, tol=1e-6, gap_tol=1e-8, anneal_iter=20, anneal_start=0.2)
    found = Ascent(DenseEngine(x, uniform(4)), plan, "test").run(same).theta
    np.testing.assert_allclose(found.mu @ found.mu.T, np.eye(4), atol=0.2)
