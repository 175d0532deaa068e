// SPDX-License-Identifier: MIT
//
// The page of umem report: reads the data, and shows what fits the filter in
// the flame graph, the treemap and the tables, all of the same sites.

import { Data, age, count, percent, size, tail } from "./data.js";
import { Flame } from "./flame.js";
import { Table } from "./table.js";
import { showTreemap } from "./treemap.js";

const $ = (id) => document.getElementById(id);
const started = performance.now();
const data = new Data(JSON.parse($("data").textContent));
const { raw, sites } = data;

// --- What is shown

const checked = (name) => document.querySelector(`input[name=${name}]:checked`).value;

function values() {
  const leaked = checked("what") === "leaked";
  if (checked("unit") === "bytes") return leaked ? sites.leaked_bytes : sites.bytes;
  return leaked ? sites.leaked : sites.buffers;
}

const name = (s) => data.frameName[data.places[s]];
const where = (s) => data.frameFile[data.places[s]] || data.frameModule[data.places[s]];

function stackOf(s) {
  const list = document.createElement("ol");
  for (const n of data.stack(s)) {
    const item = document.createElement("li");
    const file = document.createElement("span");
    const frame = data.frame[n];
    file.textContent = data.frameFile[frame] || data.frameModule[frame];
    item.append(data.frameName[frame], file);
    list.append(item);
  }
  return list;
}

const siteColumns = [
  { name: "Function", key: name, wide: true },
  { name: "Where", key: where, show: (s) => tail(where(s)), title: where, wide: true },
  { name: "Cache", key: (s) => data.cacheNames[s] },
];
const oldest = { name: "Oldest", key: (s) => sites.oldest[s], show: (s) => age(sites.oldest[s]),
                 number: true, minor: true };
const tables = {
  sites: new Table($("sites"), [
    { name: "Bytes", key: (s) => sites.bytes[s], show: (s) => count(sites.bytes[s]), number: true,
      first: true },
    { name: "Share", key: (s) => sites.bytes[s], show: (s) => percent(sites.bytes[s], raw.bytes),
      number: true, minor: true },
    { name: "Buffers", key: (s) => sites.buffers[s], show: (s) => count(sites.buffers[s]),
      number: true },
    { name: "Leaked", key: (s) => sites.leaked_bytes[s], show: (s) => count(sites.leaked_bytes[s]),
      number: true },
    oldest, ...siteColumns], stackOf),
  leaks: new Table($("leaks"), [
    { name: "Leaked bytes", key: (s) => sites.leaked_bytes[s],
      show: (s) => count(sites.leaked_bytes[s]), number: true, first: true },
    { name: "Share", key: (s) => sites.leaked_bytes[s],
      show: (s) => percent(sites.leaked_bytes[s], raw.leaked_bytes), number: true,
      minor: true },
    { name: "Buffers", key: (s) => sites.leaked[s], show: (s) => count(sites.leaked[s]),
      number: true },
    { name: "Of its bytes", key: (s) => sites.leaked_bytes[s] / sites.bytes[s],
      show: (s) => percent(sites.leaked_bytes[s], sites.bytes[s]), number: true },
    oldest, ...siteColumns], stackOf),
  caches: new Table($("caches"), [
    { name: "Cache", key: (c) => c.name, wide: true },
    { name: "Buffer", key: (c) => c.size, show: (c) => (c.size ? count(c.size) : ""),
      number: true },
    { name: "In use", key: (c) => c.inuse, show: (c) => count(c.inuse), number: true },
    { name: "Cached", key: (c) => c.cached, show: (c) => count(c.cached), number: true },
    { name: "Total", key: (c) => c.total, show: (c) => count(c.total), number: true },
    { name: "Memory", key: (c) => c.bytes, show: (c) => count(c.bytes), number: true,
      first: true },
    { name: "Leaked", key: (c) => c.leaked, show: (c) => count(c.leaked), number: true }], null),
};

// Caches as they are, and what is in none (oversize blocks, segments) by its sites.
function cacheRows() {
  const rows = new Map(raw.caches.map(([c, bufsize, inuse, cached, total, bytes]) =>
    [data.strings[c], { name: data.strings[c], size: bufsize, inuse, cached, total, bytes,
                        leaked: 0 }]));
  for (let s = 0; s < data.siteCount; s++) {
    const key = data.cacheNames[s];
    if (!rows.has(key))
      rows.set(key, { name: key, size: 0, inuse: 0, cached: 0, total: 0, bytes: 0, leaked: 0,
                      loose: true });
    const row = rows.get(key);
    row.leaked += sites.leaked_bytes[s];
    if (!row.loose) continue;
    row.inuse += sites.buffers[s];
    row.total += sites.buffers[s];
    row.bytes += sites.bytes[s];
  }
  return [...rows.values()];
}
const caches = cacheRows();

