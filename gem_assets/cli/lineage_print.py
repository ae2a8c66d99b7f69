"""Print traces, differences and lineages on a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from gem_assets.cli.console import Terminal, plain_table
from gem_assets.report.tables import compact, percent, positions_text

if TYPE_CHECKING:
    from gem_assets.lineage.walk import Fault, Lineage
    from gem_assets.tracing.answer import Trace, TracedDocument, TracedDomain
    from gem_assets.tracing.diff import MixtureDiff, Movement

_MOST_CLUSTERS = 12


def print_trace(trace: "Trace", out: Terminal) -> None:
    """Print the answer to one query."""
    if trace.domain is not None:
        _print_domain(trace.domain, out)
    elif not trace.documents:
        out.print(f"{trace.query} is not in any snapshot that the store still holds.")
        out.print("Ask for a full URL, a document id, a content digest, a host, a registrable domain or a source.")
        for request in trace.requests:
            out.print(f"  Request {request} keeps it out of what lands; see `gem certificate {request}`")
        for near in trace.near:
            out.print(f"  there is {near.what}: {near.differs}; places {near.documents}")
        if any(near.what.startswith("prefix:") for near in trace.near):
            out.print("`gem takedown prefix:ADDRESS --dry-run` shows what lies below an address.")
        return
    if trace.found > len(trace.documents):
        out.print(f"The first {len(trace.documents)} of {trace.found:,} documents (--most N shows more):")
    for document in trace.documents:
        _print_document(document, out)


def print_diff(diff: "MixtureDiff", out: Terminal) -> None:
    """Print what changed between two mixtures."""
    before, after = (f"{s.mixture}@{s.identity[:12]}" for s in (diff.before, diff.after))
    out.print(f"{before} → {after}", style="bold")
    out.print(f"{percent(diff.total_variation)} of the budget moved")
    if not diff.same_taxonomy:
        out.print("The taxonomies differ: cluster ids do not mean the same on both sides.", style="bold red")
    figures = ("before", "after", "change", "epochs before", "epochs after")
    table = plain_table("Shares", "cluster", right=figures)
    for row in sorted(diff.shares, key=lambda row: (-abs(row.change), row.cluster)):
        cells = [percent(row.share_before), percent(row.share_after), f"{row.change:+.2%}"]
        table.add_row(row.name, *cells, f"{row.epochs_before:.2f}", f"{row.epochs_after:.2f}")
    out.print(table)
    out.print()
    what = "shown by the training orders" if diff.basis == "drawn" else "that may be drawn (not both have an order)"
    out.print(
        f"Documents {what}: {diff.before.documents:,} → {diff.after.documents:,}; {diff.stayed:,} stayed, "
        f"{diff.shown_more:,} of them come more often, {diff.shown_less:,} less often"
    )
    for title, movements in (("Entered", diff.entered), ("Left", diff.left)):
        out.print(_movement_table(title, movements) if movements else f"{title}: none")


def print_lineage(lineage: "Lineage", faults: "Sequence[Fault] | None", out: Terminal, *, verified: bool) -> None:
    """Print a lineage as a tree, then what a verification found."""
    out.print_lines(lineage.text())
    for fault in faults or ():
        out.print("Fault ", style="bold red", end="")
        out.print(f"({fault.kind}) {fault}")
    if verified and not faults:
        files = sum(len(ref.files) for ref in lineage.sources.values())
        out.print(
            f"Verified: {len(lineage.nodes)} artifacts and {files} landed files are what they were when they were read."
        )


def _movement_table(title: str, movements: "Sequence[Movement]") -> Table:
    table = plain_table(title, "because of", right=("documents", "exposures", "tokens"))
    table.add_column("for example", no_wrap=True)
    for m in movements:
        example = m.examples[0].url or m.examples[0].doc_id if m.examples else ""
        table.add_row(m.reason, f"{m.documents:,}", f"{m.exposures:,}", compact(m.tokens), example)
    return table


def _print_domain(domain: "TracedDomain", out: Terminal) -> None:
    out.print(
        f"{domain.domain}: {domain.documents:,} documents at {domain.places:,} places, {compact(domain.tokens)} "
        f"tokens, {compact(domain.bytes)} bytes"
    )
    clusters = [f"{name} {count:,}" for name, count in domain.by_cluster.items()]
    more = f", and {len(clusters) - _MOST_CLUSTERS} more" if len(clusters) > _MOST_CLUSTERS else ""
    out.print(f"Clusters: {', '.join(clusters[:_MOST_CLUSTERS])}{more}")
    figures = ("documents", "expected exposures", "share of tokens", "drawn", "exposures", "tokens")
    table = plain_table("Mixtures", "mixture", right=figures)
    for m in domain.mixtures:
        drawn = ["–" if n is None else f"{n:,}" for n in (m.shown_documents, m.shown_exposures, m.shown_tokens)]
        name = m.mixture if m.current else f"{m.mixture} (old)"
        table.add_row(name, f"{m.documents:,}", f"{m.expected_exposures:,.1f}", percent(m.token_share), *drawn)
    out.print(table)


def _print_document(document: "TracedDocument", out: Terminal) -> None:
    out.print()
    out.print(document.doc_id, style="bold")
    for place in document.places:
        address = f"  {place.url}" if place.url else ""
        old = "" if place.current else " (old version)"
        kept = f" by {place.kept_snapshot}" if place.kind == "exact_across" else ""
        out.print(f"  {place.snapshot}{old}: {place.kind}{kept}{address}")
        out.print(
            f"    {place.file} at {place.offset}, file sha256 {(place.file_sha256 or 'unknown')[:16]}, "
            f"text {place.content_digest or 'unknown'}"
        )
    for label in document.labels:
        old = "" if label.current else " (old version)"
        out.print(
            f"  label{old}: {label.name} (cluster {label.cluster}), confidence {label.confidence:.2f}, margin "
            f"{label.margin:.2f}, {label.table} v{label.version}"
        )
    if not document.mixtures:
        return
    table = plain_table("")
    for column in ("mixture", "expected exposures", "drawn", "positions"):
        table.add_column(column, justify="left" if column in ("mixture", "positions") else "right")
    for exposure in document.mixtures:
        name = f"{exposure.mixture}@{exposure.identity[:8]}" + ("" if exposure.current else " (old)")
        if not exposure.orders:
            table.add_row(name, f"{exposure.expected:.3f}", "–", "no training order")
        for order in exposure.orders:
            made = name if order.current or not exposure.current else f"{name} (old order)"
            table.add_row(made, f"{order.expected:.3f}", f"{order.times}", positions_text(order.positions, order.rows))
    out.print(table)
