"""The recipes side by side, as a terminal shows them."""

from typing import Any

from rich.table import Table

from gem_assets.cli.console import plain_table
from gem_assets.mixing.comparison import Comparison


def recipe_table(comparison: Comparison) -> Table:
    """One line a recipe; gains are losses less proportional's, nats a token, so negative is better."""
    table = plain_table("Recipes: gains are losses less that of proportional, nats a token; negative is better")
    table.add_column("recipe", no_wrap=True)
    for column in ("cv ρ", "predicted", "measured", "in-domain", "wins", "KL", "epochs"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", ratio=1)
    for row in comparison.rows:
        table.add_row(
            row["recipe"],
            _number(row["cv_spearman"], 2),
            _number(row["predicted_gain"], 4),
            _number(row["measured_gain"], 4),
            _number(row["in_domain_gain"], 4),
            f"{row['wins']}/{row['seeds']}" if row["wins"] is not None else "",
            _number(row["kl_to_prior"], 3),
            f"{row['most_epochs']:.2f}",
            row["verdict"] or "",
        )
    return table


def _number(value: Any, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
