"""``gem audit``, ``gem verify`` and ``gem prove``: write the audit of a mixture, check it, and prove membership."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gem_assets.cli.app import EVIDENCE, AsJson, DataRoot, app, opened
from gem_assets.cli.console import console, error_console, friendly, print_json, progress_report, run_steps
from gem_assets.stages import AUDITS, ORDERS, result_of

if TYPE_CHECKING:
    from gem_assets.lineage.mixtures import Mixture
    from gem_assets.settings import Settings
    from gem_assets.storage.artifacts import Artifact, ArtifactStore


@app.command(rich_help_panel=EVIDENCE)
@friendly
def audit(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="NAME, NAME@IDENTITY or NAME~N.")],
    data_root: DataRoot = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to create; by default audits/RECIPE in the data root.")
    ] = None,
    sign: Annotated[
        Path | None,
        typer.Option(
            "--sign",
            metavar="KEY",
            help="Sign the pack with this Ed25519 key (PEM); the key is created if there is none.",
            dir_okay=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures of the audit as JSON.")] = False,
) -> None:
    """Write the audit pack: page, data card, EU summary, Croissant, SPDX, OpenLineage, documents and lineage."""
    from gem_assets.audit.folder import copy_audit
    from gem_assets.audit.index_page import INDEX_NAME
    from gem_assets.audit.pack import read_facts
    from gem_assets.lineage.mixtures import find_mixture

    settings, store = opened(data_root)
    mixture = find_mixture(store, recipe)
    folder = out or settings.data_root / "audits" / mixture.name
    found = current_audit(settings, store, mixture, quiet=as_json)
    with progress_report(quiet=as_json) as report:
        files = copy_audit(found, folder, lambda done, total: report("Copying", done, total))
    facts = read_facts(folder)
    public = None
    if sign is not None:
        from gem_assets.audit.signature import sign_pack

        public = sign_pack(folder, sign.expanduser())
    if as_json:
        told = {"folder": str(folder.absolute()), "files": sorted(path.name for path in files), "public_key": public}
        print_json({**told, "facts": facts.model_dump(mode="json")})
        return
    shown = console()
    shown.print(f"Audit of {mixture.key} in {folder}")
    shown.print(f"  Merkle root  {facts.report.merkle_root}")
    shown.print(f"  documents    {facts.report.documents:,}, shown {facts.report.exposures:,} times")
    if public is not None:
        shown.print(f"  signed by    {public} (publish this public key separately from the pack)")
    shown.print(f"  open         {(folder / INDEX_NAME).absolute().as_uri()}")
    if facts.not_stated:
        shown.print(
            f"  {len(facts.not_stated)} statements that only a person can make are missing: set [audit.statements] in "
            f"gem.toml ({', '.join(facts.not_stated)})"
        )


@app.command(rich_help_panel=EVIDENCE)
@friendly
def verify(
    pack: Annotated[
        Path, typer.Argument(metavar="PACK", help="Folder that gem audit wrote.", exists=True, file_okay=False)
    ],
    key: Annotated[
        str | None, typer.Option("--key", help="Public key that you trust: 64 hex digits, or a PEM file.")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option("--data-root", help="Also compare the pack with a data root, artifact by artifact.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check an audit pack on its own: signature, files, Merkle root, totals. Exits with 1 on a fault."""
    from gem_assets.audit.signature import read_public_key, root_faults, verify_pack

    found = verify_pack(pack, read_public_key(key) if key is not None else None)
    if data_root is not None and not found.faults:
        store = opened(data_root)[1]
        found = replace(found, faults=tuple(root_faults(pack, store)))
    if as_json:
        print_json({"faults": list(found.faults), "public_key": found.public_key, "merkle_root": found.merkle_root})
    else:
        out = console()
        for fault in found.faults:
            out.print(f"fault        {fault}")
        if not found.faults:
            out.print(f"Merkle root  {found.merkle_root}, as the documents give it; totals and files agree")
        if found.public_key is None:
            out.print("not signed   anyone who holds the pack could have rewritten all of it")
        elif key is None and not found.faults:
            out.print(f"signed by    {found.public_key}; compare it with the key that the provider gave you")
        elif not found.faults:
            out.print(f"signed by    {found.public_key}, the key that you trust")
    if found.faults:
        raise typer.Exit(1)


