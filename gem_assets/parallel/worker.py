"""The worker process of the local engine; it imports nothing heavy, so that it starts at once.

Tasks come as pickled ``(fn, item)`` through a pipe, one at a time; an answer goes back for each. The end of the pipe
(the parent is done, or dead) ends the worker.
"""

import contextlib
import ctypes
import pickle
import resource
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True)
class Answer:
    """Result of one task, or what went wrong; ``error`` is None when the exception itself cannot be pickled.

    ``out_of_memory``: the task may succeed in a process that may use more.
    """

    result: Any = None
    failure: str | None = None
    error: BaseException | None = None
    trace: str = ""
    out_of_memory: bool = False


def serve(pipe: "Connection[Any, Any]", memory_bytes: int | None = None) -> None:
    """Work until the pipe ends; of its own memory, mapped files aside, the process may use ``memory_bytes``."""
    if memory_bytes is not None:
        _limit_memory(memory_bytes)
    _end_with_the_parent()
    # a Ctrl-C goes to the whole group; the parent decides what happens to its workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            task = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            pipe.send_bytes(_answer(task))
        except (BrokenPipeError, ConnectionResetError):
            return


def loaded(data: bytes) -> Answer:
    """Return the answer that a worker of ours has pickled."""
    answer: Answer = pickle.loads(data)  # noqa: S301
    return answer


def _end_with_the_parent() -> None:
    """Have the kernel end this process with the one that started it: a shard that is run again must not run twice."""
    with contextlib.suppress(OSError, AttributeError):  # Linux only
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _limit_memory(n_bytes: int) -> None:
    # not the address space: libraries reserve gigabytes of it and never touch them
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(
            resource.RLIMIT_DATA, (n_bytes if hard == resource.RLIM_INFINITY else min(n_bytes, hard), hard)
        )
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _answer(task: bytes) -> bytes:
    try:
        fn, item = _task(task)
        answer = Answer(fn(item))
        return pickle.dumps(answer)
    except MemoryError as error:
        return pickle.dumps(Answer(failure=f"{type(error).__name__}: {error}", out_of_memory=True))
    except Exception as error:
        failure, trace = f"{type(error).__name__}: {error}", traceback.format_exc()
        try:
            whole = pickle.dumps(Answer(failure=failure, error=error, trace=trace))
            pickle.loads(whole)  # noqa: S301  (written one line above)
        except Exception:
            # an exception with a constructor of its own often cannot be pickled back
            return pickle.dumps(Answer(failure=failure, trace=trace))
        return whole


def _task(data: bytes) -> tuple[Callable[[Any], Any], Any]:
    return pickle.loads(data)  # noqa: S301  (from the parent process)
