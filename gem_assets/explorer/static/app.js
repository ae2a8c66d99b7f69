// The frame: which view an address names, the theme, the search field and the keys.

import { clusters, cluster } from "./clusters.js";
import { compare } from "./compare.js";
import { desk } from "./desk.js";
import { get, h, Refused } from "./dom.js";
import { find } from "./find.js";
import { history } from "./history.js";
import { home } from "./home.js";
import { map } from "./map.js";

const VIEWS = { "": home, map, clusters, mix: desk, compare, find, history };
const main = document.getElementById("main");
let turn = 0;
let leave = null;

// An address is #/view/argument?key=value; a view returns its elements, and may return what to do when it is left.
async function show() {
  const mine = ++turn;
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, argument] = path.split("/").map(decodeURIComponent);
  const view = name === "clusters" && argument ? cluster : VIEWS[name];
  document.querySelectorAll("nav a").forEach((a) => (a.getAttribute("href") === `#/${name}` ? a.setAttribute("aria-current", "page") : a.removeAttribute("aria-current")));
  leave?.();
  leave = null;
  main.replaceChildren(h("p", { class: "muted", role: "status" }, name === "mix" ? "Fitting the laws; this takes a few seconds the first time." : "Reading the results in force."));
  try {
    if (!view) throw new Refused(`There is no page ${location.hash}.`);
    const [parts, left] = [].concat(await view(argument, new URLSearchParams(query))).reduce(([e, f], x) => (typeof x === "function" ? [e, x] : [[...e, x], f]), [[], null]);
    if (mine !== turn) return left?.();
    leave = left;
    main.replaceChildren(...parts.filter(Boolean));
    document.title = `${main.querySelector("h1")?.textContent || "Explorer"} · gem-assets`;
  } catch (error) {
    if (mine !== turn) return;
    main.replaceChildren(h("h1", {}, "Nothing to show"), h("p", { class: "lead", role: "alert" }, error instanceof Refused ? error.message : `The page failed: ${error.message}`), h("p", {}, h("a", { href: "#/" }, "Back to the home page")));
    if (!(error instanceof Refused)) throw error;
  }
}

const theme = document.getElementById("theme");
function dress(name) {
  document.documentElement.dataset.theme = name;
  theme.textContent = name === "dark" ? "Light" : "Dark";
}
let stored = null;
try { stored = localStorage.getItem("gem-theme"); } catch { /* a browser may forbid it */ }
dress(stored || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
theme.addEventListener("click", () => {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("gem-theme", next); } catch { /* as above */ }
  dress(next);
  show();
});

const query = document.getElementById("query");
document.getElementById("search").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = `#/find?q=${encodeURIComponent(query.value)}`;
});
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input:not([type=range]), textarea, select") || event.ctrlKey || event.metaKey) return;
  if (event.key === "/") { event.preventDefault(); query.focus(); }
  if (event.key === "?") document.getElementById("keys").showModal();
});
addEventListener("hashchange", show);
get("home").then((told) => { document.getElementById("corpus").textContent = told.name; }).catch(() => {});
show();
