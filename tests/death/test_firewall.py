# SPDX-License-Identifier: MIT
"""UMEM_DEBUG=firewall=N: accesses end the process by SIGSEGV, and are explained before."""

import dataclasses
import re
import signal

import pytest

from harness import run
from test_misuse import frames_after

FLAGS = ("-O1", "-fno-builtin", "-w")
REPORT = "umem allocator: "
PAST, BEFORE, FREED = "past end of buffer", "before start of buffer", "after free of buffer"


@dataclasses.dataclass
class Case:
    name: str
    access: str  # read, write
    kind: str
    place: str  # what follows the address
    allocated: str = "make_buffer"
    freed: str = None
    debug: str = "firewall=48"

    def __str__(self):
        return self.name


def past(name, size, access="write", byte=1, **more):
    return Case(name, access, PAST, f"byte {byte} past its end (offset 0x{size + byte - 1:x})",
                **more)


CASES = [
    past("write_past_end", 64),
    past("read_past_end", 160, access="read"),
    past("write_past_large", 5 << 20),
    past("write_past_zeroed", 48, allocated="make_zeroed"),
    past("write_past_aligned", 4096, allocated="make_aligned"),
    past("write_past_resized", 320, allocated="resize_buffer"),
    past("write_past_object", 48, allocated="make_object"),
    past("write_by_thread", 64),
    past("write_by_child", 64),
    Case("read_after_free", "read", FREED, "offset 0x3f", freed="drop_buffer"),
    Case("read_after_resize", "read", FREED, "offset 0x5", freed="resize_buffer"),
    Case("write_after_free_large", "write", FREED, "offset 0x12345", freed="drop_buffer"),
    Case("read_freed_object", "read", FREED, "offset 0x0", allocated="make_object",
         freed="drop_object"),
    Case("write_before_start", "write", BEFORE, "byte 1 before its start",
         debug="firewall=below:48"),
    # Not caught among 100,000 with a probability of less than e^-400.
    past("write_past_sampled", 64, debug="sample=100"),
    Case("read_after_free_sampled", "read", FREED, "offset 0x7", freed="drop_buffer",
         debug="sample=100"),
]


@pytest.fixture(name="firewalled", scope="module")
def fixture_firewalled(programs):
    return programs("firewalled.c", flags=FLAGS, package="umem")


@pytest.mark.parametrize("more", ["", ",audit=64,guards,contents"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_access(firewalled, case, more):
    if "sampled" in case.name and more:
        pytest.skip("guards find it in the other blocks, too")
    result = run([firewalled, case.name], debug=case.debug + more)
    report = result.stderr
    assert result.signal == signal.SIGSEGV and result.stdout == "", result
    lines = report.splitlines()
    assert lines[0] == f"{REPORT}firewall: {case.access} {case.kind}", result
    assert re.fullmatch(r"address 0x[0-9a-f]+, " + re.escape(case.place), lines[2]), result
    assert "heap corruption" not in report, result
    for heading, wanted in (("allocated by", case.allocated), ("freed by", case.freed)):
        if wanted is not None:
            assert wanted in frames_after(report, heading), (heading, result)
    accessor = frames_after(report, "stack of the thread that made it")
    assert accessor[0] == ("peek" if case.access == "read" else "poke"), result
    assert len(accessor) >= 2, result


def test_slack_is_checked_on_free(firewalled):
    result = run([firewalled, "write_into_slack"], debug="firewall=48")
    assert result.signal == signal.SIGABRT, result
    assert f"{REPORT}redzone violation: write past end of buffer\n" in result.stderr, result
    assert "byte at offset 0x64 is 0x41, should be 0xb" in result.stderr, result
    assert "make_buffer" in frames_after(result.stderr, "allocated by"), result


def test_double_free_in_quarantine(firewalled):
    result = run([firewalled, "free_twice"], debug="firewall=48")
    assert result.signal == signal.SIGABRT, result
    assert f"{REPORT}duplicate free: buffer freed twice\n" in result.stderr, result
    assert "make_buffer" in frames_after(result.stderr, "allocated by"), result
    assert "drop_buffer" in frames_after(result.stderr, "freed by"), result


def test_size_is_exact(firewalled):
    result = run([firewalled, "write_past_end"], debug="firewall=65")
    assert (result.returncode, result.stdout) == (0, "survived\n"), result


def test_handler_of_before_is_called(programs):
    """With the core library: malloc is libc's, and the handler is there before the first use."""
    core = programs("firewalled.c", name="firewalled-core", flags=FLAGS, package="umem-core")
    result = run([core, "handled_by_earlier"], debug="firewall=48")
    assert (result.returncode, result.stdout) == (0, "handled\nhandled\n"), result
    assert result.stderr.count(f"{REPORT}firewall: write {PAST}\n") == 2, result


def test_handler_of_later_wins(firewalled):
    result = run([firewalled, "handled_by_later"], debug="firewall=48")
    assert (result.returncode, result.stdout, result.stderr) == (0, "handled\n", ""), result


def test_nohandler(firewalled):
    result = run([firewalled, "write_past_end"], debug="firewall=48,nohandler")
    assert (result.signal, result.stdout, result.stderr) == (signal.SIGSEGV, "", ""), result
