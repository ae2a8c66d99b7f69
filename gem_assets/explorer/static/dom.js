// Elements, requests and numbers: what every view uses. Text from the corpus only ever becomes text nodes.

export function h(tag, props = {}, ...children) {
  const svg = ["svg", "g", "rect", "line", "text", "path", "title", "circle"].includes(tag);
  const el = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(el.style, value);
    else el.setAttribute(name, value === true ? "" : value);
  }
  el.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false).map((c) => (c instanceof Node ? c : String(c))));
  return el;
}

export class Refused extends Error {}

async function answer(path, options) {
  let response;
  try {
    response = await fetch(`api/${path}`, options);
  } catch {
    throw new Refused("The explorer does not answer. Is gem explore (or gem dev) still running?");
  }
  if (!response.ok) {
    const told = await response.json().catch(() => ({ error: `${response.status} ${response.statusText}` }));
    throw new Refused(told.error);
  }
  return response;
}

export const get = async (path) => (await answer(path)).json();

export async function post(path, body) {
  const token = document.querySelector('meta[name="gem-token"]').content;
  const headers = { "content-type": "application/json", "x-gem-token": token };
  return (await answer(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

// A header in JSON, and columns of uint16 behind it; see application.py.
export async function columns(path) {
  const buffer = await (await answer(path)).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const values = new Uint16Array(buffer, 4 + length);
  const found = [];
  for (let i = 0; i < values.length; i += header.points) found.push(values.subarray(i, i + header.points));
  return { ...header, columns: found, bytes: buffer.byteLength };
}

const whole = new Intl.NumberFormat("en");
export const number = (value) => (value === null || value === undefined ? "" : whole.format(value));
export const compact = (value) => new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format(value);
export const percent = (share) => (share === 0 ? "0 %" : share < 0.0005 ? "< 0.1 %" : `${(share * 100).toFixed(1)} %`);
export const nats = (value) => (value === null || value === undefined ? "" : `${value < 0 ? "−" : value > 0 ? "+" : ""}${Math.abs(value).toFixed(3)}`);
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
export const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// Eight hues that colour-blind people tell apart (Okabe and Ito); a parent has a hue, its clusters have shades of it.
const HUES = [[202, 100, 35], [41, 95, 45], [164, 100, 31], [327, 42, 60], [26, 100, 42], [202, 77, 63], [56, 80, 42], [0, 0, 45]];
export function clusterColors(clusters) {
  const parents = [...new Set(clusters.map((c) => c.parent_id))];
  const seen = new Map();
  return clusters.map((c) => {
    const place = c.parent_id < 0 ? c.id : parents.indexOf(c.parent_id);
    const [hue, saturation, light] = HUES[Math.min(place, 7)];
    const nth = seen.get(place) || 0;
    seen.set(place, nth + 1);
    return `hsl(${hue} ${saturation}% ${Math.min(78, light + ((nth * 11) % 40))}%)`;
  });
}
export const valueColors = (count) => Array.from({ length: count }, (_, i) => (i < 8 ? `hsl(${HUES[i][0]} ${HUES[i][1]}% ${HUES[i][2]}%)` : color("natural")));
// From dark blue over green to yellow, as lightness rises: an order that is seen in grey, too.
export const orderedColors = (names) => names.map((name, i) => {
  const part = names.length < 2 ? 0.5 : i / (names.length - 1);
  return name === "not known" ? color("natural") : `hsl(${255 - 200 * part} 65% ${28 + 36 * part}%)`;
});

export function save(name, blob) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 5000);
}

export function csv(name, rows) {
  const quote = (value) => (/[",\n]/.test(String(value ?? "")) ? `"${String(value).replaceAll('"', '""')}"` : String(value ?? ""));
  const keys = Object.keys(rows[0] || {});
  save(name, new Blob([[keys.join(","), ...rows.map((row) => keys.map((k) => quote(row[k])).join(","))].join("\n") + "\n"], { type: "text/csv" }));
}

export function table(head, rows) {
  const figure = /^[<+−-]?\s*\d[\d.,]*\s?[%A-Za-z]{0,4}(\s\[.*\])?$/;
  const numeric = (i) => rows.some((r) => r[i]) && rows.every((r) => typeof r[i] === "string" && (!r[i] || figure.test(r[i])));
  const kinds = head.map((_, i) => (numeric(i) ? "n" : null));
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, head.map((t, i) => h("th", { class: kinds[i], scope: "col" }, t)))), h("tbody", {}, rows.map((r) => h("tr", {}, r.map((c, i) => h("td", { class: kinds[i] }, c)))))));
}

export const identity = (text) => h("code", { class: "id", title: text }, text.slice(0, 12));
export function copyButton(label, text) {
  return h("button", { type: "button", onclick: async (e) => { await navigator.clipboard.writeText(text); e.target.textContent = "Copied"; } }, label);
}
export const interval = ([low, high]) => `[${nats(low)}, ${nats(high)}]`;
