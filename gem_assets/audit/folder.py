"""Find the audit of a mixture among the artifacts, and copy it out as a folder of its own."""

import shutil
from collections.abc import Callable
from pathlib import Path

from gem_assets.audit.config import CODE_VERSION, AuditConfig
from gem_assets.audit.facts import FACTS_NAME
from gem_assets.lineage.mixtures import Mixture, orders_of
from gem_assets.stages import AUDITS, result_of, strategy_of
from gem_assets.storage.artifacts import Artifact, ArtifactStore
from gem_assets.storage.durable import locked_folder, make_dirs
from gem_assets.storage.identity import file_digest
from gem_assets.storage.manifest import MANIFEST_NAME, ManifestError, read_manifest

_DRAFT = ".audit-"


class AuditError(RuntimeError):
    """An audit that cannot be found or copied; the message says what to do."""


def audit_of(store: ArtifactStore, mixture: Mixture) -> Artifact | None:
    """Return the youngest audit, with all its forms, of exactly this version of a recipe; None if there is none."""
    orders = {order.identity for order in orders_of(store, mixture)}
    name = result_of(AUDITS, mixture.name)
    made = store.history(name) if name in store.assets() else []
    fitting = [
        audit
        for audit in made
        if (audit.path / FACTS_NAME).is_file() and any(ref.identity in orders for ref in audit.manifest.inputs)
    ]
    return fitting[-1] if fitting else None


def is_fresh(audit: Artifact, config: AuditConfig) -> bool:
    """Tell whether an audit was written by this version and with these statements."""
    manifest = audit.manifest
    return manifest.code_version == CODE_VERSION and manifest.config.get("statements") == config.statements


def copy_audit(audit: Artifact, out: Path, progress: Callable[[int, int], None] | None = None) -> list[Path]:
    """Copy an audit, checking every file against its manifest; the folder appears when it is whole.

    Returns the files.

    Raises AuditError when ``out`` holds something else, or a file is not what the manifest says.

    Parameters
    ----------
    audit
        Artifact of ``mixture_audit/<strategy>``.
    out
        Folder to make. An earlier audit there is replaced, anything else is not touched.
    progress
        Called with (files copied, files in all).
    """
    if out.exists() and not _replaceable(out):
        raise AuditError(f"{out} exists and is not an audit; choose another folder with --out, or remove it")
    files = audit.manifest.outputs
    make_dirs(out.absolute().parent)
    with locked_folder(out.absolute().parent, _DRAFT) as draft:
        filled = draft / "files"
        filled.mkdir()
        for number, ref in enumerate(files, 1):
            target = filled / ref.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(audit.path / ref.path, target)
            if file_digest(target) != ref.sha256:
                raise AuditError(
                    f"{audit.path / ref.path} is not what its manifest says; `gem lineage --verify` names all such "
                    "files. Materialize the audit again"
                )
            if progress is not None:
                progress(number, len(files))
        shutil.copyfile(audit.path / MANIFEST_NAME, filled / MANIFEST_NAME)
        if out.exists():
            shutil.rmtree(out)
        filled.rename(out)
    return [out / ref.path for ref in files]


def _replaceable(out: Path) -> bool:
    if not out.is_dir() or out.is_symlink():
        return False
    if not any(out.iterdir()):
        return True
    try:
        return strategy_of(read_manifest(out).asset, AUDITS) is not None
    except (ManifestError, OSError):
        return False
