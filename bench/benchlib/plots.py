# SPDX-License-Identifier: MIT
"""Which plots there are, and the data that goes into each (drawing: svg.py)."""

from benchlib import latency, svg
from benchlib.runner import OURS
from benchlib.tables import ratio

# Tables that are drawn as ratios, and what their axis says.
DOTS = {
    "pairs": "processor time a pair",
    "large": "processor time a pair",
    "programs": "wall time",
    "memory": "peak resident memory",
    "scale": "time a pair",
}
PERCENTILES = ("latency", "realtime")
OVER_TIME = {"kept": "resident / live bytes", "freed": "resident MiB"}


def dots(table):
    """Each column's ratio to ours."""
    rows = {row: {column: ratio(value, cells[OURS]) for column, value in cells.items()}
            for row, cells in table.rows.items() if OURS in cells}
    return svg.dots(table.title, f"{DOTS[table.name]}, umem = 1 (right: more than umem)", rows,
                    table.columns())


def percentiles(table, noise):
    """A panel a call; x is how rare, y how long."""
    panels = {}
    for title in latency.CALLS.values():
        panels[title] = {}
        for column in table.columns():
            values = [table.rows[f"{title}, {latency.point_name(p)}"].get(column)
                      for p in latency.POINTS]
            if None not in values:
                panels[title][column] = values
        if noise is not None:
            floor = [min(cells.values()) for cells in noise.rows.values()]
            panels[title]["nothing"] = floor
    return svg.lines(table.title, "ns", panels, latency.POINTS)


def over_time(table):
    """A panel for each way to pass the time; rows are named "WHAT, WAY, N s"."""
    panels, ticks = {}, []
    for row, cells in table.rows.items():
        title, _, tick = row.rpartition(", ")
        if tick not in ticks:
            ticks.append(tick)
        for column, value in cells.items():
            panels.setdefault(title, {}).setdefault(column, []).append(value / table.scale)
    return svg.lines(table.title, OVER_TIME[table.name], panels, ticks)


def write(tables, directory):
    """Writes the plots of these tables; section -> file name -> title."""
    by_name = {table.name: table for table in tables}
    drawn = {}
    directory.mkdir(parents=True, exist_ok=True)
    for table in tables:
        if table.name in DOTS:
            text = dots(table)
        elif table.name in PERCENTILES:
            text = percentiles(table, by_name.get(f"{table.name}-noise"))
        elif table.name in OVER_TIME:
            text = over_time(table)
        else:
            continue
        name = f"{table.name}.svg"
        (directory / name).write_text(text, encoding="utf-8")
        drawn.setdefault(table.section, {})[name] = table.title
    return drawn
