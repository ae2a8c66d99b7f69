"""The first page of an audit: its figures, pictures and tables, and links to every form next to it.

One file that needs nothing else: pictures are inline, no script, no address of another site is loaded.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from gem_assets.audit.config import STATEMENTS
from gem_assets.audit.eu_summary import languages_of
from gem_assets.audit.facts import Account
from gem_assets.audit.plots import composition_bars, lineage_diagram, tokens_over_time
from gem_assets.lineage.audit import Composition
from gem_assets.report.pages import Cell, bar_cell, render
from gem_assets.report.plots import mixture_bars
from gem_assets.report.tables import compact, percent

INDEX_NAME = "index.html"
SHOWN = 20
RECORDS: Final = ("files", "read", "kept", "duplicates", "filtered", "quarantined", "blocked")
FORMS: Final = {
    "data_card.html": ("Data card", "what to know before training on it, to read and print"),
    "data_card.md": ("Data card, as Markdown", "the same for model hubs"),
    "eu_summary.html": ("EU summary of training content", "after the template of the AI Act, article 53(1)(d)"),
    "eu_summary.md": ("EU summary, as Markdown", "the same as text"),
    "eu_summary.json": ("EU summary, as data", "the same for programs"),
    "croissant.json": ("Croissant 1.1", "JSON-LD with RAI and PROV-O"),
    "spdx.json": ("SPDX 3.0.1", "bill of materials, dataset profile"),
    "openlineage.jsonl": ("OpenLineage", "events of every run behind it, with versions and columns"),
    "lineage.html": ("Lineage", "every artifact and landed file with its digest"),
    "lineage.json": ("Lineage, as data", "every manifest"),
    "documents.parquet": ("Documents", "every document and how often it is shown"),
    "domains.csv": ("Domains", "every registrable domain by bytes as trained"),
    "audit.json": ("Totals and Merkle root", "shares by language, source and licence"),
    "facts.json": ("Figures", "everything that the forms state"),
    "verify.py": ("Checker of proofs", "python verify.py PROOF.json MERKLE-ROOT checks what gem prove wrote"),
}


def index_page(account: Account, files: Sequence[str]) -> str:
    """Return the page.

    ``files`` are the names of the files beside it; only those are linked.
    """
    facts = account.facts
    report, crawl = facts.report, facts.crawl
    figures = [
        (compact(report.tokens), "tokens as trained"),
        (compact(report.documents), "documents"),
        (compact(report.exposures), "showings"),
        (str(report.most_repeated), "most showings of one"),
        (compact(facts.domains.domains), "registrable domains"),
        (str(facts.languages.languages), "languages"),
        (percent(1 - facts.languages.token_share), "code or undetermined"),
        (str(len(facts.snapshots) - len(facts.unused)), "snapshots"),
    ]
    months = [(month.month, month.tokens) for month in crawl.months]
    groups = {**report.composition, "lang": languages_of(report)}
    top = facts.domains.largest[0].share or 1.0 if facts.domains.largest else 1.0
    return render(
        "audit.html",
        f"Audit: {facts.strategy}",
        f"Training order {facts.order_identity}; recipe {facts.recipe_identity}",
        facts=facts,
        figures=figures,
        period=f"dated {crawl.first} to {crawl.last}" if crawl.first else "no document has a date",
        missing=[STATEMENTS[key] for key in account.config.missing],
        forms={name: form for name, form in FORMS.items() if name in files},
        mixture=_mixture(account),
        composition=_composition(account, groups),
        by_month=tokens_over_time(months) if len(months) > 1 else None,
        lineage=_lineage(account),
        domains=[
            [d.domain, bar_cell(d.share, top), f"{d.bytes:,}", f"{d.documents:,}", f"{d.exposures:,}"]
            for d in facts.domains.largest[:SHOWN]
        ],
        groups={name: (_rows(found), len(found)) for name, found in groups.items()},
        snapshots=[
            [s.snapshot, "" if s.used is None else f"{s.used:,}", *(f"{getattr(s, name):,}" for name in RECORDS)]
            for s in facts.snapshots
            if s.used != 0
        ],
    )


def _mixture(account: Account) -> bytes:
    available = np.array([e.tokens_available for e in account.recipe.entries], np.float64)
    drawn = {c.cluster: c.share for c in account.facts.clusters}
    mixtures = {
        "proportional": available / max(available.sum(), 1.0),
        "as trained": np.array([drawn.get(e.cluster, 0.0) for e in account.recipe.entries]),
    }
    return mixture_bars(mixtures, [e.name for e in account.recipe.entries])


def _composition(account: Account, groups: Mapping[str, Sequence[Composition]]) -> bytes:
    panels = {
        title: [(g.value, g.token_share) for g in groups[name]]
        for name, title in (("lang", "languages, by tokens"), ("license", "licences, by tokens"),
                            ("source", "sources, by tokens"))
    }  # fmt: skip
    total = max(account.facts.report.n_bytes, 1)
    rows = [(str(row["domain"]), row["bytes"] / total) for row in account.domains.to_pylist()]
    without = 1 - account.facts.domains.bytes_with_address / total
    panels["domains, by bytes"] = [*rows, *([("unknown", without)] if without > 0 else [])]
    return composition_bars(panels)


def _lineage(account: Account) -> bytes:
    read: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    unused = set(account.facts.unused)
    for manifest in account.manifests:
        if manifest.partition in unused:
            continue
        counts[manifest.asset] = counts.get(manifest.asset, 0) + 1
        read.setdefault(manifest.asset, set()).update(ref.asset for ref in manifest.inputs)
    for ref in account.lineage.sources.values():
        if ref.partition in unused:
            continue
        counts[ref.asset] = counts.get(ref.asset, 0) + (ref.asset not in read)
    return lineage_diagram({name: sorted(names) for name, names in read.items()}, counts)


def _rows(groups: Sequence[Composition]) -> list[list[str | Cell]]:
    top = max((group.token_share for group in groups), default=1.0) or 1.0
    return [[g.value, bar_cell(g.token_share, top), f"{g.tokens:,}", f"{g.documents:,}"] for g in groups[:SHOWN]]
