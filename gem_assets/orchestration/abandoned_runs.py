"""Runs whose process is gone, after a kill or a power cut.

Dagster keeps such a run as started for ever, with its places in the pools: automation waits for it for ever, and so
does the next run that wants one of those places. Two kinds of processes run things here. What the daemon started lives
no longer than the server, so whoever holds the lock of a DAGSTER_HOME, or sees that nobody does, knows that none of it
runs. A run in the process of a command carries the name of a folder that stays locked while that process lives. What
was cut off is marked as canceled, not as failed, so that automation asks for it again; the stages themselves skip what
was committed before the cut.

Several hosts may share one database. A run is then judged by its owner alone: the host and home of its process, which
are on it as a tag. Another host sees only the heartbeat that the process leaves on its runs, and cancels a run when
that has been silent for :data:`SILENT_S`. A run without an owner was started by some server; Dagster's own monitoring
looks after those.
"""

import hashlib
import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.storage.runs import SqliteRunStorage

from gem_assets.storage.durable import is_abandoned, locked_folder

logger = logging.getLogger(__name__)

UNFINISHED = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
PROCESS_TAG = ".dagster/gem_process"
"""Tag of a run in the process of a command: the name of its folder below ``PROCESSES``. Dagster's prefix for tags that
are nobody's to read keeps it off the page of runs."""
OWNER_TAG = ".dagster/gem_owner"
"""Host and home of the process of such a run, as :func:`owner_of` writes them."""
BEAT_TAG = ".dagster/gem_beat"
"""When that process last said that it lives, in seconds since the epoch."""
BEAT_S = 60.0
SILENT_S = 900.0
PROCESSES = "processes"
PARTITION_TAG = "dagster/partition"


@contextmanager
def named_process(home: Path) -> Generator[str]:
    """Give the name under which this process runs things on a DAGSTER_HOME; put it on each run as ``PROCESS_TAG``."""
    with locked_folder(home / PROCESSES, "process-") as folder:
        yield folder.name


def owner_of(home: Path) -> str:
    """Name a DAGSTER_HOME among those of all hosts."""
    return f"{socket.gethostname()}:{hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:12]}"


def process_tags(home: Path, process: str) -> dict[str, str]:
    """Return the tags of a run in the process of this name."""
    return {PROCESS_TAG: process, OWNER_TAG: owner_of(home), BEAT_TAG: f"{time.time():.0f}"}


@contextmanager
def heartbeat(instance: dg.DagsterInstance, home: Path, process: str, *, every_s: float = BEAT_S) -> Generator[None]:
    """Keep the runs of this process alive in the eyes of other hosts; does nothing where there can be none."""
    if _is_private(instance, home):
        yield
        return
    over = threading.Event()

    def beat() -> None:
        mine = dg.RunsFilter(tags={PROCESS_TAG: process, OWNER_TAG: owner_of(home)}, statuses=UNFINISHED)
        while not over.wait(every_s):
            try:
                for run in instance.get_runs(filters=mine):
                    instance.add_run_tags(run.run_id, {BEAT_TAG: f"{time.time():.0f}"})
            except Exception as error:  # the database may be away for a while, and the next beat finds it again
                logger.warning(f"no heartbeat in the run database: {type(error).__name__}")

    thread = threading.Thread(target=beat, daemon=True, name="gem heartbeat")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def cancel_abandoned_runs(home: Path, *, server: bool = True) -> list[str]:
    """Mark every unfinished run of a DAGSTER_HOME whose process is gone as canceled; returns their ids.

    Queued runs are left alone: the daemon takes them up. Places in pools that finished runs still hold are freed.

    ``server`` takes runs of the daemon, too, where the database is this home's own: nothing of it runs, because the
    caller holds the home's lock or nobody does.
    """
    before = os.environ.get("DAGSTER_HOME")
    os.environ["DAGSTER_HOME"] = str(home)
    try:
        with dg.DagsterInstance.get() as instance:
            runs = instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED))
            private = _is_private(instance, home)
            gone = [run for run in runs if _is_gone(run, home, server=server, private=private)]
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

    Runs of another snapshot alone do not count.
    """
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED)):
        if run.tags.get(PARTITION_TAG) in (None, snapshot):
            made = ", ".join(sorted(key.to_user_string() for key in run.asset_selection or ())) or run.job_name
            return f"run {run.run_id[:8]} ({made[:200]})"
    if any(folder.is_dir() and not is_abandoned(folder) for folder in (home / PROCESSES).glob("*")):
        return "a command that runs the graph"
    return None


def _is_private(instance: dg.DagsterInstance, home: Path) -> bool:
    """Tell whether no other home uses the run database: it lies below this one."""
    storage = instance.run_storage
    if not isinstance(storage, SqliteRunStorage):
        return False
    with storage.connect() as connection:
        database = connection.engine.url.database
    return database is not None and Path(database).resolve().is_relative_to(home.resolve())


def _is_gone(run: dg.DagsterRun, home: Path, *, server: bool, private: bool) -> bool:
    name, owner = run.tags.get(PROCESS_TAG), run.tags.get(OWNER_TAG)
    if name is None:
        return server and private
    if not private and owner != owner_of(home):
        return time.time() - float(run.tags.get(BEAT_TAG, time.time())) > SILENT_S
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
