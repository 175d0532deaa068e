# SPDX-License-Identifier: MIT
"""Section "scale": does the time of a call depend on what else is live (bench/scale.c)?"""

from benchlib.tables import Table, of_field, ratio

ROUNDS_MAX = 5


def rounds(bench):
    return min(ROUNDS_MAX, bench.rounds)


def about(bench):
    return f"Medians of {rounds(bench)} rounds, {bench.ms} ms a run."


def run(bench):
    many, sparse = (200_000, 64) if bench.quick else (10_000_000, 1024)
    few = 10_000
    rows = {
        f"{few:,} live blocks": ["blocks", few],
        f"{many:,} live blocks": ["blocks", many],
        "empty heap": ["sparse", 0],
        f"sparse heap of {sparse // 16} GiB": ["sparse", sparse],
    }

    def measure(row, column):
        return bench.run("scale", [*rows[row], bench.ms], column)

    found = bench.interleaved("scale", list(rows), measure, rounds(bench))
    names = list(rows)
    times = of_field(found, "fifo")
    small = {f"FIFO of 1,000, {name}": times[name] for name in names}
    random = of_field(found, "random")
    small.update({f"one of them at random, {name}": random[name] for name in names[:2]})
    blocks_large = of_field(found, "large")
    large = {f"1 to 64 MiB, {name}": blocks_large[name] for name in names[2:]}

    def growth(cells, more, less):
        return {column: ratio(cells[more][column], cells[less][column])
                for column in cells[more] if column in cells[less]}

    growths = {
        f"FIFO, {names[1]} / {few:,}": growth(times, names[1], names[0]),
        f"random, {names[1]} / {few:,}": growth(random, names[1], names[0]),
        "FIFO, sparse / empty heap": growth(times, names[3], names[2]),
        "large, sparse / empty heap": growth(blocks_large, names[3], names[2]),
    }
    return [
        Table("scale", "scale", "Small blocks beside many others", "ns a pair", small),
        Table("scale", "scale-large", "Large blocks, one page touched", "µs a pair", large,
              scale=1000),
        Table("scale", "growth", "Growth of these times with what is live", "times", growths,
              digits=2),
    ]
