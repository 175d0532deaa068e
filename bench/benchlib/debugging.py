# SPDX-License-Identifier: MIT
"""Section "debugging": what UMEM_DEBUG costs real programs in time and memory,
beside heaptrack, valgrind and AddressSanitizer, each as a multiple of the same
program plain; and what a malloc + free pair costs whose stack is recorded.

heaptrack is its preloaded part alone, which captures and writes every stack;
what it writes goes to /dev/null, and the process that reads it along is spared.
A mode that the library refuses is left out, and the text says so.
"""

import dataclasses
import functools
import pathlib
import shutil
import tempfile

from benchlib import programs
from benchlib.runner import GLIBC, OURS, Bench, child, say, values
from benchlib.tables import Table, of_field
from harness import paths, run as run_once

MIB = 1 << 20
MODES = ("guards", "audit=64", "audit=64,guards", "sample=1000", "firewall=4096")
HEAPTRACK, VALGRIND, ASAN = "heaptrack", "valgrind", "ASan"
HEAPTRACK_LIBRARIES = ("/usr/lib/heaptrack", "/usr/local/lib/heaptrack")
# Half of what section "programs" does: one of the columns takes forty times as long.
SCALE = 2
# Left out: git repack works in children, where heaptrack does not follow; redis and node
# are servers and compilers of their own, where valgrind and heaptrack change what runs.
LEFT_OUT = ("node", "git repack")
WORDS = "words"                    # ours: the one that ASan can be built into
UNDER_VALGRIND = ("sort", WORDS)   # the shortest
DEPTHS = (10, 25, 60)
PAIR_MODES = ("audit=64", "audit=64,guards")


@dataclasses.dataclass(frozen=True)
class Way:
    """How a program is run for a column."""
    preload: str | None = None
    env: tuple = ()      # (name, value)
    before: tuple = ()   # a command that runs the program
    rows: tuple = ()     # of these alone; empty: all


@functools.lru_cache(maxsize=None)
def refused(mode):
    """What the library says against a mode, or nothing."""
    done = run_once(["/bin/ls", "/"], preload=True, debug=mode)
    return "".join(line for line in done.stderr.splitlines() if line.startswith("umem:"))


def find_heaptrack():
    for directory in HEAPTRACK_LIBRARIES:
        path = pathlib.Path(directory) / "libheaptrack_preload.so"
        if path.exists():
            return str(path)
    say(f"{HEAPTRACK} is not installed: left out")
    return None


def find_ways(bench):
    """Column -> Way, in the order of the columns."""
    ours = str(paths.libumem())
    result = {GLIBC: Way(), OURS: Way(ours)}
    for mode in MODES:
        if refused(mode):
            say(f"{mode}: left out: {refused(mode)}")
        else:
            result[mode] = Way(ours, (("UMEM_DEBUG", mode),))
    library = find_heaptrack()
    if library:
        result[HEAPTRACK] = Way(library, (("DUMP_HEAPTRACK_OUTPUT", "/dev/null"),))
    if shutil.which("valgrind"):
        result[VALGRIND] = Way(before=("valgrind", "-q"), rows=UNDER_VALGRIND)
    if (bench.programs / "words_asan").exists():
        result[ASAN] = Way(env=(("ASAN_OPTIONS", "detect_leaks=0"),), rows=(WORDS,))
    return result


def work_of(bench, scratch):
    """Row -> (argv, cwd)."""
    work = programs.programs_to_run(scratch, programs.QUICK if bench.quick else SCALE)
    for row in LEFT_OUT:
        work.pop(row, None)
    if "gcc -O2" in work:
        # Without the driver, whose child the compiler is.
        child(["gcc", "-E", "big.c", "-o", "big.i"], cwd=scratch)
        cc1 = child(["gcc", "-print-prog-name=cc1"]).strip()
        work["gcc -O2"] = ([cc1, "-quiet", "-O2", "-fpreprocessed", "big.i", "-o", "big.s"],
                           scratch)
    work[WORDS] = ([bench.programs / "words", "big.txt"], scratch)
    return work


def measure_programs(bench, ways):
    """row -> column -> medians of seconds and bytes."""
    with tempfile.TemporaryDirectory(prefix="umem-bench-") as name:
        scratch = pathlib.Path(name)
        work = work_of(bench, scratch)

        def columns(row):
            return [column for column, way in ways.items() if not way.rows or row in way.rows]

        def measure(row, column):
            way = ways[column]
            argv, cwd = work[row]
            if column == ASAN:
                argv = [bench.programs / "words_asan", *argv[1:]]
            return programs.measure_program(bench, [*way.before, *argv], cwd, way.preload,
                                            scratch / "measured", dict(way.env))

        return bench.interleaved("debugging", list(work), measure, columns=columns)


def measure_pairs(bench, ways):
    """row -> column -> nanoseconds."""
    depth_of = {f"{depth} frames": depth for depth in DEPTHS}
    columns = [c for c in ways if c in (GLIBC, OURS, *PAIR_MODES, HEAPTRACK)]

    def measure(row, column):
        way = ways[column]
        return values(child([bench.programs / "deep", depth_of[row], bench.ms], way.preload,
                            env=dict(way.env)))

    return of_field(bench.interleaved("debugging", list(depth_of), measure,
                                      columns=lambda row: columns), "ns")


def about(bench):
    missing = [f"`{mode}`" for mode in MODES if refused(mode)]
    left_out = f" Not in this version, and left out: {', '.join(missing)}." if missing else ""
    rounds = "One round" if bench.rounds == 1 else f"Medians of {bench.rounds} rounds"
    return f"{rounds}, {bench.ms} ms a pair's run.{left_out}"


def run(bench):
    ways = find_ways(bench)
    ours = Bench(bench.programs.parent, bench.rounds, bench.ms, bench.quick, allocators=ways)
    found = measure_programs(ours, ways)
    note = "As multiples of the program under glibc."
    return [
        Table("debugging", "debugging-time", "Debugging, wall time", "s", of_field(found, "s"),
              digits=3, base=GLIBC, note=note),
        Table("debugging", "debugging-memory", "Debugging, peak resident memory", "MiB",
              of_field(found, "rss"), scale=MIB, base=GLIBC, note=note),
        Table("debugging", "debugging-pair", "A malloc + free pair, by depth of the stack",
              "ns", measure_pairs(ours, ways), digits=0, ratios=False),
    ]
