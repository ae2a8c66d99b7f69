"""Report the progress of long work now and then, with rate and time left, to the run's log when there is a run."""

import logging
import time
from collections.abc import Callable
from typing import Any

import dagster as dg

QUIET_S = 2.0


def run_logger() -> Any:
    """Return the log of the Dagster run that this code is part of, or the module's logger outside of one."""
    for context in (dg.AssetExecutionContext, dg.AssetCheckExecutionContext):
        try:
            return context.get().log
        except dg.DagsterInvariantViolationError:
            continue
    return logging.getLogger("gem_assets.progress")


class Progress:
    """Say how far ``total`` steps have come, at most every ``every_s`` seconds; what is quick says nothing."""

    def __init__(self, label: str, total: int, *, log: Any = None, every_s: float = QUIET_S) -> None:
        self.label, self.total, self.done = label, total, 0
        self._log = log
        self._every = every_s
        self._start = self._said = time.monotonic()

    def step(self, count: int = 1) -> None:
        """Count steps as done."""
        self.done += count
        now = time.monotonic()
        if now - self._said >= self._every:
            self._said = now
            rate = self.done / (now - self._start)
            left = (self.total - self.done) / rate if rate else float("inf")
            said = "%s: %d of %d, %.3g per second, %s left"
            self._say(said, self.label, self.done, self.total, rate, _duration(left))

    def close(self) -> None:
        """Say the total, if anything was said before or it took long."""
        took = time.monotonic() - self._start
        if took >= self._every:
            self._say("%s: %d of %d in %s", self.label, self.done, self.total, _duration(took))

    def _say(self, message: str, *values: object) -> None:
        (self._log or run_logger()).info(message, *values)


def reporter(label: str, log: Any = None, *, every_s: float = QUIET_S) -> Callable[..., None]:
    """Return a callback for library code that reports ``(done, total)``, or a line of text, or anything printable."""
    state: dict[str, Any] = {"said": time.monotonic(), "bar": None}

    def report(*values: object) -> None:
        match values:
            case (int() as done, int() as total, *_):
                bar = state["bar"]
                if not isinstance(bar, Progress) or bar.total != total or done < bar.done:
                    state["bar"] = bar = Progress(label, total, log=log, every_s=every_s)
                bar.step(done - bar.done)
            case _:
                now = time.monotonic()
                if now - float(str(state["said"])) >= every_s:
                    state["said"] = now
                    (log or run_logger()).info("%s: %s", label, " ".join(str(v) for v in values))

    return report


def _duration(seconds: float) -> str:
    if seconds == float("inf"):
        return "unknown time"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
