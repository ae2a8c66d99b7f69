"""Pages for an auditor: where a document came from, what changed between mixtures, what a result was made from."""

from collections.abc import Sequence

from gem_assets.lineage.walk import Fault, Lineage
from gem_assets.report.pages import escape, figure_row, html_table, link, page
from gem_assets.report.tables import compact, percent, positions_text
from gem_assets.tracing.answer import Exposure, Trace, TracedDocument, TracedDomain
from gem_assets.tracing.diff import MixtureDiff, Movement, Side


def trace_page(trace: Trace) -> str:
    """Write the answer to one query."""
    parts = [f"<h1>Trace</h1>\n<p class='muted'>{escape(trace.query)}</p>"]
    if trace.domain is not None:
        parts.append(_domain(trace.domain))
    elif not trace.documents:
        parts.append("<p>Nothing of this name is or was in any snapshot that the store still holds.</p>")
        rows = [[escape(one.what), escape(one.differs), f"{one.documents:,}"] for one in trace.near]
        parts.append(html_table(["there is", "differs in", "places"], rows) if rows else "")
    if trace.found > len(trace.documents):
        parts.append(f"<p class='muted'>The first {len(trace.documents)} of {trace.found:,} documents:</p>")
    parts += [_document(document) for document in trace.documents]
    return page(f"Trace: {trace.query}", "\n".join(parts), "Positions count from 0; cut lists end in an ellipsis.")


def diff_page(diff: MixtureDiff) -> str:
    """Write what changed between two mixtures."""
    before, after = diff.before, diff.after
    figures = [
        (percent(diff.total_variation), "of the budget moved"),
        (compact(sum(m.documents for m in diff.entered)), "documents entered"),
        (compact(sum(m.documents for m in diff.left)), "documents left"),
        (compact(diff.stayed), "stayed"),
    ]
    basis = (
        "Documents are those that the training orders show."
        if diff.basis == "drawn"
        else "Documents are all that the recipes may draw: not both have a training order."
    )
    warning = "" if diff.same_taxonomy else "<p class='hot'>The taxonomies differ: cluster ids are not comparable.</p>"
    sides = html_table(
        ["", "before", "after"],
        [
            ["mixture", *(escape(f"{s.mixture}@{s.identity[:12]}") for s in (before, after))],
            ["token budget", *(escape(compact(s.token_budget)) for s in (before, after))],
            ["documents", *(f"{s.documents:,}" for s in (before, after))],
            ["exposures", *(f"{s.exposures:,}" for s in (before, after))],
            ["snapshots", *(escape(", ".join(s.snapshots)) for s in (before, after))],
        ],
    )
    rows = [
        [
            escape(row.name),
            percent(row.share_before),
            percent(row.share_after),
            f"{row.change:+.2%}",
            f"{row.epochs_before:.2f}",
            f"{row.epochs_after:.2f}",
        ]
        for row in sorted(diff.shares, key=lambda row: (-abs(row.change), row.cluster))
    ]
    shares = html_table(["cluster", "before", "after", "change", "epochs before", "after"], rows)
    body = (
        f"<h1>{escape(_name(before))} → {escape(_name(after))}</h1>\n{figure_row(figures)}\n{warning}\n{sides}\n"
        f"<h2>Shares</h2>\n{shares}\n<h2>Documents</h2>\n<p class='muted'>{basis} {diff.shown_more:,} come more often "
        f"than before, {diff.shown_less:,} less often.</p>\n"
        f"{_movements('Entered', diff.entered)}\n{_movements('Left', diff.left)}"
    )
    return page("Mixtures compared", body, f"{before.identity} → {after.identity}")


def lineage_page(lineage: Lineage, faults: Sequence[Fault] | None, unused: Sequence[str] = ()) -> str:
    """Write a lineage, and what a verification found.

    Parameters
    ----------
    faults
        What is not what it was; None when nothing was verified.
    unused
        Snapshots of which no document is shown; they stand in a table of their own.
    """
    if faults is None:
        verdict = "<p class='muted'>Not verified: run with --verify to read every byte again.</p>"
    elif faults:
        rows = [[escape(f.where.split("@")[0]), escape(f.kind), escape(f.message)] for f in faults]
        verdict = f"<p class='hot'>{len(faults)} faults</p>{html_table(['where', 'kind', 'what'], rows)}"
    else:
        verdict = "<p>Verified: every file, manifest, table version and landed file is what it was.</p>"
    artifacts = [
        [
            escape(key.split("@")[0]),
            escape(node.manifest.identity[:16]),
            escape(node.manifest.code_version),
            f"{len(node.manifest.outputs)}",
            escape(", ".join(f"{t.table} v{t.version}" for t in node.manifest.lance)),
            escape(", ".join(child.split("@")[0] for child in node.inputs)),
        ]
        for key, node in reversed(list(lineage.nodes.items()))
    ]
    columns = ["snapshot", "file", "bytes", "sha256"]
    files, others = (
        [
            [escape(key.split("@")[0]), escape(file.path), f"{file.bytes:,}", escape(file.sha256)]
            for key, ref in lineage.sources.items()
            for file in ref.files
            if (ref.partition in unused) is apart
        ]
        for apart in (False, True)
    )
    rest = (
        f"<h2>Read, and not shown</h2>\n<p class='muted'>Documents of these snapshots could have been drawn, and none "
        f"was.</p>\n{html_table(columns, others)}"
        if others
        else ""
    )
    root = lineage.root.split("@")[0]
    body = (
        f"<h1>Lineage of {escape(root)}</h1>\n"
        f"{figure_row([(str(len(lineage.nodes)), 'artifacts'), (str(len(files)), 'landed files')])}\n{verdict}\n"
        f"<h2>Artifacts</h2>\n"
        f"{html_table(['artifact', 'identity', 'code', 'files', 'tables', 'made from'], artifacts)}\n"
        f"<h2>Landed files</h2>\n{html_table(columns, files)}\n{rest}"
    )
    return page(f"Lineage of {root}", body, lineage.root)


