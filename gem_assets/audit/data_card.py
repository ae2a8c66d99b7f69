"""The data card of a mixture: what a person reads before training on it, in Markdown."""

from gem_assets.audit.croissant import limits, manipulation, observed, preprocessing
from gem_assets.audit.eu_summary import composition_table, languages_line, languages_of, missing_lines, snapshot_table
from gem_assets.audit.facts import Account
from gem_assets.report.tables import escape_markdown, markdown_table, percent

CARD_NAME = "data_card.md"


def data_card(account: Account) -> str:
    """Return the card."""
    facts, config = account.facts, account.config
    report, crawl = facts.report, facts.crawl
    clusters = [
        {
            "cluster": c.name,
            "share of tokens": percent(c.share),
            "asked for": percent(c.target_share),
            "tokens": c.tokens,
            "documents": c.documents,
            "epochs": round(c.epochs, 2),
        }
        for c in facts.clusters
    ]
    domains = [
        {"domain": d.domain, "share of bytes": percent(d.share), "bytes": d.bytes, "documents": d.documents}
        for d in facts.domains.largest[:20]
    ]
    used = [snapshot for snapshot in facts.snapshots if snapshot.used != 0]
    period = f"{crawl.first} to {crawl.last}" if crawl.first else "not known"
    parts = [
        f"# Data card: mixture {facts.strategy}",
        "\n".join(
            [
                f"- Documents: {report.documents:,}, shown {report.exposures:,} times (at most {report.most_repeated} "
                "times each)",
                f"- Tokens as trained: {report.tokens:,} of {facts.tokenizer}; bytes as trained: {report.n_bytes:,}",
                f"- Dates of the records: {period} ({percent(crawl.dated_share)} of the tokens have a date)",
                f"- Languages: {languages_line(facts)}",
                f"- Snapshots: {len(used):,} of which documents are shown"
                + (f", {len(facts.unused):,} of which none is" if facts.unused else ""),
                f"- Merkle root: `{report.merkle_root}`",
                f"- Recipe `{facts.recipe_identity[:16]}`, taxonomy `{facts.taxonomy_version[:16]}`, training order "
                f"`{facts.order_identity[:16]}`",
            ]
        ),
        "\n".join(missing_lines(config)).rstrip(),
        f"## Use\n\nIntended use: {config.text('intended_use')}\n\nMaintenance: {config.text('maintenance')}",
        "## Composition\n\nShares count every repetition.",
        f"### Clusters\n\n{markdown_table(clusters, max_rows=len(clusters))}",
        f"### Languages\n\n{composition_table(languages_of(report), 'language')}",
        f"### Licences\n\nAs the sources state them; none was verified.\n\n"
        f"{composition_table(report.composition['license'], 'licence')}",
        f"### Sources\n\n{composition_table(report.composition['source'], 'source')}",
        f"### Largest domains\n\n{facts.domains.domains:,} registrable domains; all are in `domains.csv`.\n\n"
        f"{markdown_table(domains, max_rows=20)}",
        f"## Collection\n\n{config.text('acquisition')}\n\n{snapshot_table(facts)}",
        "## Preparation\n\n"
        + "\n".join(f"- {escape_markdown(step)}" for step in [*preprocessing(account), manipulation(account)]),
        "## Limits and biases\n\n"
        + "\n".join(f"- {escape_markdown(line)}" for line in [*limits(account), *observed(account)])
        + f"\n- {config.text('biases')}",
        f"## Personal data\n\n{config.text('personal_data')}",
        f"## How to check it\n\n`gem lineage {facts.strategy} --verify` reads everything again, down to the landed "
        f"files. `gem trace` answers for one document. The Merkle root is over (doc_id, content_digest, "
        "text_digest, multiplicity) of `documents.parquet`; `gem prove` proves a document in or out, and `verify.py` "
        "checks the proof.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
