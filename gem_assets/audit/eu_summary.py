"""Public summary of training content, as the AI Act asks of general-purpose models (article 53(1)(d)).

In the three sections of the Commission's template of July 2025: general information, sources, processing. Figures come
from the mixture as it is trained on: bytes and tokens count every repetition. The template asks for the domains of the
largest tenth by size (of a small or medium-sized provider the largest twentieth, at most a thousand); ``domains.csv``
has all of them, so the list can be cut either way. What only the provider can state is marked where it belongs.

The size bands are those of the template for text. Whether a source is a public data set, licensed, scraped, user data
or synthetic is not in the data: the sources are listed and the provider has to sort them.
"""

from typing import Any, Final

from gem_assets.audit.config import STATEMENTS, AuditConfig
from gem_assets.audit.facts import Account, AuditFacts
from gem_assets.audit.origins import language_name
from gem_assets.lineage.audit import AuditReport, Composition
from gem_assets.report.tables import markdown_table, percent

EU_JSON_NAME, EU_NAME = "eu_summary.json", "eu_summary.md"
BANDS: Final = (
    (10**9, "less than 1 billion tokens"),
    (10**13, "1 billion to 10 trillion tokens"),
    (None, "more than 10 trillion tokens"),
)
LARGE_SOURCE: Final = 0.03
"""Part of the tokens from which the template wants a public data set named by itself."""


def size_band(tokens: int) -> str:
    """Return the template's size band for text."""
    return next(name for limit, name in BANDS if limit is None or tokens < limit)


def eu_summary(account: Account) -> dict[str, Any]:
    """Return the summary as plain data, in the order of the template."""
    facts, config = account.facts, account.config
    report, crawl, domains = facts.report, facts.crawl, facts.domains
    named = account.domains.slice(0, domains.listed).to_pylist()
    return {
        "general_information": {
            "provider": config.text("provider"),
            "model": config.text("model"),
            "modality": "text",
            "size_band": size_band(report.tokens),
            "tokens_as_trained": report.tokens,
            "bytes_as_trained": report.n_bytes,
            "documents": report.documents,
            "tokenizer": facts.tokenizer,
            "latest_acquisition": crawl.last,
            "languages": _groups(report.composition["lang"]),
        },
        "sources": {
            "by_source": [
                {**row, "above_three_percent": row["token_share"] > LARGE_SOURCE}
                for row in _groups(report.composition["source"])
            ],
            "licences": _groups(report.composition["license"]),
            "legal_basis": config.text("legal_basis"),
            "crawled": {
                "acquisition": config.text("acquisition"),
                "first_date": crawl.first,
                "last_date": crawl.last,
                "token_share_with_date": crawl.dated_share,
                "byte_share_with_address": domains.bytes_with_address / max(report.n_bytes, 1),
                "registrable_domains": domains.domains,
                "listed": domains.listed,
                "listed_if_small_provider": domains.listed_small_provider,
                "largest_domains": [row["domain"] for row in named],
            },
            "user_data": config.text("user_data"),
            "synthetic_data": config.text("synthetic_data"),
        },
        "processing": {
            "rights_reservation": config.text("rights_reservation"),
            "documents_removed_on_request": facts.blocked,
            "takedown_entries_applied": facts.takedown_requests,
            "illegal_content": config.text("illegal_content"),
            "personal_data": config.text("personal_data"),
            "records": [snapshot.model_dump() for snapshot in facts.snapshots],
        },
        "mixture": {"merkle_root": report.merkle_root, "recipe": facts.recipe_identity, "order": facts.order_identity},
        "a_person_must_state": config.missing,
    }


