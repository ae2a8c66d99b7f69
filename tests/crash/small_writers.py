"""Small writers killed at each of their file-system steps; run as a script: writer, base folder.

Prints the number of steps. Trial ``n`` works below ``<base>/<n>`` and was killed at step ``n``.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from gem_assets.corpus.landing import land
from gem_assets.storage.durable import make_dirs, write_atomic
from gem_assets.takedown.blocklist import BlockEntry, Blocklist, BlockRequest
from gem_assets.takedown.certificate import Certificate, certificate_path
from tests.crash.artifact_writer import kill_at


def block_request(number: int) -> BlockRequest:
    entry = BlockEntry(kind="domain", value=f"d{number}.example")
    return BlockRequest(id=f"{number:012x}", at="2026-11-25T00:00:00Z", entries=(entry,))


def certificate(number: int) -> Certificate:
    return Certificate(
        request=f"{0:012x}", state="pending" if number == 1 else "complete", requested_at="2026-11-25T00:00:00Z",
        issued_at="2026-11-25T00:00:00Z", reason="", entries=("domain:a.example",), documents=number, places=(),
        removed=(), held_by=(), checked=(), still_on_disk=(), landed_files=(), fitted_on={},
    )  # fmt: skip


def write_blocklist(root: Path, number: int) -> None:
    Blocklist(root).append(block_request(number))


def write_certificate(root: Path, number: int) -> None:
    path = certificate_path(root, f"{0:012x}")
    make_dirs(path.parent)
    write_atomic(path, certificate(number).to_bytes())


def write_landing(root: Path, number: int) -> None:
    source = root.parent / f"source{number}"
    source.mkdir(exist_ok=True)
    for name in ("a", "b"):
        (source / f"{name}.jsonl").write_text(json.dumps({"text": f"{name} {number} " * 20}) + "\n")
    land([source], root / "landing", "s1", replace=number > 1)


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "blocklist": write_blocklist,
    "certificate": write_certificate,
    "landing": write_landing,
}


def main(writer: str, base: Path) -> None:
    step = 1
    while True:
        root = base / str(step)
        root.mkdir(parents=True)
        WRITERS[writer](root, 1)
        child = os.fork()
        if child == 0:
            kill_at(step)
            WRITERS[writer](root, 2)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != -signal.SIGKILL:
            break
        step += 1
    print(step - 1)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
