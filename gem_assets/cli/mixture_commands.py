"""``gem recipes``, ``gem confirm`` and ``gem swarm``: mixtures and the evidence for them."""

import csv
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gem_assets.cli.app import MIXTURES, AsJson, DataRoot, app, opened
from gem_assets.cli.console import console, friendly, print_json, run_steps, summary_line
from gem_assets.stages import CONFIRMATIONS, PROXY_SWARM, RECIPES, result_of

if TYPE_CHECKING:  # slow to import: loaded where a command runs
    from gem_assets.run import RunSummary

swarm_app = typer.Typer(help="Proxy runs: train them, or bring those of others.", no_args_is_help=True)
app.add_typer(swarm_app, name="swarm", rich_help_panel=MIXTURES)


_AGGREGATE = re.compile(r'("(?:[^"]|"")*"|[^=",]+)=(.+)', re.DOTALL)
#: Below the Dagster home: what the run says of itself.
LOG = "logs/mixtures.log"


class MixtureStepError(RuntimeError):
    """A step that the command asked for failed; the message names it and says why."""


class MixtureArgumentError(ValueError):
    """A recipe that cannot be confirmed, or a file that cannot be written; the message says what can be asked for."""


@app.command("recipes", rich_help_panel=MIXTURES)
@friendly
def recipes(
    what: Annotated[
        Literal["made", "available"],
        typer.Argument(help="The recipes that were made, or the methods that are available."),
    ] = "made",
    data_root: DataRoot = None,
    as_json: AsJson = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write a self-contained page.", dir_okay=False)
    ] = None,
) -> None:
    """Compare the recipes of a data root: laws, predictions, confirmations, and which one to use."""
    if what == "available":
        _print_methods(as_json)
        return
    from gem_assets.cli.mixture_tables import print_recipes
    from gem_assets.mixing.current_recipes import gather_recipes

    found = gather_recipes(opened(data_root)[1])
    if html is not None:
        from gem_assets.mixing.pages import comparison_page

        html.write_text(comparison_page(found.comparison, found.recipes), encoding="utf-8")
    if as_json:
        content = {
            "recipes": found.comparison.rows,
            "recommended": found.comparison.recommended,
            "reason": found.comparison.reason,
            "left_out": found.left_out,
        }
        print_json(content)
        return
    out = console()
    print_recipes(found.comparison, out)
    for name in found.left_out:
        out.print(f"{name} is of another taxonomy and left out; materialize it again")
    if html is not None:
        out.print(f"Page  {html}")


def _print_methods(as_json: bool) -> None:
    from gem_assets.cli.mixture_tables import method_table
    from gem_assets.mixing.methods.reference import rows
    from gem_assets.mixing.methods.registry import methods

    if as_json:
        print_json([{**row, "summary": methods()[row["method"]].summary} for row in rows()])
        return
    console().print(method_table(rows()))


