"""The map of the corpus: what a new snapshot and a refit may move."""

import json
import shutil
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from gem_assets.explorer.corpus_map import MAP_NAME, publish_map, read_map
from gem_assets.explorer.documents import Documents, read_column
from gem_assets.explorer.points import COLOURS, GRID, colour, landmark_places, place_documents
from gem_assets.report.layout import LandmarkMap


def sphere(n, d, seed):
    rows = np.random.default_rng(seed).normal(size=(n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def teacher(made, views):
    return views.store.artifacts.current("teacher_clusters").path


def test_a_map_reads_back_and_is_the_same_twice(teacher, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    fitted = publish_map(teacher, tmp_path / "a")
    publish_map(teacher, tmp_path / "b")
    assert (tmp_path / "a" / MAP_NAME).read_bytes() == (tmp_path / "b" / MAP_NAME).read_bytes()
    read, domains = read_map(tmp_path / "a")
    assert domains == (0, 1, 2, 3)
    assert np.array_equal(read.places, fitted.places)


def test_a_refit_leaves_the_clusters_that_continue_where_they_were(teacher, tmp_path):
    """The same teacher with its clusters numbered otherwise and the plane mirrored stands where it stood."""
    (tmp_path / "before").mkdir()
    before = publish_map(teacher, tmp_path / "before")
    turned = LandmarkMap(**{**vars(before), "places": before.places @ np.array([[0.0, -1.0], [-1.0, 0.0]]) + 3.0})
    assert np.abs(turned.places - before.places).max() > 0.5
    back = turned.turned_onto(before, [(k, k) for k in range(4)])
    assert np.allclose(back.places, before.places)
    copy = shutil.copytree(teacher, tmp_path / "refitted")
    (copy / "domains.json").write_text(json.dumps({"ids": [0, 1, 2, 7], "next_id": 8}))
    (tmp_path / "after").mkdir()
    after = publish_map(copy, tmp_path / "after", tmp_path / "before")
    assert np.allclose(after.places, before.places)
    assert read_map(tmp_path / "after")[1] == (0, 1, 2, 7)


def test_one_cluster_that_continues_turns_nothing():
    vectors, labels = sphere(60, 8, 0), np.arange(60) % 3
    fitted = LandmarkMap.fit(vectors, labels, 3)
    assert fitted.turned_onto(fitted, [(0, 0)]) is fitted


def test_further_documents_move_none_of_the_others():
    vectors, labels = sphere(300, 8, 1), np.arange(300) % 5
    fitted = LandmarkMap.fit(vectors[:200], labels[:200], 5)
    assert np.array_equal(fitted.place(vectors, labels)[:200], fitted.place(vectors[:200], labels[:200]))


def test_a_map_of_no_documents_places_nothing():
    empty = LandmarkMap.fit(np.zeros((0, 8)), np.zeros(0, np.int64), 3)
    assert empty.place(sphere(4, 8, 2), np.zeros(4, np.int64)).tolist() == [[0.0, 0.0]] * 4
    assert landmark_places(empty).shape == (0, 2)


def test_every_document_has_a_place_and_the_cache_gives_it_again(views, tmp_path):
    documents, landmarks = views.documents(), views.points().landmarks
    placed = place_documents(views.store, documents, landmarks, "map", tmp_path)
    files = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(files) == 2  # one per snapshot
    assert placed.shape == (len(documents), 2)
    assert not (placed == GRID).all(axis=1).any()
    again = place_documents(views.store, documents, landmarks, "map", tmp_path)
    assert np.array_equal(again, placed)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files


def test_documents_stand_nearer_to_their_own_cluster_than_to_the_others(views):
    documents, points = views.documents(), views.points()
    centres = landmark_places(points.landmarks).astype(float)
    distances = np.linalg.norm(points.places[:, None].astype(float) - centres[None], axis=2)
    own = distances[np.arange(len(documents)), documents.clusters]
    assert np.mean(own == distances.min(axis=1)) > 0.8


def test_colours_count_every_document_once(views):
    documents = views.documents()
    for by in COLOURS:
        found = views.colours(by)
        assert len(found.codes) == len(documents)
        assert found.codes.max() < len(found.names)
    snapshots = views.colours("snapshot")
    counted = {name: int((snapshots.codes == i).sum()) for i, name in enumerate(snapshots.names)}
    assert counted == {
        name: artifact.manifest.counts["documents"]
        for name, artifact in views.store.artifacts.snapshots("student_labels").items()
    }


def test_a_quantity_is_cut_into_ten_parts_of_equal_size(views):
    documents = views.documents()
    lengths = read_column(views.store, documents, "q_chars").to_numpy(zero_copy_only=False)
    texts = {t["doc_id"]: t["characters"] for rows in range(0, 40, 20) for t in views.texts(range(rows, rows + 20))}
    ids = documents.rows.column("doc_id").to_pylist()
    assert [texts[i] for i in ids[:40]] == lengths[:40].tolist()
    found = views.colours("q_chars")
    assert found.ordered
    assert len(found.names) == 10
    sizes = np.bincount(found.codes)
    assert sizes.max() - sizes.min() <= 2
    edges = [(lengths[found.codes == i].min(), lengths[found.codes == i].max()) for i in range(10)]
    assert edges == sorted(edges)
    assert all(before[1] <= after[0] for before, after in pairwise(edges))


@pytest.mark.parametrize(
    ("values", "codes", "names"),
    [
        ([], [], []),
        ([2.0, 2.0], [0, 0], ["2"]),
        ([None, None], [0, 0], ["not known"]),
        ([1.0, None, 3.0], [0, 10, 9], None),
        ([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0], [0] * 12 + [1], ["0", "0 to 5"]),
    ],
)
def test_a_quantity_of_few_values_has_few_parts(values, codes, names):
    rows = pa.table({"doc_id": [str(i) for i in range(len(values))]})
    found = colour(Documents(rows, len(values)), "q_chars", lambda _: pa.array(values, pa.float32()))
    assert found.codes.tolist() == codes
    if names is not None:
        assert found.names == names


def test_dates_are_coloured_by_year_oldest_first_and_the_oldest_together():
    dates = ["2024-05-01", None, "1999", "", *(f"{year}-01-01" for year in range(1900, 1990))]
    rows = pa.table({"doc_id": [str(i) for i in range(len(dates))]})
    found = colour(Documents(rows, len(dates)), "date", lambda _: pa.array(dates))
    told = [found.names[code] for code in found.codes]
    assert told[:4] == ["2024", "not known", "1999", "not known"]
    assert told[4] == found.names[0]
    assert found.names[0].startswith("until ")
    assert told[-1] == "1989"
    assert found.names[:-1] == [found.names[0], *sorted(found.names[1:-1])]
