from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from gem_assets.teacher.compare import TEACHER, ClusterReport, cluster_report
from gem_assets.teacher.gem import GemTeacher
from gem_assets.teacher.publish_report import PAGE_NAME, publish_report, read_report
from gem_assets.teacher.report_config import ClusterReportConfig
from gem_assets.teacher.seed_documents import SeedDocuments
from tests.report.test_pages import check_is_inert
from tests.teacher.conftest import mixture

K = 3
CONFIG = ClusterReportConfig(documents=400, starts=1, vocabulary=300)
TOPICS = (
    ["harbour", "vessel", "anchor", "sailor"],
    ["statute", "tenant", "verdict", "appeal"],
    ["oven", "flour", "yeast"],
)


@pytest.fixture(scope="module")
def seed() -> SeedDocuments:
    x = mixture(600, 24, K, spread=0.5)
    teacher = GemTeacher(K, n_init=1, anneal_iter=10, threads=1).fit(x)
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(TOPICS[label], 12)) for label in teacher.labels_]
    table = pa.table(
        {
            "label": pa.array(teacher.labels_, pa.int16()),
            "text": texts,
            "source": [f"<i>{label % 2}</i>" for label in teacher.labels_],
        }
    )
    return SeedDocuments(teacher, table, x, 0)


@pytest.fixture(scope="module")
def published(seed: SeedDocuments, tmp_path_factory: pytest.TempPathFactory) -> tuple[ClusterReport, Path]:
    folder = tmp_path_factory.mktemp("report")
    return publish_report(seed, {0: "Sea <b>", 1: "Law"}, CONFIG, folder, version="abc"), folder


def test_figures_tell_a_good_clustering_from_a_random_one(published: tuple[ClusterReport, Path]) -> None:
    report = published[0]
    found = {c.name: c for c in report.clusterings}
    assert list(found) == [TEACHER, "vMF, no balance", "spherical k-means", "k-means", "random", "source column"]
    gem, drawn = found[TEACHER], found["random"]
    assert (report.documents, report.compared, gem.clusters) == (600, 400, K)
    for field in ("npmi", "bigram_drop", "cosine", "pairwise"):
        assert getattr(gem, field) > getattr(drawn, field) + 0.05
    assert gem.n_eff_over_k > 0.98
    assert gem.reseeding is not None
    assert gem.halves is not None
    assert gem.halves > 0.5
    assert drawn.reseeding is None
    assert found["source column"].clusters == 2
    assert report.anisotropy_after.effective_axes > report.anisotropy_before.effective_axes


def test_every_cluster_has_its_words_and_name(published: tuple[ClusterReport, Path]) -> None:
    clusters = published[0].clusters
    assert [c.name for c in clusters] == ["Sea <b>", "Law", "Cluster 2"]
    assert sorted(tuple(sorted(c.words[:3])) for c in clusters)[1][0] in {"flour", "anchor", "harbour", "oven"}
    assert {w for c in clusters for w in c.words[:3]} <= {w for topic in TOPICS for w in topic}
    assert sum(c.documents for c in clusters) == 600
    assert sum(c.share for c in clusters) == pytest.approx(1)


def test_the_page_is_whole_and_inert_and_the_report_reads_back(published: tuple[ClusterReport, Path]) -> None:
    report, folder = published
    assert read_report(folder) == report
    text = (folder / PAGE_NAME).read_text(encoding="utf-8")
    reader = check_is_inert(text)
    assert reader.tags.count("img") == 3
    assert "Sea <b>" in reader.text
    assert "two halves" in reader.text
    assert sorted(p.name for p in folder.iterdir()) == [
        "clusters.html",
        "comparison.png",
        "report.json",
        "shares.png",
        "spectrum.png",
    ]


def test_a_corpus_too_small_for_refits_is_still_described() -> None:
    x = mixture(30, 8, 3)
    teacher = GemTeacher(3, n_init=1, anneal_iter=5, threads=1).fit(x)
    report = cluster_report(
        teacher, x, teacher.labels_, ["one two"] * 30, [None] * 30, {}, ClusterReportConfig(vocabulary=300)
    )
    gem = report.clusterings[0]
    assert gem.halves is None
    assert gem.npmi is None
    assert "vMF, no balance" not in [c.name for c in report.clusterings]
    assert all(c.npmi is None for c in report.clusters)
