// The list of clusters, and the page of one: name, what it holds, what resembles it, and how each mixture treats it.

import { bars, lines } from "./charts.js";
import { clusterColors, compact, csv, get, h, identity, number, percent, plural, table } from "./dom.js";
import { documentBox } from "./find.js";

export async function clusters() {
  const rows = await get("clusters");
  const colors = clusterColors(rows);
  return [
    h("h1", {}, `${rows.length === 1 ? "1 cluster" : `${rows.length} clusters`}`),
    table(["Cluster", "Group", "Keywords", "Token share", "Documents", "Tokens"], rows.map((c, i) => [[h("span", { class: "swatch", style: { background: colors[i] } }), h("a", { href: `#/clusters/${c.domain}` }, c.name)], c.parent, h("small", {}, c.keywords.slice(0, 6).join(", ")), percent(c.token_share), number(c.documents), compact(c.tokens)]).map((r) => r.map((c) => (Array.isArray(c) ? h("span", {}, c) : c)))),
    h("div", { class: "tools" }, h("button", { type: "button", onclick: () => csv("clusters.csv", rows.map(({ keywords, ...rest }) => ({ ...rest, keywords: keywords.join(" ") }))) }, "CSV")),
  ];
}

export async function cluster(domain) {
  const told = await get(`clusters/${encodeURIComponent(domain)}`);
  const total = Math.max(1, told.tokens);
  const part = (rows, name) => rows.length ? bars(rows.slice(0, 10).map((r) => ({ label: r.value === "und" ? "not known" : r.value || "not known", value: r.tokens / total, note: `${percent(r.tokens / total)}, ${plural(r.documents, "document")}` })), { name, unit: "share of the cluster's tokens", width: 640 }) : null;
  const random = h("div");
  let seed = 0;
  const more = async () => random.replaceChildren(...(await get(`clusters/${told.domain}/sample?seed=${seed++}`)).map((d) => documentBox(d)));
  await more();
  return [
    h("p", { class: "muted" }, h("a", { href: "#/clusters" }, "Clusters"), told.parent ? ` / ${told.parent}` : ""),
    h("h1", {}, told.name),
    h("p", { class: "lead" }, `${percent(told.token_share)} of the tokens: ${plural(told.documents, "document")}, ${compact(told.tokens)} tokens. Keywords: ${told.keywords.join(", ")}.`),
    h("p", {}, h("a", { href: `#/map?cluster=${told.domain}` }, "Show it on the map"), " · ", h("a", { href: `#/mix?double=${told.domain}` }, "What would doubling it do?")),
    h("h2", {}, "How each mixture treats it"),
    bars(told.recipes.map((r) => ({ label: r.recipe, value: r.share, note: `${percent(r.share)}, ${r.epochs.toFixed(2)} epochs` })), { name: "Share in each mixture", unit: "share of the token budget", width: 640 }),
    h("div", { class: "columns" }, h("section", {}, h("h2", {}, "Over the snapshots"), lines(told.snapshots.map((s) => s.value), [{ label: told.name, values: told.snapshots.map((s) => s.share) }], { name: "Share over the snapshots", unit: "share of the snapshot's tokens" })), h("section", {}, h("h2", {}, "Languages"), part(told.languages, "Languages"), h("h2", {}, "Sources"), part(told.sources, "Sources"))),
    h("h2", {}, "Clusters that resemble it"),
    table(["Cluster", "Cosine of the mean directions"], told.neighbours.map((n) => [h("a", { href: `#/clusters/${n.domain}` }, n.name), n.cosine.toFixed(3)])),
    h("h2", {}, "Documents that stand for it"),
    ...told.exemplars.map((e) => documentBox({ ...e, text: e.snippet })),
    h("h2", {}, "Random documents"), random,
    h("div", { class: "tools" }, h("button", { type: "button", onclick: more }, "Other documents")),
    h("p", { class: "muted" }, `Domain ${told.domain}. Coherence ${told.coherence.toFixed(3)}, concentration ${told.kappa.toFixed(0)}; named by ${told.named_by}. `),
  ];
}
