"""Choose the lines of Dagster's output that a person wants to see.

The webserver, the daemon, the code server and the runs all write to one stream, some lines per second. Its full text
goes to a file; this picks what belongs on a terminal: what automation finds due, runs and what they made, warnings, and
errors with the head of their trace.
"""

import re

_TRACE = 12
"""Lines shown of a trace; the log file has the rest."""

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_HEADER = re.compile(r"^\d{4}-\d\d-\d\d (?P<clock>\d\d:\d\d:\d\d) \S+ - \S+ - (?P<level>[A-Z]+) - (?P<message>.*)$")
_EVENT = re.compile(r" - (?P<run>[0-9a-f]{8}-[0-9a-f-]{27}) - (?:.* - )?(?P<event>[A-Z][A-Z_]{5,}) - (?P<message>.*)$")
_REQUEST = re.compile(r" - (?P<asset>\S+) evaluation result: [1-9]\d* requested \((?P<which>.*)\) \([\d.]+ seconds\)")
_EVENTS_SHOWN = frozenset(
    {"RUN_START", "RUN_SUCCESS", "RUN_FAILURE", "RUN_CANCELED", "STEP_FAILURE", "ASSET_MATERIALIZATION"}
)


def plain(line: str) -> str:
    """Return the line without colour codes."""
    return _ANSI.sub("", line)


class LineFilter:
    """Chooses lines; it remembers whether the last one was an error, whose trace follows without a header."""

    def __init__(self) -> None:
        self._trace_left = 0

    def show(self, line: str) -> str | None:
        """Return the line to print for a line of the log, or None."""
        header = _HEADER.match(line)
        if header is None:
            self._trace_left -= 1
            return f"         {line}" if self._trace_left >= 0 and line.strip() else None
        self._trace_left = 0
        event = _EVENT.search(line)
        clock = header["clock"]
        if event is not None and event["event"] in _EVENTS_SHOWN:
            self._trace_left = _TRACE if event["event"] == "STEP_FAILURE" else 0
            return f"{clock} run {event['run'][:8]}  {_in_words(event['event'], event['message'])}"
        request = _REQUEST.search(line)
        if request is not None:
            which = "" if request["which"] == "(no partition)" else f" [{request['which']}]"
            return f"{clock} due           {request['asset']}{which}"
        if header["level"] in {"WARNING", "ERROR", "CRITICAL"}:
            self._trace_left = _TRACE if header["level"] != "WARNING" else 0
            return f"{clock} {header['level'].lower()}: {header['message']}"
        return None


def _in_words(event: str, message: str) -> str:
    """Say an event shortly; what went wrong keeps Dagster's own message."""
    if event == "ASSET_MATERIALIZATION":
        return f"made {message.removeprefix('Materialized value ').rstrip('.').replace(' ', '/', 1)}"
    return {"RUN_START": "started", "RUN_SUCCESS": "succeeded"}.get(event, message)
