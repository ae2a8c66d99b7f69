"""``gem export``: write a mixture in the files and units of a trainer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gem_assets.cli.app import MIXTURES, DataRoot, app, opened
from gem_assets.cli.console import Terminal, console, error_console, friendly, plain_table, print_error, print_json
from gem_assets.stages import ORDERS, result_of

if TYPE_CHECKING:
    from gem_assets.export.mixture import MixtureExport
    from gem_assets.export.records import ExportRecord
    from gem_assets.lineage.mixtures import Mixture
    from gem_assets.settings import Settings


@app.command(rich_help_panel=MIXTURES)
@friendly
def export(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="NAME, NAME@IDENTITY or NAME~N.")],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="megatron, olmo-core, mosaicml, hf-datasets, levanter, nanotron, torchtitan or nanochat.",
        ),
    ],
    data_root: DataRoot = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to create; by default exports/RECIPE-TRAINER in the data root.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", help="`tokenizers` JSON file.", exists=True, dir_okay=False)
    ] = None,
    sequence_length: Annotated[int, typer.Option("--sequence-length", help="Tokens per training sequence.")] = 2048,
    batch_sequences: Annotated[
        int, typer.Option("--batch-sequences", help="Sequences per optimiser step; phases start at whole steps.")
    ] = 1,
    phase: Annotated[
        int | None, typer.Option("--phase", help="Only this phase, for a trainer that takes one mixture per run.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Order of documents and the trainer's own seed.")] = 42,
    eos_token: Annotated[str | None, typer.Option("--eos-token", help="Token after each document.")] = None,
    tokenizer_name: Annotated[
        str | None, typer.Option("--tokenizer-name", help="Name under which the trainer loads the tokenizer.")
    ] = None,
    root: Annotated[str, typer.Option("--root", help="Prefix for every data path in the configuration.")] = "",
    use_order: Annotated[
        bool, typer.Option("--order/--no-order", help="Write the existing training order, for trainers that read one.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Write a recipe for a trainer, read the files back, and print the token shares that they imply."""
    from pydantic import ValidationError

    from gem_assets.cli.tables import label_scan
    from gem_assets.export.config import ExportConfig
    from gem_assets.export.mixture import export_mixture
    from gem_assets.lineage.mixtures import find_mixture

    settings, store = opened(data_root)
    mixture = find_mixture(store, recipe)
    try:
        config = ExportConfig(
            sequence_length=sequence_length,
            batch_sequences=batch_sequences,
            phase=phase,
            seed=seed,
            eos_token=eos_token,
            tokenizer_name=tokenizer_name,
            root=root,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(f"{first['loc'][0]}: {first['msg']}, got {first['input']!r}") from error
    folder = (out or settings.data_root / "exports" / f"{mixture.name}-{to}").expanduser().absolute()
    note = error_console() if as_json else console()
    note.print(f"Exporting {mixture.key} to {to} ...")
    done = export_mixture(
        store,
        mixture,
        label_scan(settings),
        to,
        folder,
        tokenizer=tokenizer,
        config=config,
        ordering=settings.ordering,
        use_order=use_order,
    )
    if done.record is not None and done.record.share_bias:
        _tell_order_page(settings, mixture, done.record)
    if as_json:
        told = {
            "folder": str(done.folder),
            "mixture": mixture.key,
            "order": done.order.identity if done.order is not None else None,
            "not_expressed": list(done.not_expressed),
            **done.report.as_dict(),
            "notes": [*done.notes, *done.report.notes],
        }
        print_json(told)
    else:
        print_export(done, mixture, note)
    if not done.report.within_tolerance:
        missed = [str(c.cluster) for c in done.report.clusters if not c.within_tolerance]
        print_error(f"clusters {', '.join(missed)} miss their share by more than 0.5 % and a sequence", "Warning")
        raise typer.Exit(1)


def _tell_order_page(settings: "Settings", mixture: "Mixture", record: "ExportRecord") -> None:
    """Show on the page of the training order how far its shares are off by the tokenizer of an export."""
    import dagster as dg

    from gem_assets.assets.training_order import share_bias
    from gem_assets.orchestration.figures import named
    from gem_assets.orchestration.instance import open_instance
    from gem_assets.orchestration.places import shown

    key, strategy = shown((result_of(ORDERS, mixture.name), None))
    with open_instance(settings) as instance:
        instance.report_runless_asset_event(
            dg.AssetObservation(key, partition=strategy, metadata=named(share_bias(record, mixture.cluster_names)))
        )


def print_export(done: "MixtureExport", mixture: "Mixture", out: Terminal) -> None:
    """Print what the files imply."""
    from gem_assets.report.tables import compact

    report, names = done.report, mixture.cluster_names
    figures = ("weight", "wanted", "implied", "available tokens", "epochs", "seen once after")
    table = plain_table(f"{report.trainer}: weight in {report.unit}", "cluster", right=figures)
    for c in sorted(report.clusters, key=lambda c: (-c.target_share, c.cluster)):
        exhausted = f"{c.exhausted_at:.0%} of the run" if c.exhausted_at is not None else "never"
        table.add_row(
            names.get(c.cluster, f"Cluster {c.cluster}"),
            f"{c.weight:.6g}",
            f"{c.target_share:.3%}",
            f"{c.implied_share:.3%}",
            compact(c.tokens_available),
            f"{c.epochs:.2f}",
            exhausted,
        )
    out.print(table)
    errors = f"Largest error of a share, read back: {report.share_error:.2e}"
    if report.realised_share_error is not None:
        errors += f" (by the draws of the seed: {report.realised_share_error:.2e})"
    if report.naive_share_error is not None:
        errors += f"; {report.naive} would miss by {report.naive_share_error:.2e}"
    out.print(errors)
    if done.order is not None:
        out.print(f"Order: {result_of(ORDERS, mixture.name)} {done.order.identity[:12]}")
    for reason, count in report.left_out.items():
        if count:
            out.print(f"Left out: {count:,} documents, {reason}")
    for option in done.not_expressed:
        out.print(f"Not expressed: {option}")
    for line in (*done.notes, *report.notes):
        out.print(f"Note: {line}")
    out.print(f"Use: {report.usage}")
    out.print(f"{len(report.files)} files in {done.folder}")
