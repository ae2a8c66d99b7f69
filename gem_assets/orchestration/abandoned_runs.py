"""Runs whose process is gone, after a kill or a power cut.

Dagster keeps such a run as started for ever, with its places in the pools: automation waits for it for ever, and so
does the next run that wants one of those places. Two kinds of processes run things here. What the daemon started lives
no longer than the server, so whoever holds the lock of a DAGSTER_HOME, or sees that nobody does, knows that none of it
runs. A run in the process of a command carries the name of a folder that stays locked while that process lives. What
was cut off is marked as canceled, not as failed, so that automation asks for it again; the stages themselves skip what
was committed before the cut.
"""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from gem_assets.storage.durable import is_abandoned, locked_folder

UNFINISHED = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
PROCESS_TAG = ".dagster/gem_process"
"""Tag of a run in the process of a command: the name of its folder below ``PROCESSES``. Dagster's prefix for tags that
are nobody's to read keeps it off the page of runs."""
PROCESSES = "processes"
PARTITION_TAG = "dagster/partition"


@contextmanager
def named_process(home: Path) -> Generator[str]:
    """Give the name under which this process runs things on a DAGSTER_HOME; put it on each run as ``PROCESS_TAG``."""
    with locked_folder(home / PROCESSES, "process-") as folder:
        yield folder.name


def cancel_abandoned_runs(home: Path, *, server: bool = True) -> list[str]:
    """Mark every unfinished run of a DAGSTER_HOME whose process is gone as canceled; returns their ids.

    Queued runs are left alone: the daemon takes them up. Places in pools that finished runs still hold are freed.

    Parameters
    ----------
    home
        Folder with the instance's configuration.
    server
        Also runs of the daemon: nothing of it runs, because the caller holds the home's lock or nobody does.
    """
    before = os.environ.get("DAGSTER_HOME")
    os.environ["DAGSTER_HOME"] = str(home)
    try:
        with dg.DagsterInstance.get() as instance:
            runs = instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED))
            gone = [run for run in runs if _is_gone(run, home, server=server)]
            for run in gone:
                instance.report_run_canceled(run, message="The process of this run ended while it was under way.")
            _free_places(instance)
    finally:
        if before is None:
            del os.environ["DAGSTER_HOME"]
        else:
            os.environ["DAGSTER_HOME"] = before
    for folder in (home / PROCESSES).glob("*"):
        if is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)
    return [run.run_id for run in gone]


def work_under_way(instance: dg.DagsterInstance, home: Path, snapshot: str) -> str | None:
    """Name what is running now and may read or write a snapshot; None when nothing is.

    Parameters
    ----------
    instance
        Instance on that home, after :func:`cancel_abandoned_runs`.
    home
        Folder with the instance's configuration.
    snapshot
        Runs of another snapshot alone do not count.
    """
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED)):
        if run.tags.get(PARTITION_TAG) in (None, snapshot):
            made = ", ".join(sorted(key.to_user_string() for key in run.asset_selection or ())) or run.job_name
            return f"run {run.run_id[:8]} ({made[:200]})"
    if any(folder.is_dir() and not is_abandoned(folder) for folder in (home / PROCESSES).glob("*")):
        return "a command that runs the graph"
    return None


def _is_gone(run: dg.DagsterRun, home: Path, *, server: bool) -> bool:
    name = run.tags.get(PROCESS_TAG)
    if name is None:
        return server
    folder = home / PROCESSES / Path(name).name
    return not folder.exists() or is_abandoned(folder)


def _free_places(instance: dg.DagsterInstance) -> None:
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    for run_id in storage.get_concurrency_run_ids():
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            storage.free_concurrency_slots_for_run(run_id)
