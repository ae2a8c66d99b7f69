"""The page of a swarm and the page that compares recipes: self-contained HTML, nothing loaded, no script."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gem_assets.mixing.comparison import Comparison, seeds_text
from gem_assets.mixing.recipe import Recipe
from gem_assets.report.pages import Cell, render
from gem_assets.report.plots import mixture_bars
from gem_assets.report.swarm_plots import loss_bars
from gem_assets.report.tables import cell, percent

SWARM_PAGE = "swarm.html"
RECIPES_PAGE = "recipes.html"

_FIGURES = {
    "proxies": "proxies trained",
    "mixtures": "mixtures",
    "targets": "targets",
    "for_budget": "tokens of the run whose repetition they match",
    "stage0_spearman": "rank correlation of stage 0 (lexical proxy)",
    "seed_deviation": "deviation between seeds, nats",
    "mixture_deviation": "deviation between mixtures, nats",
}


def swarm_page(folder: Path, names: Mapping[int, str]) -> str:
    """Write the page of a published swarm (``mixing.swarm.growth``): figures, shares against loss, and every mixture.

    ``folder`` holds ``report.json``, ``shares.png`` and ``swarm.parquet``.
    """
    from gem_assets.mixing.swarm.table import SwarmTable

    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    table = SwarmTable.read(folder / "swarm.parquet")
    by_label = dict(zip(report["labels"], table.mixtures, strict=True))
    figures = [(cell(report["figures"].get(key)), text) for key, text in _FIGURES.items()]
    return render(
        "swarm.html",
        "Proxy swarm",
        f"Swarm {table.identity[:12]}",
        figures=[figure for figure in figures if figure[0]],
        shares=(folder / "shares.png").read_bytes(),
        mixtures=[
            [
                row["mixture"],
                f"{row['target_loss']:.4f}",
                f"{row['stage0_loss']:.4f}",
                _largest(by_label[row["mixture"]], table.domains, names),
            ]
            for row in report["mixtures"]
        ],
    )


def comparison_page(comparison: Comparison, recipes: Sequence[Recipe]) -> str:
    """Write the page that compares recipes: the recommendation, what is known of each, bars, and shares."""
    identities = ", ".join(f"{r.strategy} {r.identity[:12]}" for r in recipes)
    return render(
        "recipes.html",
        "Recipes",
        f"Taxonomy {recipes[0].taxonomy_version[:12]}; {identities}",
        comparison=comparison,
        rows=[
            [
                Cell(row["recipe"], strong=row["recommended"]),
                row["law"] or "",
                _number(row["cv_spearman"], 2),
                _number(row["predicted_loss"], 4),
                _gain(row, "predicted_gain"),
                _gain(row, "measured_gain"),
                _number(row["in_domain_gain"], 4),
                seeds_text(row, "proportional"),
                seeds_text(row, "uniform"),
                _number(row["kl_to_prior"], 3),
                f"{row['most_epochs']:.2f}",
            ]
            for row in comparison.rows
        ],
        gains=gains_picture(comparison),
        verdicts=[[row["recipe"], row["verdict"]] for row in comparison.rows if row["verdict"]],
        shares=shares_picture(recipes),
    )


def gains_picture(comparison: Comparison) -> bytes | None:
    """Bars of the measured gains, or where there is none of the predicted; None when nothing is known."""
    measured = [row for row in comparison.rows if row["measured_gain"] is not None]
    key = "measured_gain" if measured else "predicted_gain"
    known = [row for row in comparison.rows if row[key] is not None]
    if not known:
        return None
    told = "measured at the next model size" if measured else "predicted by the law, not confirmed"
    return loss_bars(
        [row["recipe"] for row in known],
        [row[key] for row in known],
        [row[f"{key}_interval"] for row in known],
        "Target loss less proportional's",
        f"nats per token, {told}",
    )


def shares_picture(recipes: Sequence[Recipe]) -> bytes:
    """Token shares of up to six recipes; proportional first where it is among them."""
    ordered = sorted(recipes, key=lambda r: (r.strategy != "proportional", r.evidence is None, r.strategy))[:6]
    return mixture_bars({r.strategy: r.shares for r in ordered}, [e.name for e in ordered[0].entries])


def _gain(row: Mapping[str, Any], key: str) -> Cell:
    interval = row[f"{key}_interval"]
    return Cell(_number(row[key], 4), more=[f"{interval[0]:.4f} … {interval[1]:.4f}"] if interval else [])


def _number(value: float | None, digits: int) -> str:
    return "" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def _largest(shares: Any, domains: Sequence[str], names: Mapping[int, str]) -> str:
    best: list[int] = np.argsort(-np.asarray(shares), kind="stable")[:3].tolist()
    return ", ".join(f"{names.get(int(domains[i]), domains[i])} {percent(float(shares[i]))}" for i in best)
