"""``gem plan``: what a change costs, before anything runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from gem_assets.cli.app import DataRoot, app
from gem_assets.cli.console import console, friendly, progress_report


@app.command()
@friendly
def plan(
    sources: Annotated[
        list[Path] | None, typer.Argument(metavar="[SOURCE]...", help="Files or folders of a snapshot not yet landed.")
    ] = None,
    snapshot: Annotated[
        str | None, typer.Option("--snapshot", help="Name that those files would land under.", show_default=False)
    ] = None,
    data_root: DataRoot = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Say what would run: documents, tokens and estimated seconds of each asset, and why it is stale."""
    from gem_assets.cli.planning import make_plan, print_plan
    from gem_assets.settings import load_settings

    settings = load_settings(data_root)
    if as_json:
        found = make_plan(settings, snapshot, sources or ())
        sys.stdout.write(found.model_dump_json(indent=2) + "\n")
        return
    with progress_report() as report:
        found = make_plan(settings, snapshot, sources or (), lambda done, total: report("Asking assets", done, total))
    print_plan(found, console())


@app.command()
@friendly
def refit(data_root: DataRoot = None) -> None:
    """Refit the teacher on all snapshots, anchored on the last one, and everything that follows from it."""
    from gem_assets.run import refit_everything
    from gem_assets.settings import load_settings

    with progress_report() as report:
        summary = refit_everything(load_settings(data_root), lambda done, total, _: report("Refitting", done, total))
    out = console()
    for step in summary.failed:
        out.print(f"Failed: {step.asset} {step.snapshot or ''}: {step.error}", markup=False, soft_wrap=True)
    if summary.failed:
        raise typer.Exit(1)
    out.print(f"{len(summary.steps)} steps in {summary.seconds:.0f} s; see gis_taxonomy for births, deaths and splits")
