# SPDX-License-Identifier: MIT
"""The ends of memory: blocks above 4 GB, resource limits, system calls that are refused."""

import pathlib
import re

import pytest

from harness import run

HERE = pathlib.Path(__file__).parent
DEBUG = "audit=64,guard"
SKIPPED = 77  # exit code of a program that cannot do its work here
FLAGS = ("-O1", "-w", "-fno-builtin", "-I", str(HERE.parent / "preload"))


def sections(source):
    """Names in the table of sections of a program."""
    table = (HERE / source).read_text().split("section sections[]")[1]
    return re.findall(r'\{"(\w+)", ', table)


# --- Above 4 GB ---

# A copy of 4 GB while the old block is there, and room for others.
HUGE_NEEDS_MB = 10 << 10


def available_mb():
    found = re.search(r"MemAvailable:\s+(\d+) kB", pathlib.Path("/proc/meminfo").read_text())
    return int(found.group(1)) >> 10


# guard writes all of every block, which would be 32 GB of pages; audit does not.
HUGE = [(section, debug) for section in sections("huge.c") for debug in (None, "audit=64")
        if (section, debug) != ("resize", "audit=64")]


# A copy of 4 GB takes its seconds: once is enough in the quick set.
@pytest.mark.parametrize("section,debug", [
    *HUGE, pytest.param("resize", "audit=64", marks=pytest.mark.slow)])
def test_huge(programs, section, debug):
    if not section.startswith("refused") and available_mb() < HUGE_NEEDS_MB:
        pytest.skip(f"less than {HUGE_NEEDS_MB} MB of memory are available")
    program = programs("huge.c", flags=FLAGS, package="umem")
    result = run([program, section], debug=debug, timeout=300)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"ok {section}\n", ""), result


@pytest.mark.parametrize("section", [s for s in sections("huge.c") if s.startswith("refused")])
def test_huge_refused_under_guard(programs, section):
    program = programs("huge.c", flags=FLAGS, package="umem")
    result = run([program, section], debug=DEBUG)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"ok {section}\n", ""), result


# --- Locked memory ---

# What audit remembers of a thread's stacks, when it came by few: some 100.
LOCKED_KB_MAX = 160


@pytest.mark.parametrize("debug", ["audit=64", DEBUG])
def test_audit_of_a_thread_under_mlockall(programs, debug):
    """All that is mapped is there at once: so it is mapped as it is needed."""
    result = run([programs("audit_locked.c", flags=FLAGS)], preload=True, debug=debug)
    if result.returncode == SKIPPED:
        pytest.skip("memory cannot be locked here")
    assert result.returncode == 0 and result.stderr == "", result
    assert int(result.stdout) <= LOCKED_KB_MAX, result


# --- Resource limits ---

@pytest.mark.parametrize("resource", ["as", "data"])
@pytest.mark.parametrize("debug", [None, DEBUG])
@pytest.mark.parametrize("section", [
    pytest.param(section, marks=pytest.mark.xfail(
        strict=False, reason="what small blocks gave back is theirs for a second: 5 to 15 % less"))
    if section == "by_turns" else section for section in sections("at_limit.c")])
def test_at_limit(programs, section, debug, resource):
    program = programs("at_limit.c", flags=FLAGS, package="umem")
    result = run([program, section, resource], debug=debug, timeout=180)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"ok {section}\n", ""), result


@pytest.mark.parametrize("debug", [None, DEBUG])
@pytest.mark.parametrize("section", sections("new_at_limit.cc"))
def test_new_at_limit(programs, section, debug):
    result = run([programs("new_at_limit.cc", flags=FLAGS), section], preload=True, debug=debug,
                 timeout=120)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"ok {section}\n", ""), result


# --- System calls that are refused ---

REFUSALS = [(call, error) for call in ("madvise", "membarrier", "mremap")
            for error in ("ENOMEM", "EPERM", "ENOSYS")]
REFUSALS += [("mmap", error) for error in ("ENOMEM", "EPERM", "ENOSYS")]
# As on locked memory; where the kernel does not name mappings; where there are too many of them.
REFUSALS += [("madvise", "EINVAL"), ("prctl_vma", "EINVAL"), ("munmap", "ENOMEM"),
             ("mprotect", "ENOMEM")]


@pytest.mark.parametrize("when", ["cold", "warm"])
@pytest.mark.parametrize("debug", [None, DEBUG, "firewall=1000", "sample=10"])
@pytest.mark.parametrize("call,error", REFUSALS)
def test_refused(programs, call, error, when, debug):
    program = programs("refused.c", flags=FLAGS, package="umem")
    result = run([program, call, error, when], debug=debug, timeout=120)
    if result.returncode == SKIPPED:
        pytest.skip("no seccomp filters here")
    assert (result.returncode, result.stdout, result.stderr) == (0, "went on\n", ""), result
