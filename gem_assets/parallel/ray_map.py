"""The same map on a Ray cluster, for when one machine is not enough; needs the ``ray`` extra."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from gem_assets.parallel.pool import failed, killed, too_slow

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 2


def ray_map(
    fn: Callable[[T], R], items: Sequence[T], label: str, *, cpus: float, gpus: float, timeout_s: float
) -> Iterator[R]:
    """Yield ``fn(item)`` for every item, in order, each as a Ray task with the resources asked for.

    Joins the cluster that ``RAY_ADDRESS`` names, or starts one on this machine. A task whose worker dies is tried
    once more by Ray; files that ``fn`` reads and writes have to be on storage that every node sees.

    Raises
    ------
    RuntimeError
        When Ray is not installed.
    ShardError
        As in the local pool.
    """
    ray = _ray()
    task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=1)(fn)
    window = _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1) // max(cpus, 1)))
    waiting = list(enumerate(items))[::-1]
    working: dict[Any, tuple[int, float]] = {}
    results: dict[int, R] = {}
    due = 0
    while due < len(items):
        while waiting and len(working) + len(results) < window:
            index, item = waiting.pop()
            working[task.remote(item)] = (index, time.monotonic())
        finished, _ = ray.wait(list(working), num_returns=1, timeout=1.0)
        for reference in finished:
            index, _ = working.pop(reference)
            results[index] = _result(ray, reference, items[index], label)
        for reference, (index, start) in working.items():
            # a task may wait for a free slot first, so only twice the limit is certainly too long
            if time.monotonic() - start > 2 * timeout_s:
                ray.cancel(reference, force=True)
                raise too_slow(label, items[index], timeout_s)
        while due in results:
            yield results.pop(due)
            due += 1


def _result(ray: Any, reference: Any, item: object, label: str) -> Any:
    try:
        return ray.get(reference)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        raise killed(label, item) from error
    except ray.exceptions.RayTaskError as error:
        cause = error.cause or error
        raise failed(label, item, cause) from cause


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
        local = {} if address else {"include_dashboard": False}
        ray.init(address=address, log_to_driver=False, ignore_reinit_error=True, **local)
    return ray
