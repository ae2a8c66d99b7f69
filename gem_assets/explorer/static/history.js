// What landed, what was made of it, what a refit and takedowns changed, and what is stale now.

import { get, h, identity, number, plural, table } from "./dom.js";
import { todo } from "./home.js";

export async function history() {
  const told = await get("history");
  const refit = told.refit;
  return [
    h("h1", {}, "History"),
    h("h2", {}, "Snapshots"),
    told.snapshots.length ? table(["Snapshot", "Read", "Kept", "Tokens"], told.snapshots.map((s) => [s.name, number(s.read), number(s.kept), number(s.tokens)])) : h("p", {}, "No snapshot has been read."),
    h("h2", {}, "Refits"),
    refit ? h("p", {}, `The last refit kept the cluster of ${(refit.kept * 100).toFixed(1)} % of the documents: ${plural(refit.continued.length, "cluster")} continued, ${number(refit.births.length)} new, ${number(refit.deaths.length)} gone, ${number(refit.splits.length)} split, ${number(refit.merges.length)} merged.`) : h("p", {}, "The clusters are those of the first fit."),
    told.drift.level ? h("p", {}, `Drift of the newest snapshots: ${told.drift.level}.`) : null,
    h("h2", {}, "Takedowns"),
    told.takedowns.length ? table(["When", "Request", "Reason", "Entries", "Documents"], told.takedowns.map((t) => [t.at.slice(0, 16).replace("T", " "), identity(t.id), t.reason, number(t.entries), number(t.documents)])) : h("p", {}, "Nothing was taken down."),
    h("h2", {}, "Versions"),
    table(["Made", "Result", "Snapshot", "In force", "Identity", ""], [...told.versions].reverse().map((v) => [v.made.slice(0, 16).replace("T", " "), v.asset, v.snapshot || "", v.in_force ? "yes" : "no", identity(v.identity), v.asset.startsWith("recipes/") && !v.in_force ? h("a", { href: `#/compare?a=${encodeURIComponent(`${v.asset.slice(8)}@${v.identity.slice(0, 12)}`)}&b=${encodeURIComponent(v.asset.slice(8))}` }, "compare with now") : ""])),
    await todo(),
  ];
}
