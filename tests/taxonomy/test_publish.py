import json
from types import SimpleNamespace

import pytest

from gem_assets.taxonomy.config import NamerConfig, TaxonomyConfig
from gem_assets.taxonomy.llm_namer import PARENT_PROMPT, PROMPT_VERSION
from gem_assets.taxonomy.publish import PAGE_NAME, TAXONOMY_NAME, TREE_NAME, namer_of, publish_taxonomy
from gem_assets.taxonomy.taxonomy import Taxonomy
from gem_assets.teacher.seed_documents import SeedDocuments
from tests.taxonomy.test_llm_namer import Endpoint
from tests.taxonomy.test_taxonomy import world


@pytest.fixture
def seed():
    sample, vectors, mu, kappa = world()
    return SeedDocuments(SimpleNamespace(mu_=mu, kappa_=kappa), sample, vectors, 0)


@pytest.fixture
def endpoint():
    def answer(number, body):
        what = "Section" if body["messages"][0]["content"] == PARENT_PROMPT else "Topic"
        return json.dumps({"name": f"{what} {number}", "description": "As told."})

    started = Endpoint(answer)
    yield started
    started.server.shutdown()
    started.server.server_close()


def published(seed, config, folder, cache):
    folder.mkdir()
    return publish_taxonomy(seed, config, folder, version="v1", namer=namer_of(config, cache))


def test_an_artifact_named_by_keywords_holds_page_map_tree_and_table(seed, tmp_path):
    taxonomy = published(seed, TaxonomyConfig(parents=2), tmp_path / "a", tmp_path / "cache")
    assert taxonomy.namer == "keywords"
    names = {p.name for p in (tmp_path / "a").iterdir()}
    assert names == {TAXONOMY_NAME, PAGE_NAME, TREE_NAME, "map.png", "taxonomy.parquet"}
    assert Taxonomy.read(tmp_path / "a" / TAXONOMY_NAME) == taxonomy
    assert {row["parent"] for row in taxonomy.to_table().to_pylist()} == {p.name for p in taxonomy.hierarchy.parents}
    published(seed, TaxonomyConfig(parents=2), tmp_path / "b", tmp_path / "cache")
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_no_parents_no_tree(seed, tmp_path):
    taxonomy = published(seed, TaxonomyConfig(parents=0), tmp_path / "a", tmp_path / "cache")
    assert taxonomy.hierarchy is None
    assert not (tmp_path / "a" / TREE_NAME).exists()
    assert {row["parent"] for row in taxonomy.to_table().to_pylist()} == {None}


def test_a_model_names_clusters_and_parents_once_and_the_artifact_says_which_prompt_it_had(seed, endpoint, tmp_path):
    config = TaxonomyConfig(parents=2, namer=NamerConfig(base_url=endpoint.url, model="tiny"))
    first = published(seed, config, tmp_path / "a", tmp_path / "cache")
    assert first.namer == f"tiny, prompt {PROMPT_VERSION}"
    assert [c.named_by for c in first.clusters] == ["model"] * 4
    assert [p.name for p in first.hierarchy.parents] == ["Section 5", "Section 6"]
    assert "Section 5" in (tmp_path / "a" / PAGE_NAME).read_text()
    assert len(endpoint.requests) == 6
    assert "- Topic " in endpoint.requests[-1]["messages"][1]["content"]
    assert published(seed, config, tmp_path / "b", tmp_path / "cache") == first
    assert len(endpoint.requests) == 6