def eu_markdown(account: Account) -> str:
    """Return the summary as Markdown."""
    facts, config = account.facts, account.config
    report, crawl, domains = facts.report, facts.crawl, facts.domains
    rows = account.domains.slice(0, domains.listed).to_pylist()
    for row in rows:
        row["share"] = percent(row["bytes"] / max(report.n_bytes, 1))
    period = f"{crawl.first} to {crawl.last}" if crawl.first else "no document has a date"
    lines = [
        "# Summary of training content",
        "",
        "After the template of the European Commission (AI Act, article 53(1)(d)). "
        f"Mixture `{facts.strategy}`, Merkle root `{report.merkle_root}`. Sizes and shares are as trained: every "
        "repetition counts.",
        "",
        *missing_lines(config),
        "## 1. General information",
        "",
        f"- Provider: {_text(config, 'provider')}",
        f"- Models: {_text(config, 'model')}",
        "- Modality: text",
        f"- Size: {size_band(report.tokens)} ({report.tokens:,} tokens of {facts.tokenizer}, {report.n_bytes:,} bytes, "
        f"{report.documents:,} documents)",
        f"- Latest date of acquisition, by the dates of the records: {crawl.last or 'no document has a date'}",
        "",
        f"Languages: {languages_line(facts)}.",
        "",
        composition_table(languages_of(report), "language"),
        "",
        "## 2. Sources",
        "",
        f"By what right the sources are used: {_text(config, 'legal_basis')}",
        "",
        "Sources as the records name them; those above 3 % of the tokens have to be named one by one:",
        "",
        composition_table(report.composition["source"], "source", above=LARGE_SOURCE),
        "",
        "Licences as the sources state them, not verified:",
        "",
        composition_table(report.composition["license"], "licence"),
        "",
        "### Crawled and scraped",
        "",
        f"- Acquisition: {_text(config, 'acquisition')}",
        f"- Period, by the dates of the records: {period}; {percent(crawl.dated_share)} of the tokens have a date",
        f"- Registrable domains: {domains.domains:,}; the largest tenth by bytes as trained, {domains.listed:,}, "
        f"follow (a small or medium-sized provider lists {domains.listed_small_provider:,}); all are in `domains.csv`",
        f"- {percent(domains.bytes_with_address / max(report.n_bytes, 1))} of the bytes have a web address",
        "",
        markdown_table(rows, ["domain", "bytes", "share", "documents", "exposures", "tokens"], max_rows=len(rows)),
        "",
        f"- User data: {_text(config, 'user_data')}",
        f"- Synthetic data: {_text(config, 'synthetic_data')}",
        "",
        "## 3. Processing",
        "",
        f"- Reservations of rights: {_text(config, 'rights_reservation')}",
        f"- Documents refused because of a takedown: {facts.blocked:,}, after {facts.takedown_requests:,} entries of "
        "the takedown list",
        f"- Illegal content: {_text(config, 'illegal_content')}",
        f"- Personal data: {_text(config, 'personal_data')}",
        "",
        "What became of the records of each snapshot:",
        "",
        snapshot_table(facts),
        "",
    ]
    return "\n".join(lines)


def missing_lines(config: AuditConfig) -> list[str]:
    """Return the list of what a person still has to state, as Markdown lines; empty when all is stated."""
    if not config.missing:
        return []
    head = [f"> **{len(config.missing)} statements are missing.** Only a person can make them:", ">"]
    return [*head, *(f"> - `{key}`: {STATEMENTS[key]}" for key in config.missing), ""]


def composition_table(groups: list[Composition], name: str, above: float | None = None) -> str:
    """Return a composition as a Markdown table, shares weighted by repetition; groups ``above`` a share are marked."""
    rows: list[dict[str, Any]] = [
        {name: g.value, "share of tokens": percent(g.token_share), "tokens": g.tokens, "documents": g.documents}
        for g in groups
    ]
    if above is not None:
        for row, group in zip(rows, groups, strict=True):
            row[f"above {percent(above)}"] = "yes" if group.token_share > above else ""
    return markdown_table(rows, max_rows=len(rows))


def languages_line(facts: AuditFacts) -> str:
    """Say how many languages there are and how much of the text is in one of them."""
    found = facts.languages
    return f"{found.languages:,}, with {percent(found.token_share)} of the tokens; the rest is code or undetermined"


def languages_of(report: AuditReport) -> list[Composition]:
    """Return the composition by language under the names that a reader knows."""
    return [group.model_copy(update={"value": language_name(group.value)}) for group in report.composition["lang"]]


def snapshot_table(facts: AuditFacts) -> str:
    """Return what became of the records, one row per snapshot; ``used`` counts the documents that the mixture shows."""
    columns = ["snapshot", "used", "files", "bytes", "read", "kept", "duplicates", "filtered", "quarantined", "blocked"]
    return markdown_table([s.model_dump() for s in facts.snapshots], columns, max_rows=len(facts.snapshots))


def _groups(groups: list[Composition]) -> list[dict[str, Any]]:
    return [group.model_dump() for group in groups]


def _text(config: AuditConfig, key: str) -> str:
    text = " ".join(config.text(key).split())
    return text if key in config.statements else f"**{text}**"
