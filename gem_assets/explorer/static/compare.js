// Two mixtures side by side: shares, what entered and left and why, and what is known of each.

import { compact, get, h, identity, nats, number, percent, plural, table } from "./dom.js";
import { bars } from "./charts.js";

export async function compare(_, params) {
  const told = await get("home");
  const names = told.recipes.map((r) => r.recipe);
  const domains = new Map(told.clusters.map((c) => [c.id, c.domain]));
  const snapshots = told.snapshots.map((s) => s.value).sort();
  const [a, b] = [params.get("a") || names[0], params.get("b") || told.recommended || names[1]];
  const go = () => { location.hash = `#/compare?a=${encodeURIComponent(fields[0].value)}&b=${encodeURIComponent(fields[1].value)}`; };
  const fields = [a, b].map((value, i) => h("input", { value: value || "", list: "mixtures", "aria-label": i ? "After" : "Before", onchange: go }));
  const form = [h("h1", {}, "Compare"), h("div", { class: "tools" }, fields[0], " with ", fields[1], h("datalist", { id: "mixtures" }, names.flatMap((n) => [n, `${n}~1`]).concat(snapshots).map((n) => h("option", { value: n }))), h("small", {}, "Two mixtures (a name, name~1 for the version before, or name@ and the first digits of an identity), or two snapshots."))];
  if (!a || !b) return [...form, h("p", { class: "warn" }, "There are not two mixtures yet. Make some with: gem run")];
  if (snapshots.includes(a) && snapshots.includes(b)) return [...form, ...(await compareSnapshots(a, b))];
  let d;
  try { d = await get(`compare?a=${encodeURIComponent(a)}&b=${encodeURIComponent(b)}`); } catch (error) { return [...form, h("p", { class: "warn", role: "alert" }, error.message)]; }
  const moved = (rows, what) => rows.length ? table([what, "Documents", "Exposures", "Tokens", "For example"], rows.map((m) => [m.reason, number(m.documents), number(m.exposures), number(m.tokens), h("span", {}, m.examples.map((e) => [h("a", { href: `#/find?q=${e.doc_id}` }, e.url || e.doc_id.slice(0, 12)), " "]))])) : h("p", { class: "muted" }, `${what}: none.`);
  const shown = [...d.shares].sort((x, y) => Math.abs(y.change) - Math.abs(x.change));
  return [...form,
    d.same_taxonomy ? null : h("p", { class: "warn" }, "The two are of different taxonomies, so a cluster's number does not mean the same in both."),
    h("p", { class: "lead" }, `${percent(d.total_variation)} of the token budget moves. ${shown.filter((s) => s.change).slice(0, 2).map((s) => `${s.name} goes from ${percent(s.share_before)} to ${percent(s.share_after)}`).join("; ") || "No share changes"}.`),
    table(["", d.before.mixture, d.after.mixture], [["Token budget", number(d.before.token_budget), number(d.after.token_budget)], ["Snapshots", d.before.snapshots.join(", "), d.after.snapshots.join(", ")], ["Documents", number(d.before.documents), number(d.after.documents)], ["Predicted against proportional, nats", ...d.recipes.map((r) => nats(r?.predicted_gain) || "none")], ["Measured, nats", ...d.recipes.map((r) => nats(r?.measured_gain) || "not measured")], ["What is known", ...d.recipes.map((r) => r?.verdict || "a rule")], ["Identity", identity(d.before.identity), identity(d.after.identity)]]),
    h("h2", {}, "Shares"),
    bars(shown.map((s) => ({ label: s.name, value: s.share_before, second: s.share_after, href: `#/clusters/${domains.get(s.cluster) ?? s.cluster}` })), { name: "Token share of each cluster", unit: "share of the token budget", first: "before", second: "after" }),
    h("h2", {}, "Documents"),
    h("p", {}, `${d.basis === "drawn" ? "Documents of the two training orders" : "All documents that the mixtures may draw"}: ${plural(d.stayed, "document")} on both sides, ${number(d.shown_more)} of them more often, ${number(d.shown_less)} less often.`),
    moved(d.entered, "Entered because of"), moved(d.left, "Left because of"),
  ];
}

async function compareSnapshots(a, b) {
  const d = await get(`snapshots?a=${encodeURIComponent(a)}&b=${encodeURIComponent(b)}`);
  const moved = d.clusters.filter((c) => c.share_before !== c.share_after).slice(0, 2);
  const both = (row) => ({ label: row.name || (row.value === "und" ? "of no known language" : row.value), value: row.share_before, second: row.share_after, href: row.name ? `#/clusters/${row.domain}` : undefined });
  return [
    h("p", { class: "lead" }, `${percent(d.total_variation)} of the tokens lie in other clusters. ${moved.map((c) => `${c.name} goes from ${percent(c.share_before)} to ${percent(c.share_after)}`).join("; ")}${moved.length ? "." : ""}`),
    table(["", a, b], [["Documents", ...d.documents.map(number)], ["Tokens", ...d.tokens.map(compact)]]),
    h("h2", {}, "Clusters"), bars(d.clusters.map(both), { name: "Token share of each cluster", unit: "share of the snapshot's tokens", first: a, second: b }),
    h("h2", {}, "Languages"), bars(d.languages.slice(0, 12).map(both), { name: "Token share of each language", unit: "share of the snapshot's tokens", first: a, second: b }),
    h("h2", {}, "Pages with an address"),
    d.pages.length ? table(["Snapshot", "Pages", "First seen", "Unchanged", "Edited", "Returned", "Gone since the snapshot before"], d.pages.map((r) => [r.snapshot, ...["pages", "first_seen", "unchanged", "edited", "returned", "gone"].map((what) => number(r[what]))])) : h("p", { class: "muted" }, "No page history has been made."),
  ];
}
