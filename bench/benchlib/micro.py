# SPDX-License-Identifier: MIT
"""Section "micro": alloc + free pairs in the patterns of bench/pairs.c."""

from benchlib.runner import CACHE
from benchlib.tables import Table, of_field

# What object caches can serve too: all blocks are of one size.
FIXED = ("lifo-32", "lifo-1000", "fifo-32", "fifo-1000", "fifo-50000", "random-50000", "batches",
         "grow", "pipe")
PATTERNS = (*FIXED, "grow-mixed", "server", "large")
THREADS = (1, 2, 4)
CROWD = 1000
CROWDED = ("lifo-1000", "fifo-1000", "server")
# A thousand threads take that much longer until each has had its turn; a large
# block's pair is a hundred thousand times as long as a small one's.
LONGER = {CROWD: 5, "large": 4}


def row_name(pattern, threads):
    return f"{pattern}, {threads} thread{'s' if threads > 1 else ''}"


def about(bench):
    return (f"Medians of {bench.rounds} rounds, {bench.ms} ms a run; {CROWD:,} threads "
            f"{LONGER[CROWD]} times that, large blocks {LONGER['large']} times.")


def run(bench):
    rows = {row_name(pattern, threads): (pattern, threads)
            for pattern in PATTERNS for threads in THREADS}
    rows.update({row_name(pattern, CROWD): (pattern, CROWD) for pattern in CROWDED})

    def columns(row):
        return [*bench.allocators, CACHE] if rows[row][0] in FIXED else list(bench.allocators)

    def measure(row, column):
        pattern, threads = rows[row]
        ms = bench.ms * LONGER.get(threads, LONGER.get(pattern, 1))
        return bench.run("pairs", [pattern, threads, ms, *(["cache"] if column == CACHE else [])],
                         column)

    found = of_field(bench.interleaved("micro", list(rows), measure, columns=columns), "ns")
    small = {row: cells for row, cells in found.items() if rows[row][0] != "large"}
    large = {row: cells for row, cells in found.items() if rows[row][0] == "large"}
    return [
        Table("micro", "pairs", "Alloc + free pairs", "processor ns a pair", small,
              note="256 bytes, but `grow-mixed` 16 to 8,191 and `server` 16 to 1,000."),
        Table("micro", "large", "Blocks of 5 to 25 MB, every page touched",
              "processor µs a pair", large, scale=1000, digits=0),
    ]
