"""Commit an artifact once for every file-system step there is, killed at that step; run as a script.

Prints the number of steps. Each trial has its own root ``<base>/<step>``, with one artifact committed before. The
forks happen in this small process, which has no threads.
"""

import os
import signal
import sys
from pathlib import Path

from gem_assets.storage.artifacts import ArtifactStore
from gem_assets.storage.identity import identity as identity_of
from tests.crash.power import record_fsync

_STEPS = {
    "open",
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "shutil.rmtree",
    "os.scandir",
    "fcntl.flock",
    "os.truncate",
}


def identity_for(text: str) -> str:
    """Identity of what :func:`commit` commits."""
    return identity_of(stage="a", config={"text": text}, code_version="1", inputs={})


def commit(store: ArtifactStore, text: str) -> str:
    identity = identity_for(text)
    with store.write("a", identity) as draft:
        (draft.path / "sub").mkdir()
        (draft.path / "sub" / "x.txt").write_text(text)
        (draft.path / "y.txt").write_text(text * 2)
        draft.config, draft.counts = {"text": text}, {"rows": len(text)}
    return identity


def kill_at(step: int) -> None:
    """Kill this process when it is about to take its ``step``-th file-system step."""
    seen = 0

    def hook(event: str, _: object) -> None:
        nonlocal seen
        if event in _STEPS:
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def trial(root: Path, step: int) -> bool:
    store = ArtifactStore(root)
    record_fsync(root.with_suffix(".synced"))
    commit(store, "one")
    child = os.fork()
    if child == 0:
        kill_at(step)
        commit(store, "two")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def main(base: Path) -> None:
    step = 1
    while True:
        child = os.fork()
        if child == 0:
            os._exit(0 if trial(base / str(step), step) else 1)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
            break
        step += 1
    print(step - 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
