# SPDX-License-Identifier: MIT
"""Runs the benchmark's children: which allocators there are, one measurement of
a program under one of them, and the interleaving of all.

A child prints lines "name value".  It has a process group of its own and a time
limit; one that fails is told on stderr and is left out of its row from then on.
"""

import concurrent.futures
import glob
import os
import pathlib
import statistics
import subprocess
import sys
import time

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPO / "tests"))
from harness import clean_env, paths  # noqa: E402
from harness.process import kill_group  # noqa: E402

GLIBC = "glibc"
OURS = "umem"
CACHE = "umem_cache_*"  # ours again, through the object caches' functions
# Debian's packages of the peers (scripts/deps bench).
PEERS = {
    "jemalloc": "libjemalloc.so.2",
    "mimalloc": "libmimalloc.so.2.0",
    "tcmalloc": "libtcmalloc_minimal.so.4",
}
# Many times what the slowest child takes.
TIMEOUT_S = 120
SIDE_BY_SIDE = 4  # children a processor that mostly sleep
NOT_PERMITTED = 77  # exit code: this machine does not allow the measurement


class Failed(Exception):
    """A child did not do its work; the text says how."""


class NotPermitted(Failed):
    """The system does not allow it, under whatever allocator."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def find_library(name):
    for directory in ("/usr/lib/*-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib",
                      "/lib/*-linux-gnu", "/lib64"):
        for path in sorted(glob.glob(f"{directory}/{name}")):
            return path
    return None


def find_allocators():
    """Name -> what to preload, in the order of the columns."""
    result = {GLIBC: None}
    for name, library in PEERS.items():
        path = find_library(library)
        if path:
            result[name] = path
        else:
            say(f"{name}: {library} is not installed: left out")
    result[OURS] = str(paths.libumem())
    return result


def start(argv, preload, env=None, **options):
    """A process in a group of its own, without the caller's UMEM_* and LD_PRELOAD."""
    return subprocess.Popen([str(part) for part in argv],
                            env=clean_env(preload=preload or False, env=env),
                            stdin=subprocess.DEVNULL, start_new_session=True, **options)


def child(argv, preload=None, timeout=TIMEOUT_S, **options):
    """Runs a program to its end and returns what it wrote; Failed where it went wrong."""
    options.setdefault("stdout", subprocess.PIPE)
    process = start(argv, preload, stderr=subprocess.PIPE, text=True, errors="replace", **options)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        kill_group(process)
        process.communicate()
        raise Failed(f"still running after {timeout} s") from None
    except BaseException:
        kill_group(process)
        process.wait()
        raise
    if process.returncode == NOT_PERMITTED:
        raise NotPermitted(err.strip())
    if process.returncode != 0:
        raise Failed(f"exit code {process.returncode}: {(err or out or '').strip()[-300:]}")
    return out


def values(text):
    """"name value" lines -> dict."""
    pairs = (line.split() for line in text.splitlines() if line.strip())
    return {name: float(value) for name, value in pairs}


class Bench:
    """One run of the benchmark: its settings, its allocators, where its programs are."""

    def __init__(self, build, rounds, ms, quick, allocators=None):
        self.programs = pathlib.Path(build) / "bench"
        self.rounds = rounds
        self.ms = ms
        self.quick = quick
        self.allocators = allocators or find_allocators()

    def run(self, program, arguments, allocator, **options):
        """A program of ours under an allocator: name -> value."""
        preload = self.allocators[OURS if allocator == CACHE else allocator]
        return values(child([self.programs / program, *arguments], preload, **options))

    def interleaved(self, section, rows, measure, rounds=None, columns=None):
        """row -> column -> name -> median of measure(row, column), a dict.

        rows: their names.  columns(row): the allocators to ask, all by default.
        Every column runs every row within each round, so that what else the
        machine does hits all of them.
        """
        rounds = rounds or self.rounds
        samples = {row: {} for row in rows}
        failed = set()
        for turn in range(1, rounds + 1):
            for number, row in enumerate(rows, 1):
                started = time.monotonic()
                asked = list(columns(row) if columns else self.allocators)
                # Another one is first each time: the first finds cold caches.
                first = turn % len(asked)
                for column in asked[first:] + asked[:first]:
                    if not {row, (row, column)} & failed:
                        self._sample(samples[row], failed, row, column, measure)
                say(f"{section} {turn}/{rounds}, {number}/{len(rows)}: {row}, "
                    f"{time.monotonic() - started:.1f} s")
        return self._medians(samples)

    def side_by_side(self, section, rows, measure, bytes_each):
        """As interleaved(), once, as many at a time as memory has room for:
        for measurements of space, which do not mind each other's company."""
        jobs = max(1, min(SIDE_BY_SIDE * (os.cpu_count() or 1),
                          int(memory_available() // bytes_each)))
        samples = {row: {} for row in rows}
        failed = set()

        def one(task):
            row, column = task
            self._sample(samples[row], failed, row, column, measure)
            say(f"{section}: {row}, {column}")

        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            list(pool.map(one, [(row, column) for row in rows for column in self.allocators]))
        return self._medians(samples)

    @staticmethod
    def _sample(of_row, failed, row, column, measure):
        try:
            of_row.setdefault(column, []).append(measure(row, column))
        except NotPermitted as why:
            failed.add(row)
            say(f"{row}: left out, not permitted here: {why}")
        except (Failed, OSError, ValueError) as why:
            failed.add((row, column))
            of_row.pop(column, None)
            say(f"{row}, {column} failed and is left out: {why}")

    def _medians(self, samples):
        """row -> column -> [dict] becomes row -> column -> dict of medians, columns in order."""
        order = [*self.allocators, CACHE]
        return {row: {column: medians(of_row[column]) for column in order if of_row.get(column)}
                for row, of_row in samples.items()}


def medians(samples):
    """Dicts of the same names become one."""
    return {name: statistics.median(sample[name] for sample in samples) for name in samples[0]}


def memory_available():
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0
