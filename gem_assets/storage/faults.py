"""Errors of storage, as opposed to errors in what is stored: they are tried again, and then they end the run.

A decoder that meets damaged bytes raises an ``OSError`` too (bz2 and Arrow do), but without an error number. A failing
disk, a server that is away and a folder that a node does not see have one. A document must never pay for these.
"""

import errno
import logging
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")

logger = logging.getLogger(__name__)

PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between the tries at a file."""

# what lies there has this name or kind on every storage: a path too long, a link in a circle, a pipe, a wild offset
_OF_CONTENT: Final = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EOVERFLOW, errno.EFBIG})
# waiting makes no room on a disk
_LASTING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_WITHOUT_NUMBER: Final = (ConnectionError, TimeoutError, FileNotFoundError, PermissionError)


class StorageError(OSError):
    """A file could not be read at any try; the message names the file, the node and the way out."""


def is_storage_error(error: BaseException) -> bool:
    """Tell an error of the storage from one of the bytes in it."""
    if isinstance(error, (StorageError, *_WITHOUT_NUMBER)):
        return True
    return isinstance(error, OSError) and error.errno is not None and error.errno not in _OF_CONTENT


def retried(action: Callable[[], T], path: Path | str, *, pauses: Sequence[float] | None = None) -> T:
    """Return what ``action`` gives, tried again while the storage fails.

    Parameters
    ----------
    action
        Reads from storage; every try starts from the beginning.
    pauses
        Seconds before each further try, :data:`PAUSES_S` by default.

    Raises
    ------
    StorageError
        When the last try fails as well.
    OSError
        At once, when a disk is full or read-only, or when what is stored is at fault.
    """
    waiting = list(PAUSES_S if pauses is None else pauses)
    tries = 1
    while True:
        try:
            return action()
        except OSError as error:
            if not is_storage_error(error) or error.errno in _LASTING:
                raise
            if not waiting:
                raise unreadable(path, error, tries) from error
            logger.warning(f"{path} on {socket.gethostname()}: {error}; trying again in {waiting[0]:g} s")
        time.sleep(waiting.pop(0))
        tries += 1


def unreadable(path: Path | str, why: object, tries: int = 1) -> StorageError:
    """Return the error for a file that this node cannot read; ``why`` is what the operating system said."""
    if isinstance(why, StorageError):
        return why
    tried = f", {tries} times in a row" if tries > 1 else ""
    return StorageError(
        f"node {socket.gethostname()} cannot read {path}{tried}: {why}. The storage failed, not the document, so "
        "nothing was written or left out. See that the file is back and that this node may read it, then run again"
    )
