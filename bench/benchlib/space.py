# SPDX-License-Identifier: MIT
"""Section "space": resident memory after a peak, of idle threads; storms
(bench/space.c, bench/storms.c)."""

from benchlib.tables import Table, of_field

MIB = 1 << 20
KIB = 1 << 10
# What one run holds beside its blocks: its list of them, and what allocators add.
OVERHEAD = 1.5
KEPT = {"all freed": 0, "10 % kept": 10}
ROUNDS_MAX = 3  # of the storms, which are timed
WAYS = {"asleep": "sleep", "a few calls a second": "trickle"}


def after_peak(bench):
    mib, times = (64, (0, 1)) if bench.quick else (1024, (0, 1, 2, 5, 10))
    rows = {f"{kept}, {way}": (KEPT[kept], WAYS[way]) for kept in KEPT for way in WAYS}

    def measure(row, column):
        return bench.run("space", [mib, *rows[row], *times], column)

    found = bench.side_by_side("space", list(rows), measure, mib * MIB * OVERHEAD)
    peak = {f"peak of {mib} MiB": {
        column: cell["peak.rss"] / cell["peak.live"]
        for column, cell in found["all freed, asleep"].items()}}
    freed, kept = {}, {}
    for row, cells in found.items():
        for time in times:
            name = f"{row}, {time} s"
            if KEPT["10 % kept"] in rows[row]:
                kept[name] = {c: cell[f"rss.{time}"] / cell["live"] for c, cell in cells.items()}
            else:
                freed[name] = {c: cell[f"rss.{time}"] for c, cell in cells.items()}
    return [
        Table("space", "peak", "Resident memory at the peak", "resident / live bytes", peak,
              digits=3),
        Table("space", "kept", "Resident memory after all but 10 % was freed at random",
              "resident / live bytes", kept, digits=2),
        Table("space", "freed", "Resident memory after all was freed", "MiB", freed, scale=MIB),
    ]


def idle_threads(bench):
    threads, seconds = (100, 1) if bench.quick else (1000, 10)
    rows = {"never": 0, "once": 1}

    def measure(row, column):
        return bench.run("storms", ["idle", threads, rows[row], seconds], column)

    found = bench.side_by_side("idle threads", list(rows), measure, 256 * MIB)
    cells = {}
    for field, when in (("at_once", "at once"), ("later", f"after {seconds} s")):
        # A thread's stack and its libc part are there in either case.
        cells[f"a thread's share, {when}"] = {
            column: max(found["once"][column][field] - found["never"][column][field], 1)
            for column in found["once"] if column in found["never"]}
    return Table("space", "idle", f"{threads:,} idle threads that each allocated once",
                 "KiB a thread", cells, scale=KIB)


def storms(bench):
    threads, forks = (500, 50) if bench.quick else (20000, 300)
    rows = {f"{threads:,} threads: create, allocate, exit": ["threads", threads],
            f"{forks:,} forks of 64 MiB beside a busy thread": ["forks", forks]}

    def measure(row, column):
        return bench.run("storms", rows[row], column)

    found = bench.interleaved("storms", list(rows), measure, rounds(bench))
    first = next(iter(rows))
    return [
        Table("space", "storms", "Storms of threads and forks", "µs each", of_field(found, "us")),
        Table("space", "storm-rss", "Resident memory after the storm of threads", "MiB",
              {f"{threads:,} threads": of_field(found, "rss")[first]}, scale=MIB),
    ]


def rounds(bench):
    return min(ROUNDS_MAX, bench.rounds)


def about(bench):
    return f"One run each; storms: medians of {rounds(bench)} rounds."


def run(bench):
    return [*after_peak(bench), idle_threads(bench), *storms(bench)]
