# SPDX-License-Identifier: MIT
"""Section "stacks": what libstackalloc's stacks cost beside Boost.Context's
allocators, plain mmap with two guards and all pages touched, the stacks that
glibc caches for threads, and one stack reused by hand."""

import pathlib
import tempfile

from benchlib.runner import GLIBC, OURS, Bench, child, say, values
from benchlib.tables import Table, of_field
from harness import compile_c, paths

MMAP, REUSED = "mmap, guards, touch", "one stack, reused"
POOLED, PROTECTED = "Boost pooled", "Boost protected"
BOOST = {POOLED: "pooled", PROTECTED: "protected"}
HOW = {OURS: "umem", MMAP: "mmap", GLIBC: "glibc", REUSED: "reused"}
KIB = 1024
# Row -> (mode of bench/stacks.c, bytes, columns).
PAIR = (OURS, POOLED, PROTECTED, MMAP)
ROWS = {
    "taken and given back, 32 KiB": ("pair", 32 * KIB, PAIR),
    "taken and given back, 256 KiB": ("pair", 256 * KIB, PAIR),
    "taken and given back, 2 MiB": ("pair", 2048 * KIB, PAIR),
    "built, 32 KiB": ("build", 32 * KIB, (OURS, MMAP)),
    "built, 2 MiB": ("build", 2048 * KIB, (OURS, MMAP)),
    "built alone, 2 MiB": ("alone", 2048 * KIB, (OURS, MMAP)),
    "lazy, one of a million, 32 KiB": ("lazy", 32 * KIB, (OURS,)),
    "thread that touches 192 KiB": ("thread", 256 * KIB, (OURS, GLIBC, REUSED)),
    "the same, created by 16 threads at once, locked": ("storm", 256 * KIB, (OURS, GLIBC, REUSED)),
}


def compile_boost(directory):
    """The program with Boost's allocators, or None."""
    if not pathlib.Path("/usr/include/boost/context/stack_context.hpp").exists():
        say("Boost.Context is not installed: left out")
        return None
    return compile_c(paths.REPO / "bench" / "stacks_boost.cc", directory / "stacks_boost",
                     flags=["-O2", "-std=c++11"], libs=["-lboost_context"])


def run(bench):
    with tempfile.TemporaryDirectory(prefix="umem-bench-") as name:
        boost = compile_boost(pathlib.Path(name))

        def columns(row):
            return [column for column in ROWS[row][2] if boost or column not in BOOST]

        def measure(row, column):
            mode, size, _ = ROWS[row]
            if column in BOOST:
                return values(child([boost, BOOST[column], size, bench.ms]))
            return values(child([bench.programs / "stacks", mode, HOW[column], size, bench.ms]))

        ours = Bench(bench.programs.parent, bench.rounds, bench.ms, bench.quick,
                     allocators=dict.fromkeys((OURS, *BOOST, MMAP, GLIBC, REUSED)))
        found = ours.interleaved("stacks", list(ROWS), measure, columns=columns)
    faults, tables, worst = (of_field(found, name) for name in ("faults", "tables", "worst"))
    return [
        Table("stacks", "stacks-time", "Stacks, wall time", "ns", of_field(found, "ns"), base=OURS,
              note="Ours in nanoseconds, the others as multiples of it: above 1.00 ours is "
                   "faster."),
        Table("stacks", "stacks-faults", "Page faults a thread", "faults",
              {row: cells for row, cells in faults.items() if cells}, ratios=False),
        Table("stacks", "stacks-worst", "The slowest of 4,800 creates, in medians of all", "times",
              {row: cells for row, cells in worst.items() if cells}, ratios=False),
        Table("stacks", "stacks-tables", "Page tables of a million lazy stacks", "MiB",
              {row: cells for row, cells in tables.items() if cells}, scale=KIB * KIB,
              ratios=False),
    ]


def about(bench):
    rounds = "One round" if bench.rounds == 1 else f"Medians of {bench.rounds} rounds"
    return f"{rounds}, {bench.ms} ms a run."
