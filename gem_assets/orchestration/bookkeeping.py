"""Keep Dagster's own files small: what it writes about a run or a tick must not outgrow what the run made.

Dagster keeps one SQLite file per run, each with two dozen empty tables and indexes of 4 kB pages, the log of every tick
and the evaluation of every condition for a month. Runs, their events and the history of assets are kept here as they
are; files of ended runs are written again with small pages, and the traces of old ticks go.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.scheduler.instigation import TickStatus

from gem_assets.orchestration.stamps import Stamps, stamp_of
from gem_assets.settings import Settings

_PAGE_BYTES = 512
_TICKS_S, _EVALUATIONS_S = 3600.0, 6 * 3600.0
_LOOKS_FOR_S, _LOOK_AT_LEAST_S, _TIDY_EVERY_S = 40.0, 30.0, 3600.0
_LOCATION_LOGS = "__repository__"


def tidy(instance: dg.DagsterInstance, home: Path, *, now: float | None = None) -> int:
    """Shrink what Dagster keeps below its home; safe beside a server, and for one that keeps its history elsewhere.

    ``now`` is in seconds since the epoch.

    Returns the bytes that were freed.
    """
    moment = time.time() if now is None else now
    before = _size(home)
    for log in (home / "storage" / _LOCATION_LOGS).glob("*/*"):
        with contextlib.suppress(OSError):
            if log.is_file() and log.stat().st_mtime < moment - _TICKS_S:
                log.unlink()
    storage = instance.schedule_storage
    if storage is not None:
        storage.purge_asset_evaluations(before=moment - _EVALUATIONS_S)
        for state in instance.all_instigator_state():
            instance.purge_ticks(state.instigator_origin_id, state.selector_id, moment - _TICKS_S, [TickStatus.SKIPPED])
        _rewrite(home / "schedules" / "schedules.db", when_free=0.5)
    runs = home / "history" / "runs"
    for path in runs.glob("*-*.db"):
        run = instance.get_run_by_id(path.stem) if _page_bytes(path) != _PAGE_BYTES else None
        if run is not None and run.is_finished:
            _rewrite(path)
    return before - _size(home)


def _rewrite(path: Path, *, when_free: float = 0.0) -> None:
    """Write a database again without its empty space; one that somebody else is using is left for the next time.

    Without ``when_free``, the share of pages that have to be empty, with small pages too.
    """
    if not path.is_file():
        return
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path, timeout=1.0)) as database:
        free, pages = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count"))
        if when_free and free < when_free * pages:
            return
        if not when_free:
            database.execute("PRAGMA journal_mode=DELETE")  # the size of pages stays while there is a write-ahead log
            database.execute(f"PRAGMA page_size={_PAGE_BYTES}")
        database.execute("VACUUM")


def _page_bytes(path: Path) -> int:
    with path.open("rb") as file:
        return int.from_bytes(file.read(18)[16:], "big")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class News:
    """Tells the daemon whether a tick could find anything: it costs a few ``stat`` calls, a tick a fifth of a second.

    Something has moved when a file of the landing folder, a setting, a result that is in force or Dagster's history is
    not what it was. After that there are ticks for a while, since one sensor waits for another; without it there is one
    every half minute, for what comes with time alone (a failure that is tried again) or leaves no trace in files.

    ``clock`` gives seconds, monotonic.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._stamps = Stamps(str(settings.data_root))
        self._seen: Any = None
        self._busy_until = self._next = clock()

    def due(self) -> bool:
        """Tell whether it is time for a tick."""
        now, state = self._clock(), self._state()
        if state is None or state != self._seen:
            self._seen, self._busy_until = state, now + _LOOKS_FOR_S
        due = now < self._busy_until or now >= self._next
        if due:
            self._next = now + _LOOK_AT_LEAST_S
        return due

    @property
    def quiet(self) -> bool:
        """Tell whether nothing has moved for a while."""
        return self._clock() >= self._busy_until

    def _state(self) -> Any:
        """Return what differs when something has moved; None where that cannot be told from files."""
        index = self._settings.dagster_home / "history" / "runs" / "index.db"
        if not index.is_file():
            return None
        landing = self._settings.landing
        names = sorted(path.name for path in landing.iterdir()) if landing.is_dir() else []
        # an empty write-ahead log comes and goes with every reader
        written = index.with_name(f"{index.name}-wal")
        ahead = stamp_of(written) if written.exists() and written.stat().st_size else None
        return self._stamps.take(landing, names), stamp_of(index), ahead


def only_when_due(iterate: Callable[..., Iterator[Any]], settings: Settings) -> Callable[..., Iterator[Any]]:
    """Wrap Dagster's round over its sensors: made when :class:`News` says so, and tidied after in quiet time."""
    news, tidied, after = News(settings), time.monotonic(), True

    def round_(context: Any, *values: Any, **options: Any) -> Iterator[Any]:
        nonlocal tidied, after
        if news.due():
            after = after or not news.quiet
            yield from iterate(context, *values, **options)
        elif after or time.monotonic() - tidied > _TIDY_EVERY_S:
            after, tidied = False, time.monotonic()
            tidy(context.instance, settings.dagster_home)
        yield

    return round_
