"""Where shard work runs: a process pool, Ray, or this process. Stages see one map and never know which."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TypeVar

import dagster as dg
from pydantic import Field

from gem_assets.orchestration.progress import Progress, run_logger
from gem_assets.parallel.config import StageResources
from gem_assets.parallel.machine import MB, MemoryShare, memory_share, worker_allowance
from gem_assets.parallel.pool import pool_map, serial
from gem_assets.parallel.shard_map import ShardMap
from gem_assets.settings import ENGINE_PATTERN, load_settings

T = TypeVar("T")
R = TypeVar("R")


class EngineResource(dg.ConfigurableResource):
    """Maps a picklable function over shards, in order.

    What is not given is taken from the settings of ``data_root``, afresh at every map; without a data root the local
    pool, with as many processes as :func:`gem_assets.parallel.machine.worker_allowance` says. One worker is a process
    of its own too, and so is the one of a single shard: this process could not stop a shard that hangs. Only ``inline``
    work and work that wants a GPU here run in this process, without a time limit.
    """

    data_root: str | None = Field(default=None, description="Data root whose settings fill in what is None here.")
    kind: str | None = Field(default=None, pattern=ENGINE_PATTERN, description="local, ray or inline.")
    workers: int | None = Field(default=None, ge=0, description="Processes; 0 means as many as fit.")
    shard_timeout_s: float | None = Field(default=None, gt=0, description="Seconds after which a shard is stopped.")

    def map(
        self, fn: Callable[[T], R], items: Sequence[T], label: str, *, resources: StageResources | None = None
    ) -> Iterator[R]:
        """Yield ``fn(item)`` for every item, in the order of the items.

        Raises ShardError when a shard fails, hangs, or kills its worker; the message names the shard.

        Parameters
        ----------
        fn
            A function of a module, or a partial of one. It has to be idempotent: a shard may run twice.
        items
            One argument each, small (paths, ranges).
        label
            What the work is called in the log and in errors.
        resources
            What one shard wants. Fewer shards run at a time when it is more than one core. On one machine, shards that
            want a GPU run one after the other in this process.
        """
        wanted = resources or StageResources()
        kind, workers, timeout_s = self._plan(len(items), wanted.cpus)
        if kind == "ray":
            from gem_assets.parallel.ray_map import ray_map

            results = ray_map(fn, items, label, resources=wanted, timeout_s=timeout_s)
        elif kind == "inline" or wanted.gpus > 0:
            results = serial(fn, items, label)
        else:
            memory = self._memory(workers, wanted.memory_mb)
            results = pool_map(fn, items, label, workers=workers, timeout_s=timeout_s, memory=memory)
        progress = Progress(label, len(items))
        for result in results:
            progress.step()
            yield result
        progress.close()

    def shard_map(self, stage: str) -> ShardMap:
        """Return the map as library code takes it, with the resources that the settings give a shard of the stage."""
        settings = load_settings(self.data_root) if self.data_root is not None else None
        wanted = settings.resources.get(stage) if settings is not None else None

        def mapped(fn: Callable[[T], R], items: Sequence[T], label: str, /) -> Iterator[R]:
            return self.map(fn, items, label, resources=wanted)

        return mapped

    def _memory(self, workers: int, asked_mb: int) -> MemoryShare | None:
        set_mb = asked_mb or (load_settings(self.data_root).worker_memory_mb if self.data_root is not None else 0)
        return MemoryShare(set_mb * MB, set_mb * MB) if set_mb else memory_share(workers)

    def _plan(self, shards: int, cpus: float) -> tuple[str, int, float]:
        kind, workers, timeout_s = self.kind, self.workers, self.shard_timeout_s
        if self.data_root is not None and None in (kind, workers, timeout_s):
            settings = load_settings(self.data_root)
            kind = settings.engine if kind is None else kind
            workers = settings.workers if workers is None else workers
            timeout_s = settings.shard_timeout_s if timeout_s is None else timeout_s
        processes = int((workers or _default_workers()) // max(cpus, 1))
        return kind or "local", max(1, min(processes, shards)), timeout_s or 3600.0


def _default_workers() -> int:
    allowed = worker_allowance()
    if allowed.reason:
        _say_once(f"{allowed.workers} workers: {allowed.reason}; GEM_WORKERS sets another number")
    return allowed.workers


@cache
def _say_once(message: str) -> None:
    run_logger().info(message)
