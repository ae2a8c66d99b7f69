"""Identify a trained encoder by the content of its files, so that a replaced one is noticed."""

import contextlib
import json
from hashlib import file_digest, sha256
from pathlib import Path

from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.storage.durable import write_atomic


def encoder_version(config: EmbeddingConfig, cache: Path, *, fetch: bool = False) -> str | None:
    """Return what names the encoder of ``config`` by its content; None where it is not on this machine.

    Parameters
    ----------
    cache
        Folder that remembers the digests of folders, so that gigabytes are not read for every question.
    fetch
        Download an encoder that is named and not here yet.
    """
    folder = Path(config.model).expanduser()
    if folder.is_dir():
        return _folder_digest(folder.resolve(), cache)
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError:
        return None
    try:
        # the hub names what it serves by the digest of its commit
        return f"hub:{Path(snapshot_download(config.model, local_files_only=not fetch)).name}"
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None


def _folder_digest(folder: Path, cache: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts)
    state = [[path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    remembered = cache / f"{sha256(str(folder).encode()).hexdigest()[:16]}.json"
    try:
        known = json.loads(remembered.read_bytes())
    except (OSError, ValueError):
        known = {}
    if known.get("state") == state:
        return known["digest"]
    whole = sha256()
    for path, (name, size, _) in zip(files, state, strict=True):
        whole.update(f"{name}\0{size}\0".encode())
        with path.open("rb") as source:
            whole.update(file_digest(source, "sha256").digest())
    digest = f"sha256:{whole.hexdigest()}"
    with contextlib.suppress(OSError):
        write_atomic(remembered, json.dumps({"state": state, "digest": digest}).encode())
    return digest
