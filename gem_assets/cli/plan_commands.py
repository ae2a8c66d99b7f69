"""``gem plan``: what a change costs before anything runs; and ``gem refit``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gem_assets.cli.app import LOOK, UPKEEP, AsJson, DataRoot, app, opened
from gem_assets.cli.console import Terminal, console, friendly, print_json, progress_report, run_steps, summary_line
from gem_assets.cli.run_commands import print_failed, summary_answer
from gem_assets.frozen import Frozen
from gem_assets.stages import CARRIED_EVIDENCE, EMBEDDINGS, RAW_SHARDS, TEACHER_CLUSTERS

if TYPE_CHECKING:
    from gem_assets.storage.artifacts import Artifact, ArtifactStore


@app.command(rich_help_panel=LOOK)
@friendly
def plan(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[SOURCE]...", help="Files or folders of a snapshot that has not landed."),
    ] = None,
    snapshot: Annotated[
        str | None, typer.Option("--snapshot", help="Name under which those files would land.", show_default=False)
    ] = None,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Show what would run: documents, tokens and estimated seconds per asset, and why it is stale."""
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
def refit(data_root: DataRoot = None, as_json: AsJson = False) -> None:
    """Refit the teacher on all snapshots, anchored on the last one, and make everything downstream.

    If a refit is stopped, the same command continues where it was.
    """
    from gem_assets.run import refit_everything

    (settings, artifacts), out = opened(data_root), console()
    if not artifacts.partitions(RAW_SHARDS):
        raise NothingToRefitError(f"nothing has been ingested in {settings.data_root} yet: land a snapshot first")
    before = artifacts.current(TEACHER_CLUSTERS)
    log = settings.dagster_home / "logs" / "refit.log"
    with run_steps(log, quiet=as_json) as report:
        summary = refit_everything(settings, report)
    after = artifacts.current(TEACHER_CLUSTERS)
    found = _refitted(artifacts, before, after) if after is not None else None
    if as_json:
        print_json({**summary_answer(summary, log), "teacher": found.model_dump(mode="json") if found else None})
    else:
        print_failed(summary)
        if found is not None:
            _print_refit(found, out)
        line = summary_line(len(summary.steps) - len(summary.failed), len(summary.standing), summary.seconds)
        out.print(f"{line} The log is in {log}")
    if summary.failed:
        raise typer.Exit(1)


class NothingToRefitError(RuntimeError):
    """There is no snapshot to fit on."""


class Refit(Frozen):
    """The teacher after a refit, and what happened to the earlier clusters and to what was learnt about them.

    Attributes
    ----------
    fitted
        ``first`` there was no teacher before; ``again`` there is a new one; ``stands`` the one in force had been fitted
        on all snapshots already.
    clusters, kept_ids, births, deaths, splits, merges
        Against the teacher before it; None where there is no such comparison.
    kept_documents
        Share of the documents whose cluster keeps its id.
    """

    identity: str
    fitted: Literal["first", "again", "stands"]
    snapshots: list[str]
    clusters: int | None = None
    kept_ids: int | None = None
    kept_documents: float | None = None
    births: int | None = None
    deaths: int | None = None
    splits: int | None = None
    merges: int | None = None
    recipes: int = 0
    swarm_runs: int = 0
    evidence: str | None = None


def _refitted(artifacts: "ArtifactStore", before: "Artifact | None", after: "Artifact") -> Refit:
    from gem_assets.teacher.crosswalk import CROSSWALK_NAME, Crosswalk

    stands = before is not None and before.identity == after.identity
    found: dict[str, Any] = {
        "identity": after.identity,
        "fitted": "first" if before is None else "stands" if stands else "again",
        "snapshots": sorted(str(ref.partition) for ref in after.manifest.inputs if ref.asset == EMBEDDINGS),
    }
    if (after.path / CROSSWALK_NAME).is_file():
        walk = Crosswalk.read(after.path)
        found |= {
            "clusters": len(walk.ids),
            "kept_ids": len(walk.ids) - len(walk.births),
            "kept_documents": walk.kept,
            **{name: len(getattr(walk, name)) for name in ("births", "deaths", "splits", "merges")},
        }
    evidence = artifacts.current(CARRIED_EVIDENCE)
    of_this = evidence is not None and any(
        ref.asset == TEACHER_CLUSTERS and ref.identity == after.identity for ref in evidence.manifest.inputs
    )
    if evidence is not None and of_this and evidence.manifest.counts.get("recipes"):
        counts = evidence.manifest.counts
        found |= {name: counts[name] for name in ("recipes", "swarm_runs")}
        found["evidence"] = str(evidence.path)
    return Refit(**found)


def _print_refit(refit: Refit, out: Terminal) -> None:
    many = f"{len(refit.snapshots)} snapshot{'s' * (len(refit.snapshots) != 1)}"
    shown = f"{many} ({refit.snapshots[0]} to {refit.snapshots[-1]})" if refit.snapshots else many
    if refit.fitted == "stands":
        out.print(f"The teacher in force was already fitted on {shown}; everything downstream is up to date now.")
    else:
        out.print(f"The teacher was {'fitted' if refit.fitted == 'first' else 'refitted'} on {shown}.")
    if refit.clusters is not None:
        out.print(
            f"Against the teacher before it: {refit.kept_ids} of {refit.clusters} clusters keep their "
            f"id, {refit.kept_documents:.1%} of the documents their cluster; births {refit.births}, deaths "
            f"{refit.deaths}, splits {refit.splits}, merges {refit.merges}."
        )
    if refit.evidence is not None:
        out.print(
            f"Carried over to the clusters of now: recipes {refit.recipes}, swarm runs {refit.swarm_runs} "
            f"({refit.evidence})"
        )
