# SPDX-License-Identifier: MIT
"""Section "leaks": how long it takes to find leaks among so many live blocks, for
how long the program stands still meanwhile, and what memory it takes, beside
LeakSanitizer and valgrind on the same program (bench/leaky.c).

Ours looks at a core, and at the process as it runs, by ptrace and without: of a
program that records stacks, of one that does not, and of one without libumem.
The others look from within, and the program stands still as long as they do.
Whoever finds another number of leaks than there are has failed.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

from benchlib.runner import OURS, Bench, Failed, child, values
from benchlib.tables import Table, ratio
from harness import Background, clean_env, paths, run as run_program, wait_for

BLOCKS = (1_000_000, 4_000_000, 16_000_000)
QUICK_BLOCKS = (100_000, 200_000)
AUDITED, PLAIN, GLIBC = "umem, stacks recorded", "umem, no stacks", "umem, of glibc's heap"
LSAN, VALGRIND = "LeakSanitizer", "valgrind"
# Way of ours -> (is the library there, variables of the environment).
WAYS = {
    AUDITED: (True, {"UMEM_DEBUG": "audit", "UMEM_OPTIONS": "agent"}),
    PLAIN: (True, {"UMEM_OPTIONS": "agent"}),
    GLIBC: (False, {}),
}
VALGRIND_MOST = 1_000_000  # blocks: with more it takes minutes
LEAKS_FOUND = 1            # exit code of umem leaks
MINUTES_S = 600  # for the largest heap, on a slow machine
SAMPLE_S = 0.005
IDLE_S = 0.3
KIB, MS, PERCENT = 1024, 1e-3, 1e-2


def private_memory(pid):
    """Bytes of a process and its children; a core that is mapped is a file's, and not counted."""
    total = 0
    with contextlib.suppress(OSError):
        rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        total = sum(int(kb) for kb in re.findall(r"^Pss_Anon:\s+(\d+)", rollup, re.M)) * KIB
        for thread in os.listdir(f"/proc/{pid}/task"):
            children = pathlib.Path(f"/proc/{pid}/task/{thread}/children")
            total += sum(map(private_memory, children.read_text(encoding="ascii").split()))
    return total


def peak_memory(*arguments):
    """Bytes that umem leaks has at most.  Not timed: being looked at takes time."""
    peak = 0
    with subprocess.Popen([paths.umem(), "leaks", *map(str, arguments)], env=clean_env(),
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          start_new_session=True) as process:
        while process.poll() is None:
            peak = max(peak, private_memory(process.pid))
            time.sleep(SAMPLE_S)
    return peak


def find(told, *arguments):
    """Seconds that umem leaks takes, which must find what there is."""
    done = run_program([paths.umem(), "leaks", "--format=json", *arguments], timeout=MINUTES_S)
    if done.returncode != LEAKS_FOUND:
        raise Failed(str(done))
    report = json.loads(done.stdout)
    if report["total"]["buffers"] != told["leaked"] or not report["complete"]:
        raise Failed(f"{report['total']['buffers']} leaks where there are {told['leaked']:.0f}")
    return done.seconds


class Leaky(Background):
    """bench/leaky.c, waiting."""

    def __init__(self, bench, blocks, way):
        library, env = WAYS[way]
        super().__init__([bench.programs / "leaky", blocks], preload=library, env=env)
        self.wait_for_line("leaked", MINUTES_S)
        self.told = values("\n".join(self.lines))

    def pause(self):
        """Seconds: the longest that it stood still since the last call."""
        before = len(self.lines)
        self.say("")
        wait_for(lambda: self.lines[before:], what="the longest pause")
        return values(self.lines[-1])["pause_ms"] * MS


def measure_ours(bench, blocks, way):
    with Leaky(bench, blocks, way) as leaky, \
            tempfile.TemporaryDirectory(prefix="umem-bench-") as scratch:
        core = pathlib.Path(scratch) / "core"
        leaky.pause()
        time.sleep(IDLE_S)
        found = {"build": leaky.told["build_s"], "idle": leaky.pause()}
        found |= {"pid": find(leaky.told, leaky.pid), "pid_pause": leaky.pause()}
        if WAYS[way][0]:
            found |= {"self": find(leaky.told, "--self", leaky.pid), "self_pause": leaky.pause()}
        written = json.loads(child([paths.umem(), "core", "--format=json", leaky.pid, "-o", core]))
        found |= {"core_pause": leaky.pause(), "core": find(leaky.told, core)}
        bytes_held = written["memory_bytes"]
        return found | {"core_memory": peak_memory(core) / bytes_held,
                        "pid_memory": peak_memory(leaky.pid) / bytes_held}


