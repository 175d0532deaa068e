# SPDX-License-Identifier: MIT
"""A live process is looked at in a copy that the kernel makes of it: the answers
are as ever, and the process notices nothing."""

import contextlib
import ctypes
import os
import pathlib
import platform
import signal

import pytest

from harness import wait_for
from leak_support import build, umem, umem_json, waiting

X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="copies are made on x86-64 only")
PR_SET_CHILD_SUBREAPER = 36
LOOKS = 10
LOST, BLOCK = 7, 48


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("forked"), "forked_target.c")


@contextlib.contextmanager
def adopted():
    """Processes whose parent ends become children of this one; yields their list."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    found = []
    try:
        yield found
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)) is not None:
            found.append((ended.si_pid, ended.si_status))
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def look(process):
    answer = umem_json("leaks", process.pid, expect=1)
    assert answer["complete"], answer
    assert [(group["kind"], group["count"], group["bytes"]) for group in answer["groups"]] == \
        [("direct", LOST, LOST * BLOCK)], answer


def end(process):
    os.kill(process.pid, signal.SIGTERM)
    process.wait_for_line("unharmed")


def is_stopped(pid):
    """Each of its threads."""
    states = [path.read_text() for path in pathlib.Path(f"/proc/{pid}/task").glob("*/status")]
    return all("\nState:\tT" in state for state in states)


@X86
def test_functions_have_names_when_it_has_ended(program):
    # A shell waits for it: it is gone when it has ended.
    with waiting("/bin/sh", "-c", f"{program} & echo pid $!; wait", debug="audit=16") as shell:
        pid = shell.wait_for_line("pid ").split()[1]
        gone = f"! kill -9 {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.01; done"
        result = umem("shell", "-e", gone, "-e", "::findleaks -dv", pid)
        assert " main+0x" in result.stdout, result


@X86
def test_the_process_is_not_harmed(program):
    with waiting(program, debug="audit=16") as process:
        with adopted() as copies:
            for _ in range(LOOKS):
                look(process)
        # One a look, all ended; a thread is now and then at a place where none is made.
        assert LOOKS / 2 <= len(copies) <= LOOKS, copies
        assert {status for _, status in copies} == {signal.SIGKILL}
        end(process)


def test_none_is_made_under_a_filter(program):
    with waiting(program, "seccomp", debug="audit=16") as process:
        with adopted() as copies:
            look(process)
        assert copies == []
        end(process)


def test_none_is_made_of_a_stopped_process(program):
    with waiting(program, debug="audit=16") as process:
        os.kill(process.pid, signal.SIGSTOP)
        wait_for(lambda: is_stopped(process.pid))
        with adopted() as copies:
            look(process)
        assert copies == []
        assert is_stopped(process.pid)
        os.kill(process.pid, signal.SIGCONT)
        end(process)
