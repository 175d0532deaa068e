// SPDX-License-Identifier: MIT
//
// The treemap: a field a cache, and in it one a function, as large as what it
// holds; the leaked part is coloured.  Fields are buttons: a function's sets the
// filter to the function, a cache's to the cache.

import { hierarchy, treemap } from "d3-hierarchy";
import { count, percent, size } from "./data.js";

const HEAD = 19; // px, of a cache's name
const SITES_MAX = 16; // functions a cache; the others are one field
// A field smaller than this has no room for a name (px).
const NAME_WIDTH = 38;
const NAME_HEIGHT = 15;

function groups(data, sites, value) {
  const caches = new Map();
  for (const s of sites) {
    if (value[s] === 0) continue;
    const name = data.cacheNames[s];
    if (!caches.has(name)) caches.set(name, []);
    caches.get(name).push(s);
  }
  return [...caches].map(([name, list]) => ({
    name, filter: name, children: functions(data, list, value, name),
  }));
}

// The sites of a cache by function, whatever the rest of their stacks.
function functions(data, sites, value, cache) {
  const found = new Map();
  for (const s of sites) {
    const name = data.frameName[data.places[s]];
    if (!found.has(name)) found.set(name, { name, filter: name, value: 0, bytes: 0, leaked: 0 });
    const one = found.get(name);
    one.value += value[s];
    one.bytes += data.sites.bytes[s];
    one.leaked += data.sites.leaked_bytes[s];
  }
  const list = [...found.values()].sort((a, b) => b.value - a.value);
  const rest = list.splice(SITES_MAX);
  if (rest.length > 0) {
    const sum = (key) => rest.reduce((n, one) => n + one[key], 0);
    list.push({ name: `${count(rest.length)} more`, filter: cache, value: sum("value"),
                bytes: sum("bytes"), leaked: sum("leaked") });
  }
  return list;
}

function field(node, whole, bytes, onFilter) {
  const { x0, x1, y0, y1, data, value } = node;
  const button = document.createElement("button");
  const amount = bytes ? size(value) : `${count(value)} buffers`;
  button.className = node.children ? "cache" : "site";
  button.style.cssText =
    `left:${x0}px;top:${y0}px;width:${x1 - x0}px;height:${y1 - y0}px`;
  if (!node.children && data.leaked > 0)
    button.style.setProperty("--leaked", `${((100 * data.leaked) / data.bytes).toFixed(1)}%`);
  button.title = `${data.name}: ${amount}, ${percent(value, whole)}` +
    (node.children ? "" : ` of ${node.parent.data.name}, ${percent(data.leaked, data.bytes)} of it leaked`);
  if (x1 - x0 >= NAME_WIDTH && y1 - y0 >= NAME_HEIGHT) {
    const name = document.createElement("span");
    name.textContent = data.name;
    const number = document.createElement("small");
    number.textContent = amount;
    button.append(name, number);
  }
  button.tabIndex = node.children ? 0 : -1; // caches by Tab; their sites are in the table below
  button.addEventListener("click", () => onFilter(data.filter));
  return button;
}

export function showTreemap(data, element, sites, value, bytes, onFilter) {
  const root = hierarchy({ name: "all", children: groups(data, sites, value) })
    .sum((d) => d.value ?? 0)
    .sort((a, b) => b.value - a.value);
  element.textContent = root.value === 0 ? "nothing to show" : "";
  if (root.value === 0) return;
  treemap().size([element.clientWidth, element.clientHeight]).paddingInner(1).paddingTop(
    (node) => (node.depth === 1 ? HEAD : 0)).round(true)(root);
  const parts = document.createDocumentFragment();
  for (const node of root.descendants())
    if (node.depth > 0 && node.x1 > node.x0 && node.y1 > node.y0)
      parts.append(field(node, root.value, bytes, onFilter));
  element.append(parts);
}
