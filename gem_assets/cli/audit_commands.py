"""``gem audit``: the account of a mixture as one folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gem_assets.cli.app import DataRoot, app
from gem_assets.cli.console import console, friendly, print_json, progress_report, quiet_stderr

if TYPE_CHECKING:
    from gem_assets.cli.console import Report
    from gem_assets.lineage.artifacts import Artifact, ArtifactStore
    from gem_assets.lineage.mixtures import Mixture
    from gem_assets.settings import Settings


@app.command()
@friendly
def audit(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="NAME, NAME@IDENTITY or NAME~N.")],
    data_root: DataRoot = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to make; by default audits/RECIPE in the data root.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures of the audit as JSON.")] = False,
) -> None:
    """Write the audit pack: page, data card, EU summary, Croissant, SPDX, OpenLineage, documents and lineage."""
    from gem_assets.audit.folder import copy_audit
    from gem_assets.audit.index_page import INDEX_NAME
    from gem_assets.audit.pack import read_facts
    from gem_assets.lineage.artifacts import ArtifactStore
    from gem_assets.lineage.mixtures import find_mixture
    from gem_assets.settings import load_existing

    settings = load_existing(data_root)
    store = ArtifactStore(settings.data_root)
    mixture = find_mixture(store, recipe)
    folder = out or settings.data_root / "audits" / mixture.name
    with progress_report(quiet=as_json) as report:
        found = current_audit(settings, store, mixture, report)
        files = copy_audit(found, folder, lambda done, total: report("Copying", done, total))
    facts = read_facts(folder)
    if as_json:
        told = {"folder": str(folder.absolute()), "files": sorted(path.name for path in files)}
        print_json({**told, "facts": facts.model_dump(mode="json")})
        return
    shown = console()
    shown.print(f"Audit of {mixture.key} in {folder}", soft_wrap=True)
    shown.print(f"  Merkle root  {facts.report.merkle_root}")
    shown.print(f"  documents    {facts.report.documents:,}, shown {facts.report.exposures:,} times")
    shown.print(f"  open         {(folder / INDEX_NAME).absolute().as_uri()}", soft_wrap=True)
    if facts.not_stated:
        shown.print(
            f"  {len(facts.not_stated)} statements that only a person can make are missing: set [audit.statements] in "
            f"gem.toml ({', '.join(facts.not_stated)})",
            soft_wrap=True,
        )


def current_audit(settings: "Settings", store: "ArtifactStore", mixture: "Mixture", report: "Report") -> "Artifact":
    """Return the youngest audit of a mixture.

    Where there is none of the current mixture, or one with other statements, the order and the audit are made first.

    Raises
    ------
    AuditError
        When an older mixture has no audit, or the order or the audit could not be made.
    """
    from gem_assets.audit.folder import AUDITS, AuditError, audit_of, is_fresh
    from gem_assets.lineage.mixtures import ORDERS, orders_of
    from gem_assets.run import materialize_everything

    found = audit_of(store, mixture)
    if mixture.current and (found is None or not is_fresh(found, settings.audit)):
        order, audited = ORDERS + mixture.name, AUDITS + mixture.name
        steps = (audited,) if orders_of(store, mixture) else (order, audited)
        log = settings.dagster_home / "logs" / "audit.log"
        with quiet_stderr(log):
            summary = materialize_everything(
                settings, lambda done, total, _: report("Order and audit", done, total), only=steps, also=steps
            )
        for failed in summary.failed:
            raise AuditError(f"{failed.asset} could not be made: {failed.error}. The full log is in {log}")
        found = audit_of(store, mixture)
    if found is None:
        raise AuditError(
            f"{mixture.key} has no audit in {store.root}, and only the current version of a recipe can be audited anew"
        )
    return found
