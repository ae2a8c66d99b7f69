// Bars with direct labels, drawn as SVG; each can be saved as a picture and its data as a table.

import { color, csv, h, percent, save } from "./dom.js";

// rows: {label, value, second, color, href, note}; value and second are shares of 1.
export function bars(rows, { name, unit, first, second, width = 900 }) {
  const left = width < 700 ? 200 : 300, right = 190, step = second ? 30 : 22, top = second ? 24 : 4;
  const most = Math.max(1e-9, ...rows.flatMap((r) => [r.value, r.second ?? 0]));
  const scale = (v) => ((width - left - right) * v) / most;
  const svg = h("svg", { viewBox: `0 0 ${width} ${top + rows.length * step + 4}`, width, role: "img", "aria-label": `${name}: ${rows.map((r) => `${r.label} ${percent(r.value)}`).join(", ")}` });
  if (second) {
    svg.append(h("rect", { x: left, y: 4, width: 10, height: 10, fill: color("natural") }), h("text", { x: left + 16, y: 14, fill: color("ink") }, first), h("rect", { x: left + 120, y: 4, width: 10, height: 10, fill: color("accent") }), h("text", { x: left + 136, y: 14, fill: color("ink") }, second));
  }
  rows.forEach((row, i) => {
    const y = top + i * step;
    const label = row.label.length > left / 7 ? `${row.label.slice(0, left / 7 - 1)}…` : row.label;
    const text = h("text", { x: left - 8, y: y + 15, "text-anchor": "end", fill: row.href ? color("accent") : color("ink") }, label, h("title", {}, row.label));
    if (row.href) text.addEventListener("click", () => { location.hash = row.href; });
    if (row.href) text.style.cursor = "pointer";
    svg.append(text);
    if (second) {
      svg.append(h("rect", { x: left, y: y + 3, width: scale(row.value), height: 9, fill: color("natural") }), h("rect", { x: left, y: y + 13, width: scale(row.second), height: 9, fill: row.color || color("accent") }));
      svg.append(h("text", { x: left + Math.max(scale(row.value), scale(row.second)) + 6, y: y + 17, fill: color("muted") }, `${percent(row.value)} → ${percent(row.second)}`));
    } else {
      svg.append(h("rect", { x: left, y: y + 4, width: Math.max(1, scale(row.value)), height: 14, fill: row.color || color("accent") }), h("text", { x: left + scale(row.value) + 6, y: y + 15, fill: color("muted") }, row.note || percent(row.value)));
    }
  });
  const data = rows.map((r) => ({ name: r.label, [first || unit]: r.value, ...(second ? { [second]: r.second } : {}) }));
  return figure(svg, name, data, unit);
}

// series: {label, values, color} over points along x, shares of 1.
export function lines(points, series, { name, unit, width = 560, height = 200 }) {
  const left = 46, bottom = 22, most = Math.max(1e-9, ...series.flatMap((s) => s.values));
  const x = (i) => left + (points.length < 2 ? 0 : ((width - left - 12) * i) / (points.length - 1));
  const y = (v) => 8 + (height - bottom - 8) * (1 - v / most);
  const svg = h("svg", { viewBox: `0 0 ${width} ${height}`, width, role: "img", "aria-label": name });
  for (const part of [0, 0.5, 1]) svg.append(h("line", { x1: left, x2: width - 12, y1: y(most * part), y2: y(most * part), stroke: color("line") }), h("text", { x: left - 6, y: y(most * part) + 4, "text-anchor": "end", fill: color("muted") }, percent(most * part)));
  points.forEach((p, i) => svg.append(h("text", { x: x(i), y: height - 4, "text-anchor": i ? (i === points.length - 1 ? "end" : "middle") : "start", fill: color("muted") }, p)));
  for (const one of series) {
    svg.append(h("path", { d: one.values.map((v, i) => `${i ? "L" : "M"}${x(i)} ${y(v)}`).join(" "), fill: "none", stroke: one.color || color("accent"), "stroke-width": 2 }));
    one.values.forEach((v, i) => svg.append(h("circle", { cx: x(i), cy: y(v), r: 3, fill: one.color || color("accent") }, h("title", {}, `${one.label}, ${points[i]}: ${percent(v)}`))));
  }
  return figure(svg, name, points.map((p, i) => ({ point: p, ...Object.fromEntries(series.map((s) => [s.label, s.values[i]])) })), unit);
}

function figure(svg, name, rows, unit) {
  const file = name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  return h("figure", { style: { margin: "8px 0" } }, h("div", { class: "scroll" }, svg), h("figcaption", { class: "tools" }, h("small", {}, `${name}; ${unit}.`), h("button", { type: "button", onclick: () => picture(svg, `${file}.png`) }, "PNG"), h("button", { type: "button", onclick: () => csv(`${file}.csv`, rows) }, "CSV")));
}

function picture(svg, name) {
  const copy = svg.cloneNode(true);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  copy.querySelectorAll("text").forEach((t) => t.setAttribute("style", "font:13px sans-serif"));
  const image = new Image();
  image.onload = () => {
    const canvas = h("canvas", { width: width * 2, height: height * 2 });
    const context = canvas.getContext("2d");
    context.fillStyle = color("bg");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => save(name, blob));
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
}
