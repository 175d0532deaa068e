#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the corpus of the fuzz targets: small real cores, and changes to them.

  tests/fuzz/make_corpus.py DIRECTORY
"""

import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from harness import Background, compile_c, gcore, paths, run  # noqa: E402


def small_core(program, core, **options):
    """A core of the program in its pause."""
    with Background([program], **options) as process:
        process.wait_for_line("ready")
        done = run([paths.umem(), "core", process.pid, "-o", core])
    assert done.returncode == 0, done
    return core


def make(directory):
    """Cores in core/, by name, and lists of changes in heap/."""
    directory = pathlib.Path(directory)
    cores, changes = directory / "core", directory / "heap"
    for folder in (cores, changes):
        folder.mkdir(parents=True, exist_ok=True)
    flags = ["-O1", "-pthread"]
    program = compile_c(HERE / "small.c", directory / "small", flags=flags)
    static = compile_c(HERE / "small.c", directory / "small-static", flags=[*flags, "-static"])
    small_core(static, cores / "glibc")
    with Background([static, "alone"]) as process:  # gcore puts a core's tables in front
        process.wait_for_line("ready")
        gcore(process.pid, directory).rename(cores / "gcore")
    with Background([program, "alone"], preload=True, debug="audit=8") as process:
        process.wait_for_line("ready")
        gcore(process.pid, directory).rename(cores / "gcore-umem")
    small_core(program, cores / "umem", preload=True)
    small_core(program, cores / "audit", preload=True, debug="audit=8,guards")
    for number, how in enumerate(((0, 0), (1, 1 << 40), (2, 77), (3, 4096 + 8))):
        (changes / str(number)).write_bytes(struct.pack("<IQ", 4 * 1000 * number + how[0], how[1]))


if __name__ == "__main__":
    make(sys.argv[1])
