"""Domain ids over refits: anchored, with another K, and in another space."""

import numpy as np
import pyarrow as pa
import pytest

from gem_assets.taxonomy.refit import refit_record
from gem_assets.teacher.config import TeacherConfig
from gem_assets.teacher.crosswalk import Crosswalk
from gem_assets.teacher.refit import Domains
from gem_assets.teacher.seed_fit import fit_on_sample, load_previous
from tests.teacher.conftest import unit

FAST = {"n_init": 2, "anneal_iter": 10, "threads": 1, "init_rows": 256}


def blobs(centres, each, d=16, seed=0):
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.eye(d)[centres], each, axis=0)
    return unit(rows + 0.25 * rng.standard_normal(rows.shape) / np.sqrt(d)).astype(np.float32)


def sample(vectors):
    flat = pa.array(vectors.ravel(), pa.float32())
    return pa.table(
        {
            "doc_id": [f"{i:032x}" for i in range(len(vectors))],
            "snapshot": ["01"] * len(vectors),
            "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        }
    )


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    out = tmp_path_factory.mktemp("first")
    fit_on_sample(sample(blobs([0, 1, 2, 3], 100)), TeacherConfig(k=4, **FAST), out)
    return out


def direction(folder, k=4):
    """Axis that each component points along, by domain id."""
    teacher = load_previous(folder, same_space=True).teacher
    return dict(zip(Domains.read(folder, k).ids, teacher.mu_.argmax(axis=1), strict=True))


def test_anchored_refit_keeps_every_id(first, tmp_path):
    assert Domains.read(first, 4) == Domains((0, 1, 2, 3), 4)
    previous = load_previous(first, same_space=True)
    fit_on_sample(sample(blobs([3, 2, 1, 0], 120, seed=1)), TeacherConfig(k=4, **FAST), tmp_path, previous)
    assert direction(tmp_path) == direction(first)
    walk = Crosswalk.read(tmp_path)
    assert walk.kept == pytest.approx(1)
    assert not walk.births


def test_more_clusters_are_births_and_ids_of_the_dead_stay_retired(first, tmp_path):
    more, back = tmp_path / "more", tmp_path / "back"
    more.mkdir()
    back.mkdir()
    before = direction(first)
    axes = [0, 1, 2, 3, 8]
    fit_on_sample(sample(blobs(axes, 100)), TeacherConfig(k=5, **FAST), more, load_previous(first, same_space=True))
    grown = direction(more, 5)
    assert {d: grown[d] for d in before} == before
    assert grown[4] == 8
    # the newcomer and one of the old die, two others take their places under ids never used
    axes = [0, 1, 2, 9, 10]
    fit_on_sample(
        sample(blobs(axes, 100)), TeacherConfig(k=5, refit="cold", **FAST), back, load_previous(more, same_space=True)
    )
    last = direction(back, 5)
    survivors = {d: axis for d, axis in grown.items() if axis in axes}
    assert {d: last[d] for d in survivors} == survivors
    assert sorted(set(last) - set(survivors)) == [5, 6]
    assert Domains.read(back, 5).next_id == 7
    record = refit_record(Crosswalk.read(back), Domains.read(more, 5).ids, "v1", {4: "Newcomers"})
    assert record.births == (5, 6)
    assert record.died_names == {4: "Newcomers"}
    assert set(record.continued) == set(survivors)


def test_another_space_is_matched_by_the_documents_that_both_labelled(first, tmp_path):
    turned = blobs([0, 1, 2, 3], 100) @ np.eye(16, dtype=np.float32)[::-1]
    fit_on_sample(sample(turned), TeacherConfig(k=4, **FAST), tmp_path, load_previous(first, same_space=False))
    assert direction(tmp_path) == {d: 15 - axis for d, axis in direction(first).items()}
    assert np.isnan(Crosswalk.read(tmp_path).cosine).all()
