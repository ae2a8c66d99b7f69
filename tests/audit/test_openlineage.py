"""Validated by the classes that openlineage-python generates from the published JSON schemas."""

import importlib
import json
import pkgutil
import uuid

import attr
import pytest
from openlineage.client import generated
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState

from gem_assets.audit.openlineage import OPENLINEAGE_NAME, run_id


def facet_classes():
    """Every generated class by the schema that it was generated from."""
    found = {}
    for module in pkgutil.iter_modules(generated.__path__):
        for kind in vars(importlib.import_module(f"{generated.__name__}.{module.name}")).values():
            if attr.has(kind) and hasattr(kind, "_get_schema"):
                found[kind._get_schema()] = kind
    return found


CLASSES = facet_classes()


def facets(found):
    """Read facets back strictly: an unknown schema, a missing or an unknown property raises."""
    read = {}
    for name, value in (found or {}).items():
        own = {key: part for key, part in value.items() if not key.startswith("_")}
        assert value["_producer"] == "urn:gem-assets:audit"
        read[name] = CLASSES[value["_schemaURL"]](**own)
    return read


def dataset(kind, found):
    side = "inputFacets" if kind is InputDataset else "outputFacets"
    return kind(found["namespace"], found["name"], facets=facets(found["facets"]), **{side: facets(found[side])})


def event(line):
    found = json.loads(line)
    assert found["schemaURL"] == RunEvent._get_schema()
    return RunEvent(
        eventType=RunState(found["eventType"]),
        eventTime=found["eventTime"],
        run=Run(found["run"]["runId"], facets=facets(found["run"]["facets"])),
        job=Job(found["job"]["namespace"], found["job"]["name"], facets=facets(found["job"]["facets"])),
        inputs=[dataset(InputDataset, d) for d in found["inputs"]],
        outputs=[dataset(OutputDataset, d) for d in found["outputs"]],
        producer=found["producer"],
    )


@pytest.fixture(scope="module")
def lines(pack):
    return (pack / OPENLINEAGE_NAME).read_text().splitlines()


@pytest.fixture(scope="module")
def events(lines):
    return [event(line) for line in lines]


def test_the_generated_classes_read_every_event_back(events, world):
    # every artifact and the audit itself, each with a start and an end
    assert len(events) == 2 * (len(world.lineage.nodes) + 1)
    assert {e.eventTime for e in events} == {"2026-02-01T00:00:00Z"}
    assert all(str(uuid.UUID(e.run.runId)) == e.run.runId for e in events)


@pytest.mark.parametrize("change", ["runId", "eventTime", "facet", "schema"])
def test_the_generated_classes_refuse_what_is_wrong(lines, change):
    found = json.loads(lines[1])
    if change == "runId":
        found["run"]["runId"] = "the first run"
    elif change == "eventTime":
        found["eventTime"] = "2026-02-01"
    elif change == "facet":
        found["outputs"][0]["facets"]["version"]["colour"] = "red"
    else:
        found["outputs"][0]["facets"]["version"]["_schemaURL"] = "https://openlineage.io/spec/facets/none.json"
    with pytest.raises((ValueError, TypeError, KeyError)):
        event(json.dumps(found))


def test_every_input_was_made_by_an_earlier_run_or_landed(events):
    made = {}
    for one in events:
        for read in one.inputs:
            version = read.facets["version"].datasetVersion
            assert read.name.startswith("landing[") or made[read.name] == version
        for written in one.outputs:
            made[written.name] = written.facets["version"].datasetVersion
    assert {"raw_shards[2026-01]", "recipes/balanced", "training_order/balanced", "mixture_audit/balanced"} <= set(made)


def test_columns_of_the_audit_lead_to_the_order_and_the_labels(events, world):
    audit = next(w for e in events for w in e.outputs if w.name == "mixture_audit/balanced")
    columns = audit.facets["columnLineage"].fields
    assert [(f["name"], f["field"]) for f in columns["multiplicity"]["inputFields"]] == [
        ("training_order/balanced", "doc_id")
    ]
    assert {f["name"] for f in columns["license"]["inputFields"]} == {
        "student_labels[2026-01]",
        "student_labels[2026-02]",
    }
    order = next(w for e in events for w in e.outputs if w.name == "training_order/balanced")
    score = order.facets["columnLineage"].fields["score"]["inputFields"]
    assert {f["field"] for f in score} == {"q_chars"}
    names = [field["name"] for field in audit.facets["schema"].fields]
    assert names[:4] == ["doc_id", "content_digest", "text_digest", "multiplicity"]


def test_run_ids_follow_from_identities(world):
    nodes = [node.manifest for node in world.lineage.nodes.values()]
    assert len({run_id(m) for m in nodes}) == len(nodes)
    assert run_id(nodes[0]) == run_id(nodes[0])