@app.command(rich_help_panel=EVIDENCE)
@friendly
def prove(
    document: Annotated[str, typer.Argument(metavar="DOCUMENT", help="Document id, or the address of one document.")],
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="NAME, NAME@IDENTITY or NAME~N.")],
    data_root: DataRoot = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write the proof to; it is printed by default.", dir_okay=False)
    ] = None,
) -> None:
    """Prove that a document is in a mixture, or that it is not; verify.py of the audit pack checks the proof."""
    from gem_assets.audit.config import CODE_VERSION
    from gem_assets.audit.folder import AuditError, audit_of
    from gem_assets.lineage.audit import DOCUMENTS_NAME, leaves
    from gem_assets.lineage.merkle import MerkleTree
    from gem_assets.lineage.mixtures import find_mixture

    settings, store = opened(data_root)
    mixture = find_mixture(store, recipe)
    found = audit_of(store, mixture)
    if found is None:
        raise AuditError(f"{mixture.key} has no audit yet; gem audit {mixture.name} makes it")
    if found.manifest.code_version != CODE_VERSION:
        raise AuditError(
            f"the audit of {mixture.key} was written by an earlier release, whose root proves nothing here"
        )
    doc_id = _document_id(document, found.path / DOCUMENTS_NAME, settings)
    tree = MerkleTree(leaves(found.path / DOCUMENTS_NAME))
    at = tree.find(doc_id)
    proof = tree.prove(at) if at is not None else tree.prove_absent(doc_id)
    text = proof.model_dump_json(indent=1) + "\n"
    note = console() if out is not None else error_console()
    if out is not None:
        out.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    shown = (
        f"in {mixture.key}, shown {tree.leaves[at].multiplicity} times" if at is not None else f"not in {mixture.key}"
    )
    note.print(f"{doc_id} is {shown}. Merkle root {tree.root}")
    note.print(f"Check it with: python verify.py {out or 'PROOF.json'} {tree.root}")


def _document_id(document: str, documents: Path, settings: "Settings") -> str:
    """Return the document id: the given one, or that of the only document at an address."""
    import pyarrow.parquet as pq

    from gem_assets.storage.artifacts import ArtifactStore
    from gem_assets.tracing.trace import Tracer

    named = document.strip()
    if len(named) == 32 and set(named.lower()) <= set("0123456789abcdef"):
        return named.lower()
    ids = set(pq.read_table(documents, columns=["doc_id"], filters=[("url", "=", named)]).column("doc_id").to_pylist())
    if not ids:
        from gem_assets.cli.lineage_commands import trace_index

        # what the mixture does not hold may still be a document of the corpus, or one that was taken down
        traced = Tracer(ArtifactStore(settings.data_root), trace_index(settings)).trace(named)
        ids = {one.doc_id for one in traced.documents if traced.domain is None}
    if len(ids) != 1:
        what = "no document" if not ids else f"{len(ids)} documents ({', '.join(sorted(ids)[:3])})"
        raise typer.BadParameter(f"{named} names {what}; give the id of one document, 32 hex digits (see gem trace)")
    return ids.pop()


def current_audit(
    settings: "Settings", store: "ArtifactStore", mixture: "Mixture", *, quiet: bool = False
) -> "Artifact":
    """Return the youngest audit of a mixture.

    Where there is none of the current mixture, or one with other statements, the order and the audit are made first.

    Raises AuditError when an older mixture has no audit, or the order or the audit could not be made.
    """
    from gem_assets.audit.folder import AuditError, audit_of, is_fresh
    from gem_assets.lineage.mixtures import orders_of
    from gem_assets.run import materialize_everything

    found = audit_of(store, mixture)
    if mixture.current and (found is None or not is_fresh(found, settings.audit)):
        order, audited = result_of(ORDERS, mixture.name), result_of(AUDITS, mixture.name)
        steps = (audited,) if orders_of(store, mixture) else (order, audited)
        log = settings.dagster_home / "logs" / "audit.log"
        with run_steps(log, quiet=quiet) as report:
            summary = materialize_everything(settings, report, only=steps, also=steps)
        for failed in summary.failed:
            raise AuditError(f"{failed.asset} could not be made: {failed.error}. The full log is in {log}")
        found = audit_of(store, mixture)
    if found is None:
        raise AuditError(
            f"{mixture.key} has no audit in {store.root}, and only the current version of a recipe can be audited again"
        )
    return found
