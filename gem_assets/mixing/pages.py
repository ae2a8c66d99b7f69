"""The page of a swarm and the page that compares recipes: self-contained HTML, nothing loaded, no script."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gem_assets.mixing.comparison import Comparison, seeds_text
from gem_assets.mixing.recipe import Recipe
from gem_assets.report.pages import escape, figure_row, html_table, image, page
from gem_assets.report.plots import mixture_bars
from gem_assets.report.swarm_plots import loss_bars
from gem_assets.report.tables import cell, percent

SWARM_PAGE = "swarm.html"
RECIPES_PAGE = "recipes.html"

_FIGURES = {
    "proxies": "proxies trained",
    "mixtures": "mixtures",
    "targets": "targets",
    "stage0_spearman": "rank correlation of stage 0 (lexical proxy)",
    "seed_deviation": "deviation between seeds, nats",
    "mixture_deviation": "deviation between mixtures, nats",
}


def swarm_page(folder: Path, names: Mapping[int, str]) -> str:
    """Write the page of a published swarm (``mixing.swarm.growth``): figures, shares against loss, and every mixture.

    Parameters
    ----------
    folder
        With ``report.json``, ``shares.png`` and ``swarm.parquet``.
    names
        Of the clusters, by id.
    """
    from gem_assets.mixing.swarm.table import SwarmTable

    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    table = SwarmTable.read(folder / "swarm.parquet")
    head = ["mixture", "target loss", "stage 0 (lexical proxy)", "largest shares"]
    by_label = dict(zip(report["labels"], table.mixtures, strict=True))
    rows = [
        [
            escape(row["mixture"]),
            f"{row['target_loss']:.4f}",
            f"{row['stage0_loss']:.4f}",
            escape(_largest(by_label[row["mixture"]], table.domains, names)),
        ]
        for row in report["mixtures"]
    ]
    figures = [(cell(report["figures"].get(key)), text) for key, text in _FIGURES.items()]
    body = (
        "<h1>Proxy swarm</h1>\n"
        '<p class="muted">Tiny models, one a mixture, all with the same initialisation and stream; losses are nats a '
        "token on fixed windows.</p>\n"
        f"{figure_row([f for f in figures if f[0]])}\n"
        f"{image((folder / 'shares.png').read_bytes(), 'Loss of every proxy against the share of a cluster')}\n"
        f"<h2>Mixtures, best first</h2>\n{html_table(head, rows)}"
    )
    return page("Proxy swarm", body, f"Swarm {table.identity[:12]}")


def comparison_page(comparison: Comparison, recipes: Sequence[Recipe]) -> str:
    """Write the page that compares recipes: the recommendation, what is known of each, bars, and shares."""
    rows = comparison.rows
    head = [
        "recipe",
        "law",
        "cv ρ",
        "predicted",
        "predicted gain",
        "measured gain",
        "in-domain",
        "beats proportional",
        "beats uniform",
        "KL",
        "epochs",
    ]
    body_rows = [
        [
            f"<b>{escape(row['recipe'])}</b>" if row["recommended"] else escape(row["recipe"]),
            escape(row["law"] or ""),
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
        for row in rows
    ]
    verdicts = [[escape(row["recipe"]), escape(row["verdict"])] for row in rows if row["verdict"]]
    gains = gains_picture(comparison)
    picture = image(gains, "Loss of each recipe less that of proportional") if gains is not None else ""
    shares = image(shares_picture(recipes), "Token shares of the recipes")
    body = (
        "<h1>Recipes</h1>\n"
        f"<p><b>Use {escape(comparison.recommended)}</b>: {escape(comparison.reason)}.</p>\n"
        '<p class="muted">Gains are losses less that of proportional, nats per token: negative is better. '
        "Predicted ones "
        "are the law's, measured ones the mean over the paired seeds of a confirmation run; below each its interval, "
        "and the range over seeds.</p>\n"
        f"{html_table(head, body_rows)}\n{picture}\n"
        f"<h2>Verdicts</h2>\n{html_table(['recipe', 'verdict'], verdicts) if verdicts else '<p>none</p>'}\n"
        f"<h2>Shares</h2>\n{shares}"
    )
    identities = ", ".join(f"{r.strategy} {r.identity[:12]}" for r in recipes)
    return page("Recipes", body, f"Taxonomy {recipes[0].taxonomy_version[:12]}; {identities}")


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


def _gain(row: Mapping[str, Any], key: str) -> str:
    interval = row[f"{key}_interval"]
    told = f"<br><span class='muted small'>{interval[0]:.4f} … {interval[1]:.4f}</span>" if interval else ""
    return f"{_number(row[key], 4)}{told}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def _largest(shares: Any, domains: Sequence[str], names: Mapping[int, str], count: int = 3) -> str:
    best: list[int] = np.argsort(-np.asarray(shares), kind="stable")[:count].tolist()
    return ", ".join(f"{names.get(int(domains[i]), domains[i])} {percent(float(shares[i]))}" for i in best)
