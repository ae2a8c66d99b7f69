"""``gem run``: bring a data root up to date in the foreground."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gem_assets.cli.app import START, AsJson, DataRoot, app
from gem_assets.cli.console import console, friendly, print_json, run_steps, summary_line
from gem_assets.storage.manifest import stage_name

if TYPE_CHECKING:
    from gem_assets.run import RunSummary, Step


@app.command("run", rich_help_panel=START)
@friendly
def run_stale(
    until: Annotated[
        str | None, typer.Option("--until", metavar="ASSET", help="Make only this asset and everything upstream of it.")
    ] = None,
    snapshot: Annotated[
        str | None,
        typer.Option("--snapshot", metavar="NAME", help="Of the assets per snapshot, make only this snapshot."),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy", metavar="NAME", help="Also make the recipe, training order and audit of this mixture."
        ),
    ] = None,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Make everything that is stale, in the foreground and without a browser.

    Exits with 0 when all that was asked for is current, and with 1 when something failed or is held. Ctrl-C keeps what
    is finished. Where a `gem dev` lives on the data root, what its daemon makes by itself is left to it and waited for.
    """
    from gem_assets.run import run_until
    from gem_assets.settings import load_existing

    settings = load_existing(data_root)
    log = settings.dagster_home / "logs" / "run.log"
    with run_steps(log, quiet=as_json) as report:
        summary = run_until(settings, report, until=until, snapshot=snapshot, strategy=strategy)
    if as_json:
        print_json(summary_answer(summary, log))
    else:
        made = sum(step.succeeded for step in summary.steps)
        line = summary_line(made, len(summary.standing), summary.seconds)
        console().print(f"{line} The log is in {log}")
        print_failed(summary)
    if summary.failed:
        raise typer.Exit(1)


def summary_answer(summary: "RunSummary", log: Path) -> dict[str, Any]:
    """Return what a run did, for programs."""
    return {
        "current": not summary.failed,
        "seconds": summary.seconds,
        "snapshots": list(summary.snapshots),
        "steps": [
            {
                "asset": step.asset,
                "snapshot": step.snapshot,
                "state": _state(step),
                "seconds": step.seconds,
                "failed_checks": list(step.failed_checks),
                "error": step.error or None,
            }
            for step in summary.steps
        ],
        "up_to_date": [stage_name(step.asset, step.snapshot) for step in summary.standing],
        "log": str(log),
    }


def print_failed(summary: "RunSummary") -> None:
    """Say what failed or is held."""
    for step in summary.failed:
        verb = "failed" if _state(step) == "failed" else "is held"
        console().print(f"{stage_name(step.asset, step.snapshot)} {verb}: {step.error}")


def _state(step: "Step") -> str:
    if step.succeeded:
        return "made"
    return "failed" if step.seconds else "held"
