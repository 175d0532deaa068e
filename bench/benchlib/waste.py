# SPDX-License-Identifier: MIT
"""Section "waste": what size classes lose to rounding, by the sizes that real
programs ask for (bench/sizes.c), and what slabs lose at their ends.

Classes come from the allocators themselves (bench/classes.c, bench/slabs.c);
glibc's header, which malloc_usable_size() does not count, from its manual.
"""

import bisect
import collections
import dataclasses
import pathlib
import subprocess
import tempfile

from benchlib import programs
from benchlib.runner import GLIBC, OURS, Failed, child, say
from benchlib.tables import Table

KIB = 1 << 10
PAGE = 4096
# Classes are read to here; what is larger is rounded to the step of the last two.
CLASSES_TO = 1 << 20
# glibc: a header of 8 bytes, steps of 16, at least 32; from 128 KiB on pages
# of their own, with a header of 16.
GLIBC_HEADER, GLIBC_STEP, GLIBC_LEAST, GLIBC_MMAP = 8, 16, 32, 128 * KIB
# Ours with another number of classes a doubling throughout, 16-aligned as malloc wants it.
SPACINGS = (4, 8, 16)
MALLOC_ALIGN = 16
MAX_CLASS = 128 * KIB  # above: granules
GRANULE = 64 * KIB
BANDS = (128, KIB, 8 * KIB, 16 * KIB, 128 * KIB)
SERVED_BY = {"requests": "bytes of all requests", "live": "bytes live at the peak"}


@dataclasses.dataclass
class Record:
    """What one process asked for."""

    name: str
    peak: int        # bytes of all live blocks at their most
    requests: dict   # size -> how many
    live: dict       # size -> how many at the peak


def parse(text):
    """Records of a file of bench/sizes.c."""
    found = []
    for line in text.splitlines():
        words = line.split(maxsplit=2)
        if words[0] == "process":
            found.append(Record(words[2], int(words[1]), {}, {}))
        elif words[0] != "end":
            size, requests, live = map(int, words)
            found[-1].requests[size] = requests
            if live:
                found[-1].live[size] = live
    return found


def merge(records):
    """A program's record: all its processes' requests, what was live in its largest."""
    if not records:
        raise Failed("no process wrote a record")
    requests = collections.Counter()
    for record in records:
        requests.update(record.requests)
    largest = max(records, key=lambda record: record.peak)
    return Record(largest.name, largest.peak, dict(requests), largest.live)


# --- classes: functions of a size that give the bytes it takes

def round_up(size, step):
    return (size + step - 1) // step * step


def of_list(classes):
    """The least class that fits; beyond the last, multiples of the last step."""
    step = classes[-1] - classes[-2]

    def find(size):
        if size > classes[-1]:
            return round_up(size, step)
        return classes[bisect.bisect_left(classes, max(size, 1))]
    return find


def of_glibc(size):
    if size >= GLIBC_MMAP:
        return round_up(size + 2 * GLIBC_HEADER, PAGE)
    return max(GLIBC_LEAST, round_up(size + GLIBC_HEADER, GLIBC_STEP))


