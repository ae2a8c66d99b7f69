"""The console of all commands: progress on a terminal and in a log, and errors without tracebacks."""

import contextlib
import errno
import functools
import io
import json
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, ParamSpec, Protocol

import typer
from pydantic import BaseModel
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from gem_assets.printable import READABLE, printable
from gem_assets.secrets import clean_environment, hide_in_logs, redact
from gem_assets.storage.identity import finite

P = ParamSpec("P")

DEBUG_VARIABLE = "GEM_DEBUG"
LOG_WIDTH = 120


class Report(Protocol):
    """Told how far a step is: its name, what is done, and what there is to do."""

    def __call__(self, step: str, done: int, total: int, /) -> None:
        """Take note."""
        ...


class Terminal(Console):
    """A console on which no text acts: everything that is shown passes here, whoever wrote it.

    Markup, highlighting and emoji codes are off, so ``[/bold]`` in an address is just that; own emphasis is a style.
    Control characters are shown as escapes, a string is one line, a closed pipe swallows what is left, and characters
    that the terminal's encoding lacks are replaced.
    """

    def __init__(self, file: IO[str] | None = None, **options: Any) -> None:
        super().__init__(file=file, markup=False, highlight=False, emoji=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print strings as one line, which the terminal may wrap; see :meth:`print_lines` for several."""
        shown = [printable(one) if isinstance(one, str) else one for one in objects]
        if all(isinstance(one, str) for one in objects):
            options.setdefault("soft_wrap", True)
        super().print(*shown, **options)

    def print_lines(self, text: str) -> None:
        """Print a text of several lines, none of which is wrapped."""
        super().print(Text(printable(text, lines=True)), soft_wrap=True)

    def render_str(self, text: str, **options: Any) -> Text:
        """Escape before widths are taken: cells of tables and titles come here."""
        return super().render_str(printable(text, lines=True), **options)

    def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
        """Escape what did not come as a string."""
        for segment in super().render(renderable, options):
            if segment.control is None:
                yield Segment(printable(segment.text, lines=True), segment.style)
            else:
                yield segment

    def on_broken_pipe(self) -> None:
        """Let the command continue to its end and its own exit code; nobody reads what it says."""
        self.quiet = True
        _discard(self.file)


def console() -> Terminal:
    """Return the console for results; made again so that a replaced standard output is respected."""
    return on_file(None)


def on_file(file: IO[str] | None) -> Terminal:
    """Return a console on a file; where it is not a terminal and nothing states a width, lines may be long."""
    out = Terminal(file)
    if not out.is_terminal and not os.environ.get("COLUMNS"):
        out.width = LOG_WIDTH
    return out


def error_console() -> Terminal:
    """Return the console for errors."""
    return Terminal(stderr=True, soft_wrap=True)


def print_json(answer: object) -> None:
    """Write an answer for programs: ASCII, and without NaN or infinity, which are not JSON.

    ``answer`` is a pydantic model, or what :func:`json.dumps` takes. A number that is not finite becomes null; where
    the answer is an object, its key ``not_finite`` then says what stood where.
    """
    content = answer.model_dump(mode="json", by_alias=True) if isinstance(answer, BaseModel) else answer
    text = json.dumps(finite(content), indent=1, allow_nan=False) + "\n"
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]  closed by the caller
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)


def writable_streams() -> None:
    """Let the standard streams replace what their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=READABLE)


def _discard(file: IO[str]) -> None:
    """Send what is still written to a file, and what its buffer holds, nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, file.fileno())
        os.close(nowhere)


class PlainTable(Table):
    """A table in the one style of all tables; where it would not fit, each row is shown as lines of its own."""

    def __init__(self, title: str) -> None:
        super().__init__(
            title=title or None,
            title_justify="left",
            title_style="bold",
            box=None,
            pad_edge=False,
            padding=(0, 2, 0, 0),
        )

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row; a cell is one line."""
        super().add_row(*(printable(c) if isinstance(c, str) else c for c in cells), **options)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Any]:
        if self._least_width() <= options.max_width or not self.rows:
            yield from super().__rich_console__(console, options)
            return
        if self.title:
            yield Text(str(self.title), style="bold", overflow="fold")
        heads = [str(column.header) for column in self.columns]
        for row in zip(*(column.cells for column in self.columns), strict=True):
            for number, (head, cell) in enumerate(zip(heads, row, strict=True)):
                text = cell.plain if isinstance(cell, Text) else str(cell)
                if text:
                    told = f"{head}: {text}" if head else text
                    yield Text(told if number == 0 else f"  {told}", overflow="fold")

    def _least_width(self) -> int:
        """Width below which numbers are cut or words fall to pieces."""
        widths: list[int] = []
        for column in self.columns:
            cells = [str(column.header), *(c.plain if isinstance(c, Text) else str(c) for c in column.cells)]
            longest = max(map(cell_len, cells))
            # numbers are never cut; a text may be, but not below a width at which it still says something
            most = longest if column.justify == "right" else min(longest, column.max_width or _READABLE_WIDTH)
            widths.append(max(min(most, longest), column.min_width or 0))
        return sum(widths) + 2 * (len(widths) - 1)


_READABLE_WIDTH = 16


def plain_table(title: str, *left: str, right: Sequence[str] = ()) -> PlainTable:
    """Return an empty table in the one style of all tables, with columns of words and then of figures."""
    table = PlainTable(title)
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


