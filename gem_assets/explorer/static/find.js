// Where a document is, what it was called, which mixtures show it, and how it is taken down.

import { copyButton, get, h, identity, number, percent, plural, table } from "./dom.js";

export function documentBox(d) {
  const place = d.url || d.source || d.doc_id;
  return h("article", { class: "document" },
    h("h3", {}, d.url && /^https?:/i.test(d.url) ? h("a", { href: d.url, rel: "noreferrer nofollow", target: "_blank" }, place) : place),
    h("small", {}, [d.cluster?.name, d.lang, d.snapshot, d.date, d.n_tokens ? plural(d.n_tokens, "token") : null].filter(Boolean).join(" · "), " "),
    h("div", { class: "text" }, d.match ? ["…", d.before, h("mark", {}, d.match), d.after, "…"] : d.text, d.characters > (d.text || "").length ? ` … (${number(d.characters)} characters in all)` : ""),
    d.drawn?.length ? h("small", {}, d.drawn.map((m) => `${m.mixture}: ${places(m.positions[d.doc_id] || [], m.rows)}`).join("; ")) : null,
    h("div", { class: "tools" }, h("a", { href: `#/find?q=${d.doc_id}` }, "Trace it"), copyButton("Copy the takedown command", `gem takedown doc_id:${d.doc_id}`), identity(d.doc_id)));
}

export async function find(_, params) {
  const asked = (params.get("q") || "").trim();
  document.getElementById("query").value = asked;
  if (!asked) return [h("h1", {}, "Find a document"), h("p", { class: "lead" }, "Ask for a URL, a document id, a content digest, a domain, a source, or a sentence that the text contains. The field is at the top ( / ).")];
  const { trace, texts } = await get(`find?q=${encodeURIComponent(asked)}`);
  const nothing = !trace.documents.length && !trace.domain && !texts.documents.length;
  return [
    h("h1", {}, asked),
    nothing ? h("p", { class: "lead" }, trace.requests.length ? `Taken down by request ${trace.requests.join(", ")}.` : "Nothing in the snapshots in force has this address or this text.") : null,
    trace.near.length ? h("p", {}, "Close to it: ", trace.near.map((n) => [h("a", { href: `#/find?q=${encodeURIComponent(n.what)}` }, n.what), " "])) : null,
    trace.domain ? domain(trace.domain) : null,
    ...(trace.domain && trace.documents.length > 1 ? [h("details", {}, h("summary", {}, `The first ${plural(trace.documents.length, "document")}`), trace.documents.map(traced))] : trace.documents.map(traced)),
    trace.found > trace.documents.length ? h("p", { class: "muted" }, `${plural(trace.found, "document")} in all; the first ${trace.documents.length} are shown.`) : null,
    texts.documents.length ? h("section", {}, h("h2", {}, `${texts.more ? "More than " : ""}${plural(texts.documents.length, "text contains it", "texts contain it")}`), inOrders(texts), texts.documents.map((d) => documentBox({ ...d, drawn: texts.drawn }))) : null,
  ];
}

const places = (positions, rows) => `${plural(positions.length, "time")}${positions.length ? `, at ${positions.slice(0, 5).map(number).join(", ")}${positions.length > 5 ? " …" : ""} of ${number(rows)}` : ""}`;

// How often each training order shows the documents that contain the words.
function inOrders(texts) {
  if (!texts.drawn.length) return h("p", { class: "muted" }, "No mixture in force has a training order, so no position is known.");
  const times = (m) => Object.values(m.positions).reduce((sum, p) => sum + p.length, 0);
  return h("p", {}, texts.drawn.map((m) => `The training order of ${m.mixture} shows ${number(Object.keys(m.positions).length)} of these documents, ${plural(times(m), "time")} in all.`).join(" "));
}

function domain(d) {
  return h("section", {}, h("p", { class: "lead" }, `${plural(d.documents, "document")} and ${plural(d.tokens, "token")} come from ${d.domain}.`),
    h("div", { class: "tools" }, copyButton("Copy the takedown command", `gem takedown ${d.domain}`)),
    table(["Cluster", "Documents"], Object.entries(d.by_cluster).map(([name, count]) => [name, number(count)])),
    table(["Mixture", "Documents", "Token share", "Shown in the order"], d.mixtures.filter((m) => m.current).map((m) => [m.mixture, number(m.documents), percent(m.token_share), m.shown_exposures === null ? "no order" : `${number(m.shown_exposures)} times`])));
}

function traced(d) {
  const kept = d.places.find((p) => p.kind === "kept" && p.current) || d.places.find((p) => p.kind === "kept") || d.places[0];
  const now = d.labels.filter((l) => l.current);
  return h("section", {}, h("h2", {}, kept?.url || kept?.source || d.doc_id),
    h("p", {}, now.length ? `In the cluster ${now[0].name}, with confidence ${now[0].confidence.toFixed(2)}. ` : "It has no label in force. ", kept ? `Read from ${kept.file} of ${kept.snapshot}, at byte ${number(kept.offset)}.` : ""),
    h("div", { class: "tools" }, copyButton("Copy the takedown command", `gem takedown doc_id:${d.doc_id}`), identity(d.doc_id)),
    table(["Snapshot", "What became of it", "File", "Language", "Tokens"], d.places.filter((p) => p.current || p.kind.startsWith("taken")).map((p) => [p.snapshot, p.kind, p.file, p.lang || "", number(p.n_tokens)])),
    d.labels.length > 1 ? table(["Snapshot", "Cluster", "Confidence", ""], d.labels.map((l) => [l.snapshot, l.name, l.confidence.toFixed(2), l.current ? "in force" : "earlier"])) : null,
    table(["Mixture", "Share of its cluster", "Expected times", "In the training order"], d.mixtures.filter((m) => m.current).map((m) => [m.mixture, percent(m.token_share), m.expected.toFixed(2), m.orders.filter((o) => o.current).map((o) => places(o.positions, o.rows)).join("; ") || "no order"])));
}
