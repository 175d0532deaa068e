# SPDX-License-Identifier: MIT
"""umem_nofault_begin(): what comes between is counted, and the culprit is named."""

import re

import pytest

from harness import run
from test_hard_spots import C_FLAGS, DEBUG

COUNTS = re.compile(r"umem: section without faults: slow allocations (\d+), slow frees (\d+), "
                    r"system calls (\d+), page faults (\d+)\n")


def section(programs, package, work, **options):
    """Counts (allocations, frees, system calls, faults), and the rest of the report."""
    program = programs("nofault.c", name=f"nofault-{package}", flags=C_FLAGS, package=package)
    result = run([program, work], **options)
    match = COUNTS.match(result.stderr)
    assert match and result.stdout == "", result
    counts = tuple(int(number) for number in match.groups())
    assert result.returncode == (1 if any(counts) else 0), result
    return counts, result.stderr[match.end():]


LIBRARIES = pytest.mark.parametrize("package", ["umem", "umem-core"])


@LIBRARIES
@pytest.mark.parametrize("debug", [None, "audit=20", DEBUG])
def test_sealed_cache_is_clean(programs, package, debug):
    assert section(programs, package, "use_sealed", debug=debug) == ((0, 0, 0, 0), "")


@LIBRARIES
@pytest.mark.parametrize("work, what", [
    ("overdraw_sealed", "an allocation of 1000 bytes came to a slow path"),
    ("allocate_many", "an allocation of 3000 bytes came to a slow path"),
    ("allocate_large", "an allocation of 1048576 bytes came to a slow path"),
    ("call_system", "a system call was made"),
])
def test_culprit_is_named(programs, package, work, what):
    (allocs, _, calls, _), report = section(programs, package, work)
    assert (calls if work == "call_system" else allocs) > 0
    assert work != "call_system" or allocs == 0
    lines = report.splitlines()
    assert lines[0] == f"first {what}:", report
    # The program's own call comes first, the library's frames are left out.
    assert re.match(rf"  nofault-{package}[`']{work}\+0x", lines[1]), report
    assert re.match(rf"  nofault-{package}[`']main\+0x", lines[2]), report


@LIBRARIES
def test_fresh_page(programs, package):
    counts, report = section(programs, package, "touch_fresh_page")
    assert counts == (0, 0, 0, 1)
    assert report == "first a page fault, in no slow path of umem's\n"


def test_preloaded(programs):
    """The library that serves everybody is the one that is asked."""
    counts, report = section(programs, "umem-core", "allocate_large", preload=True)
    assert counts[0] == 1 and "`allocate_large+0x" in report