def spaced(count):
    """Classes so many a doubling, to the largest, then two of granules for the step."""
    sizes, base = {MALLOC_ALIGN}, MALLOC_ALIGN
    while base < MAX_CLASS:
        sizes.update(round_up(base + base * i // count, MALLOC_ALIGN) for i in range(1, count + 1))
        base *= 2
    return sorted(sizes) + [MAX_CLASS + GRANULE]


def all_classes(bench):
    """Column -> function of the size."""
    result = {}
    for name, preload in bench.allocators.items():
        if name == GLIBC:
            result[name] = of_glibc
        else:
            text = child([bench.programs / "classes", CLASSES_TO], preload)
            result[name] = of_list(sorted({int(word) for word in text.split()}))
    for count in SPACINGS:
        result[f"{count} a doubling"] = of_list(spaced(count))
    return result


def wasted(size, taken):
    """Bytes of a block that are lost: pages that a request never reaches are not.

    That holds where the class is a multiple of the page, so that blocks start on one.
    """
    if taken % PAGE == 0:
        taken = min(taken, max(round_up(size, PAGE), 1))
    return taken - size


def percent(counts, classes):
    """Waste in percent of what was asked for."""
    asked = sum(size * count for size, count in counts.items())
    lost = sum(wasted(size, classes(size)) * count for size, count in counts.items())
    return 100 * lost / asked if asked else 0.0


# --- measuring

def record_programs(bench):
    """Program -> Record."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="umem-bench-") as name:
        scratch = pathlib.Path(name)
        file = scratch / "sizes"
        recorder = bench.programs / "sizes.so"
        under = ["env", f"BENCH_SIZES={file}"]

        def keep(row, work):
            try:
                file.unlink(missing_ok=True)
                work()
                found[row] = merge(parse(file.read_text(encoding="utf-8")))
                say(f"waste: {row}")
            except (Failed, OSError) as why:
                say(f"waste: {row} failed and is left out: {why}")

        scale = programs.QUICK if bench.quick else 1
        for row, (argv, cwd) in programs.programs_to_run(scratch, scale).items():
            keep(row, lambda argv=argv, cwd=cwd: child([*under, *argv], recorder, cwd=cwd,
                                                       stdout=subprocess.DEVNULL))
        if programs.have_redis():
            keep(programs.REDIS, lambda: programs.measure_redis(scratch, bench.quick, recorder,
                                                                under))
    return found


# --- tables

def table_of_programs(records, classes, field):
    rows = {}
    for name, record in records.items():
        counts = getattr(record, field)
        rows[name] = {column: percent(counts, find) for column, find in classes.items()}
    rows["**mean**"] = {column: sum(cells[column] for cells in rows.values()) / len(rows)
                        for column in classes} if rows else {}
    return Table("waste", f"waste-{field}", f"Lost to rounding, of {SERVED_BY[field]}", "%", rows,
                 ratios=False)


def band_name(low, high):
    def show(size):
        return f"{size // KIB} KiB" if size >= KIB else str(size)
    return f"more than {show(low)}" if high is None else f"to {show(high)}"


def table_of_bands(records, classes):
    """By size: shares of a program's live bytes, and what is lost, in percent of all of them."""
    rows = {}
    for low, high in zip((0, *BANDS), (*BANDS, None)):
        cells = collections.Counter()
        for record in records.values():
            total = sum(size * count for size, count in record.live.items()) or 1
            for size, count in record.live.items():
                if low < size and (high is None or size <= high):
                    cells["asked for"] += size * count / total
                    for column, find in classes.items():
                        cells[column] += wasted(size, find(size)) * count / total
        rows[band_name(low, high)] = {column: 100 * cells[column] / len(records)
                                      for column in ("asked for", *classes)}
    return Table("waste", "waste-bands", "Where it is lost", "% of all bytes live at the peak",
                 rows, ratios=False, digits=2,
                 note="Means of the programs; *asked for* is the size's share of live bytes.")


def table_of_counts(records, classes):
    """Each class in use has a slab that is filled in part."""
    rows = {name: {column: len({find(size) for size in record.live})
                   for column, find in classes.items() if column != GLIBC}
            for name, record in records.items()}
    return Table("waste", "waste-counts", "Classes in use at the peak", "classes", rows,
                 ratios=False, digits=0, note="Each may have a slab that is filled in part.")


def table_of_slabs(text):
    """From the lines of bench/slabs.c."""
    rows, before = {}, 0
    for line in text.splitlines():
        size, slab, chunks = map(int, line.split())
        rows[f"{size:,}"] = {"KiB a slab": slab / KIB, "chunks": chunks,
                             "tail, %": 100 * (slab - size * chunks) / slab,
                             "rounding at worst, %": 100 * (size - before - 1) / size}
        before = size
    return Table("waste", "slabs", "Slabs of each class", "class", rows, ratios=False,
                 whole=["KiB a slab", "chunks"],
                 note="*Tail*: what is left at a slab's end, of which the whole pages are never "
                      "touched. *Rounding at worst*: of a block one byte larger than the class "
                      "before.")


def about(bench):
    return ("One run of each program" + (", shortened" if bench.quick else "") +
            ". Requests of all its processes; live bytes of its largest, within a thirty-second "
            "and 16 KiB of the peak.")


def run(bench):
    classes = all_classes(bench)
    records = record_programs(bench)
    if not records:
        return []
    return [
        table_of_programs(records, classes, "live"),
        table_of_programs(records, classes, "requests"),
        table_of_bands(records, classes),
        table_of_counts(records, classes),
        table_of_slabs(child([bench.programs / "slabs"])),
    ]
