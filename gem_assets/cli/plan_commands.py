"""``gem plan``: what a change costs, before anything runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gem_assets.cli.app import LOOK, UPKEEP, DataRoot, app
from gem_assets.cli.console import console, friendly, print_json, progress_report, run_steps, summary_line

if TYPE_CHECKING:
    from rich.console import Console

    from gem_assets.storage.artifacts import Artifact, ArtifactStore


@app.command(rich_help_panel=LOOK)
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
    from gem_assets.settings import load_existing

    settings = load_existing(data_root)
    if as_json:
        found = make_plan(settings, snapshot, sources or ())
        print_json(found)
        return
    with progress_report() as report:
        found = make_plan(settings, snapshot, sources or (), lambda done, total: report("Asking assets", done, total))
    print_plan(found, console())


@app.command(rich_help_panel=UPKEEP)
@friendly
def refit(data_root: DataRoot = None) -> None:
    """Refit the teacher on all snapshots, anchored on the last one, and everything that follows from it.

    A refit that was stopped goes on where it was when the command is given again.
    """
    from gem_assets.orchestration.run import TEACHER, refit_everything
    from gem_assets.settings import load_existing
    from gem_assets.storage.artifacts import ArtifactStore

    settings = load_existing(data_root)
    artifacts, out = ArtifactStore(settings.data_root), console()
    if not artifacts.partitions("raw_shards"):
        raise NothingToRefitError(f"nothing has been ingested in {settings.data_root} yet: land a snapshot first")
    before = artifacts.current(TEACHER)
    log = settings.dagster_home / "logs" / "refit.log"
    with run_steps(log) as report:
        summary = refit_everything(settings, report)
    for step in summary.failed:
        where = f"{step.asset}[{step.snapshot}]" if step.snapshot else step.asset
        out.print(f"{where} failed: {step.error}. The full log is in {log}", soft_wrap=True)
    after = artifacts.current(TEACHER)
    if after is not None:
        _print_refit(artifacts, before, after, out)
    if summary.failed:
        raise typer.Exit(1)
    out.print(f"{summary_line(len(summary.steps), len(summary.standing), summary.seconds)} The log is in {log}")


class NothingToRefitError(RuntimeError):
    """There is no snapshot to fit on."""


def _print_refit(artifacts: "ArtifactStore", before: "Artifact | None", after: "Artifact", out: "Console") -> None:
    """Say what became of the clusters, and of what was learnt about them."""
    from gem_assets.orchestration.run import TEACHER
    from gem_assets.teacher.crosswalk import CROSSWALK_NAME, Crosswalk

    fitted_on = sorted(str(ref.partition) for ref in after.manifest.inputs if ref.asset == "embeddings")
    many = f"{len(fitted_on)} snapshot{'s' * (len(fitted_on) > 1)}"
    shown = f"{many} ({fitted_on[0]} to {fitted_on[-1]})" if fitted_on else many
    if before is not None and before.identity == after.identity:
        out.print(f"The teacher in force was fitted on {shown} already; what follows from it is up to date now.")
    else:
        out.print(f"The teacher was {'fitted' if before is None else 'refitted'} on {shown}.")
    if (after.path / CROSSWALK_NAME).is_file():
        walk = Crosswalk.read(after.path)
        out.print(
            f"Against the teacher before it: {len(walk.ids) - len(walk.births)} of {len(walk.ids)} clusters keep their "
            f"id, {walk.kept:.1%} of the documents their cluster; births {len(walk.births)}, deaths "
            f"{len(walk.deaths)}, splits {len(walk.splits)}, merges {len(walk.merges)}.",
            soft_wrap=True,
        )
    evidence = artifacts.current("carried_evidence")
    of_this = evidence is not None and any(
        ref.asset == TEACHER and ref.identity == after.identity for ref in evidence.manifest.inputs
    )
    if evidence is not None and of_this and evidence.manifest.counts.get("recipes"):
        counts = evidence.manifest.counts
        out.print(
            f"Carried over to the clusters of now: recipes {counts['recipes']}, swarm runs {counts['swarm_runs']} "
            f"({evidence.path})",
            soft_wrap=True,
        )