def _name(side: Side) -> str:
    return f"{side.mixture}@{side.identity[:8]}"


def _movements(title: str, movements: Sequence[Movement]) -> str:
    if not movements:
        return f"<h3>{title}</h3><p class='muted'>none</p>"
    rows = [
        [
            escape(m.reason),
            f"{m.documents:,}",
            f"{m.exposures:,}",
            escape(compact(m.tokens)),
            "<br>".join(f"<span class='small'>{escape(e.url or e.doc_id)}</span>" for e in m.examples),
        ]
        for m in movements
    ]
    return f"<h3>{title}</h3>" + html_table(["because of", "documents", "exposures", "tokens", "for example"], rows)


def _domain(domain: TracedDomain) -> str:
    figures = [
        (f"{domain.documents:,}", "documents"),
        (f"{domain.places:,}", "places seen"),
        (compact(domain.tokens), "tokens"),
        (compact(domain.bytes), "bytes"),
    ]
    clusters = html_table(["cluster", "documents"], [[escape(n), f"{c:,}"] for n, c in domain.by_cluster.items()])
    rows = [
        [
            escape(m.mixture) + ("" if m.current else " <span class='muted'>(old)</span>"),
            f"{m.documents:,}",
            f"{m.expected_exposures:,.1f}",
            percent(m.token_share),
            "" if m.shown_exposures is None else f"{m.shown_documents:,} × → {m.shown_exposures:,}",
            "" if m.shown_tokens is None else f"{m.shown_tokens:,}",
        ]
        for m in domain.mixtures
    ]
    head = ["mixture", "documents", "expected exposures", "share of tokens", "documents × → exposures drawn", "tokens"]
    return f"{figure_row(figures)}\n<h2>Mixtures</h2>\n{html_table(head, rows)}\n<h2>Clusters</h2>\n{clusters}"


def _document(document: TracedDocument) -> str:
    places = [
        [
            escape(p.snapshot) + ("" if p.current else " <span class='muted'>(old)</span>"),
            escape(p.kind),
            link(p.url) or escape(p.url or ""),
            escape(f"{p.file} @ {p.offset}"),
            escape((p.file_sha256 or "")[:16]),
            escape((p.content_digest or "")[:16]),
        ]
        for p in document.places
    ]
    labels = [
        [
            escape(x.snapshot) + ("" if x.current else " <span class='muted'>(old)</span>"),
            escape(x.name),
            f"{x.cluster}",
            f"{x.confidence:.2f}",
            f"{x.margin:.2f}",
            escape(f"{x.table} v{x.version}"),
        ]
        for x in document.labels
    ]
    exposures = [row for x in document.mixtures for row in _exposures(x)]
    return (
        f"<h2>{escape(document.doc_id)}</h2>\n<h3>Seen at</h3>\n"
        f"{html_table(['snapshot', 'as', 'address', 'file @ offset', 'sha256 of file', 'digest of text'], places)}\n"
        f"<h3>Labels</h3>\n"
        f"{html_table(['snapshot', 'cluster', 'id', 'confidence', 'margin', 'table'], labels)}\n<h3>Mixtures</h3>\n"
        f"{html_table(['mixture', 'cluster', 'expected exposures', 'drawn', 'positions'], exposures)}"
    )


def _exposures(exposure: Exposure) -> list[list[str]]:
    name = escape(f"{exposure.mixture}@{exposure.identity[:8]}")
    name += "" if exposure.current else " <span class='muted'>(old)</span>"
    if not exposure.orders:
        return [[name, escape(exposure.name), f"{exposure.expected:.3f}", "<span class='muted'>no order</span>", ""]]
    return [
        [
            name + ("" if order.current or not exposure.current else " <span class='muted'>(old order)</span>"),
            escape(exposure.name),
            f"{order.expected:.3f}",
            f"{order.times}",
            escape(positions_text(order.positions, order.rows)),
        ]
        for order in exposure.orders
    ]
