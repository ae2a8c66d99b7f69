"""How commands speak: one console, progress that works on a terminal and in a log, errors without tracebacks."""

import functools
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, ParamSpec, Protocol

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

P = ParamSpec("P")

DEBUG_VARIABLE = "GEM_DEBUG"
LOG_WIDTH = 120


class Report(Protocol):
    """Told how far a step is: its name, what is done, and what there is to do."""

    def __call__(self, step: str, done: int, total: int, /) -> None:
        """Take note."""
        ...


def console() -> Console:
    """Return the console for results; made anew so that a replaced standard output is respected."""
    return on_file(None)


def on_file(file: IO[str] | None) -> Console:
    """Return a console on a file; where it is no terminal and nothing states a width, lines may be long."""
    out = Console(file=file, highlight=False)
    if not out.is_terminal and not os.environ.get("COLUMNS"):
        out.width = LOG_WIDTH
    return out


def plain_table(title: str) -> Table:
    """Return an empty table in the one style of all tables."""
    return Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))


def error_console() -> Console:
    """Return the console for errors."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def progress_report(*, quiet: bool = False) -> Generator[Report]:
    """Show the steps of a long command: bars on a terminal, one line for each finished step elsewhere.

    With ``quiet``, for commands that print JSON, they go to standard error.
    """
    out = error_console() if quiet else console()
    if not out.is_terminal:
        yield _LineReport(out)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out) as bars:
        yield _BarReport(bars)


@contextmanager
def quiet_stderr(log: Path) -> Generator[None]:
    """Send everything written to standard error into a log file, from this process and its workers."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with log.open("ab") as target:
            os.dup2(target.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)


@contextmanager
def progress_of_log(log: Path, every_s: float = 1.0) -> Generator[None]:
    """Print what a run's log says of its progress (``swarm: 3 of 48 proxies, about 90 s left``) while it is written."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    # taken here: by the time the thread looks, the run may have written already
    start = log.stat().st_size
    over = threading.Event()

    def follow() -> None:
        with log.open(encoding="utf-8", errors="replace") as lines:
            lines.seek(start)
            rest, last = "", False
            while not last:
                last = over.wait(every_s)
                *whole, rest = (rest + lines.read()).split("\n")
                for found in map(_PROGRESS.search, whole):
                    if found is not None:
                        console().print(f"  {found[1]}", markup=False, soft_wrap=True)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


_PROGRESS = re.compile(r" - INFO - .* - (\S+: (?:[\w ]+: )?\d+ of \d+\b.*|\S+: step \d+ of \d+\b.*)$")


class _BarReport:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, step: str, done: int, total: int, /) -> None:
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=total)
        self._bars.update(self._tasks[step], completed=done, total=total)


class _LineReport:
    def __init__(self, out: Console) -> None:
        self._out = out
        self._started: dict[str, float] = {}
        self._finished: set[str] = set()

    def __call__(self, step: str, done: int, total: int, /) -> None:
        started = self._started.setdefault(step, time.monotonic())
        if done >= total and step not in self._finished:
            self._finished.add(step)
            self._out.print(f"{step}: {total:,} in {time.monotonic() - started:.1f} s", markup=False)


def friendly(command: Callable[P, None]) -> Callable[P, None]:
    """Turn what a command raises into a message and an exit code; with ``--debug`` let it through."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except KeyboardInterrupt as interrupt:
            error_console().print("Interrupted.")
            raise typer.Exit(130) from interrupt
        except Exception as error:
            if os.environ.get(DEBUG_VARIABLE):
                raise
            error_console().print(f"[bold red]Error:[/] {escape(describe(error))}")
            raise typer.Exit(1) from error

    return guarded


def describe(error: Exception) -> str:
    """Say in words what went wrong; what no one foresaw is named as such."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or error}."
    if _foreseen(error):
        return str(error)
    return (
        f"{type(error).__name__}: {error}\n"
        "This was not foreseen. Run the command again with --debug for the full trace, and please report it."
    )


def _foreseen(error: Exception) -> bool:
    """Errors of this project's own classes carry a message that names the value and the way out."""
    return type(error).__module__.split(".")[0] in ("gem_assets", "resources", "sensors")


def debug_from_arguments(arguments: list[str]) -> list[str]:
    """Take ``--debug`` out of the arguments, wherever it stands, and remember it."""
    if "--debug" in arguments:
        os.environ[DEBUG_VARIABLE] = "1"
    return [argument for argument in arguments if argument != "--debug"]
