# SPDX-License-Identifier: MIT
"""Section "latency": percentiles of single calls (bench/latency.c)."""

from benchlib.tables import Table

POINTS = ("50", "90", "99", "99.9", "99.99", "99.999", "max")
CALLS = {"malloc": "malloc", "local": "free, own block", "remote": "free, other's block"}
MODES = {"as it comes": [], "real time": ["realtime"]}
TITLES = {
    "as it comes": "Latency of single calls",
    "real time": "Latency of single calls, memory locked, SCHED_FIFO",
}
# The tail wants samples: at p99.999 some hundred of a run of two seconds.
LENGTH = 20  # times --ms
ROUNDS_MAX = 3


def point_name(point):
    return point if point == "max" else f"p{point}"


def tables_of(mode, cells):
    """cells: allocator -> "malloc.99" -> ns."""
    calls, noise = {}, {}
    for call, title in CALLS.items():
        for point in POINTS:
            calls[f"{title}, {point_name(point)}"] = {
                column: found[f"{call}.{point}"] for column, found in cells.items()}
    for point in POINTS:
        noise[f"nothing, {point_name(point)}"] = {
            column: found[f"empty.{point}"] for column, found in cells.items()}
    name = "latency" if mode == "as it comes" else "realtime"
    return [Table("latency", name, TITLES[mode], "ns", calls, digits=0),
            Table("latency", f"{name}-noise",
                  TITLES[mode].replace("single calls", "an empty operation"), "ns",
                  noise, digits=0, ratios=False,
                  note="Two readings of the clock with nothing between, in the same loop.")]


def rounds(bench):
    return min(ROUNDS_MAX, bench.rounds)


def about(bench):
    return f"Medians of {rounds(bench)} rounds, {bench.ms * LENGTH} ms a run."


def run(bench):
    def measure(mode, column):
        return bench.run("latency", [bench.ms * LENGTH, *MODES[mode]], column)

    found = bench.interleaved("latency", list(MODES), measure, rounds(bench))
    return [table for mode, cells in found.items() if cells for table in tables_of(mode, cells)]
