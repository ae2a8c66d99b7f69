"""Runs whose process is gone, after a kill or a power cut.

Dagster keeps such a run as started for ever, and automation waits for it for ever. Whoever holds the lock of a
DAGSTER_HOME knows that nothing runs on it: what is still marked as running then was cut off. It is marked as canceled,
not as failed, so that automation asks for it again; the stages themselves skip what was committed before the cut.
"""

import os
from pathlib import Path

import dagster as dg

UNFINISHED = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def cancel_abandoned_runs(home: Path) -> list[str]:
    """Mark every unfinished run of a DAGSTER_HOME as canceled; returns their ids.

    Call it only while holding the home's lock, before the daemon starts. Queued runs are left alone: the daemon takes
    them up.
    """
    before = os.environ.get("DAGSTER_HOME")
    os.environ["DAGSTER_HOME"] = str(home)
    try:
        with dg.DagsterInstance.get() as instance:
            runs = instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED))
            for run in runs:
                instance.report_run_canceled(run, message="The server stopped while this run was under way.")
            return [run.run_id for run in runs]
    finally:
        if before is None:
            del os.environ["DAGSTER_HOME"]
        else:
            os.environ["DAGSTER_HOME"] = before
