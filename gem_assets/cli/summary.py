"""The summary at the end of ``gem demo``, read from the artifacts: snapshots, clusters, recipes, places."""

import shlex
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.table import Table

from gem_assets.cli.console import Terminal, plain_table
from gem_assets.cli.status import COUNTS, count_cells, size_text
from gem_assets.mixing.recipe_artifact import RecipeDescription, describe_recipe
from gem_assets.run import RunSummary
from gem_assets.settings import Settings
from gem_assets.stages import GIS_TAXONOMY, RAW_SHARDS, RECIPES, result_of, strategy_of
from gem_assets.storage.artifacts import ArtifactStore
from gem_assets.taxonomy.taxonomy import TAXONOMY_NAME, Taxonomy

_ROOMY = 120
_LEAST_NAME, _MOST_NAME = 24, 42
_SHOWN_RECIPES = ("proportional", "uniform", "temperature", "unimax", "balanced")


def print_summary(
    settings: Settings, made: dict[str, Any], summary: RunSummary, *, seconds: float, log: Path, out: Terminal
) -> None:
    """Print the demo's summary."""
    store = ArtifactStore(settings.data_root)
    out.print()
    out.print(landed_table(made))
    out.print()
    out.print(ingested_table(store))
    for line in quarantine_lines(store):
        out.print(line)
    recipes = read_recipes(store)
    named = store.current(GIS_TAXONOMY)
    if named is not None:
        taxonomy = Taxonomy.read(named.path / TAXONOMY_NAME)
        out.print()
        out.print(cluster_table(taxonomy, out.width))
    for table in recipe_tables(recipes, out.width) if recipes else []:
        out.print()
        out.print(table)
    _print_problems(summary, out)
    out.print()
    ran, stood = len(summary.steps), len(summary.standing)
    was = f" and {stood} that were up to date" if stood else ""
    out.print(f"{ran} steps{was} in {summary.seconds:.0f} s; {seconds:.0f} s in all.")
    out.print(f"Artifacts  {settings.data_root / 'artifacts'}")
    out.print(f"Log        {log}")
    out.print("Look at it: ", end="")
    out.print(dev_command(settings.data_root), style="bold")


def landed_table(made: dict[str, Any]) -> Table:
    """Return what the three demo crawls hold."""
    size = size_text(int(made["text_bytes"]))
    title = f"Landed: {sum(s['documents'] for s in made['snapshots']):,} pages, {size} of text, and damaged files"
    counted = ("pages", "new", "unchanged", "edited", "gone", "damaged files")
    table = plain_table(title, "snapshot", "format", right=counted)
    for row in made["snapshots"]:
        figures = [f"{row[key]:,}" for key in ("documents", "new", "recrawled", "edited", "gone")]
        table.add_row(row["name"], row["file_format"], *figures, f"{len(row['damaged_files'])}")
    return table


def ingested_table(store: ArtifactStore) -> Table:
    """Return what happened to each snapshot's documents."""
    table = plain_table("Ingested: read = kept + duplicates + filtered + quarantined", "snapshot", right=COUNTS)
    totals: Counter[str] = Counter()
    for name in store.partitions(RAW_SHARDS):
        artifact = store.current(RAW_SHARDS, name)
        counts = artifact.manifest.counts if artifact is not None else {}
        totals.update(counts)
        table.add_row(name, *count_cells(counts))
    table.add_row("together", *count_cells(totals), style="bold")
    return table


def quarantine_lines(store: ArtifactStore) -> list[str]:
    """Return one line for each file and reason in the quarantine tables."""
    lines: list[str] = []
    for name in store.partitions(RAW_SHARDS):
        artifact = store.current(RAW_SHARDS, name)
        path = artifact.path / "quarantine.parquet" if artifact is not None else None
        if path is None or not path.is_file():
            continue
        table = pq.read_table(path, columns=["file", "reason"])
        reasons = Counter(zip(table["file"].to_pylist(), table["reason"].to_pylist(), strict=True))
        lines += [f"  quarantined: {name}/{file}: {reason} ({count:,})" for (file, reason), count in reasons.items()]
    return lines


