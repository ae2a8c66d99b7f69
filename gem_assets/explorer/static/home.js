// How big the corpus is, what it is made of, which mixture is recommended and why, and what is to be done.

import { bars } from "./charts.js";
import { clusterColors, compact, get, h, nats, number, percent, plural, table } from "./dom.js";

export async function home() {
  const told = await get("home");
  const chosen = told.recommended;
  const largest = [...told.clusters].sort((a, b) => b.tokens - a.tokens);
  const spoken = told.languages.slice(0, 3).map((l) => `${l.value === "und" ? "of no known language" : l.value} ${percent(l.tokens / told.tokens)}`);
  const colors = clusterColors(told.clusters);
  const shares = told.shares[chosen] || told.shares.natural;
  const moves = shares.some((v, k) => Math.abs(v - told.shares.natural[k]) > 1e-6);
  const ordered = told.clusters.map((c, i) => ({ ...c, color: colors[i], share: shares[c.id], natural: told.shares.natural[c.id] })).sort((a, b) => a.parent_id - b.parent_id || b.natural - a.natural);
  return [
    h("h1", {}, "What the corpus is made of"),
    h("p", { class: "lead" }, `Mostly ${largest.slice(0, 3).map((c) => `${c.name} (${percent(c.token_share)})`).join(", ")}. By language: ${spoken.join(", ")}.`),
    h("div", { class: "figures" }, figure(number(told.documents), "documents"), figure(compact(told.tokens), "tokens"), figure(number(told.snapshots.length), told.snapshots.length === 1 ? "snapshot" : "snapshots"), figure(number(told.clusters.length), `${told.clusters.length === 1 ? "cluster" : "clusters"}, ${told.effective_clusters.toFixed(1)} effective`)),
    chosen ? h("section", {}, h("h2", {}, `Recommended mixture: ${chosen}`), h("p", { class: "lead" }, `Because ${told.reason}.`), h("p", {}, h("a", { href: `#/mix?from=${encodeURIComponent(chosen)}` }, "Open it at the mixing desk"))) : h("p", { class: "warn" }, "No mixture has been made yet. Make the rules with: gem run"),
    h("h2", {}, "Clusters"),
    bars(ordered.map((c) => ({ label: c.name, value: c.natural, second: moves ? c.share : undefined, color: c.color, href: `#/clusters/${c.domain}` })), { name: "Token share of each cluster", unit: "share of the tokens", first: "natural", second: moves ? chosen : undefined }),
    told.recipes.length ? h("section", {}, h("h2", {}, "Mixtures"), table(["Mixture", "Predicted against proportional, nats", "Measured, nats", "Largest number of epochs", "What is known"], told.recipes.map((r) => [h("a", { href: `#/mix?from=${encodeURIComponent(r.recipe)}` }, r.recipe + (r.recommended ? " (recommended)" : "")), nats(r.predicted_gain) || "none", nats(r.measured_gain) || "not measured", r.most_epochs.toFixed(2), r.verdict || "a rule; it claims no gain"]))) : null,
    await todo(),
  ];
}

const figure = (value, name) => h("div", {}, h("b", {}, value), h("span", {}, name));

export async function todo() {
  const box = h("section", {}, h("h2", {}, "To do"), h("p", { class: "muted", role: "status" }, "Asking what is stale."));
  get("plan").then(
    ({ steps }) => box.replaceChildren(h("h2", {}, "To do"), steps.length ? table(["Result", "State", "Why", "Time"], steps.map((s) => [s.name, s.state, s.why + (s.way_out ? ` (${s.way_out})` : ""), s.seconds === null ? "" : `${Math.max(1, Math.round(s.seconds))} s`])) : h("p", {}, "Everything is current.")),
    (error) => box.replaceChildren(h("h2", {}, "To do"), h("p", { class: "warn" }, error.message)),
  );
  return box;
}
