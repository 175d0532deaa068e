# SPDX-License-Identifier: MIT
"""Draws two kinds of plots as SVG: dots on a logarithmic axis, one row a
workload, and lines in panels.  White ground of its own, so that it reads on a
dark page as well; one colour an allocator, ours the strongest.
"""

import math
from xml.sax.saxutils import escape

# Told apart by colour-blind readers too (after Okabe and Ito).
COLOURS = {"umem": "#d55e00", "umem_cache_*": "#cc79a7", "glibc": "#5f6b73",
           "jemalloc": "#0072b2", "mimalloc": "#009e73", "tcmalloc": "#d9a300",
           "nothing": "#b5bcc2"}
OTHER = "#56b4e9"
INK, GRID = "#22282d", "#dfe3e6"
FONT = "font-family='system-ui, Helvetica, Arial, sans-serif'"
SMALL, LARGE = 11, 14  # px
WIDTH = 820
MARGIN = 14
ROW = 19
LETTER = 6.4  # of a label, on average: room for the longest row name
LABEL_MIN = 120
RADIUS = 4.5
PANEL_HEIGHT = 250
# A logarithmic axis of less than so many times has ticks at these steps.
STEPS = ((10, (1, 1.2, 1.5, 2, 3, 4, 5, 6, 8)), (1000, (1, 2, 5)), (math.inf, (1,)))


def colour(name):
    return COLOURS.get(name, OTHER)


def num(value):
    return f"{value:.1f}".rstrip("0").rstrip(".")


def text(x, y, content, anchor="start", size=SMALL, extra=""):
    return (f"<text x='{num(x)}' y='{num(y)}' font-size='{size}' text-anchor='{anchor}' "
            f"fill='{INK}' {extra}>{escape(content)}</text>")


def line(x1, y1, x2, y2, stroke=GRID, width=1.0, extra=""):
    return (f"<line x1='{num(x1)}' y1='{num(y1)}' x2='{num(x2)}' y2='{num(y2)}' "
            f"stroke='{stroke}' stroke-width='{num(width)}' {extra}/>")


def dot(x, y, name, radius=RADIUS):
    return f"<circle cx='{num(x)}' cy='{num(y)}' r='{num(radius)}' fill='{colour(name)}'/>"


def document(title, height, parts):
    return "\n".join([
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {num(height)}' "
        f"width='{WIDTH}' height='{num(height)}' {FONT} role='img'>",
        f"<title>{escape(title)}</title>",
        f"<rect width='{WIDTH}' height='{num(height)}' rx='8' fill='#ffffff'/>",
        text(MARGIN, MARGIN + LARGE, title, size=LARGE, extra="font-weight='600'"),
        *parts, "</svg>", ""])


def legend(names, y):
    parts, x = [], MARGIN
    for name in names:
        parts += [dot(x + RADIUS, y - RADIUS + 0.5, name), text(x + 14, y, name)]
        x += 14 + 7 * len(name) + 18
    return parts


def log_ticks(low, high):
    """Ticks between two values: the fewer for a power of ten, the more powers there are."""
    steps = next(steps for limit, steps in STEPS if high / low < limit)
    ticks = []
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        ticks += [step * 10.0 ** power for step in steps]
    return [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]


def show(value):
    """A tick: as short as it goes."""
    for limit, suffix in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g}{suffix}"
    return f"{value:g}"


def log_scale(low, high, start, end):
    span = math.log(high / low)
    return lambda value: start + (end - start) * math.log(value / low) / span


def bounds(values, pad):
    """Of positive values, some more on both sides, at least one doubling wide."""
    low, high = min(values) / pad, max(values) * pad
    if high / low < 2:
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(2), middle * math.sqrt(2)
    return low, high


def dots(title, axis, rows, columns):
    """rows: name -> column -> positive ratio or None."""
    every = [v for cells in rows.values() for v in cells.values() if v] or [1.0]
    low, high = bounds([*every, 1.0], 1.1)
    top = MARGIN + LARGE + 46
    bottom = top + ROW * len(rows)
    left = max(LABEL_MIN, MARGIN + 10 + LETTER * max(map(len, rows), default=0))
    at = log_scale(low, high, left, WIDTH - 2 * MARGIN)
    parts = legend(columns, MARGIN + LARGE + 24)
    for tick in log_ticks(low, high):
        parts += [line(at(tick), top - 4, at(tick), bottom),
                  text(at(tick), bottom + 15, show(tick), "middle")]
    parts.append(line(at(1), top - 4, at(1), bottom, colour("umem"), 1.5))
    for number, (name, cells) in enumerate(rows.items()):
        y = top + ROW * (number + 0.5)
        shown = {column: cells[column] for column in columns if cells.get(column)}
        parts.append(text(left - 10, y + 4, name, "end"))
        if shown:
            ends = [at(value) for value in shown.values()]
            parts.append(line(min(ends), y, max(ends), y, "#c3cacf", 1.5))
        parts += [dot(at(value), y, column) for column, value in shown.items()]
    parts.append(text((left + WIDTH) / 2, bottom + 34, axis, "middle"))
    return document(title, bottom + 48, parts)


def lines(title, unit, panels, ticks):
    """panels: title -> line's name -> values, one a tick; logarithmic upwards."""
    every = [v for panel in panels.values() for values in panel.values() for v in values if v > 0]
    low, high = bounds(every or [1.0], 1.15)
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    top = MARGIN + LARGE + 62
    bottom = top + PANEL_HEIGHT
    parts = legend(names, MARGIN + LARGE + 24)
    step = (WIDTH - MARGIN) / max(1, len(panels))
    for number, (name, panel) in enumerate(panels.items()):
        left = MARGIN + step * number + 36
        right = MARGIN + step * (number + 1) - 20
        parts += panel_of(name, unit, panel, ticks, (left, right, top, bottom), (low, high))
    return document(title, bottom + 34, parts)


def panel_of(title, unit, panel, ticks, box, limits):
    left, right, top, bottom = box
    low, high = limits
    up = log_scale(low, high, bottom, top)
    across = (right - left) / max(1, len(ticks) - 1)
    parts = [text(left, top - 12, f"{title} ({unit})", extra="font-weight='600'")]
    for tick in log_ticks(low, high):
        parts += [line(left, up(tick), right, up(tick)),
                  text(left - 6, up(tick) + 4, show(tick), "end")]
    for number, tick in enumerate(ticks):
        x = left + across * number
        parts += [line(x, top, x, bottom), text(x, bottom + 16, tick, "middle", SMALL - 2)]
    # Ours is drawn last, on top.
    for name, values in sorted(panel.items(), key=lambda item: item[0] == "umem"):
        points = [(left + across * i, up(max(v, low))) for i, v in enumerate(values)]
        path = " ".join(f"{num(x)},{num(y)}" for x, y in points)
        dash = "stroke-dasharray='5 4'" if name == "nothing" else ""
        width = 2.5 if name == "umem" else 1.7
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour(name)}' "
                     f"stroke-width='{width}' {dash}/>")
        parts += [dot(x, y, name, 2.6) for x, y in points]
    return parts
