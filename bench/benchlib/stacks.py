# SPDX-License-Identifier: MIT
"""Section "stacks": what libstackalloc's stacks cost beside Boost.Context's
allocators, plain mmap with two guards and all pages touched, or a huge page, the
stacks that glibc caches for threads, and one stack reused by hand.  And the slowest
creates of threads (bench/creates.c)."""

import pathlib
import tempfile

from benchlib.runner import GLIBC, OURS, Bench, Failed, child, medians, say, values
from benchlib.tables import Table, of_field
from harness import compile_c, paths

MMAP, HUGE, REUSED = "mmap, guards, touch", "the same, huge pages", "one stack, reused"
BARE = "bare array"
SPIN = "no call, spinning"
POOLED, PROTECTED = "Boost pooled", "Boost protected"
BOOST = {POOLED: "pooled", PROTECTED: "protected"}
HOW = {OURS: "umem", BARE: "bare", MMAP: "mmap", HUGE: "huge", GLIBC: "glibc", REUSED: "reused"}
KIB = 1024
# Row -> (mode of bench/stacks.c, bytes, columns).
PAIR = (OURS, BARE, POOLED, PROTECTED, MMAP)
ALONE, LAZY = "built alone, 2 MiB", "lazy, one of a million, 32 KiB"
THREAD = "thread that touches 192 KiB"
ROWS = {
    "taken and given back, 32 KiB": ("pair", 32 * KIB, PAIR),
    "taken and given back, 256 KiB": ("pair", 256 * KIB, PAIR),
    "taken and given back, 2 MiB": ("pair", 2048 * KIB, PAIR),
    "built, 32 KiB": ("build", 32 * KIB, (OURS, MMAP)),
    "built, 2 MiB": ("build", 2048 * KIB, (OURS, MMAP, HUGE)),
    ALONE: ("alone", 2048 * KIB, (OURS, MMAP, HUGE)),
    LAZY: ("lazy", 32 * KIB, (OURS,)),
    THREAD: ("thread", 256 * KIB, (OURS, GLIBC, REUSED)),
}
PAIRS = [row for row, (mode, *_) in ROWS.items() if mode == "pair"]
# What a pair may take, where a thread-local magazine takes so much.
PAIR_NS, MAGAZINE_NS = 5, 1.8
# Creates by 16 threads at once: what it is called -> (argument of creates.c, clock).
CREATES = {
    "SCHED_FIFO, wall time": ("fifo", "wall"),
    "normal scheduling, wall time": ("normal", "wall"),
    "normal scheduling, processor time of the creator": ("normal", "processor"),
}
CREATE_WAYS = {OURS: "umem", REUSED: "reused", SPIN: "spin", GLIBC: "glibc"}
# A run: each of the 16 threads creates one.  Medians of all runs.
RUN_WORST = "slowest of a run of 16, in its medians"
CREATE_ROWS = {
    "median, ns": "{way}.{clock}.median",
    RUN_WORST: "{way}.{clock}.run_worst",
    "99.9 of 100 within, in medians": "{way}.{clock}.p99.9",
    "slowest, in medians": "{way}.{clock}.worst",
    "more than 10 medians, of 4,800": "{way}.{clock}.over",
    "of these, lost the processor": "{way}.{clock}.over_switched",
    "slowest that kept the processor, in medians": "{way}.{clock}.unswitched",
    "waited for a lock, of 4,800": "{way}.waits",
}
OWN = "libstackalloc's own part, {}, ns"


def compile_boost(directory):
    """The program with Boost's allocators, or None."""
    if not pathlib.Path("/usr/include/boost/context/stack_context.hpp").exists():
        say("Boost.Context is not installed: left out")
        return None
    return compile_c(paths.REPO / "bench" / "stacks_boost.cc", directory / "stacks_boost",
                     flags=["-O2", "-std=c++11"], libs=["-lboost_context"])


def measure_creates(bench):
    """Argument of creates.c -> name -> median; what is not permitted is left out."""
    samples = {}
    for turn in range(1, bench.rounds + 1):
        for scheduling in dict.fromkeys(scheduling for scheduling, _ in CREATES.values()):
            try:
                found = {}
                for ways in ("stacks", "glibc"):
                    found |= values(child([bench.programs / "creates", scheduling, ways,
                                           256 * KIB]))
                samples.setdefault(scheduling, []).append(found)
            except Failed as why:
                say(f"creates, {scheduling}: left out: {why}")
        say(f"stacks {turn}/{bench.rounds}: creates by 16 threads at once")
    return {scheduling: medians(found) for scheduling, found in samples.items()}


