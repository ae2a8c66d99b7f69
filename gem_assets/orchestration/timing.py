"""Where the wall time between a landing and its mixtures went."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal

from gem_assets.frozen import Frozen

Doing = Literal["work", "starting", "queued", "waiting"]
DOING: tuple[Doing, ...] = ("work", "starting", "queued", "waiting")
"""What a second can be spent on; where several happen at once, the first of these counts."""


class StageTime(Frozen):
    """One stage, or one of its checks: when it began and ended, in seconds since the epoch."""

    asset: str
    snapshot: str | None
    start: float
    end: float


class RunTime(Frozen):
    """One run.

    ``created``, ``launched`` and ``end`` say when it was asked for, when its process was started and when it ended, in
    seconds since the epoch.
    """

    run_id: str
    created: float
    launched: float
    end: float
    stages: tuple[StageTime, ...] = ()


class StageTotal(Frozen):
    """All the work of one asset: seconds, and how many snapshots were made."""

    asset: str
    seconds: float
    made: int


class Timing(Frozen):
    """Where the time went.

    Attributes
    ----------
    since, until
        Seconds since the epoch: the landing, and the end of the last run that followed from it.
    seconds
        Wall time by what was done: ``work`` some stage ran; ``starting`` a process was started or ended; ``queued`` a
        run waited for its turn; ``waiting`` nothing was asked for yet.
    longest_gap
        Longest time between the end of one stage and the start of the next, in seconds.
    runs
        How many runs, each of which starts a process under ``gem dev``.
    stages
        Most expensive first. Stages run beside each other, so they may add up to more than the wall time.
    """

    since: float
    until: float
    seconds: dict[Doing, float]
    longest_gap: float
    runs: int
    stages: tuple[StageTotal, ...]


def time_spent(landed: float, runs: Sequence[RunTime], *, apart: float = 120.0) -> Timing | None:
    """Account for every second between a landing and the end of what followed from it.

    Returns None when nothing has run since.

    Parameters
    ----------
    landed
        Seconds since the epoch.
    apart
        What begins this many seconds after everything else had ended has another cause.
    """
    followed: list[RunTime] = []
    for run in sorted(runs, key=lambda one: one.created):
        if followed and run.created > max(one.end for one in followed) + apart:
            break
        followed.append(run)
    if not followed:
        return None
    stages = sorted((stage for run in followed for stage in run.stages), key=lambda stage: stage.start)
    since, until = landed, max(run.end for run in followed)
    spans = {
        "work": [(stage.start, stage.end) for stage in stages],
        "starting": [(run.launched, run.end) for run in followed],
        "queued": [(run.created, run.launched) for run in followed],
        "waiting": [(since, until)],
    }
    seconds: dict[Doing, float] = {}
    covered: list[tuple[float, float]] = []
    for doing in DOING:
        before = _length(covered)
        covered = _joined([*covered, *((max(a, since), min(b, until)) for a, b in spans[doing])])
        seconds[doing] = _length(covered) - before
    busy = _joined(spans["work"])
    totals: dict[str, list[StageTime]] = {}
    for stage in stages:
        totals.setdefault(stage.asset, []).append(stage)
    return Timing(
        since=since,
        until=until,
        seconds=seconds,
        longest_gap=max((after[0] - before[1] for before, after in pairwise(busy)), default=0.0),
        runs=len(followed),
        stages=tuple(
            sorted(
                (
                    StageTotal(
                        asset=asset,
                        seconds=sum(one.end - one.start for one in found),
                        made=len({one.snapshot for one in found}),
                    )
                    for asset, found in totals.items()
                ),
                key=lambda total: (-total.seconds, total.asset),
            )
        ),
    )


def _joined(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the same seconds as spans that do not touch, in order."""
    found: list[tuple[float, float]] = []
    for start, end in sorted(span for span in spans if span[1] > span[0]):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def _length(spans: Iterable[tuple[float, float]]) -> float:
    return sum(end - start for start, end in spans)