def cluster_table(taxonomy: Taxonomy, width: int) -> Table:
    """Return the named clusters, largest first; the kind of text most of each is only where there is room."""
    roomy = width >= _ROOMY
    table = plain_table(f"Clusters: {len(taxonomy.clusters)}, named from {taxonomy.documents:,} documents")
    table.add_column("#", justify="right", style="dim", no_wrap=True, min_width=2)
    table.add_column("share", justify="right", no_wrap=True, min_width=5)
    table.add_column("name", no_wrap=True, max_width=42 if roomy else 34)
    table.add_column("more keywords", no_wrap=True, ratio=1)
    if roomy:
        table.add_column("mostly", no_wrap=True, min_width=32)
    table.expand = True
    for cluster in sorted(taxonomy.clusters, key=lambda cluster: (-cluster.share, cluster.id)):
        more = [word for word in cluster.keywords if word.casefold() not in cluster.name.casefold()]
        mostly = f"{cluster.sources[0].value} {cluster.sources[0].share:.0%}" if cluster.sources else ""
        cells = [str(cluster.id), f"{cluster.share:.1%}", cluster.name, ", ".join(more[:6])]
        table.add_row(*cells, *([mostly] if roomy else []))
    return table


def read_recipes(store: ArtifactStore) -> dict[str, RecipeDescription]:
    """Return the current recipes, the familiar strategies first."""
    names = [name for asset in store.assets() if (name := strategy_of(asset, RECIPES))]
    names.sort(key=lambda name: (_SHOWN_RECIPES.index(name) if name in _SHOWN_RECIPES else len(_SHOWN_RECIPES), name))
    found: dict[str, RecipeDescription] = {}
    for name in names:
        artifact = store.current(result_of(RECIPES, name))
        if artifact is not None:
            found[name] = describe_recipe(artifact.path)
    return found


def recipe_tables(recipes: dict[str, RecipeDescription], width: int) -> list[Table]:
    """Return the recipes side by side, token shares by cluster, in as many tables as the width asks for."""
    columns = {name: max(len(name), 6) + 2 for name in recipes}
    name_width = min(max(width - sum(columns.values()) - 2, _LEAST_NAME), _MOST_NAME)
    tables: list[Table] = []
    names, used = [], name_width + 2
    for name, needed in columns.items():
        if names and used + needed > width + 2:  # the last column needs no gap
            tables.append(_recipe_table(recipes, names, name_width))
            names, used = [], name_width + 2
        names.append(name)
        used += needed
    return [*tables, _recipe_table(recipes, names, name_width)]


def _recipe_table(recipes: dict[str, RecipeDescription], names: list[str], name_width: int) -> Table:
    first = next(iter(recipes.values())).recipe
    table = plain_table(f"Recipes: shares of a budget of {first.token_budget:,} tokens")
    table.add_column("cluster", no_wrap=True, max_width=name_width)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True, min_width=max(len(name), 6))
    shares = {name: {e.cluster: e.token_share for e in recipes[name].recipe.entries} for name in names}
    for entry in sorted(first.entries, key=lambda entry: (-entry.token_share, entry.cluster)):
        table.add_row(entry.name, *(f"{shares[name].get(entry.cluster, 0):.1%}" for name in names))
    figures = {
        "effective_clusters": ("effective clusters", "{:.1f}"),
        "most_epochs": ("most epochs of a cluster", "{:.2f}"),
        "kl_to_proportional": ("nats from proportional", "{:.3f}"),
    }
    for key, (label, form) in figures.items():
        table.add_row(label, *(form.format(recipes[name].figures[key]) for name in names), style="bold")
    return table


def dev_command(data_root: Path) -> str:
    """Return the command that shows the result, as this user can type it here."""
    here = Path.cwd()
    gem = "gem" if shutil.which("gem") else _relative(Path(sys.executable).parent / "gem", here)
    return f"{gem} dev --data-root {shlex.quote(_relative(data_root, here))}"


def _relative(path: Path, base: Path) -> str:
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)


def _print_problems(summary: RunSummary, out: Terminal) -> None:
    for step in (*summary.steps, *summary.standing):
        where = f"{step.asset}{f' [{step.snapshot}]' if step.snapshot else ''}"
        if step.failed_checks:
            out.print(f"Check failed: {where}: {', '.join(step.failed_checks)}")
        if not step.succeeded:
            out.print(f"Failed: {where}: {step.error}")
