// The mixing desk: move a share and see what follows. The server evaluates the library's own law.

import { clusterColors, compact, csv, get, h, interval, nats, number, percent, plural, post, table } from "./dom.js";

export async function desk(_, params) {
  const told = await get("desk");
  const colors = clusterColors(told.clusters);
  const natural = told.mixtures.natural;
  let shares = start(), locked = new Set((params.get("lock") || "").split(",").filter(Boolean).map(Number));
  let past = [], future = [], answered = null, asked = 0, edge = false;
  let budget = Number(params.get("b")) || told.budget;
  const rival = h("select", { "aria-label": "Compare with", onchange: () => predict() }, Object.keys(told.mixtures).filter((n) => n !== "natural").map((n) => h("option", { value: n, selected: n === (params.get("against") || told.recommended) }, n)));
  const head = h("div", { class: "sticky", "aria-live": "polite" }), losses = h("div");
  const capOf = (k) => Math.min(1, (told.caps[k] * told.budget) / budget);

  function start() {
    const given = params.get("m")?.split(",").map(Number);
    if (given?.length === natural.length && given.every((v) => Number.isFinite(v) && v >= 0) && given.some((v) => v > 0)) return scaled(given);
    const base = [...(told.mixtures[params.get("from")] || told.mixtures[told.recommended] || natural)];
    const doubled = told.clusters.findIndex((c) => String(c.domain) === params.get("double"));
    return doubled < 0 ? base : moved(base, doubled, Math.min(1, base[doubled] * 2), new Set());
  }
  function scaled(values) { const sum = values.reduce((a, b) => a + b, 0); return values.map((v) => v / sum); }

  // One share moves; those that are not locked give or take in proportion, so the sum stays 1.
  function moved(from, k, wanted, fixed) {
    const others = from.map((_, i) => i).filter((i) => i !== k && !fixed.has(i));
    const held = from.reduce((sum, v, i) => sum + (i !== k && fixed.has(i) ? v : 0), 0);
    const share = others.length ? Math.min(Math.max(0, wanted), 1 - held) : 1 - held;
    const left = 1 - held - share, before = others.reduce((sum, i) => sum + from[i], 0);
    return from.map((v, i) => (i === k ? share : fixed.has(i) ? v : before > 1e-12 ? (v / before) * left : left / others.length));
  }

  const inGroups = new Set(told.clusters.map((c) => c.parent_id)).size > 1;
  const rows = told.clusters.map((c, k) => {
    const most = Math.min(1, Math.max(capOf(k) * 1.15, natural[k] * 3, ...Object.values(told.mixtures).map((m) => m[k] * 1.3)));
    const set = (value) => change(moved(shares, k, value, locked), c);
    const range = h("input", { type: "range", min: 0, max: most, step: 0.001, "aria-label": `Share of ${c.name}`, oninput: (e) => { edge = e.target.value > capOf(k); set(Number(e.target.value)); }, onkeydown: (e) => {
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[e.key];
      if (step) { e.preventDefault(); set(shares[k] + (step * (e.shiftKey ? 1 : 0.1)) / 100); }
      if (e.key === "l") lock.click();
    } });
    const exact = h("input", { type: "number", min: 0, max: 100, step: 0.1, "aria-label": `Percent of ${c.name}`, onchange: (e) => set(Number(e.target.value) / 100) });
    const lock = h("input", { type: "checkbox", "aria-label": `Lock ${c.name}`, checked: locked.has(k), onchange: (e) => { if (e.target.checked) locked.add(k); else locked.delete(k); range.disabled = exact.disabled = e.target.checked; address(); } });
    range.disabled = exact.disabled = locked.has(k);
    const epochs = h("td", { class: "n" }), more = h("td", { class: "n hide" });
    const cap = h("span", { class: "cap", title: "repetition cap" }), nat = h("span", { class: "nat", title: "natural share" });
    nat.style.left = mark(natural[k], most);
    const row = h("tr", {}, h("td", {}, h("span", { class: "swatch", style: { background: colors[k] } }), h("a", { href: `#/clusters/${c.domain}` }, c.name), c.parent && !inGroups ? h("small", { class: "hide" }, ` ${c.parent}`) : null), h("td", { class: "n hide" }, percent(natural[k])), h("td", { class: "n" }, exact, " %"), h("td", {}, h("div", { class: "track" }, range, nat, cap)), epochs, h("td", {}, lock), more);
    return { row, range, exact, epochs, more, cap, most };
  });

  // A group's slider scales its clusters together; those that are locked stay.
  const parents = [...new Map(told.clusters.filter((c) => c.parent_id >= 0).map((c) => [c.parent_id, c.parent]))];
  const groups = parents.map(([id, name]) => {
    const members = told.clusters.flatMap((c, k) => (c.parent_id === id ? [k] : []));
    const total = (from) => members.reduce((sum, k) => sum + from[k], 0);
    const range = h("input", { type: "range", min: 0, max: 1, step: 0.001, "aria-label": `Share of the group ${name}`, oninput: (e) => change(scaledGroup(shares, members, Number(e.target.value))), onkeydown: (e) => {
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[e.key];
      if (step) { e.preventDefault(); change(scaledGroup(shares, members, total(shares) + (step * (e.shiftKey ? 1 : 0.1)) / 100)); }
    } });
    const now = h("td", { class: "n" }), nat = h("span", { class: "nat", title: "natural share" });
    nat.style.left = mark(total(natural), 1);
    const row = h("tr", { class: "group" }, h("td", {}, h("b", {}, name), h("small", { class: "hide" }, ` ${plural(members.length, "cluster")}`)), h("td", { class: "n hide" }, percent(total(natural))), now, h("td", {}, h("div", { class: "track" }, range, nat)), h("td"), h("td"), h("td", { class: "hide" }));
    return { id, members, row, range, now, total };
  });
  function scaledGroup(from, members, wanted) {
    const free = members.filter((k) => !locked.has(k)), others = from.map((_, i) => i).filter((i) => !members.includes(i) && !locked.has(i));
    const sum = (at) => at.reduce((all, i) => all + from[i], 0);
    if (!free.length || !others.length) return from;
    const room = sum(free) + sum(others), inside = Math.min(Math.max(0, wanted - (sum(members) - sum(free))), room);
    const part = (at, share) => { const before = sum(at); return (i) => (before > 1e-12 ? (from[i] / before) * share : share / at.length); };
    const own = part(free, inside), rest = part(others, room - inside);
    return from.map((v, i) => (free.includes(i) ? own(i) : others.includes(i) ? rest(i) : v));
  }
  const grouped = inGroups ? [...groups.flatMap((g) => [g.row, ...g.members.map((k) => rows[k].row)]), ...rows.filter((_, k) => told.clusters[k].parent_id < 0).map((r) => r.row)] : rows.map((r) => r.row);

  // A slider's knob is 16 px wide, so its middle never reaches the ends of the track.
  function mark(value, most) { const part = Math.min(1, value / most); return `calc(${part * 100}% + ${8 - 16 * part - 1}px)`; }
  function change(next, cluster) { past.push(shares); future = []; shares = next; show(); predict(cluster); address(); }
  let writing = null;
  function address() {
    clearTimeout(writing);
    writing = setTimeout(() => history.replaceState(null, "", `#/mix?m=${shares.map((s) => +s.toFixed(6)).join(",")}${locked.size ? `&lock=${[...locked].join(",")}` : ""}${budget === told.budget ? "" : `&b=${budget}`}&against=${encodeURIComponent(rival.value || "natural")}`), 150);
  }
  function show() {
    for (const g of groups) { g.range.value = g.total(shares); g.now.textContent = percent(g.total(shares)); }
    rows.forEach((r, k) => {
      r.range.value = shares[k];
      if (document.activeElement !== r.exact) r.exact.value = (shares[k] * 100).toFixed(1);
      r.cap.style.left = mark(capOf(k), r.most);
      r.cap.hidden = capOf(k) >= r.most;
      const epochs = told.clusters[k].tokens ? (shares[k] * budget) / told.clusters[k].tokens : shares[k] ? Infinity : 0;
      r.epochs.textContent = Number.isFinite(epochs) ? epochs.toFixed(2) : "no text";
      r.row.className = epochs > told.repetition_cap * (1 + 1e-9) ? "over" : "";
    });
  }

  async function predict() {
    const mine = ++asked;
    try {
      const against = [...new Set(["natural", rival.value].filter(Boolean))];
      const found = await post("predict", { shares, against, budget });
      if (mine !== asked) return;
      answered = found;
      tell(found, against);
    } catch (error) { if (mine === asked) head.replaceChildren(h("p", { class: "warn", role: "alert" }, error.message)); }
  }
  function tell(found, against) {
    const mean = found.mean, first = against[against.length - 1];
    const gain = mean.against[first], sure = gain.interval[0] > 0 || gain.interval[1] < 0;
    const over = told.clusters.filter((_, k) => rows[k].row.className === "over");
    const outside = found.support && !found.support.inside;
    const same = told.mixtures[first].every((v, k) => Math.abs(v - shares[k]) < 1e-9);
    const verdict = same ? `This is the mixture ${first}.` : `${sure ? (gain.difference < 0 ? "Predicted to lose less than" : "Predicted to lose more than") : "No clear difference from"} ${first}: ${nats(gain.difference)} nats per token ${interval(gain.interval)}.`;
    head.replaceChildren(...[
      h("p", { class: outside ? "lead out" : "lead", id: "verdict" }, verdict),
      outside ? h("p", { class: "warn" }, `No proxy was trained on anything like this: the nearest run is ${percent(found.support.nearest)} away, and runs are at most ${percent(found.support.usual)} from their nearest. The figures are a guess.`) : null,
      found.reservation ? h("p", { class: "warn" }, `For another budget: ${found.reservation}.`) : null,
      over.length ? h("p", { class: "warn" }, `${over.map((c) => c.name).join(", ")} would be repeated more than ${told.repetition_cap} times; such a mixture cannot be saved.`) : null,
      h("p", { class: "muted" }, `${found.kl.toFixed(3)} nats from natural (KL). The law: ${told.law}. `, found.support ? `Nearest run ${percent(found.support.nearest)} away.` : "No proxy has tried it: gem swarm run trains some.")].filter(Boolean));
    losses.replaceChildren(table(["Target", "Predicted loss, nats per token", ...against.map((n) => `Against ${n}`)], [...found.targets, mean].map((t) => [t.name, h("span", { "data-loss": t.loss, "data-target": t.name }, `${t.loss.toFixed(3)} `, h("small", {}, `[${t.interval[0].toFixed(3)}, ${t.interval[1].toFixed(3)}]`)), ...against.map((n) => `${nats(t.against[n].difference)} ${interval(t.against[n].interval)}`)])));
    losses.className = outside ? "out" : "";
    const weights = found.one_point_more;
    rows.forEach((r, k) => { const mean = weights.reduce((sum, target) => sum + target[k], 0) / weights.length; r.more.textContent = nats(mean); });
    head.dataset.answered = String(asked);
  }

  const jump = (next) => { past.push(shares); future = []; shares = scaled([...next]); show(); predict(); address(); };
  const undo = () => { if (past.length) { future.push(shares); shares = past.pop(); show(); predict(); address(); } };
  const redo = () => { if (future.length) { past.push(shares); shares = future.pop(); show(); predict(); address(); } };
  const keys = (e) => { if (e.key === "u" && !e.target.matches("input:not([type=range]), textarea")) undo(); };
  document.addEventListener("keydown", keys);
  const note = h("input", { id: "note", placeholder: "why", "aria-label": "Why this mixture", maxlength: 2000 }), author = h("input", { id: "author", placeholder: "your name", "aria-label": "Your name", maxlength: 200 });
  const saved = h("p", { role: "status", id: "saved" });
  const keep = h("button", { type: "button", class: "main", id: "save", onclick: async () => {
    keep.disabled = true;
    saved.replaceChildren("Saving, and making the recipe; this takes some seconds.");
    try {
      const { message, made } = await post("save", { shares, budget, note: note.value, author: author.value });
      saved.replaceChildren(message, made ? h("span", {}, " ", h("a", { href: "#/compare?b=by_hand" }, "Compare it"), ". Put it to the test with ", h("code", {}, "gem confirm by_hand")) : "");
      saved.className = made ? "good" : "";
    } catch (error) { saved.className = "warn"; saved.replaceChildren(error.message); }
    keep.disabled = false;
  } }, "Save as by_hand");
  const field = h("input", { type: "number", min: 1, value: budget, "aria-label": "Token budget", style: { width: "140px" }, onchange: (e) => { budget = Math.max(1, Math.round(Number(e.target.value)) || told.budget); show(); predict(); address(); } });
  show();
  await predict();
  return [
    h("h1", {}, "Mixing desk"), head,
    h("div", { class: "tools" }, h("button", { type: "button", onclick: undo }, "Undo"), h("button", { type: "button", onclick: redo }, "Redo"), "Reset to ", Object.keys(told.mixtures).map((n) => h("button", { type: "button", onclick: () => jump(told.mixtures[n]) }, n)), "Budget ", field, " tokens; compare with ", rival),
    h("div", { class: "scroll" }, h("table", { class: "desk" }, h("thead", {}, h("tr", {}, ["Cluster", "Natural", "Now", "Share", "Epochs", "Lock"].map((t, i) => h("th", { scope: "col", class: i === 1 ? "n hide" : i === 2 || i === 4 ? "n" : null }, t)), h("th", { scope: "col", class: "n hide" }, "One point more, nats"))), h("tbody", {}, grouped))),
    h("small", {}, `On each track, grey is the natural share and red the repetition cap of ${told.repetition_cap} epochs. "One point more": change of the mean loss when the others give a point in proportion.`),
    h("h2", {}, "Losses"), losses,
    h("div", { class: "tools" }, h("button", { type: "button", onclick: () => csv("mixture.csv", told.clusters.map((c, k) => ({ domain: c.domain, name: c.name, natural: natural[k], share: shares[k] }))) }, "CSV")),
    h("h2", {}, "Save"), h("p", {}, "The mixture becomes the recipe by_hand, marked as made by hand, for this token budget. It can be confirmed, ordered, exported and audited like any other."),
    h("div", { class: "tools" }, author, note, keep), saved,
    () => document.removeEventListener("keydown", keys),
  ];
}
