"""The recipes side by side, as a terminal shows them."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from gem_assets.cli.console import Terminal, plain_table
from gem_assets.mixing.comparison import Comparison, seeds_text


def print_recipes(comparison: Comparison, out: Terminal) -> None:
    """Print the table, then what to use."""
    out.print(recipe_table(comparison))
    out.print(f"Use {comparison.recommended}", style="bold", end="")
    out.print(f": {comparison.reason}.")


def method_table(rows: Sequence[Mapping[str, str]]) -> Table:
    """One line per method of the registry."""
    table = plain_table("Mixture methods", "method", "family")
    for column in ("needs", "costs", "use when"):
        table.add_column(column, ratio=1)
    for row in rows:
        table.add_row(*(row[column] for column in ("method", "family", "needs", "costs", "use when")))
    return table


def recipe_table(comparison: Comparison) -> Table:
    """One line per recipe; gains are losses less proportional's, nats per token, so negative is better."""
    title = "Recipes: gains are losses less that of proportional, nats per token; negative is better"
    figures = ("cv ρ", "predicted", "measured", "in-domain", "beats prop.", "beats unif.", "KL", "epochs")
    table = plain_table(title, "recipe", right=figures)
    table.add_column("verdict", ratio=1)
    for row in comparison.rows:
        table.add_row(
            row["recipe"],
            _number(row["cv_spearman"], 2),
            _number(row["predicted_gain"], 4),
            _number(row["measured_gain"], 4),
            _number(row["in_domain_gain"], 4),
            seeds_text(row, "proportional"),
            seeds_text(row, "uniform"),
            _number(row["kl_to_prior"], 3),
            f"{row['most_epochs']:.2f}",
            row["verdict"] or "",
            style="bold" if row["recommended"] else "",
        )
    return table


def _number(value: Any, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
