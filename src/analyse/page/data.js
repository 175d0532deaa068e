// SPDX-License-Identifier: MIT
//
// The data of the page (report/page.h has its keys) as arrays of numbers, and
// what is asked of it: which sites fit a filter, and how much each node, cache
// and site holds.
//
// Nodes are in an order in which a caller stands before what it calls, so that
// one pass forward hands things down, and one pass backward sums them up.

// Functions that only pass an allocation on: not the place that a site is named after.
const PASSED_BY = /^(operator new|std::allocator|std::__new_allocator|__gnu_cxx::new_allocator|std::allocator_traits)/;

export class Data {
  constructor(raw) {
    this.raw = raw;
    this.strings = raw.strings;
    const frames = raw.frames.length / 2;
    this.frameName = new Array(frames);
    this.frameFile = new Array(frames);
    this.frameModule = new Array(frames);
    this.frameText = new Array(frames); // what filters look at
    for (let i = 0; i < frames; i++) {
      const f = 3 * raw.frames[2 * i];
      const line = raw.frames[2 * i + 1];
      const file = this.strings[raw.functions[f + 2]];
      this.frameName[i] = this.strings[raw.functions[f]];
      this.frameModule[i] = this.strings[raw.functions[f + 1]];
      this.frameFile[i] = file === "" ? "" : `${file}:${line}`;
      this.frameText[i] =
        `${this.frameName[i]}\n${this.frameModule[i]}\n${this.frameFile[i]}`.toLowerCase();
    }
    const nodes = raw.nodes.length / 2 + 1;
    this.caller = new Int32Array(nodes);
    this.frame = new Int32Array(nodes).fill(-1);
    for (let i = 1; i < nodes; i++) {
      this.caller[i] = raw.nodes[2 * i - 2];
      this.frame[i] = raw.nodes[2 * i - 1];
    }
    this.group = this.findGroups();
    this.sites = raw.sites;
    this.siteCount = raw.sites.node.length;
    this.places = Int32Array.from(raw.sites.node, (_, s) => this.findPlace(s));
    this.cacheNames = raw.sites.cache.map((c) => this.strings[c]);
  }

  // For each node the first one of the same function under the same callers: a flame graph makes
  // no difference between the lines of a function.
  findGroups() {
    const { caller, frame, raw } = this;
    const group = new Int32Array(caller.length);
    const seen = new Map();
    const functions = raw.functions.length;
    for (let n = 1; n < group.length; n++) {
      const key = group[caller[n]] * functions + raw.frames[2 * frame[n]];
      if (!seen.has(key)) seen.set(key, n);
      group[n] = seen.get(key);
    }
    return group;
  }

  // Nodes of a site's stack, innermost first.
  stack(site) {
    const result = [];
    for (let n = this.sites.node[site]; n !== 0; n = this.caller[n]) result.push(n);
    return result;
  }

  // The frame that a site is named after.
  findPlace(site) {
    const stack = this.stack(site);
    const found = stack.find((n) => !PASSED_BY.test(this.frameName[this.frame[n]]));
    return this.frame[found ?? stack[0]];
  }

  // The sites that fit every word of the text: a function, file, module or cache each.
  matching(text) {
    const fits = new Uint8Array(this.siteCount).fill(1);
    for (const word of text.toLowerCase().split(/\s+/).filter(Boolean)) {
      const frameFits = this.frameText.map((t) => t.includes(word));
      const nodeFits = new Uint8Array(this.caller.length);
      for (let n = 1; n < nodeFits.length; n++)
        nodeFits[n] = nodeFits[this.caller[n]] || frameFits[this.frame[n]] ? 1 : 0;
      for (let s = 0; s < this.siteCount; s++)
        if (!nodeFits[this.sites.node[s]] && !this.cacheNames[s].toLowerCase().includes(word))
          fits[s] = 0;
    }
    const result = [];
    for (let s = 0; s < this.siteCount; s++) if (fits[s]) result.push(s);
    return result;
  }

  callerGroup(node) {
    return this.group[this.caller[node]];
  }

  // What each group holds with all that it calls, of some sites.
  groupValues(sites, value) {
    const { group } = this;
    const sums = new Float64Array(group.length);
    for (const s of sites) sums[group[this.sites.node[s]]] += value[s];
    for (let n = sums.length - 1; n > 0; n--)
      if (group[n] === n) sums[this.callerGroup(n)] += sums[n];
    return sums;
  }
}

const COUNT = new Intl.NumberFormat("en-US");
export const count = (n) => COUNT.format(n);

// 1234567 -> "1.2 MiB"
export function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${unit === 0 || bytes >= 100 ? Math.round(bytes) : bytes.toFixed(1)} ${units[unit]}`;
}

export function percent(part, whole) {
  if (part === 0 || whole === 0) return "0 %";
  const p = (100 * part) / whole;
  return p < 0.1 ? "< 0.1 %" : `${p.toFixed(1)} %`;
}

// The end of a path: "src/main.c:12".
export const tail = (path) => path.split("/").slice(-2).join("/");

export function age(seconds) {
  if (seconds < 0) return "";
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}
