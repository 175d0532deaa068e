#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the corpus of the fuzz targets: small real cores, and changes to them.

  tests/fuzz/make_corpus.py DIRECTORY

DIRECTORY/base/ has the cores as they are taken, core/ what is left of them when memory is cut off
to some bytes a mapping, some with damage that was met (inputs of fuzz_core), alone/ those of base/
without the files that they were mapped from, but for a few (what fuzz_heap changes), heap/
questions with lists of changes (inputs of fuzz_heap).
"""

import pathlib
import re
import struct
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from harness import (  # noqa: E402
    Background, compile_c, core_pattern_is_usable, gcore, kernel_core, paths, run)

EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
PHDR = struct.Struct("<IIQQQQQQ")
SHDR = struct.Struct("<IIQQQQIIQQ")
ET_CORE, PT_LOAD, PT_NOTE, PF_X, PN_XNUM = 4, 1, 4, 1, 0xffff
# Of each mapping so many bytes are kept in a seed: of an ELF object's headers, of the vDSO, which
# has headers, code and symbols in one, and of what else there is.
KEPT_HEADERS, KEPT_VDSO, KEPT = 1024, 4096, 64
# All questions of ask.c, its verbs, commands, walkers; more are the same again.
QUESTIONS = 290
# Lines of umem shell for the questions that are free, and some for its parser.
LINES = ["::walk umem_cache | ::umem_cache", "::walk umem | ::whatis -a", "$c", "<sp,20/J",
         "::walk umem_alloc_48 | ::bufctl -v", "::umem_log ; ::umastat -m", "main+0t16=X",
         "(1000*3-#8)%2|~1^1,3/K", "::ugrep -v 0", "0>addr; <addr::whatis", ".::bufctl -h",
         "::vmem_seg -s -v", "::findleaks -dv", "umem_caches::vmem", "::umem_malloc_dist -g -b 5"]
# As they are: only symbols lead to the table of stacks, and they are in the library's file; headers
# of 32 bits are not read here.
WITH_FILES = ("stacks", "i386")
I386 = ("-m32", "-static", "-idirafter", "/usr/include/x86_64-linux-gnu")
# The first folder of a file's name.
FOLDER = re.compile(rb"(?<![^\0 ])/(\w+)/")


def umem_core(program, core, **options):
    """A core of the program in its pause, as `umem core` takes it."""
    with Background([program], **options) as process:
        process.wait_for_line("ready")
        done = run([paths.umem(), "core", process.pid, "-o", core])
    assert done.returncode == 0, done


def gdb_core(program, core, **options):
    """As gdb takes it, which puts a core's tables in front; the program is alone."""
    with Background([program, "alone"], **options) as process:
        process.wait_for_line("ready")
        gcore(process.pid, core.parent).rename(core)


def kernels_core(program, core, **options):
    """As the kernel writes it, where it writes such files here."""
    if core_pattern_is_usable():
        kernel_core([program, "alone", "die"], core.parent, **options)[1].rename(core)


def headers(core):
    """The ELF header's fields and the program headers."""
    ehdr = list(EHDR.unpack_from(core))
    offset, count = ehdr[5], ehdr[10]
    return ehdr, [list(PHDR.unpack_from(core, offset + i * PHDR.size)) for i in range(count)]


def kept(phdr, data):
    """How much of a mapping a seed has."""
    if not data.startswith(b"\x7fELF"):
        return KEPT
    return KEPT_VDSO if phdr[1] & PF_X else KEPT_HEADERS


def shrunk(core):
    """A core with little of each mapping, and all notes."""
    ehdr, phdrs = headers(core)
    ehdr[5] = EHDR.size
    ehdr[6] = ehdr[12] = ehdr[13] = 0  # sections
    out = bytearray(EHDR.pack(*ehdr)) + bytes(PHDR.size * len(phdrs))
    for i, phdr in enumerate(phdrs):
        data = core[phdr[2]:phdr[2] + phdr[5]]
        if phdr[0] == PT_LOAD:
            data = data[:kept(phdr, data)].rstrip(b"\0")
        out += bytes(-len(out) % 16)
        phdr[2], phdr[5] = len(out), len(data)
        PHDR.pack_into(out, EHDR.size + i * PHDR.size, *phdr)
        out += data
    return bytes(out)


