import json

import mlcroissant
import pytest

from gem_assets.audit.croissant import CROISSANT_NAME
from gem_assets.storage.identity import file_digest
from tests.audit.worlds import SHOWN


@pytest.fixture(scope="module")
def document(pack):
    return json.loads((pack / CROISSANT_NAME).read_text())


@pytest.fixture(scope="module")
def dataset(pack):
    return mlcroissant.Dataset(jsonld=str(pack / CROISSANT_NAME))


def test_mlcroissant_accepts_it_as_version_1_1_without_a_warning(dataset):
    issues = dataset.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    assert dataset.metadata.ctx.is_v1_1()
    assert dataset.metadata.conforms_to == [
        "http://mlcommons.org/croissant/1.1",
        "http://mlcommons.org/croissant/RAI/1.0",
    ]


def test_mlcroissant_refuses_it_without_a_digest(document):
    broken = json.loads(json.dumps(document))
    for file in broken["distribution"]:
        file.pop("sha256")
    with pytest.raises(mlcroissant.ValidationError, match="sha256"):
        mlcroissant.Dataset(jsonld=broken)


def test_a_croissant_loader_reads_the_documents(dataset):
    rows = list(dataset.records("documents"))
    assert len(rows) == len(set(SHOWN))
    assert sum(int(row["documents/multiplicity"]) for row in rows) == len(SHOWN)


def test_every_file_is_described_by_its_digest(pack, document, world):
    files = {file["@id"]: file for file in document["distribution"]}
    for name in ("documents.parquet", "spdx.json", "openlineage.jsonl", "eu_summary.md", "domains.csv"):
        assert files[name]["sha256"] == file_digest(pack / name)
        assert files[name]["contentSize"] == f"{(pack / name).stat().st_size} B"
    order = world.store.current("training_order/balanced")
    assert files["order/part-00000.parquet"]["sha256"] == file_digest(order.path / "part-00000.parquet")


def test_rai_and_provenance_survive_the_validator(dataset, document):
    metadata = dataset.metadata
    assert [d.date().isoformat() for d in metadata.data_collection_timeframe] == ["2025-01-01", "2026-02-01"]
    assert "A PERSON MUST STATE" in metadata.personal_sensitive_information[0]
    assert any(tool.startswith("cluster labels") for tool in metadata.machine_annotation_tools)
    assert document["rai:dataCollectionTimeframe"] == ["2025-01-01", "2026-02-01"]
    sources = {source["@id"].split("@")[0] for source in document["prov:wasDerivedFrom"]}
    assert sources == {"urn:gem:source:landing[2026-01]", "urn:gem:source:landing[2026-02]"}
    activities = {a["@id"]: a for a in document["prov:wasGeneratedBy"]}
    made = {a["prov:generated"]["@id"] for a in activities.values()}
    used = {u["@id"] for a in activities.values() for u in a["prov:used"]}
    assert used <= made | {source["@id"] for source in document["prov:wasDerivedFrom"]}
    assert any(key.startswith("urn:gem:run:training_order/balanced:") for key in activities)


def test_licences_carry_their_share_as_trained(document):
    # documents 0, 3, 6: 3 x 10 + 40 + 70 of 460 tokens
    assert document["license"][0].startswith("Terms of the")
    assert "CC-BY-4.0 (30.4 % of tokens)" in document["license"]
