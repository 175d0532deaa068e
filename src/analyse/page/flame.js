// SPDX-License-Identifier: MIT
//
// The flame graph, by d3-flame-graph: callers on top, what they call below.
// The arrow keys walk from frame to frame, Enter zooms, Escape zooms out.

import flamegraph from "d3-flame-graph";
import { select } from "d3-selection";
import { count, percent, size } from "./data.js";

const COLORS = 8; // --m0 ... --m7 of page.css
const ROW = 19; // px
// What is narrower (px) is not drawn: nobody can point at it.  Zooming in draws it.
const NARROWEST = 3;
const LABELLED = 35; // px
const SHADES = [0, 14, 28]; // % of the background: neighbours of one module differ

export class Flame {
  constructor(data, element, details) {
    this.data = data;
    this.element = element;
    this.details = details;
    this.selected = null;
    this.modules = new Map();
    element.addEventListener("keydown", (event) => this.key(event));
    element.addEventListener("focus", () => this.choose(this.selected ?? this.root()));
  }

  // Modules get colours in the order in which they hold most.
  colorOf(module, name) {
    if (module === "") return "var(--none)";
    if (!this.modules.has(module)) this.modules.set(module, this.modules.size % COLORS);
    const sum = [...name].reduce((n, c) => (31 * n + c.charCodeAt(0)) % 9973, 7);
    const shade = SHADES[sum % SHADES.length];
    return `color-mix(in oklab, var(--m${this.modules.get(module)}), var(--back) ${shade}%)`;
  }

  frameOf(node) {
    const { data, sums, buffers } = this;
    const frame = data.frame[node];
    if (node === 0) return { node, name: "all", module: "", value: sums[0], buffers: buffers[0] };
    return {
      node, name: data.frameName[frame], module: data.frameModule[frame],
      where: data.frameFile[frame].replace(/:\d+$/, "") || data.frameModule[frame], value: sums[node],
      buffers: buffers[node],
    };
  }

  // The frames from the root to the one that is zoomed to, faded, and what it calls, as far as
  // there is room to show it: a tree of thousands of stacks is never made whole.
  tree() {
    const { data, sums, zoomed } = this;
    const least = (sums[zoomed] * NARROWEST) / this.element.clientWidth;
    const made = new Array(sums.length);
    made[zoomed] = this.frameOf(zoomed);
    let top = made[zoomed];
    for (let n = zoomed; n !== 0; n = data.callerGroup(n))
      top = { ...this.frameOf(data.callerGroup(n)), fade: true, children: [top] };
    for (let n = zoomed + 1; n < sums.length; n++) {
      const above = data.group[n] === n ? made[data.callerGroup(n)] : undefined;
      if (above === undefined || sums[n] < least || sums[n] === 0) continue;
      made[n] = this.frameOf(n);
      (above.children ??= []).push(made[n]);
    }
    for (const frame of made) frame?.children?.sort((a, b) => b.value - a.value);
    return top;
  }

  label(d) {
    const { name, value, buffers, where } = d.data;
    const amount = this.bytes ? `${size(value)}, ${count(buffers)} buffers`
                              : `${count(value)} buffers`;
    return `${name}: ${amount}, ${percent(value, this.whole)}${where ? `, ${where}` : ""}`;
  }

  // sums, buffers: by group of nodes; words: what the filter looks for, which frames are marked for.
  show(sums, buffers, bytes, words) {
    Object.assign(this, { sums, buffers, bytes, words, whole: sums[0] });
    this.zoom(0);
    this.details.textContent = "";
  }

  zoom(node) {
    this.zoomed = node;
    this.selected = null;
    this.element.textContent = this.whole === 0 ? "nothing to show" : "";
    if (this.whole === 0) return;
    const fits = (name) => this.words.some((word) => name.toLowerCase().includes(word));
    const chart = flamegraph()
      .width(this.element.clientWidth)
      .cellHeight(ROW)
      .inverted(true)
      .transitionDuration(0)
      .setLabelHandler((d) => this.label(d))
      .setColorMapper((d) =>
        (fits(d.data.name) ? "var(--hit)" : this.colorOf(d.data.module, d.data.name)))
      .onHover((d) => { this.details.textContent = this.label(d); })
      .onClick((d) => this.zoom(d.data.node));
    select(this.element).datum(this.tree()).call(chart);
    this.settle();
    this.choose(this.frames().data().find((d) => d.data.node === node));
  }

  // Everything in its place at once: the chart's transitions would take a quarter of a second.
  settle() {
    const whole = this.element.clientWidth;
    let rows = 0;
    const frames = this.frames().interrupt();
    frames.attr("transform", (d) => `translate(${d.x0 * whole},${d.depth * ROW})`);
    frames.each((d) => { rows = Math.max(rows, d.depth + 1); });
    frames.select("rect").interrupt().attr("width", (d) => (d.x1 - d.x0) * whole);
    // Labels are the dearest to lay out, and most frames are too narrow to have one.
    const named = (d) => (d.x1 - d.x0) * whole >= LABELLED;
    frames.filter((d) => !named(d)).select("foreignObject").remove();
    frames.filter(named).select(".d3-flame-graph-label").interrupt().text((d) => d.data.name);
    select(this.element).select("svg").attr("height", rows * ROW);
  }

  frames() {
    return select(this.element).selectAll("g.frame");
  }

  root() {
    return this.frames().empty() ? null : this.frames().datum();
  }

  choose(d) {
    this.selected = d;
    if (d === null) return;
    this.details.textContent = this.label(d);
    this.frames().classed("chosen", (other) => other === d);
  }

  // The frame beside, on its line.
  beside(d, step) {
    const row = this.frames().data().filter((o) => o.depth === d.depth && o.value > 0)
      .sort((a, b) => a.x0 - b.x0);
    return row[row.indexOf(d) + step] ?? d;
  }

  key(event) {
    if (this.selected === null) return;
    const d = this.selected;
    const drawn = new Set(this.frames().data());
    const go = {
      ArrowDown: () => this.choose((d.children ?? []).find((c) => drawn.has(c)) ?? d),
      ArrowUp: () => this.choose(d.parent ?? d),
      ArrowRight: () => this.choose(this.beside(d, 1)),
      ArrowLeft: () => this.choose(this.beside(d, -1)),
      Enter: () => this.zoom(d.data.node),
      Escape: () => this.zoom(0),
    }[event.key];
    if (go === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    go();
  }
}
