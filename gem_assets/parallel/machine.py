"""How many processes this process may start, from its CPU affinity and the limits of its container.

A container sees all cores of its host, but the kernel stops it once it has used up its CPU quota and kills it once it
has used up its memory. Both limits may stand at any level of the tree of control groups, in version 1 or 2 of that
interface, so every level is looked at and the smallest limit counts.
"""

import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MB: Final = 2**20
WORKER_BYTES: Final = 600 * MB
"""What one worker needs at its peak (docs/reliability.md, Memory)."""
RUN_BYTES: Final = 1024 * MB
"""What the process of a run needs beside its workers."""

LEAST_SHARE: Final = 4096 * MB
"""What every worker may use: ten times what the largest stage of ours needs (docs/reliability.md, Memory)."""
_SPENT_AT_MOST: Final = 0.8

_MOUNT: Final = "/sys/fs/cgroup"
_OWN_GROUPS: Final = "/proc/self/cgroup"
_MOUNTS_OF: Final = {"cpu": ("cpu", "cpu,cpuacct", "cpuacct,cpu"), "memory": ("memory",)}
"""Folders below ``_MOUNT`` where version 1 keeps a controller; version 2 has one tree for all of them."""


@dataclass(frozen=True)
class Allowance:
    """How many workers to start where nobody has said how many.

    ``reason`` says why they are fewer than the machine has cores; it is empty when they are not.
    """

    workers: int
    reason: str


def usable_cores() -> int:
    """Return the cores that this process can keep busy: its affinity, or the CPU quota of its container if smaller."""
    quota = cpu_quota()
    return _affinity() if quota is None else min(_affinity(), _whole(quota))


def worker_allowance() -> Allowance:
    """Return how many workers fit into the cores and the memory that this process may use."""
    machine, affinity, quota, memory = os.cpu_count() or 1, _affinity(), cpu_quota(), memory_limit()
    limits = [(affinity, f"this process may run on {affinity} of {machine} cores")]
    if quota is not None:
        limits.append((_whole(quota), f"the container has a CPU quota of {quota:g} cores, the machine has {machine}"))
    if memory is not None:
        fit = max(1, (memory - RUN_BYTES) // WORKER_BYTES)
        limits.append((fit, f"{memory // MB:,} MB of memory, at {WORKER_BYTES // MB} MB per worker"))
    workers, reason = min(limits)
    return Allowance(workers, reason if workers < machine else "")


@dataclass(frozen=True)
class MemoryShare:
    """Bytes that one worker may use, beside the others and when it works alone."""

    beside: int
    alone: int


def memory_share(workers: int) -> MemoryShare | None:
    """Return how much memory each of ``workers`` may use; None where the machine's is not known.

    A worker may use more than an equal part, so that one large shard among small ones needs no second try; one shard
    alone may use nearly all, and never so much that the kernel has to choose what it ends.
    """
    memory = memory_limit()
    if memory is None:
        return None
    alone = int(_SPENT_AT_MOST * memory)
    return MemoryShare(min(alone, max(alone // max(workers, 1), LEAST_SHARE)), alone)


def cpu_quota() -> float | None:
    """Return the CPU quota of the container in cores, 1.5 for one and a half; None when there is none."""
    found: list[float] = []
    for folder in _groups("cpu"):
        quota, _, period = _read(f"{folder}/cpu.max").partition(" ")  # version 2: "150000 100000" or "max 100000"
        if not quota:
            quota, period = _read(f"{folder}/cpu.cfs_quota_us"), _read(f"{folder}/cpu.cfs_period_us")
        # version 1 writes -1 for no quota
        if quota.isdigit() and period.isdigit() and int(quota) and int(period):
            found.append(int(quota) / int(period))
    return min(found, default=None)


def memory_limit() -> int | None:
    """Return the bytes of memory that the container may use, or that the machine has if that is less."""
    found: list[int] = []
    for folder in _groups("memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            limit = _read(f"{folder}/{name}")
            if limit.isdigit():
                found.append(int(limit))
    with suppress(ValueError, OSError, AttributeError):  # not every system has this figure
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(found, default=None)


def _groups(controller: str) -> list[str]:
    """Return the folders that may hold limits on this process, of both versions."""
    folders: list[str] = []
    for line in _read(_OWN_GROUPS).splitlines() or ["0::/"]:
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if names and controller not in names.split(","):
            continue
        mounts = [f"{_MOUNT}/{name}" for name in _MOUNTS_OF[controller]] if names else [_MOUNT, f"{_MOUNT}/unified"]
        parts = [part for part in path.split("/") if part not in ("", "..")]
        # inside a container the top of the mount is a group far down in the host's tree, so the path may start anywhere
        tails = {tuple(parts[start:end]) for start in range(len(parts) + 1) for end in range(start, len(parts) + 1)}
        folders += ["/".join((mount, *tail)) for mount in mounts for tail in sorted(tails)]
    # what is mounted as version 1 although the list of groups does not say so, as in some sandboxes
    folders += [f"{_MOUNT}/{name}" for name in _MOUNTS_OF[controller]]
    return list(dict.fromkeys(folders))


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _whole(quota: float) -> int:
    return max(1, math.ceil(quota))


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
