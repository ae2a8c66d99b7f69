"""The same map on a Ray cluster, for when one machine is not enough; needs the ``ray`` extra.

Each shard is a Ray task. The task hands the shard to a worker process of its own, as the local pool does, and watches
it there: limits of time and memory are kept on the node, and a shard that hangs or crashes costs that process alone.
Ray runs a task again whose node or worker is lost; ``fn`` has to be idempotent, and the files that it reads and writes
have to lie on storage that every node sees.
"""

import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, Final, Literal, TypeVar

from gem_assets.parallel.config import StageResources
from gem_assets.parallel.machine import MB, memory_share, usable_cores
from gem_assets.parallel.pool import ShardError, failed, failure, killed, too_slow
from gem_assets.parallel.process import WorkerProcess
from gem_assets.parallel.window import Window
from gem_assets.parallel.worker import loaded

T = TypeVar("T")
R = TypeVar("R")

RETRIES: Final = 5
"""How often Ray runs a task again whose worker or node was lost."""
_AHEAD: Final = 2
_LOOK_AGAIN_S: Final = 10.0


class ShardsLostError(ShardError):
    """Ray lost the node or the worker of a shard at every try."""


@dataclass(frozen=True)
class Served:
    """What came of a shard on its node: a pickled answer, or how its process ended."""

    kind: Literal["answer", "hung", "died"]
    answer: bytes = b""
    how: str = ""


def ray_map(
    fn: Callable[[T], R],
    items: Sequence[T],
    label: str,
    *,
    resources: StageResources | None = None,
    timeout_s: float,
) -> Iterator[R]:
    """Yield ``fn(item)`` for every item, in order, each as a Ray task with the resources asked for.

    Joins the cluster that ``RAY_ADDRESS`` names, or starts one on this machine. A shard that ends its process runs once
    more with all cores of a node.

    Raises
    ------
    RuntimeError
        When Ray is not installed, or the address is one of Ray's client.
    ShardError
        As in the local pool; :class:`ShardsLostError` when Ray loses a shard again and again.
    """
    if not items:
        return
    ray = _ray()
    wanted = resources or StageResources()
    memory_bytes = wanted.memory_mb * MB or None
    task = ray.remote(max_retries=RETRIES)(serve_shard)

    def launch(index: int, cpus: float) -> Any:
        shard = pickle.dumps((fn, items[index]))
        options = task.options(num_cpus=cpus, num_gpus=wanted.gpus, memory=memory_bytes)
        return options.remote(shard, timeout_s, memory_bytes, cpus)

    slots, looked = _slots(ray, wanted), time.monotonic()
    window = Window[R](len(items))
    working: dict[Any, int] = {}
    alone = set[int]()
    try:
        while window.open:
            if time.monotonic() - looked > _LOOK_AGAIN_S:
                slots, looked = _slots(ray, wanted), time.monotonic()
            # tasks that wait for a slot make a cluster grow that can
            while len(working) < _AHEAD * slots and (index := window.start()) is not None:
                working[launch(index, wanted.cpus)] = index
            finished, _ = ray.wait(list(working), num_returns=1, timeout=1.0)
            for reference in finished:
                index = working.pop(reference)
                served = _served(ray, reference, items[index], label)
                if served.kind == "hung":
                    raise too_slow(label, items[index], timeout_s)
                answer = loaded(served.answer) if served.kind == "answer" else None
                if answer is not None and answer.failure is None:
                    window.finish(index, answer.result, len(served.answer))
                elif answer is not None and not answer.out_of_memory:
                    window.fail(index, failure(answer, label, items[index]))
                elif index in alone:
                    raise killed(label, items[index], f" ({answer.failure})" if answer is not None else served.how)
                else:
                    alone.add(index)
                    working[launch(index, _largest_node(ray, wanted))] = index
            yield from window.due()
    finally:
        for reference in working:
            ray.cancel(reference, force=True)


_WORKERS: Final[dict[tuple[int | None, str], WorkerProcess]] = {}


def serve_shard(task: bytes, timeout_s: float, memory_bytes: int | None, cpus: float) -> Served:
    """Run a pickled ``(fn, item)`` in this node's worker process: what a Ray task does.

    The process stays for the next task, as imports take longer than many a shard. Another GPU needs another process.
    Where no limit of memory is given, it may use what this node can spare beside as many shards of ``cpus`` as fit.
    """
    if memory_bytes is None:
        share = memory_share(max(1, int(usable_cores() // cpus)))
        memory_bytes = None if share is None else share.beside
    # the child would import the main module of Ray's own worker, which takes seconds and is of no use to it
    vars(sys.modules["__main__"]).pop("__file__", None)
    key = (memory_bytes, os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    if key not in _WORKERS:
        while _WORKERS:
            _WORKERS.popitem()[1].kill()
        _WORKERS[key] = WorkerProcess(memory_bytes)
    worker = _WORKERS[key]
    worker.give(0, task)
    if not wait([worker.connection], timeout=timeout_s):
        _WORKERS.pop(key).kill()
        return Served("hung")
    answer = worker.take()
    if answer is None:
        how = worker.how_it_ended()
        _WORKERS.pop(key).kill()
        return Served("died", how=how)
    return Served("answer", answer)


def _served(ray: Any, reference: Any, item: object, label: str) -> Served:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause or error
        raise failed(label, item, cause) from cause
    except ray.exceptions.RayError as error:
        raise ShardsLostError(
            f"{label}: Ray lost the worker or the node of shard {item} {RETRIES + 1} times ({type(error).__name__}). "
            "Shards that are finished are kept: see why nodes go (ray status), then run again"
        ) from error


def _slots(ray: Any, wanted: StageResources) -> int:
    """Return how many shards the cluster can run at a time."""
    total = ray.cluster_resources()
    fits = [total.get("CPU", 1) // wanted.cpus]
    if wanted.gpus:
        fits.append(total.get("GPU", 0) // wanted.gpus)
    if wanted.memory_mb:
        fits.append(total.get("memory", 0) // (wanted.memory_mb * MB))
    return max(1, int(min(fits)))


def _largest_node(ray: Any, wanted: StageResources) -> float:
    alive = [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]
    return max([wanted.cpus, *alive])


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise RuntimeError(
            "the engine is set to 'ray', which is not installed: pip install 'gem-assets[ray]', or set engine = 'local'"
        ) from error
    if not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS")
        if address is not None and address.startswith("ray://"):
            raise RuntimeError(
                f"RAY_ADDRESS is {address}, the address of Ray's client, which every result would pass. Run on a "
                "node of the cluster and set RAY_ADDRESS=auto, or give the address of its head (host:6379)"
            )
        local = {} if address else {"include_dashboard": False}
        ray.init(address=address or "local", log_to_driver=False, **local)
    return ray
