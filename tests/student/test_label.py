import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.corpus.schema import QUALITY_COLUMNS
from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.embedding.embedder import fit_embedder
from gem_assets.storage.scratch import read_scratch
from gem_assets.student.config import LabelConfig, StudentConfig
from gem_assets.student.label import LABEL_SCHEMA, Escalation, label_shards, summarise
from gem_assets.student.labeller import StudentLabeller
from gem_assets.teacher.gem import GemTeacher
from gem_assets.teacher.seed_fit import MODEL_FOLDER
from tests.tiny import passages


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Help topics in two shards, a teacher of their vectors, and a student that saw few of them."""
    root = tmp_path_factory.mktemp("labels")
    texts = pa.array([row["text"] for row in passages()][:700], pa.large_string())
    embedder = fit_embedder(texts, EmbeddingConfig(dimension=24, base_dimension=48))
    vectors = embedder.transform(texts)
    teacher = GemTeacher(k=4, n_init=1, anneal_iter=5, max_iter=40).fit(vectors)
    labels = teacher.predict(vectors)
    student = StudentLabeller.fit(
        texts.slice(0, 150), labels[:150], None, StudentConfig(hash_bits=12, epochs=4, min_steps=100), n_clusters=4
    )
    for name, saved in (("space", embedder), ("student", student)):
        (root / name).mkdir()
        saved.save(root / name)
    (root / "teacher" / MODEL_FOLDER).mkdir(parents=True)
    teacher.save(root / "teacher" / MODEL_FOLDER)
    shards = []
    for number, rows in enumerate((range(400), range(400, 700))):
        columns = {field.name: [1 if pa.types.is_integer(field.type) else "x"] * len(rows) for field in LABEL_SCHEMA}
        columns |= {name: pa.array([0.5] * len(rows), pa.float32()) for name in QUALITY_COLUMNS}
        columns |= {"doc_id": [f"{i:032x}" for i in rows], "text": [texts[i].as_py() for i in rows]}
        shards.append(root / f"part-{number}.parquet")
        pq.write_table(pa.table(columns), shards[-1])
    return root, shards, labels


def label(world, out, config=None):
    root, shards, _ = world
    out.mkdir()
    escalation = Escalation(root / "space", root / "teacher", config) if config is not None else None
    files = label_shards(shards, root / "student", out, escalation=escalation)
    return pa.Table.from_batches(list(read_scratch(files, LABEL_SCHEMA))), summarise(files)


def test_without_escalation_every_label_is_the_students(world, tmp_path):
    table, summary = label(world, tmp_path / "out")
    assert table.schema == LABEL_SCHEMA
    assert table.num_rows == 700
    assert not any(table["escalated"].to_pylist())
    assert summary["escalated_share"] == 0
    assert summary["clusters_seen"] == len(set(table["cluster"].to_pylist()))


def test_unsure_documents_get_the_teachers_label_and_keep_the_students_margin(world, tmp_path):
    plain, before = label(world, tmp_path / "plain")
    table, after = label(world, tmp_path / "escalated", LabelConfig(escalate_margin=0.4, escalate_at_most=1))
    asked = np.array(table["escalated"].to_pylist())
    margin = table["margin"].to_numpy()
    truth = world[2]
    assert asked.tolist() == (margin < 0.4).tolist()
    assert 0.02 < after["escalated_share"] < 0.98
    assert np.array_equal(table["cluster"].to_numpy()[asked], truth[asked])
    assert np.all(table["confidence"].to_numpy()[asked] == 1)
    assert np.array_equal(margin, plain["margin"].to_numpy())
    assert np.array_equal(table["cluster"].to_numpy()[~asked], plain["cluster"].to_numpy()[~asked])
    assert (plain["cluster"].to_numpy() == truth).mean() < (table["cluster"].to_numpy() == truth).mean()
    assert after["low_margin_share"] == before["low_margin_share"]


def test_the_bill_is_bounded(world, tmp_path):
    table, summary = label(world, tmp_path / "out", LabelConfig(escalate_margin=1.0, escalate_at_most=0.1))
    asked = np.array(table["escalated"].to_pylist())
    assert asked[:400].sum() == 40
    assert asked[400:].sum() == 30
    assert summary["escalated_share"] == pytest.approx(0.1)
    first = table["margin"].to_numpy()[:400]
    assert first[asked[:400]].max() <= first[~asked[:400]].min()