@contextmanager
def progress_report(*, quiet: bool = False) -> Generator[Report]:
    """Show the steps of a long command: bars on a terminal, one line for each finished step elsewhere.

    With ``quiet``, for commands that print JSON, they go to standard error.
    """
    out = error_console() if quiet else console()
    if not out.is_terminal or out.is_dumb_terminal:
        yield _LineReport(out)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
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
def run_steps(log: Path, *, quiet: bool = False, every_s: float = 1.0) -> Generator["StepReport"]:
    """Show a run of the graph: one line for each finished step, and in between how far a long one is.

    What else the run writes to standard error goes into its log. While a step runs, Dagster takes standard output and
    standard error for its own, so the lines go to a copy of them.

    Parameters
    ----------
    log
        Of the run; what it says of its progress (``swarm: 3 of 48 proxies, about 90 s left``) is shown.
    quiet
        For commands that print JSON: show the steps on standard error.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    # taken here: by the time the thread looks, the run may have written already
    start = log.stat().st_size
    over = threading.Event()
    with _own_stream(2 if quiet else 1) as out, quiet_stderr(log), _step_bars(out) as bars:
        report = StepReport(out, bars)

        def follow() -> None:
            with log.open(encoding="utf-8", errors="replace") as lines:
                lines.seek(start)
                rest, last = "", False
                while not last:
                    last = over.wait(every_s)
                    *whole, rest = (rest + lines.read()).split("\n")
                    for found in map(_PROGRESS.search, whole):
                        if found is not None:
                            report.heard(found[1], found[2])
                    report.still_there()

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield report
        except KeyboardInterrupt:
            out.print("Stopped. Finished steps are kept; the same command continues from there.")
            raise
        finally:
            over.set()
            thread.join()


def summary_line(ran: int, stood: int, seconds: float) -> str:
    """Say at the end of a run what it did."""
    was = f", and {stood} that were up to date" if stood else ""
    return f"{ran} step{'s' * (ran != 1)} in {seconds:.0f} s{was}."


_PROGRESS = re.compile(r" - INFO - .* - (\S+: (?:[\w ]+: )?(?:step )?(\d+ of \d+)\b.*)$")
_SILENCE_S = 20.0


class StepReport:
    """Told which step of a run begins; prints the one before it with the time that it took."""

    def __init__(self, out: Terminal, bars: Progress) -> None:
        self._out, self._bars = out, bars
        self._task = bars.add_task("starting", total=None)
        self._running: tuple[str, float] | None = None
        self._last, self._said = "", time.monotonic()

    def __call__(self, done: int, total: int, what: str, /) -> None:
        """Take note that ``what`` begins, after ``done`` of ``total`` steps."""
        self._finish()
        self._running = None if done >= total else (what, time.monotonic())
        self._bars.update(self._task, completed=done, total=total, description=what)

    def heard(self, line: str, place: str) -> None:
        """Show what the run says of itself, but not twice the same place in other words."""
        if place != self._last:
            self._say(line)
        self._last = place

    def still_there(self) -> None:
        """Say after a while of silence what is running."""
        if self._running is not None and time.monotonic() - self._said >= _SILENCE_S:
            name, since = self._running
            self._say(f"{name}: running for {time.monotonic() - since:.0f} s")

    def _finish(self) -> None:
        if self._running is not None:
            name, since = self._running
            self._say(f"{name:<36} {time.monotonic() - since:6.1f} s")

    def _say(self, line: str) -> None:
        self._said = time.monotonic()
        self._out.print(f"  {line}")


def _step_bars(out: Terminal) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    return Progress(
        *columns,
        TimeElapsedColumn(),
        console=out,
        transient=True,
        disable=not out.is_terminal or out.is_dumb_terminal,
        # rich must leave both alone: Dagster takes them while a step runs
        redirect_stdout=False,
        redirect_stderr=False,
    )


@contextmanager
def _own_stream(number: int) -> Generator[Terminal]:
    """Give a console on a copy of standard output (1) or standard error (2)."""
    stream = sys.stdout if number == 1 else sys.stderr
    try:
        real = stream.fileno() == number
    except (OSError, ValueError, AttributeError):
        real = False
    if not real:
        yield on_file(stream)
        return
    with os.fdopen(os.dup(number), "w", encoding=stream.encoding, errors=READABLE, buffering=1) as copy:
        yield on_file(copy)


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
            self._out.print(f"{step}: {total:,} in {time.monotonic() - started:.1f} s")


def friendly(command: Callable[P, None]) -> Callable[P, None]:
    """Turn what a command raises into a message and an exit code; with ``--debug`` the full trace comes before it."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            clean_environment()
            hide_in_logs()
            command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except KeyboardInterrupt as interrupt:
            error_console().print("Interrupted.")
            raise typer.Exit(130) from interrupt
        except Exception as error:
            if os.environ.get(DEBUG_VARIABLE):
                error_console().print_lines(redact("".join(traceback.format_exception(error))))
            print_error(describe(error))
            raise typer.Exit(1) from error

    return guarded


def print_error(message: str, kind: str = "Error") -> None:
    """Print what is wrong to standard error."""
    out = error_console()
    out.print(f"{kind}: ", style="bold red", end="")
    out.print_lines(redact(message))


def describe(error: Exception) -> str:
    """Say in words what went wrong; what no one foresaw is named as such."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{printable(error.filename)}: {error.strerror or error}."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.strerror}. Make room where this command writes, or where its output goes, and run it again."
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
