"""Pages for an auditor: where a document came from, what changed between mixtures, what a result was made from."""

from collections.abc import Sequence

from gem_assets.lineage.walk import Fault, Lineage
from gem_assets.report.pages import Cell, render
from gem_assets.report.tables import compact, percent, positions_text
from gem_assets.tracing.answer import Exposure, Trace, TracedDocument
from gem_assets.tracing.diff import MixtureDiff, Movement


def trace_page(trace: Trace) -> str:
    """Write the answer to one query."""
    domain = trace.domain
    return render(
        "trace.html",
        f"Trace: {trace.query}",
        "Positions count from 0; cut lists end in an ellipsis.",
        trace=trace,
        near=[[one.what, one.differs, f"{one.documents:,}"] for one in trace.near],
        documents=[_document(document) for document in trace.documents],
        figures=domain
        and [
            (f"{domain.documents:,}", "documents"),
            (f"{domain.places:,}", "places seen"),
            (compact(domain.tokens), "tokens"),
            (compact(domain.bytes), "bytes"),
        ],
        clusters=domain and [[name, f"{count:,}"] for name, count in domain.by_cluster.items()],
        mixtures=domain
        and [
            [
                _in_force(m.mixture, m.current),
                f"{m.documents:,}",
                f"{m.expected_exposures:,.1f}",
                percent(m.token_share),
                "" if m.shown_exposures is None else f"{m.shown_documents:,} × → {m.shown_exposures:,}",
                "" if m.shown_tokens is None else f"{m.shown_tokens:,}",
            ]
            for m in domain.mixtures
        ],
    )


def diff_page(diff: MixtureDiff) -> str:
    """Write what changed between two mixtures."""
    before, after = sides = diff.before, diff.after
    return render(
        "diff.html",
        "Mixtures compared",
        f"{before.identity} → {after.identity}",
        diff=diff,
        names=[f"{side.mixture}@{side.identity[:8]}" for side in sides],
        figures=[
            (percent(diff.total_variation), "of the budget moved"),
            (compact(sum(m.documents for m in diff.entered)), "documents entered"),
            (compact(sum(m.documents for m in diff.left)), "documents left"),
            (compact(diff.stayed), "stayed"),
        ],
        sides=[
            ["mixture", *(f"{s.mixture}@{s.identity[:12]}" for s in sides)],
            ["token budget", *(compact(s.token_budget) for s in sides)],
            ["documents", *(f"{s.documents:,}" for s in sides)],
            ["exposures", *(f"{s.exposures:,}" for s in sides)],
            ["snapshots", *(", ".join(s.snapshots) for s in sides)],
        ],
        shares=[
            [
                row.name,
                percent(row.share_before),
                percent(row.share_after),
                f"{row.change:+.2%}",
                f"{row.epochs_before:.2f}",
                f"{row.epochs_after:.2f}",
            ]
            for row in sorted(diff.shares, key=lambda row: (-abs(row.change), row.cluster))
        ],
        entered=_movements(diff.entered),
        left=_movements(diff.left),
    )


def lineage_page(lineage: Lineage, faults: Sequence[Fault] | None, unused: Sequence[str] = ()) -> str:
    """Write a lineage, and what a verification found.

    Parameters
    ----------
    faults
        What is not what it was; None when nothing was verified.
    unused
        Snapshots of which no document is shown; they stand in a table of their own.
    """
    files, unused_files = (
        [
            [_short(key), file.path, f"{file.bytes:,}", file.sha256]
            for key, ref in lineage.sources.items()
            for file in ref.files
            if (ref.partition in unused) is apart
        ]
        for apart in (False, True)
    )
    root = _short(lineage.root)
    return render(
        "lineage.html",
        f"Lineage of {root}",
        lineage.root,
        root=root,
        figures=[(str(len(lineage.nodes)), "artifacts"), (str(len(files)), "landed files")],
        faults=None if faults is None else [[_short(f.where), f.kind, f.message] for f in faults],
        artifacts=[
            [
                _short(key),
                node.manifest.identity[:16],
                node.manifest.code_version,
                f"{len(node.manifest.outputs)}",
                ", ".join(f"{t.table} v{t.version}" for t in node.manifest.lance),
                ", ".join(map(_short, node.inputs)),
            ]
            for key, node in reversed(list(lineage.nodes.items()))
        ],
        files=files,
        unused_files=unused_files,
    )


def _short(key: str) -> str:
    return key.split("@")[0]


def _in_force(text: str, current: bool, otherwise: str = "(old)") -> Cell:
    return Cell(text, note="" if current else otherwise)


def _movements(movements: Sequence[Movement]) -> list[list[str | Cell]]:
    return [
        [
            m.reason,
            f"{m.documents:,}",
            f"{m.exposures:,}",
            compact(m.tokens),
            Cell("", more=[e.url or e.doc_id for e in m.examples]),
        ]
        for m in movements
    ]


def _document(document: TracedDocument) -> tuple[str, *tuple[list[list[str | Cell]], ...]]:
    places: list[list[str | Cell]] = [
        [
            _in_force(p.snapshot, p.current),
            p.kind,
            Cell(p.url or "", link=True),
            f"{p.file} @ {p.offset}",
            (p.file_sha256 or "")[:16],
            (p.content_digest or "")[:16],
        ]
        for p in document.places
    ]
    labels: list[list[str | Cell]] = [
        [
            _in_force(x.snapshot, x.current),
            x.name,
            f"{x.cluster}",
            f"{x.confidence:.2f}",
            f"{x.margin:.2f}",
            f"{x.table} v{x.version}",
        ]
        for x in document.labels
    ]
    return document.doc_id, places, labels, [row for x in document.mixtures for row in _exposures(x)]


def _exposures(exposure: Exposure) -> list[list[str | Cell]]:
    name = f"{exposure.mixture}@{exposure.identity[:8]}"
    if not exposure.orders:
        none = Cell("", note="no order")
        return [[_in_force(name, exposure.current), exposure.name, f"{exposure.expected:.3f}", none, ""]]
    return [
        [
            _in_force(name, exposure.current and order.current, "(old order)" if exposure.current else "(old)"),
            exposure.name,
            f"{order.expected:.3f}",
            f"{order.times}",
            positions_text(order.positions, order.rows),
        ]
        for order in exposure.orders
    ]
