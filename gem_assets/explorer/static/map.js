// The map: every document as a point, clusters by name; click or draw around documents to read them.

import { clusterColors, columns, csv, get, h, number, orderedColors, percent, plural, save, table, valueColors } from "./dom.js";
import { documentBox } from "./find.js";
import { Points } from "./points.js";

const SAID = { lang: "language", date: "year", confidence: "the student's confidence", q_chars: "length in characters", q_mean_word_length: "mean word length", q_symbol_ratio: "share of symbols", q_digit_ratio: "share of digits", q_dup_line_share: "share of repeated lines", q_dup_ngram_share: "share of repeated n-grams", q_stopword_share: "share of stop words", q_compression_ratio: "compression ratio", q_lang_confidence: "confidence in the language" };

export async function map(_, params) {
  const [told, places] = await Promise.all([get("map"), columns("points")]);
  const canvas = h("canvas", { role: "img", tabindex: 0, "aria-label": `Map of ${plural(told.points, "document")}. Arrows move it, + and − zoom.` });
  const overlay = h("canvas"), names = h("div", { class: "names" });
  const box = h("div", { class: "map" }, canvas, overlay, names);
  const legend = h("div", { class: "legend" }), reading = h("div", { "aria-live": "polite" });
  const by = h("select", { "aria-label": "Colour by" }, told.colours.map((c) => h("option", { value: c }, SAID[c] || c)));
  const points = new Points(canvas, places.columns[0], places.columns[1]);
  let coloured = null, clusters = null;

  async function paint() {
    coloured = await columns(`colours/${by.value}`);
    if (by.value === "cluster") clusters = coloured.columns[0];
    const colors = by.value === "cluster" ? paletteOf(told.clusters, coloured.names.length) : coloured.ordered ? orderedColors(coloured.names) : valueColors(coloured.names.length);
    points.colour(coloured.columns[0], colors);
    const shown = by.value === "cluster" ? [] : coloured.names;
    legend.replaceChildren(...shown.map((n, i) => h("span", {}, h("span", { class: "swatch", style: { background: colors[i] } }), n)));
    write();
  }

  function write() {
    const ratio = canvas.width / Math.max(1, canvas.clientWidth);
    const taken = [];
    names.replaceChildren(...[...told.clusters].sort((a, b) => b.documents - a.documents).flatMap((c) => {
      const [x, y] = points.toScreen(c.x, c.y).map((v) => v / ratio);
      const half = c.name.length * 3.4;
      if (x < 0 || y < 0 || x > canvas.clientWidth || y > canvas.clientHeight || taken.some(([a, b, w]) => Math.abs(a - x) < half + w && Math.abs(b - y) < 15)) return [];
      taken.push([x, y, half]);
      return [h("span", { style: { left: `${Math.min(canvas.clientWidth - half, Math.max(half, x))}px`, top: `${y}px` } }, c.name)];
    }));
  }

  function draw() { points.draw(); write(); }
  function size() {
    const ratio = Math.min(2, devicePixelRatio || 1);
    for (const one of [canvas, overlay]) { one.width = box.clientWidth * ratio; one.height = box.clientHeight * ratio; }
    draw();
  }
  function zoom(factor, px = canvas.width / 2, py = canvas.height / 2) {
    const before = points.toMap(px, py);
    points.view.zoom = Math.min(400, Math.max(0.5, points.view.zoom * factor));
    const after = points.toMap(px, py);
    points.view.x += (before[0] - after[0]) / 65534;
    points.view.y += (before[1] - after[1]) / 65534;
    draw();
  }
  const at = (e) => { const r = canvas.getBoundingClientRect(); const k = canvas.width / r.width; return [(e.clientX - r.left) * k, (e.clientY - r.top) * k]; };

  async function read(rows, why) {
    if (!rows.length) { reading.replaceChildren(h("p", { class: "muted" }, "No document there.")); return; }
    if (!clusters) clusters = (await columns("colours/cluster")).columns[0];
    const counts = new Map();
    for (const r of rows) counts.set(clusters[r], (counts.get(clusters[r]) || 0) + 1);
    const by = new Map(told.clusters.map((c) => [c.id, c]));
    const parts = [...counts].sort((a, b) => b[1] - a[1]).map(([k, n]) => ({ cluster: by.get(k)?.name || `Cluster ${k}`, domain: by.get(k)?.domain, documents: n, share: n / rows.length }));
    const texts = await get(`documents?rows=${rows.slice(0, 12).join(",")}`);
    reading.replaceChildren(h("h2", {}, why(rows.length)),
      rows.length > 1 ? table(["Cluster", "Documents", "Share"], parts.map((p) => [h("a", { href: `#/clusters/${p.domain}` }, p.cluster), number(p.documents), percent(p.share)])) : null,
      rows.length > 1 ? h("div", { class: "tools" }, h("button", { type: "button", onclick: () => csv("selection.csv", parts) }, "CSV")) : null,
      ...texts.map(documentBox));
  }

  let drag = null, lasso = null;
  canvas.addEventListener("wheel", (e) => { e.preventDefault(); zoom(Math.exp(-e.deltaY / 400), ...at(e)); }, { passive: false });
  canvas.addEventListener("pointerdown", (e) => { canvas.setPointerCapture(e.pointerId); if (e.shiftKey || around.getAttribute("aria-pressed") === "true") lasso = [at(e)]; else drag = { from: at(e), x: points.view.x, y: points.view.y, moved: false }; });
  canvas.addEventListener("pointermove", (e) => {
    const [px, py] = at(e);
    if (lasso) { lasso.push([px, py]); line(lasso); }
    if (drag) {
      drag.moved ||= Math.hypot(px - drag.from[0], py - drag.from[1]) > 4;
      points.view.x = drag.x - (px - drag.from[0]) / points.side;
      points.view.y = drag.y - (py - drag.from[1]) / points.side;
      if (drag.moved) draw();
    }
  });
  canvas.addEventListener("pointerup", async (e) => {
    const done = lasso, was = drag;
    lasso = drag = null;
    if (done) { line([]); await read(points.inside(done), (n) => `${plural(n, "document")} in the area`); }
    else if (was && !was.moved) { const row = points.nearest(...at(e)); await read(row < 0 ? [] : [row], () => "The document"); }
  });
  canvas.addEventListener("keydown", (e) => {
    const step = 0.06 / points.view.zoom;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (moves[e.key]) { e.preventDefault(); points.view.x += moves[e.key][0]; points.view.y += moves[e.key][1]; draw(); }
    if (e.key === "+" || e.key === "=") zoom(1.3);
    if (e.key === "-" || e.key === "−") zoom(1 / 1.3);
  });
  function line(path) {
    const context = overlay.getContext("2d");
    context.clearRect(0, 0, overlay.width, overlay.height);
    if (path.length < 2) return;
    context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
    context.lineWidth = 2;
    context.beginPath();
    path.forEach(([px, py], i) => (i ? context.lineTo(px, py) : context.moveTo(px, py)));
    context.closePath();
    context.stroke();
  }
  overlay.style.pointerEvents = "none";
  by.addEventListener("change", paint);
  const around = h("button", { type: "button", "aria-pressed": "false", onclick: () => around.setAttribute("aria-pressed", String(around.getAttribute("aria-pressed") !== "true")) }, "Draw around");
  const whole = h("button", { type: "button", onclick: () => { points.view = { x: 0.5, y: 0.5, zoom: 1.2 }; draw(); } }, "Whole map");
  const picture = h("button", { type: "button", onclick: () => { points.draw(); canvas.toBlob((blob) => save("map.png", blob)); } }, "PNG");
  const watcher = new ResizeObserver(size);
  watcher.observe(box);
  const chosen = told.clusters.find((c) => String(c.domain) === params.get("cluster"));
  if (chosen) points.view = { x: chosen.x / 65534, y: chosen.y / 65534, zoom: 3 };
  paint().then(() => { box.dataset.painted = "yes"; });
  return [
    h("h1", {}, "Map of the corpus"),
    h("p", {}, `${plural(told.points, "document")}${told.documents > told.points ? `, a sample of ${number(told.documents)}` : ""}. Documents stand between the clusters that they resemble. Click one to read it, hold Shift to draw around several.`),
    h("div", { class: "tools" }, "Colour by ", by, around, whole, picture, points.gl ? null : h("small", {}, "This browser has no WebGL; the density is shown.")),
    box, legend, reading, () => watcher.disconnect(),
  ];
}

function paletteOf(clusters, count) {
  const colors = clusterColors(clusters), found = Array(count).fill("hsl(0 0% 55%)");
  clusters.forEach((c, i) => { found[c.id] = colors[i]; });
  return found;
}
