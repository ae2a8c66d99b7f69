"""``gem trace``, ``gem diff`` and ``gem lineage``: the questions of an auditor."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gem_assets.cli.app import EVIDENCE, AsJson, DataRoot, app, opened
from gem_assets.cli.console import console, friendly, print_json, progress_report

if TYPE_CHECKING:
    from gem_assets.cli.console import Report
    from gem_assets.settings import Settings
    from gem_assets.tracing.index import TraceIndex

AsHtml = Annotated[Path | None, typer.Option("--html", help="Also write a self-contained page.", dir_okay=False)]


@app.command(rich_help_panel=EVIDENCE)
@friendly
def trace(
    query: Annotated[str, typer.Argument(help="URL, document id, content digest, domain or source.")],
    data_root: DataRoot = None,
    as_json: AsJson = False,
    html: AsHtml = None,
    most: Annotated[int, typer.Option("--most", min=1, help="Documents to describe in full.")] = 20,
) -> None:
    """Say where a document came from, its labels, and every mixture that shows it, how often and where."""
    from gem_assets.cli.lineage_print import print_trace
    from gem_assets.settings import load_existing
    from gem_assets.storage.artifacts import ArtifactStore
    from gem_assets.tracing.trace import Tracer

    settings = load_existing(data_root)
    if not query.strip():
        raise typer.BadParameter("say what to look for: a URL, an id, a content digest, a domain or a source")
    with progress_report(quiet=as_json) as report:
        found = Tracer(ArtifactStore(settings.data_root), trace_index(settings, report)).trace(query, most)
    if html is not None:
        from gem_assets.tracing.pages import trace_page

        html.write_text(trace_page(found), encoding="utf-8")
    if as_json:
        print_json(found)
    else:
        print_trace(found, console())
    if not found.found and found.domain is None:
        raise typer.Exit(1)


@app.command(rich_help_panel=EVIDENCE)
@friendly
def diff(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="NAME, NAME@IDENTITY or NAME~N.")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="The same.")],
    data_root: DataRoot = None,
    as_json: AsJson = False,
    html: AsHtml = None,
) -> None:
    """Compare two mixtures: shares, documents that entered and left, and why."""
    from gem_assets.cli.lineage_print import print_diff
    from gem_assets.lineage.mixtures import find_mixture
    from gem_assets.takedown.blocklist import Blocklist
    from gem_assets.tracing.diff import diff_mixtures

    settings, store = opened(data_root)
    old, new = find_mixture(store, before), find_mixture(store, after)
    with progress_report(quiet=as_json) as report:
        blocked = Blocklist(settings.data_root).documents()
        found = diff_mixtures(store, old, new, trace_index(settings, report), blocked)
    if html is not None:
        from gem_assets.tracing.pages import diff_page

        html.write_text(diff_page(found), encoding="utf-8")
    if as_json:
        print_json(found)
    else:
        print_diff(found, console())


@app.command(rich_help_panel=EVIDENCE)
@friendly
def lineage(
    asset: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="NAME, NAME@IDENTITY or NAME~N; or any asset, as mixture_audit/NAME."),
    ],
    data_root: DataRoot = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read everything again, down to the landed files and table rows.")
    ] = False,
    as_json: AsJson = False,
    html: AsHtml = None,
) -> None:
    """Show what a mixture was made from; with --verify, exit with 1 if any of it is not what it was."""
    from gem_assets.cli.lineage_print import print_lineage
    from gem_assets.cli.tables import open_tables
    from gem_assets.lineage.mixtures import lineage_of
    from gem_assets.maintenance.verify import verify as verify_lineage

    settings, store = opened(data_root)
    found = lineage_of(store, asset)
    faults, purged = list(found.faults) or None, list(found.purged)
    if verify:
        purged.clear()
        with progress_report(quiet=as_json) as report:
            faults = verify_lineage(
                store,
                found,
                landing=settings.landing,
                tables=open_tables(settings),
                progress=lambda done, total: report("Verifying", done, total),
                note=purged.append,
            )
    if html is not None:
        from gem_assets.tracing.pages import lineage_page

        html.write_text(lineage_page(found, faults), encoding="utf-8")
    if as_json:
        told = [fault.model_dump() for fault in faults] if faults is not None else None
        gone = [one.model_dump() for one in purged]
        print_json({**found.to_dict(), "verified": verify, "faults": told, "purged": gone})
    else:
        print_lineage(found, faults, console(), verified=verify)
        for one in purged:
            console().print(f"Not verified: {one}")
    if faults:
        raise typer.Exit(1)


def trace_index(settings: "Settings", report: "Report | None" = None) -> "TraceIndex":
    """Return the sorted files of a data root; the table store is opened only when labels are indexed."""
    from gem_assets.cli.tables import label_scan
    from gem_assets.storage.store import trace_index_folder
    from gem_assets.tracing.index import TraceIndex

    return TraceIndex(trace_index_folder(settings.data_root), label_scan(settings), report)