def measure_other(bench, blocks, column):
    """LeakSanitizer and valgrind: the program asks them, and takes the time."""
    program = bench.programs / ("leaky_lsan" if column == LSAN else "leaky")
    before = ["valgrind", "-q", "--leak-check=full"] if column == VALGRIND else []
    done = run_program([*before, program, blocks, "check"], timeout=MINUTES_S)
    told = values(done.stdout)
    if "check_s" not in told:
        raise Failed(str(done))
    summary = re.search(r"leaked in (\d+) allocation", done.stderr)
    found = int(summary[1]) if summary else told.pop("found", 0)
    if found != told["leaked"]:
        raise Failed(f"{found:.0f} leaks where there are {told['leaked']:.0f}")
    return {"build": told["build_s"], "within": told["check_s"],
            "within_memory": told["more_kb"] / told["before_kb"]}


def rounds_of(bench, blocks):
    """Fewer of large heaps, which take longer and vary less."""
    return max(1, round(bench.rounds * (BLOCKS[0] / blocks) ** 0.5)) if bench.rounds > 1 else 1


def measure(bench):
    """Blocks -> column -> name -> median."""
    others = [LSAN] if (bench.programs / "leaky_lsan").exists() else []
    others += [VALGRIND] if shutil.which("valgrind") else []
    blocks_of = {f"{blocks:,}": blocks
                 for blocks in (QUICK_BLOCKS if bench.quick else BLOCKS)}
    ours = Bench(bench.programs.parent, bench.rounds, bench.ms, bench.quick,
                 allocators=dict.fromkeys((*WAYS, *others)))

    def columns(row):
        return [column for column in ours.allocators
                if column != VALGRIND or blocks_of[row] <= VALGRIND_MOST]

    def one(row, column):
        way = measure_ours if column in WAYS else measure_other
        return way(bench, blocks_of[row], column)

    found = {}
    for row, blocks in blocks_of.items():
        found |= ours.interleaved("leaks", [row], one, rounds=rounds_of(bench, blocks),
                                  columns=columns)
    return found


def table_of_targets(found):
    """What is asked of this library, and what it did, by the worst of its ways."""
    def worst(blocks, name):
        return max(found[f"{blocks:,}"][way][name] for way in WAYS)

    million, four, sixteen = BLOCKS
    reached = {
        "1,000,000 blocks, a core: s": (2, worst(million, "core")),
        "1,000,000 blocks, a process: ms that it stood still": (
            20, worst(million, "pid_pause") / MS),
        "16,000,000 blocks / 4,000,000, a core": (5, max(
            ratio(found[f"{sixteen:,}"][way]["core"], found[f"{four:,}"][way]["core"])
            for way in WAYS)),
        "memory, of a core: % of its own": (
            15, max(worst(blocks, "core_memory") for blocks in BLOCKS) / PERCENT),
    }
    rows = {row: {"at most": target, OURS: value} for row, (target, value) in reached.items()}
    return Table("leaks", "leaks-targets", "Targets, and the worst of the three ways", "", rows,
                 ratios=False, digits=2)


def transposed(found, columns):
    """{blocks: {way: {name: value}}} becomes rows "blocks, way" with a column for each name."""
    return {f"{blocks}, {way}": {column: values[name] for column, name in columns.items()
                                 if name in values}
            for blocks, ways in found.items() for way, values in ways.items()}


def run(bench):
    found = measure(bench)
    targets = [] if bench.quick else [table_of_targets(found)]
    looking = {"a core": "core", "a process": "pid", "by --self": "self", "from within": "within"}
    still = {"nobody looks": "idle", "umem core": "core_pause", "a process": "pid_pause",
             "by --self": "self_pause", "from within": "within"}
    memory = {"a core": "core_memory", "a process": "pid_memory", "from within": "within_memory"}
    return [
        *targets,
        Table("leaks", "leaks-time", "Looking for leaks: time", "s", transposed(found, looking),
              digits=2, ratios=False),
        Table("leaks", "leaks-pause", "The longest that the program stood still", "ms",
              transposed(found, still), scale=MS, digits=1, ratios=False),
        Table("leaks", "leaks-memory", "Memory that looking takes", "% of the program's",
              transposed(found, memory), scale=PERCENT, digits=1, ratios=False),
        Table("leaks", "leaks-build", "The program until then", "s",
              {blocks: {way: values["build"] for way, values in ways.items()}
               for blocks, ways in found.items()}, digits=2, ratios=False),
    ]


def about(bench):
    counts = ", ".join(str(rounds_of(bench, blocks)) for blocks in BLOCKS)
    return "One round." if bench.rounds == 1 else f"Medians of {counts} rounds."
