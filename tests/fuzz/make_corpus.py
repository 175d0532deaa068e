#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the corpus of the fuzz targets: small real cores, and changes to them.

  tests/fuzz/make_corpus.py DIRECTORY

DIRECTORY/base/ has the cores as they are taken, core/ what is left of them when memory is cut off
to a few KiB a mapping (inputs of fuzz_core), alone/ those of base/ without the files that they were
mapped from (what fuzz_heap changes), heap/ lists of changes (inputs of fuzz_heap).
"""

import pathlib
import re
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from harness import Background, compile_c, gcore, paths, run  # noqa: E402

EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
PHDR = struct.Struct("<IIQQQQQQ")
PT_LOAD, PT_NOTE = 1, 4
# Of each mapping so many bytes are kept in a seed: an ELF object's headers.
KEPT = 1024
# Kinds of questions of look.c, the last two of them lines of umem shell; commands or walkers.
KINDS, SHELL_NAMES = 13, 45
# The first folder of a file's name.
FOLDER = re.compile(rb"(?<![^\0 ])/(\w+)/")


def small_core(program, core, **options):
    """A core of the program in its pause."""
    with Background([program], **options) as process:
        process.wait_for_line("ready")
        done = run([paths.umem(), "core", process.pid, "-o", core])
    assert done.returncode == 0, done
    return core


def headers(core):
    """The ELF header's fields and the program headers."""
    ehdr = list(EHDR.unpack_from(core))
    offset, count = ehdr[5], ehdr[10]
    return ehdr, [list(PHDR.unpack_from(core, offset + i * PHDR.size)) for i in range(count)]


def shrunk(core, keep):
    """A core with at most keep bytes of each mapping, and all notes."""
    ehdr, phdrs = headers(core)
    ehdr[5] = EHDR.size
    ehdr[6] = ehdr[12] = ehdr[13] = 0  # sections
    out = bytearray(EHDR.pack(*ehdr)) + bytes(PHDR.size * len(phdrs))
    for i, phdr in enumerate(phdrs):
        data = core[phdr[2]:phdr[2] + phdr[5]]
        if phdr[0] == PT_LOAD:
            data = data[:keep].rstrip(b"\0")
        out += bytes(-len(out) % 16)
        phdr[2], phdr[5] = len(out), len(data)
        PHDR.pack_into(out, EHDR.size + i * PHDR.size, *phdr)
        out += data
    return bytes(out)


def without_files(core):
    """The core with names in its notes of files that are not there: opening them takes time."""
    out = bytearray(core)
    for phdr in headers(core)[1]:
        if phdr[0] == PT_NOTE:
            notes = core[phdr[2]:phdr[2] + phdr[5]]
            out[phdr[2]:phdr[2] + phdr[5]] = FOLDER.sub(
                lambda match: b"/" + b"-" * len(match[1]) + b"/", notes)
    return bytes(out)


def take_cores(directory):
    """Real cores of tests/fuzz/small.c into the directory."""
    base = directory / "base"
    base.mkdir(parents=True, exist_ok=True)
    flags = ["-O1", "-pthread"]
    program = compile_c(HERE / "small.c", directory / "small", flags=flags)
    static = compile_c(HERE / "small.c", directory / "small-static", flags=[*flags, "-static"])
    small_core(static, base / "glibc")
    with Background([static, "alone"]) as process:  # gcore puts a core's tables in front
        process.wait_for_line("ready")
        gcore(process.pid, directory).rename(base / "gcore")
    with Background([program, "alone"], preload=True, debug="audit=8") as process:
        process.wait_for_line("ready")
        gcore(process.pid, directory).rename(base / "gcore-umem")
    small_core(program, base / "umem", preload=True)
    small_core(program, base / "audit", preload=True, debug="audit=8,guards")
    small_core(program, base / "firewall", preload=True, debug="firewall=512,audit=4",
               env={"UMEM_LOGGING": "transaction=16k,fail,slab"})
    return sorted(base.iterdir())


def make_questions(directory, core):
    """Inputs of fuzz_heap: all kinds of questions to a core as it was, or with one word changed."""
    for kind in range(KINDS):
        for number, how in enumerate(((0, 0), (1, 1 << 40), (2, 77), (3, 4096 + 8))):
            question = struct.pack("<BBHI", core, kind, 97 * number, 1000 * number)
            change = struct.pack("<IQ", 4 * 1000 * number + how[0], how[1])
            (directory / f"{core}-{kind}-{number}").write_bytes(question + change)
    # Each command and walker of umem shell, with an address and without.
    for kind in (KINDS - 2, KINDS - 1):
        for which in range(SHELL_NAMES):
            for flag in (0, 0x8000):
                name = directory / f"{core}-{kind}-{which}-{flag}"
                name.write_bytes(struct.pack("<BBHI", core, kind, which + flag, 100 * which))


def make(directory):
    """Everything below the directory."""
    directory = pathlib.Path(directory)
    cores = take_cores(directory)
    for folder in ("core", "alone", "heap"):
        (directory / folder).mkdir(exist_ok=True)
    for path in cores:
        core = path.read_bytes()
        (directory / "core" / path.name).write_bytes(shrunk(core, KEPT))
        (directory / "core" / f"{path.name}-alone").write_bytes(
            without_files(shrunk(core, 2 * KEPT)))
        if not path.name.startswith("gcore"):
            (directory / "alone" / path.name).write_bytes(without_files(core))
    for core in range(len(list((directory / "alone").iterdir()))):
        make_questions(directory / "heap", core)



if __name__ == "__main__":
    make(sys.argv[1])