@app.command("confirm", rich_help_panel=MIXTURES)
@friendly
def confirm_recipe(
    strategy: Annotated[str, typer.Argument(help="Learned recipe to put to the test: learned, lexical, regmix ...")],
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Train a recipe against proportional and uniform at the next model size, paired over seeds."""
    from gem_assets.mixing.methods.base import SWARM
    from gem_assets.mixing.methods.registry import confirmable, methods

    method = methods().get(strategy)
    if method is None or not method.confirmable:
        why = f"no recipe {strategy!r} to confirm" if method is None else f"{strategy} {method.unconfirmed}"
        raise MixtureArgumentError(f"{why}; choose one of {', '.join(confirmable())}")
    if SWARM in method.needs:
        _need_swarm(data_root, strategy)
    _materialize(data_root, [result_of(RECIPES, strategy), result_of(CONFIRMATIONS, strategy)], quiet=as_json)
    recipes(data_root=data_root, as_json=as_json)


@swarm_app.command("run")
@friendly
def run_proxies(data_root: DataRoot = None, as_json: AsJson = False) -> None:
    """Train the proxies that are missing in the swarm of the current clusters."""
    _materialize(data_root, [PROXY_SWARM], quiet=as_json)
    from gem_assets.mixing.swarm.growth import describe_swarm

    made = opened(data_root)[1].current(PROXY_SWARM)
    if made is None:
        raise MixtureStepError("proxy_swarm ran and left no result; see the run's log")
    figures = describe_swarm(made.path).figures
    if as_json:
        print_json(figures)
        return
    for name, value in figures.items():
        console().print(f"{name}: {value}")


@swarm_app.command("import")
@friendly
def import_table(
    ratios: Annotated[Path, typer.Argument(help="CSV of mixtures: run or index, and one column per domain.")],
    metrics: Annotated[Path, typer.Argument(help="CSV of losses: run or index, and one column per target.")],
    out: Annotated[Path, typer.Option("--out", help="Where the checked table goes.")] = Path("swarm.parquet"),
    on_fault: Annotated[
        str, typer.Option("--on-fault", help="What happens to wrong rows: refuse the table, drop them, or flag them.")
    ] = "refuse",
    aggregate: Annotated[
        list[str] | None,
        typer.Option("--aggregate", help="A column that must be the mean of others: mean=part,part. May be repeated."),
    ] = None,
    domains: Annotated[
        str | None,
        typer.Option(
            "--domains",
            help='Domains that must be there, in the order wanted: a,b,c. Quote a name that holds a comma: "a,b",c.',
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a published swarm (RegMix or Olmix layout), check every row, and write it as one table."""
    from gem_assets.mixing.swarm.table import import_swarm

    if out.suffix != ".parquet" or out.is_dir() or not out.parent.is_dir():
        raise MixtureArgumentError(f"--out {out} has to be a file NAME.parquet in a folder that exists")
    modes: dict[str, Literal["refuse", "drop", "flag"]] = {"refuse": "refuse", "drop": "drop", "flag": "flag"}
    if on_fault not in modes:
        raise typer.BadParameter(f"--on-fault is refuse, drop or flag, not {on_fault!r}")
    table = import_swarm(
        ratios,
        metrics,
        domains=_names(domains, "--domains") if domains is not None else None,
        aggregates=dict(_parts(text) for text in aggregate or []),
        on_fault=modes[on_fault],
    )
    table.write(out)
    if as_json:
        counts = {"runs": len(table.runs), "domains": len(table.domains), "targets": len(table.targets)}
        faults = {"flagged": [str(f) for f in table.faults], "left_out": [str(f) for f in table.dropped]}
        print_json({"table": str(out), **counts, **faults})
        return
    console().print(f"{len(table.runs)} runs, {len(table.domains)} domains, {len(table.targets)} targets in {out}")
    for what, faults in (("flagged", table.faults), ("left out", table.dropped)):
        for fault in faults:
            console().print(f"  {what}: {fault}")


def _parts(text: str) -> tuple[str, list[str]]:
    found = _AGGREGATE.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"--aggregate is name=part,part, not {text!r}")
    [name] = _names(found[1], "--aggregate")
    return name, _names(found[2], "--aggregate")


def _names(text: str, option: str) -> list[str]:
    """Split names at commas as CSV does, so that a quoted one may hold any character."""
    try:
        cells = next(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True), [])
    except csv.Error as error:
        raise typer.BadParameter(f"{option} {text!r} cannot be read as a line of CSV: {error}") from error
    return [cell.strip() for cell in cells]


def _need_swarm(data_root: Path | None, strategy: str) -> None:
    """Refuse at once what would fail at the end of a run."""
    if opened(data_root)[1].current(PROXY_SWARM) is None:
        raise MixtureStepError(f"{strategy} is learned from a swarm of proxies, and there is none yet: gem swarm run")


def _materialize(data_root: Path | None, assets: list[str], *, quiet: bool = False) -> None:
    from gem_assets.run import materialize_everything
    from gem_assets.settings import load_existing

    settings = load_existing(data_root)
    log = settings.dagster_home / LOG
    with run_steps(log, quiet=quiet) as report:
        summary: RunSummary = materialize_everything(settings, report, only=assets, also=assets)
    if summary.failed:
        step = summary.failed[0]
        raise MixtureStepError(f"{step.asset} failed: {step.error}. The full log is in {log}")
    if not quiet:
        console().print(
            f"{summary_line(len(summary.steps), len(summary.standing), summary.seconds)} The log is in {log}"
        )
