# SPDX-License-Identifier: MIT
"""What of the library a small program keeps resident: src/umem/libumem.ld."""

import re
import subprocess

from harness import run
from harness.paths import libumem, library

WINDOW = 64 * 1024  # what the kernel maps at once of a file
USUAL_BSS = 12 * 1024  # the heap's record, a thread cache with all windows closed, and some
SECTION = re.compile(r"^ *\[ *\d+\] (\.[\w.]+) +\w+ +([0-9a-f]+) [0-9a-f]+ ([0-9a-f]+)", re.M)


def sections(path):
    """Name -> (address, end)."""
    shown = subprocess.run(["readelf", "-SW", path], capture_output=True, text=True, check=True)
    return {name: (int(start, 16), int(start, 16) + int(size, 16))
            for name, start, size in SECTION.findall(shown.stdout)}


def test_usual_code_is_one_window():
    for path in libumem(), library("libumem_core.so.1"):
        found = sections(path)
        start, (_, end) = found[".init"][0], found[".text.usual"]
        # Where it has become too much: what is rare of it should be UMEM_COLD.
        assert start % WINDOW == 0 and end - start <= WINDOW, (path, start, end)
        assert start <= found[".fini"][0] < end, path  # runs in every program, at its exit
        assert found[".rodata.usual"][1] < start < found[".rodata"][0], path
        assert found[".eh_frame"][0] > end, path


def test_usual_variables_lie_together():
    for path in libumem(), library("libumem_core.so.1"):
        found = sections(path)
        start, end = found[".bss"]
        assert end - start <= USUAL_BSS, (path, end - start)
        assert end <= found[".bss.sparse"][0] < found[".bss.rare"][0], path


def mappings(smaps):
    """(permissions, KiB resident) of each mapping of the library."""
    found = re.findall(r"^[0-9a-f]+-[0-9a-f]+ (\S+) .*libumem\.so.*\n(?:\w+: .*\n)*?Rss: +(\d+) kB",
                       smaps, re.M)
    return [(permissions, int(kib)) for permissions, kib in found]


def test_small_program_has_the_usual_code_only():
    result = run(["cat", "/proc/self/smaps"], preload=True)
    code = [kib for permissions, kib in mappings(result.stdout) if permissions == "r-xp"]
    assert len(code) == 1 and 0 < code[0] <= WINDOW // 1024, mappings(result.stdout)
    tables = [kib for permissions, kib in mappings(result.stdout) if permissions == "r--p"]
    assert len(tables) == 3 and tables[1] == 0, tables  # that of the unwind tables
