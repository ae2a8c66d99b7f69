"""OpenLineage events of every run behind a mixture, built from the manifests.

A run is an artifact: its id is derived from the artifact's identity, its inputs and outputs are data sets named by
asset and snapshot, each with a ``DatasetVersion`` facet, so an event says what was read at which version. Live
integrations leave that out; here the manifests pinned it before anything was read. Columns of the audited documents and
of the order carry column lineage.

Every event has the date of the mixture (:mod:`gem_assets.audit.crawl`): manifests hold no times, so when a run took
place is not told here. Needs ``openlineage-python`` (extra ``openlineage``). Source: OpenLineage specification 2-0-2.
"""

import json
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import pyarrow.parquet as pq

from gem_assets.audit.facts import Account
from gem_assets.lineage.audit import DOCUMENTS_NAME
from gem_assets.ordering.training_order import ORDER_SCHEMA
from gem_assets.stages import AUDITS, RAW_SHARDS, STUDENT_LABELS, result_of
from gem_assets.storage.manifest import InputRef, Manifest, stage_name

if TYPE_CHECKING:
    from openlineage.client.event_v2 import InputDataset, OutputDataset

OPENLINEAGE_NAME = "openlineage.jsonl"
NAMESPACE: Final = "gem-assets"
PRODUCER: Final = "urn:gem-assets:audit"
IDENTITY, AGGREGATION, SORT = "IDENTITY", "AGGREGATION", "SORT"


def openlineage(account: Account) -> str:
    """Return the events as JSON lines, runs in the order of their dependencies, START before COMPLETE.

    Raises ModuleNotFoundError without ``openlineage-python``.
    """
    from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
    from openlineage.client.serde import Serde

    when = account.facts.crawl.instant
    lines: list[str] = []
    for manifest, inputs, outputs in _runs(account):
        name = stage_name(manifest.asset, None)
        run = Run(runId=run_id(manifest), facets=_run_facets(manifest))
        job = Job(namespace=NAMESPACE, name=name, facets=_job_facets(manifest))
        for state, read, written in ((RunState.START, inputs, []), (RunState.COMPLETE, inputs, outputs)):
            event = RunEvent(
                eventType=state,
                eventTime=when,
                run=run,
                job=job,
                inputs=list(read),
                outputs=list(written),
                producer=PRODUCER,
            )
            lines.append(json.dumps(_stamped(Serde.to_dict(event)), sort_keys=True, ensure_ascii=False))
    return "\n".join(lines) + "\n"


def _stamped(value: Any) -> Any:
    """Name this package as the producer of every facet; the library's own default is a link to itself."""
    if isinstance(value, dict):
        return {k: PRODUCER if k == "_producer" else _stamped(v) for k, v in value.items()}
    return [_stamped(item) for item in value] if isinstance(value, list) else value