def many_headers(core):
    """The core in the form that those of more than 65,534 mappings have."""
    ehdr, phdrs = headers(core)
    out = bytearray(core)
    ehdr[6], ehdr[10:14] = len(out), (PN_XNUM, SHDR.size, 1, 0)
    EHDR.pack_into(out, 0, *ehdr)
    return bytes(out) + SHDR.pack(0, 0, 0, 0, 0, 0, 0, len(phdrs), 0, 0)


def large_module(core):
    """The core with a vDSO whose header promises 900 MB of file: that much memory was taken."""
    out = bytearray(core)
    for phdr in headers(core)[1]:
        at = phdr[2]
        if phdr[0] != PT_LOAD or not phdr[1] & PF_X or core[at:at + 4] != b"\x7fELF":
            continue
        table, = struct.unpack_from("<Q", core, at + 32)
        struct.pack_into("<Q", out, at + table + 32, 900 << 20)  # p_filesz of its first header
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


def has_i386():
    """Whether programs of 32 bits can be compiled here: scripts/deps systems."""
    probe = ["gcc", *I386, "-x", "c", "-", "-o", "/dev/null"]
    return subprocess.run(probe, input=b"int main(void) { return 0; }", capture_output=True,
                          check=False).returncode == 0


def take_cores(directory):
    """Real cores of tests/fuzz/small.c into the directory."""
    base = directory / "base"
    base.mkdir(parents=True, exist_ok=True)
    flags = ["-O1", "-pthread"]
    program = compile_c(HERE / "small.c", directory / "small", flags=flags)
    static = compile_c(HERE / "small.c", directory / "small-static", flags=[*flags, "-static"])
    umem_core(static, base / "glibc")
    gdb_core(static, base / "gcore")
    if has_i386():
        gdb_core(compile_c(HERE / "small.c", directory / "small-32", flags=[*flags, *I386]),
                 base / "i386")
    gdb_core(program, base / "gcore-umem", preload=True, debug="audit=8,guards")
    kernels_core(program, base / "kernel", preload=True, debug="audit=8,guards")
    umem_core(program, base / "umem", preload=True)
    umem_core(program, base / "audit", preload=True, debug="audit=8,guards,contents=32")
    umem_core(program, base / "firewall", preload=True, debug="firewall=100,audit=4",
              env={"UMEM_LOGGING": "transaction=4k,fail,slab"})
    # malloc stays glibc's, caches are libumem_core's.
    umem_core(program, base / "stacks", preload=paths.library_dir() / "libstackalloc.so.1",
              env={"LD_LIBRARY_PATH": paths.library_dir()})
    return sorted(base.iterdir())


def make_questions(directory, core):
    """Inputs of fuzz_heap: each question to a core as it was, and with some words changed."""
    changes = [(4 * 997 * i + i % 4, (1 << 40, 77, 3, 4096 + 8)[i % 4]) for i in range(8)]
    for which in range(QUESTIONS):
        for count in (0, 1 + which % len(changes)):
            data = struct.pack("<BBHI", core, count, which, 1000 * which)
            for change in changes[:count]:
                data += struct.pack("<IQ", *change)
            line = LINES[which % len(LINES)].encode() if count == 0 else b""
            (directory / f"{core}-{which}-{count}").write_bytes(data + line)


def make(directory):
    """Everything below the directory."""
    directory = pathlib.Path(directory).resolve()  # programs run elsewhere
    cores = take_cores(directory)
    for folder in ("core", "alone", "heap"):
        (directory / folder).mkdir(exist_ok=True)
    for path in cores:
        core = path.read_bytes()
        if path.name != "i386":
            seed = shrunk(core)
            (directory / "core" / path.name).write_bytes(seed)
            (directory / "core" / f"{path.name}-alone").write_bytes(without_files(seed))
        if not path.name.startswith("gcore"):
            (directory / "alone" / path.name).write_bytes(
                core if path.name in WITH_FILES else without_files(core))
    small = (directory / "core" / "glibc-alone").read_bytes()
    (directory / "core" / "many").write_bytes(many_headers(small))
    (directory / "core" / "large-module").write_bytes(large_module(small))
    for core in range(len(list((directory / "alone").iterdir()))):
        make_questions(directory / "heap", core)


if __name__ == "__main__":
    make(sys.argv[1])
