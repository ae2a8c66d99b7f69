"""What a power cut does, on a disk that forgets every byte that was not forced to it.

A writer under test records the inode of each file it calls ``fsync`` on. After it was killed, :func:`cut` empties
every file whose inode is not on record: those bytes were only in memory.
"""

import os
from pathlib import Path


def record_fsync(log: Path) -> None:
    """From now on, this process notes in ``log`` what it forces to the disk."""
    real = os.fsync
    notes = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def noted(descriptor: int) -> None:
        real(descriptor)
        found = os.fstat(descriptor)
        os.write(notes, f"{found.st_ino} {found.st_size}\n".encode())

    os.fsync = noted


def cut(root: Path, log: Path) -> list[str]:
    """Empty what was never forced to the disk; returns the names."""
    synced: set[tuple[int, int]] = set()
    for line in log.read_text().splitlines() if log.exists() else []:
        inode, size = line.split()
        synced.add((int(inode), int(size)))
    lost: list[str] = []
    for path in sorted(p for p in root.rglob("*") if p.is_file() and p.suffix != ".lock" and p.name != ".lock"):
        found = path.stat()
        if found.st_size and (found.st_ino, found.st_size) not in synced:
            path.write_bytes(b"")
            lost.append(path.relative_to(root).as_posix())
    return lost
