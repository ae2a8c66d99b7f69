"""Great Expectations 1.x as Dagster asset checks, without files, network or document text in the results."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from gem_assets.stages import RAW_SHARDS
from gem_assets.storage.manifest import InputRef
from resources.store import StoreResource

if TYPE_CHECKING:
    import pandas as pd

VALIDATED_ROWS = 250_000
"""Most rows of a snapshot, about, that a suite looks at: what it needs in memory stays the same beyond."""
SEVERITY = {"critical": dg.AssetCheckSeverity.ERROR}


def validate_frame(
    frame: "pd.DataFrame",
    expectations: Sequence[Any],
    name: str,
    metadata: dict[str, Any] | None = None,
) -> dg.AssetCheckResult:
    """Run an expectation suite over a frame and turn its outcome into an asset check result.

    A failed expectation of severity ``critical`` makes the check an error, which a blocking check turns into a stop for
    everything downstream; ``warning`` and ``info`` only show. Every suite should expect at least one row: an empty
    frame meets all column expectations.

    Raises ValueError when an expectation has no description.

    Parameters
    ----------
    frame
        Rows to validate; pass derived scalars rather than vectors or texts.
    expectations
        ``great_expectations.expectations`` objects; the ``description`` of each is the sentence that a person reads
        when it fails.
    """
    import great_expectations as gx

    silent = [type(expectation).__name__ for expectation in expectations if not expectation.description]
    if silent:
        raise ValueError(f"{name}: {', '.join(silent)} has no description, which a person reads when it fails")
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    batch = (
        context.data_sources.add_pandas("frame")
        .add_dataframe_asset("frame")
        .add_batch_definition_whole_dataframe("all")
        .get_batch(batch_parameters={"dataframe": frame})
    )
    outcome = batch.validate(
        gx.ExpectationSuite(name=name, expectations=list(expectations)),
        # the default format would copy offending values, document text among them, into metadata
        result_format={"result_format": "BASIC", "partial_unexpected_count": 0},
    )
    rows, worst = [], dg.AssetCheckSeverity.WARN
    for result in outcome.results:
        config = result.expectation_config
        severity = str(getattr(config.severity, "value", config.severity))
        if not result.success:
            worst = SEVERITY.get(severity, worst)
        rows.append(
            {
                "fails when": config.description,
                "passed": bool(result.success),
                "severity": severity,
                "observed": _observed(result),
                "column": str(config.kwargs.get("column", "")),
            }
        )
    rows.sort(key=lambda row: (row["passed"], row["column"], row["fails when"]))
    failed = [f"{row['fails when']} ({row['observed']})" for row in rows if not row["passed"]]
    return dg.AssetCheckResult(
        passed=bool(outcome.success),
        severity=worst,
        description=". ".join(failed) or f"All {len(rows)} expectations hold",
        metadata={
            "rows": len(frame),
            "suite": dg.MetadataValue.table([dg.TableRecord(row) for row in rows]),
            **(metadata or {}),
        },
    )


def kept_documents(store: StoreResource, made: InputRef) -> int:
    """Count the documents that a result of one snapshot was made from; the snapshot may have changed since."""
    return store.artifact(store.ancestor(made, RAW_SHARDS)).manifest.counts["kept"]


def _observed(result: Any) -> str:
    raised = _exception(result.exception_info)
    if raised:
        return raised
    found = result.result or {}
    if found.get("observed_value") is not None:
        return str(found["observed_value"])
    if found.get("unexpected_count") is not None:
        return f"{found['unexpected_count']} of {found.get('element_count', '?')} rows"
    return ""


def _exception(info: dict[str, Any] | None) -> str:
    """Return the first exception message: flat for a whole expectation, keyed by metric for a missing column."""
    if not info:
        return ""
    if "raised_exception" in info:
        return str(info.get("exception_message") or "") if info["raised_exception"] else ""
    return next((m for m in map(_exception, (v for v in info.values() if isinstance(v, dict))) if m), "")
