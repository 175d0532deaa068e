# SPDX-License-Identifier: MIT
"""Tables of the benchmark: medians by row and allocator, with ratios of ours.

Plain data that goes to JSON and back.  A cell may be missing (a peer that
failed, an allocator that is not installed): ratios are of what is there.
"""

import dataclasses
import math

from benchlib.runner import CACHE, GLIBC, OURS

MISSING = "–"


@dataclasses.dataclass
class Table:
    section: str
    name: str      # short and unique: the plot's file name
    title: str
    unit: str      # heads the first column
    rows: dict     # row -> column -> value, smaller is better
    scale: float = 1.0   # values are divided by this for print
    digits: int = 1
    ratios: bool = True  # compare ours with the others
    base: str = ""       # the others are shown as multiples of this column
    note: str = ""
    whole: list = dataclasses.field(default_factory=list)  # columns without decimals

    def columns(self):
        """All that any row has, in the order of first appearance, ours last."""
        names = dict.fromkeys(name for cells in self.rows.values() for name in cells)
        return [n for n in names if n not in (OURS, CACHE)] + [n for n in (OURS, CACHE)
                                                               if n in names]


def geometric_mean(values):
    values = [value for value in values if value is not None]
    if not values or min(values) <= 0:
        return None
    return math.exp(sum(map(math.log, values)) / len(values))


def ratio(a, b):
    return a / b if a and b and a > 0 and b > 0 else None


def best_peer(cells):
    peers = [value for name, value in cells.items() if name not in (OURS, CACHE)]
    return min(peers) if peers else None


def of_field(medians, field):
    """row -> column -> {name: value} becomes row -> column -> value."""
    return {row: {column: found[field] for column, found in cells.items() if field in found}
            for row, cells in medians.items()}


def show_ratio(value):
    return MISSING if value is None else f"{value:.2f}"


def line(cells):
    return "| " + " | ".join(cells) + " |"


def summary(table):
    """Geometric means: of ours / best peer, ours / glibc, and ours / each column."""
    rows = [cells for cells in table.rows.values() if OURS in cells]
    against = {column: geometric_mean(ratio(cells[OURS], cells.get(column)) for cells in rows)
               for column in table.columns()}
    best = geometric_mean(ratio(cells[OURS], best_peer(cells)) for cells in rows)
    return best, against.get(GLIBC), against


def multiples(table):
    """The table of a base column: its values, and how many times as much the others take."""
    names = dict.fromkeys(name for cells in table.rows.values() for name in cells)
    others = [name for name in names if name != table.base]
    columns = [table.base, *others]
    found = {name: [ratio(cells.get(column), cells.get(table.base)) for column in others]
             for name, cells in table.rows.items()}
    lines = [line([table.unit, *columns]), "|---|" + "---:|" * len(columns)]
    for name, cells in table.rows.items():
        value = cells.get(table.base)
        shown = MISSING if value is None else f"{value / table.scale:,.{table.digits}f}"
        lines.append(line([name, shown, *map(show_ratio, found[name])]))
    means = [geometric_mean(values) for values in zip(*found.values())]
    return [*lines, line(["**geometric mean**", "", *(f"**{show_ratio(m)}**" for m in means)])]


def markdown(table):
    """The table as lines of markdown, with its heading."""
    if table.base:
        heading = [f"### {table.title}", "", *([table.note, ""] if table.note else [])]
        return heading + multiples(table)
    columns = table.columns()
    extra = [f"{OURS} / best peer", f"{OURS} / {GLIBC}"] if table.ratios else []
    lines = [f"### {table.title}", ""]
    if table.note:
        lines += [table.note, ""]
    lines += [line([table.unit, *columns, *extra]),
              "|---|" + "---:|" * (len(columns) + len(extra))]
    for name, cells in table.rows.items():
        shown = [f"{cells[c] / table.scale:,.{0 if c in table.whole else table.digits}f}"
                 if c in cells else MISSING for c in columns]
        if table.ratios:
            ours = cells.get(OURS)
            shown += [show_ratio(ratio(ours, best_peer(cells))),
                      show_ratio(ratio(ours, cells.get(GLIBC)))]
        lines.append(line([name, *shown]))
    if table.ratios:
        best, glibc, against = summary(table)
        shown = ["" if column == OURS else f"*{show_ratio(against[column])}*"
                 for column in columns]
        lines.append(line([f"**geometric mean**, *{OURS} / column*", *shown,
                           f"**{show_ratio(best)}**", f"**{show_ratio(glibc)}**"]))
    return lines


def to_json(table):
    return dataclasses.asdict(table)


def from_json(data):
    return Table(**data)
