"""The first page of an audit: its figures, pictures and tables, and links to every form next to it.

One file that needs nothing else: pictures are inline, no script, no address of another site is loaded.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from gem_assets.audit.config import STATEMENTS
from gem_assets.audit.eu_summary import languages_of
from gem_assets.audit.facts import Account
from gem_assets.audit.plots import composition_bars, lineage_diagram, tokens_over_time
from gem_assets.lineage.audit import Composition
from gem_assets.report.pages import escape, figure_row, html_table, image, page
from gem_assets.report.plots import mixture_bars
from gem_assets.report.tables import compact, percent

INDEX_NAME = "index.html"
SHOWN = 20
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

    Parameters
    ----------
    files
        Names of the files beside it; only those are linked.
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
    period = f"dated {crawl.first} to {crawl.last}" if crawl.first else "no document has a date"
    body = [
        f"<h1>Audit of the {escape(facts.strategy)} mixture</h1>",
        f'<p class="muted">Merkle root {escape(report.merkle_root)}<br>{escape(period)}; tokens of '
        f"{escape(facts.tokenizer)}; shares count every repetition</p>",
        figure_row(figures),
        _missing(account),
        f"<h2>Forms and files</h2>\n{_links(files)}",
        "<h2>Composition</h2>",
        image(_mixture(account), "Token shares per cluster, beside the proportional mixture"),
        image(_composition(account), "Shares by language, licence, source and domain"),
        *([image(tokens_over_time([(m.month, m.tokens) for m in crawl.months]), "Tokens by month")]
          if len(crawl.months) > 1 else []),
        f"<h2>Largest domains</h2>\n{_domains(account)}",
        f"<h2>Licences</h2>\n<p class='muted'>As the sources state them; none was verified.</p>\n"
        f"{_groups(report.composition['license'], 'licence')}",
        f"<h2>Languages</h2>\n{_groups(languages_of(report), 'language')}",
        f"<h2>Sources</h2>\n{_groups(report.composition['source'], 'source')}",
        f"<h2>Lineage</h2>\n{image(_lineage(account), 'From the landed files to the mixture')}",
        f"<h2>What became of the records</h2>\n{_snapshots(account)}",
    ]  # fmt: skip
    footer = f"Training order {facts.order_identity}; recipe {facts.recipe_identity}"
    return page(f"Audit: {facts.strategy}", "\n".join(part for part in body if part), footer)


def _missing(account: Account) -> str:
    keys = account.config.missing
    if not keys:
        return ""
    items = "".join(f"<li>{escape(STATEMENTS[key])}</li>" for key in keys)
    return (
        f'<details><summary><span class="hot">{len(keys)} statements are missing</span> that only a person can make '
        f"(settings, <b>[audit.statements]</b>)</summary><ol>{items}</ol></details>"
    )


def _links(files: Sequence[str]) -> str:
    cards = [
        f'<section class="card"><header><h3><a href="{escape(name)}">{escape(title)}</a></h3></header>'
        f'<p class="small muted">{escape(about)}<br>{escape(name)}</p></section>'
        for name, (title, about) in FORMS.items()
        if name in files
    ]
    return f'<div class="cards">{"".join(cards)}</div>'


def _mixture(account: Account) -> bytes:
    available = np.array([e.tokens_available for e in account.recipe.entries], np.float64)
    drawn = {c.cluster: c.share for c in account.facts.clusters}
    mixtures = {
        "proportional": available / max(available.sum(), 1.0),
        "as trained": np.array([drawn.get(e.cluster, 0.0) for e in account.recipe.entries]),
    }
    return mixture_bars(mixtures, [e.name for e in account.recipe.entries])


def _composition(account: Account) -> bytes:
    report = account.facts.report
    composition = {**report.composition, "lang": languages_of(report)}
    panels = {
        title: [(g.value, g.token_share) for g in composition[name]]
        for name, title in (("lang", "languages, by tokens"), ("license", "licences, by tokens"),
                            ("source", "sources, by tokens"))
    }  # fmt: skip
    total = max(report.n_bytes, 1)
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


def _domains(account: Account) -> str:
    facts = account.facts
    if not facts.domains.largest:
        return '<p class="muted">No document has a web address.</p>'
    top = facts.domains.largest[0].share or 1.0
    rows = [
        [escape(d.domain), _bar(d.share, top), f"{d.bytes:,}", f"{d.documents:,}", f"{d.exposures:,}"]
        for d in facts.domains.largest[:SHOWN]
    ]
    more = facts.domains.domains - len(rows)
    rest = f'<p class="muted small">and {more:,} more in domains.csv</p>' if more > 0 else ""
    return html_table(["domain", "share of bytes", "bytes", "documents", "showings"], rows) + rest


def _groups(groups: Sequence[Composition], name: str) -> str:
    top = max((g.token_share for g in groups), default=1.0) or 1.0
    rows = [[escape(g.value), _bar(g.token_share, top), f"{g.tokens:,}", f"{g.documents:,}"] for g in groups[:SHOWN]]
    more = len(groups) - len(rows)
    rest = f'<p class="muted small">and {more:,} more in audit.json</p>' if more > 0 else ""
    return html_table([name, "share of tokens", "tokens", "documents"], rows) + rest


def _snapshots(account: Account) -> str:
    columns = ("files", "read", "kept", "duplicates", "filtered", "quarantined", "blocked")
    rows = [
        [
            escape(s.snapshot),
            "" if s.used is None else f"{s.used:,}",
            *(f"{getattr(s, name):,}" for name in columns),
        ]
        for s in account.facts.snapshots
        if s.used != 0
    ]
    unused = escape(", ".join(account.facts.unused))
    rest = f'<p class="muted small">Snapshots of which no document is shown: {unused}</p>' if unused else ""
    return html_table(["snapshot", "documents shown", *columns], rows) + rest


def _bar(share: float, top: float) -> str:
    return f'<span class="cellbar" style="width:{90 * share / top:.1f}px"></span>{escape(percent(share))}'
