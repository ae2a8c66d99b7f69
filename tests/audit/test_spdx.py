import io
import json
from dataclasses import replace

import pytest
import spdx_python_model
from spdx_python_model import v3_0_1 as model

from gem_assets.audit.croissant import limits
from gem_assets.audit.spdx import IDENTIFIERS, NO_LICENSE, SPDX_NAME, spdx
from gem_assets.lineage.audit import DOCUMENTS_NAME
from gem_assets.storage.identity import file_digest


@pytest.fixture(scope="module")
def document(pack):
    return json.loads((pack / SPDX_NAME).read_text())


@pytest.fixture(scope="module")
def objects(document):
    """The document as the bindings that are generated from the published SHACL model read it."""
    version, found = spdx_python_model.load_data(document)
    assert version is model
    return found


def of_type(objects, kind):
    return list(objects.foreach_type(kind))


def test_the_published_model_accepts_it_and_writes_it_back(objects, document):
    assert objects.missing_ids <= {NO_LICENSE}
    written = io.BytesIO()
    # writing checks the counts that the model demands
    model.JSONLDSerializer().write(objects, written)
    again = json.loads(written.getvalue())
    assert again["@context"] == document["@context"]

    def ids(graph):
        return {item["spdxId"] for item in graph if "spdxId" in item}

    assert ids(again["@graph"]) == ids(document["@graph"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dataset_datasetType", ["prose"]),
        ("dataset_datasetSize", "many"),
        ("dataset_hasSensitivePersonalInformation", "perhaps"),
        ("software_primaryPurpose", "reading"),
        ("builtTime", "last year"),
    ],
)
def test_the_published_model_refuses_a_wrong_value(document, key, value):
    broken = json.loads(json.dumps(document))
    package = next(item for item in broken["@graph"] if item["type"] == "dataset_DatasetPackage")
    assert key in package
    package[key] = value
    with pytest.raises((ValueError, TypeError)):
        spdx_python_model.load_data(broken)


def test_what_the_dataset_profile_demands_is_there(objects):
    packages = of_type(objects, model.dataset_DatasetPackage)
    assert len(packages) == 3
    relations = of_type(objects, model.Relationship)
    for package in packages:
        assert package.dataset_datasetType
        assert package.software_downloadLocation
        assert package.software_primaryPurpose
        assert package.originatedBy
        assert package.builtTime
        assert package.releaseTime
        for kind in ("hasDeclaredLicense", "hasConcludedLicense"):
            iri = f"https://spdx.org/rdf/3.0.1/terms/Core/RelationshipType/{kind}"
            assert len([r for r in relations if r.relationshipType == iri and r.from_ is package]) == 1


def test_the_mixture_descends_from_every_landed_snapshot(document, pack):
    graph = {item["spdxId"]: item for item in document["@graph"] if "spdxId" in item}
    mixture = next(item for key, item in graph.items() if key.endswith(":mixture"))
    assert mixture["verifiedUsing"][0]["hashValue"] == file_digest(pack / DOCUMENTS_NAME)
    descent = next(i for i in graph.values() if i.get("relationshipType") == "descendantOf")
    assert descent["from"] == mixture["spdxId"]
    assert {graph[key]["name"] for key in descent["to"]} == {"landed snapshot 2026-01", "landed snapshot 2026-02"}
    files = [item for item in graph.values() if item["type"] == "software_File"]
    assert {(f["name"], f["verifiedUsing"][0]["hashValue"]) for f in files} == {
        ("pages-0.warc.gz", f"{1:064x}"),
        ("pages-1.warc.gz", f"{2:064x}"),
    }


def test_licences_that_are_no_identifiers_keep_their_words(document):
    expression = next(i for i in document["@graph"] if i["type"] == "simplelicensing_LicenseExpression")
    parts = expression["simplelicensing_licenseExpression"].split(" AND ")
    texts = {i["name"]: i["simplelicensing_licenseText"] for i in document["@graph"]
             if i["type"] == "simplelicensing_SimpleLicensingText"}  # fmt: skip
    assert set(parts) - set(texts) == {"CC-BY-4.0"}
    assert set(texts.values()) == {
        "Terms of the | publisher <b>, 2026",
        "No licence is stated for these documents.",
    }
    assert {e["key"] for e in expression["simplelicensing_customIdToUri"]} == set(texts)
    assert "CC-BY-4.0" in IDENTIFIERS
    shares = [i["statement"] for i in document["@graph"] if i["type"] == "Annotation"]
    assert any(s.startswith("CC-BY-4.0: 3 documents, 140 tokens as trained, token share 0.304348") for s in shares)


def test_the_date_is_that_of_the_documents(document):
    info = next(item for item in document["@graph"] if item["type"] == "CreationInfo")
    assert info["created"] == "2026-02-01T00:00:00Z"
    assert "no clock was read" in info["comment"]


def test_licences_beyond_the_largest_are_declared_too(account):
    report = account.facts.report
    few = {**report.composition, "license": report.composition["license"][:1]}
    cut = replace(
        account, facts=account.facts.model_copy(update={"report": report.model_copy(update={"composition": few})})
    )
    document = spdx(cut)
    expression = next(i for i in document["@graph"] if i["type"] == "simplelicensing_LicenseExpression")
    assert expression["simplelicensing_licenseExpression"].endswith(" AND LicenseRef-unlisted")
    spdx_python_model.load_data(document)
    assert any(line.startswith("licences of 50.0 % of the tokens are too many to list") for line in limits(cut))
    assert not any("too many to list" in line for line in limits(account))