// --- Showing it

const flame = new Flame(data, $("flame"), $("frame"));

function sum(list, key) {
  let n = 0;
  for (const s of list) n += key[s];
  return n;
}

function showTotals(shown) {
  const some = shown.length < data.siteCount;
  const parts = [
    ["In use", sum(shown, sites.bytes), `${count(sum(shown, sites.buffers))} buffers`],
    ["Leaked", sum(shown, sites.leaked_bytes), `${count(sum(shown, sites.leaked))} buffers`],
  ].map(([title, bytes, rest]) => {
    const part = document.createElement("div");
    part.innerHTML = "<dt></dt><dd></dd><dd></dd>";
    const [head, large, small] = part.children;
    head.textContent = title;
    large.textContent = size(bytes);
    large.title = `${count(bytes)} bytes`;
    small.textContent = rest;
    part.className = title === "Leaked" && bytes > 0 ? "alert" : "";
    return part;
  });
  const places = document.createElement("div");
  places.innerHTML = "<dt>Places</dt><dd></dd><dd></dd>";
  places.children[1].textContent = count(shown.length);
  places.children[2].textContent = some ? `of ${count(data.siteCount)}` : "all";
  $("totals").replaceChildren(...parts, places);
}

// Of so many places to show all takes some tenths of a second: then it waits until nobody types, so
// that no key waits for it.
const MANY = 500;
const PAUSE_MS = 150;
let waiting = 0;

function showWhenTyped() {
  clearTimeout(waiting);
  if (data.siteCount < MANY) show();
  else waiting = setTimeout(show, PAUSE_MS);
}

function show() {
  clearTimeout(waiting);
  const text = $("filter").value;
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = data.matching(text);
  const value = values();
  const bytes = checked("unit") === "bytes";
  const buffers = checked("what") === "leaked" ? sites.leaked : sites.buffers;
  showTotals(shown);
  flame.show(data.groupValues(shown, value), data.groupValues(shown, buffers), bytes, words);
  showTreemap(data, $("treemap"), shown, value, bytes, setFilter);
  const inCache = new Set(shown.map((s) => data.cacheNames[s]));
  const leaks = shown.filter((s) => sites.leaked[s] > 0);
  const rows = words.length === 0 ? caches : caches.filter((c) => inCache.has(c.name));
  tables.sites.show(shown);
  tables.leaks.show(leaks);
  tables.caches.show(rows);
  for (const [id, n] of [["sites", shown.length], ["leaks", leaks.length], ["caches", rows.length]])
    document.querySelector(`[aria-controls=panel-${id}] span`).textContent = count(n);
}

function setFilter(text) {
  $("filter").value = $("filter").value === text ? "" : text;
  show();
  $("filter").focus();
}

// --- Controls

function chooseTab(tab, focus) {
  for (const other of document.querySelectorAll("[role=tab]")) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", String(chosen));
    other.tabIndex = chosen ? 0 : -1;
    $(other.getAttribute("aria-controls")).hidden = !chosen;
  }
  if (focus) tab.focus();
}

function tabKey(event) {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  chooseTab(tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length], true);
}

const SCHEMES = ["light dark", "light", "dark"];
const SCHEME_NAMES = ["Theme: system", "Theme: light", "Theme: dark"];
let scheme = 0;

function nextScheme() {
  scheme = (scheme + 1) % SCHEMES.length;
  document.documentElement.style.colorScheme = SCHEMES[scheme];
  $("scheme").textContent = SCHEME_NAMES[scheme];
}

function pageKey(event) {
  const inText = event.target === $("filter");
  if (event.key === "/" && !inText) {
    event.preventDefault();
    $("filter").select();
  } else if (event.key === "Escape" && inText) {
    $("filter").value = "";
    show();
  }
}

function begin() {
  $("target").textContent = raw.target;
  $("time").textContent = raw.time.replace("T", " ").replace("Z", " UTC");
  $("time").dateTime = raw.time;
  $("version").textContent = raw.version;
  document.title = `umem report: ${raw.target}`;
  $("no-stacks").hidden = raw.audit;
  $("incomplete").hidden = raw.complete;
  for (const reason of raw.incomplete ?? []) {
    const item = document.createElement("li");
    item.textContent = reason;
    $("reasons").append(item);
  }
  $("filter").addEventListener("input", showWhenTyped);
  $("scheme").addEventListener("click", nextScheme);
  for (const input of document.querySelectorAll("input[type=radio]"))
    input.addEventListener("change", show);
  for (const tab of document.querySelectorAll("[role=tab]")) {
    tab.addEventListener("click", () => chooseTab(tab, false));
    tab.addEventListener("keydown", tabKey);
  }
  document.addEventListener("keydown", pageKey);
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    show();
  });
  show();
  document.documentElement.dataset.ready = String(Math.round(performance.now() - started));
}

begin();
