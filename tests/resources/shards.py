"""Shard functions for engine tests: importable by worker processes."""

import os
import signal
import time
from pathlib import Path


def square(x: int) -> int:
    return x * x


def slow_first(x: int) -> int:
    time.sleep(0.3 if x == 0 else 0)
    return x


def threads_and_pid(x: int) -> tuple[str, int]:
    return os.environ.get("OMP_NUM_THREADS", ""), os.getpid()


def fail_on_three(x: int) -> int:
    if x == 3:
        raise ValueError("three is not a number we like")
    return x


def fail_late_or_early(x: int) -> int:
    if x >= 2:
        time.sleep(0.3 if x == 2 else 0)
        raise ValueError(str(x))
    return x


def die_on_three(x: int) -> int:
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return x


def die_once(folder: str, x: int) -> int:
    mark = Path(folder) / str(x)
    if x % 3 == 0 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def hang_on_three(x: int) -> int:
    time.sleep(60 if x == 3 else 0)
    return x


def eat_on_three(megabytes: int, x: int) -> int:
    return x if x != 3 else len(bytearray(megabytes << 20)) and x


def use_the_large_libraries(x: int) -> int:
    import numba
    import numpy as np
    import pyarrow as pa
    import torch

    @numba.njit
    def total(values: np.ndarray) -> float:
        return values.sum()

    array = np.ones((500, 500), np.float32)
    tensor = torch.from_numpy(array) @ torch.ones(500, 500)
    return x + int(total(array)) + int(tensor.sum()) + len(pa.array(array.ravel())) - 250_000 * 502


class OddError(Exception):
    """Cannot be pickled back: it needs two arguments."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} {b}")


def raise_odd(x: int) -> int:
    raise OddError(x, x)


def end_rays_worker_once(folder: str, x: int) -> int:
    """Kill the Ray worker that watches this process, as a lost node does: it is two steps up, behind the forkserver."""
    mark = Path(folder) / str(x)
    if x < 5 and not mark.exists():
        mark.touch()
        os.kill(_parent(os.getppid()), signal.SIGKILL)
        time.sleep(30)
    return x


def note_process_and_hang(folder: str, x: int) -> int:
    (Path(folder) / f".{x}").write_text(str(os.getpid()))
    (Path(folder) / f".{x}").rename(Path(folder) / str(x))
    time.sleep(300 if x else 0)
    return x


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