def table_of_creates(title, scheduling, clock, found):
    rows = {}
    for row, name in CREATE_ROWS.items():
        cells = {column: name.format(way=way, clock=clock) for column, way in CREATE_WAYS.items()}
        rows[row] = {column: found[name] for column, name in cells.items()}
    if clock == "wall":
        own = found["umem.own.median"]
        rows[OWN.format("median")] = {OURS: own}
        rows[OWN.format("slowest that kept the processor")] = {
            OURS: own * found["umem.own.unswitched"]}
    return Table("stacks", f"stacks-creates-{scheduling}-{clock}",
                 f"A create by 16 threads at once, all memory locked: {title}", "", rows,
                 ratios=False)


def table_of_targets(found, creates):
    """What this library is to reach, and what it did."""
    time = of_field(found, "ns")
    pairs = [time[row][OURS] for row in PAIRS]
    reached = {
        "taken and given back: ns, the slowest size": (PAIR_NS, max(pairs)),
        "the same: times a bare array, unchecked": (
            PAIR_NS / MAGAZINE_NS, max(found[row][OURS]["beside"] for row in PAIRS)),
        "the same: slowest size / fastest": (1.1, max(pairs) / min(pairs)),
        f"{THREAD}: times one stack, reused": (1.1, found[THREAD][OURS]["beside"]),
        f"{THREAD}: page faults": (0, found[THREAD][OURS]["faults"]),
        f"{LAZY}: ns": (2000, time[LAZY][OURS]),
        "page tables of a million lazy ones: MB": (200, found[LAZY][OURS]["tables"] / 1e6),
        f"{ALONE}: times a huge page by hand": (1, found[ALONE][OURS]["beside"]),
    }
    rows = {row: {"at most": target, OURS: value} for row, (target, value) in reached.items()
            if value is not None}
    if "fifo" in creates:
        rows |= rows_of_creates(creates["fifo"])
    return Table("stacks", "stacks-targets", "Targets", "", rows, ratios=False, digits=2)


def rows_of_creates(storm):
    """The target of creates, and beside it, without one, the slowest of all runs."""
    def beside(field):
        return {column: storm[f"{way}.wall.{field}"] for column, way in CREATE_WAYS.items()}

    own = storm["umem.own.median"] * storm["umem.own.worst"] / storm["umem.wall.median"]
    return {
        f"16 threads create at once, SCHED_FIFO: {RUN_WORST}": {
            "at most": 10, **beside("run_worst")},
        "the same: libstackalloc's part of the slowest of all runs": {"at most": 10, OURS: own},
        "the same: 99.9 of 100 creates of all runs within, in medians": beside("p99.9"),
        "the same: slowest create of all runs, in medians": beside("worst"),
    }


def measure_times(bench):
    """row -> column -> name -> median."""
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
                     allocators=dict.fromkeys((OURS, BARE, *BOOST, MMAP, HUGE, GLIBC, REUSED)))
        return ours.interleaved("stacks", list(ROWS), measure, columns=columns)


def run(bench):
    found, creates = measure_times(bench), measure_creates(bench)
    faults, tables = (of_field(found, name) for name in ("faults", "tables"))
    return [
        table_of_targets(found, creates),
        Table("stacks", "stacks-time", "Stacks, wall time", "ns", of_field(found, "ns"), base=OURS,
              note="Ours in nanoseconds, the others as multiples of it: above 1.00 ours is "
                   "faster."),
        Table("stacks", "stacks-faults", "Page faults a thread", "faults",
              {row: cells for row, cells in faults.items() if cells}, ratios=False),
        *(table_of_creates(title, scheduling, clock, creates[scheduling])
          for title, (scheduling, clock) in CREATES.items() if scheduling in creates),
        Table("stacks", "stacks-tables", "Page tables of a million lazy stacks", "MiB",
              {row: cells for row, cells in tables.items() if cells}, scale=KIB * KIB,
              ratios=False),
    ]


def about(bench):
    rounds = "One round" if bench.rounds == 1 else f"Medians of {bench.rounds} rounds"
    return f"{rounds}, {bench.ms} ms a run."