def run_id(manifest: Manifest) -> str:
    """Return the UUID of the run that made an artifact, derived from its identity (RFC 9562, version 5)."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:gem:run:{manifest.key}:{manifest.identity}"))


def _runs(account: Account) -> Iterator[tuple[Manifest, "list[InputDataset]", "list[OutputDataset]"]]:
    for manifest in account.manifests:
        fields = _order_columns(manifest) if manifest is account.order else None
        yield manifest, [_input(ref) for ref in manifest.inputs], [_output(manifest, fields)]
    audit = _audit_manifest(account)
    yield audit, [_input(ref) for ref in audit.inputs], [_output(audit, _audit_columns(account))]


def _audit_manifest(account: Account) -> Manifest:
    """Describe the audit itself, whose own manifest is written after its files: named by its Merkle root."""
    order, root = account.order, account.facts.report.merkle_root
    labels = [ref for ref in order.inputs if ref.asset == STUDENT_LABELS]
    own = InputRef(asset=order.asset, data_version=order.data_version, identity=order.identity, rows=_rows(order))
    return Manifest(
        asset=result_of(AUDITS, account.facts.strategy),
        identity=root,
        data_version=root,
        inputs=(own, *labels),
        counts={"documents": account.facts.report.documents},
    )


def _input(ref: InputRef) -> "InputDataset":
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import input_statistics_input_dataset as statistics

    size = sum(file.bytes for file in ref.files) if ref.files else None
    counted = statistics.InputStatisticsInputDatasetFacet(
        rowCount=ref.rows, size=size, fileCount=len(ref.files) or None
    )
    return InputDataset(
        namespace=NAMESPACE,
        name=ref.key,
        facets=_version(ref.data_version),
        inputFacets={"inputStatistics": counted} if ref.rows is not None or ref.files else {},
    )


def _output(manifest: Manifest, columns: dict[str, Any] | None) -> "OutputDataset":
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

    counted = statistics.OutputStatisticsOutputDatasetFacet(
        rowCount=_rows(manifest),
        size=sum(file.bytes for file in manifest.outputs) or None,
        fileCount=len(manifest.outputs) or None,
    )
    return OutputDataset(
        namespace=NAMESPACE,
        name=manifest.key,
        facets={**_version(manifest.data_version), **(columns or {})},
        outputFacets={"outputStatistics": counted},
    )


def _version(data_version: str) -> dict[str, Any]:
    from openlineage.client.facet_v2 import dataset_version_dataset as versions

    return {"version": versions.DatasetVersionDatasetFacet(datasetVersion=data_version)}


def _run_facets(manifest: Manifest) -> dict[str, Any]:
    from openlineage.client.facet_v2 import processing_engine_run as engine

    return {
        "processing_engine": engine.ProcessingEngineRunFacet(
            name="gem-assets", version=f"code version {manifest.code_version}"
        )
    }


def _job_facets(manifest: Manifest) -> dict[str, Any]:
    from openlineage.client.facet_v2 import documentation_job, job_type_job

    return {
        "jobType": job_type_job.JobTypeJobFacet(processingType="BATCH", integration="GEM_ASSETS", jobType="ASSET"),
        "documentation": documentation_job.DocumentationJobFacet(description=f"Makes {manifest.asset}."),
    }


def _order_columns(order: Manifest) -> dict[str, Any]:
    """Column lineage of a training order: drawn and sorted from the label tables."""
    labels = [ref for ref in order.inputs if ref.asset == STUDENT_LABELS]
    score = str(order.config.get("score", "score"))
    same = {"doc_id": "doc_id", "cluster": "cluster", "n_tokens": "n_tokens", "score": score}
    found = {name: [(ref.key, same[name], IDENTITY) for ref in labels] for name in ORDER_SCHEMA.names if name in same}
    found["position"] = [(ref.key, score, SORT) for ref in labels]
    return _columns({name: str(ORDER_SCHEMA.field(name).type) for name in ORDER_SCHEMA.names}, found)


def _audit_columns(account: Account) -> dict[str, Any]:
    """Column lineage of the audited documents: counted in the order, described by the label tables."""
    schema = pq.read_schema(account.folder / DOCUMENTS_NAME)
    labels = [ref.key for ref in account.order.inputs if ref.asset == STUDENT_LABELS]
    found = {
        name: [(key, name, IDENTITY) for key in labels]
        for name in schema.names
        if name not in {"doc_id", "multiplicity", "text_digest"}
    }
    found["text_digest"] = [(m.key, "text", AGGREGATION) for m in account.manifests if m.asset == RAW_SHARDS]
    found["doc_id"] = [(account.order.key, "doc_id", IDENTITY)]
    found["multiplicity"] = [(account.order.key, "doc_id", AGGREGATION)]
    return _columns({name: str(schema.field(name).type) for name in schema.names}, found)


def _columns(types: dict[str, str], lineage: dict[str, list[tuple[str, str, str]]]) -> dict[str, Any]:
    from openlineage.client.facet_v2 import column_lineage_dataset as columns
    from openlineage.client.facet_v2 import schema_dataset as schema

    def fields(sources: list[tuple[str, str, str]]) -> Any:
        return columns.Fields(
            inputFields=[
                columns.InputField(
                    namespace=NAMESPACE,
                    name=dataset,
                    field=column,
                    transformations=[
                        columns.Transformation(type="INDIRECT" if how == SORT else "DIRECT", subtype=how, masking=False)
                    ],
                )
                for dataset, column, how in sources
            ]
        )

    return {
        "schema": schema.SchemaDatasetFacet(
            fields=[schema.SchemaDatasetFacetFields(name=name, type=kind) for name, kind in types.items()],
        ),
        "columnLineage": columns.ColumnLineageDatasetFacet(
            fields={name: fields(sources) for name, sources in lineage.items() if sources}
        ),
    }


def _rows(manifest: Manifest) -> int | None:
    if len(manifest.lance) == 1:
        return manifest.lance[0].rows
    return next((manifest.counts[name] for name in ("rows", "kept", "documents") if name in manifest.counts), None)
