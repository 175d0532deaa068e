# SPDX-License-Identifier: MIT
"""umem_verify() and UMEM_DEBUG=verify: damage that nobody comes across is found at the
latest at exit, or when a signal or a command asks, beside running threads, and nothing else is."""

import re
import signal

import pytest

from harness import Background, run
from harness.agent import OPTIONS, Agent
from test_misuse import CORRUPT, MODIFIED, REDZONE, UNDERRUN, frames_after

FLAGS = ("-O1", "-fno-builtin", "-w", "-pthread")
FOUND = {
    "freed": (MODIFIED, "make_buffer", "drop_buffer", r"modification occurred at offset 0x24\b"),
    "overrun": (REDZONE, "make_buffer", None, r"byte at offset 0x28\b"),
    "underrun": (UNDERRUN, "make_buffer", None, r"byte at offset -0x1\b"),
    "large freed": (MODIFIED, "make_buffer", "drop_buffer",
                    r"modification occurred at offset 0x493dc\b"),
    "large overrun": (REDZONE, "make_buffer", None, r"byte at offset 0x493e0\b"),
    "large underrun": (UNDERRUN, "make_buffer", None, r"byte at offset -0x1\b"),
    "object freed": (MODIFIED, "make_object", "drop_object", r"anvil_cache"),
    "object overrun": (REDZONE, "make_object", None, r"anvil_cache"),
}


def at_exit(programs, what, end="return", debug="default,verify"):
    program = programs("at_exit_only.c", flags=FLAGS, package="umem")
    return run([program, what, end], debug=debug)


def check_found(what, result):
    headline, allocated, freed, place = FOUND[what]
    assert result.signal == signal.SIGABRT and result.stdout == "survived\n", result
    assert result.stderr.startswith(f"umem allocator: {headline}\n"), result
    assert re.search(place, result.stderr) and CORRUPT in result.stderr, result
    before = result.stderr.split(CORRUPT)[0]
    assert allocated in frames_after(before, "allocated by"), result
    assert freed is None or freed in frames_after(before, "freed by"), result


@pytest.mark.parametrize("what", FOUND)
def test_found_at_exit(programs, what):
    check_found(what, at_exit(programs, what))
    without = at_exit(programs, what, debug="default")
    assert (without.returncode, without.stderr) == (0, ""), without


@pytest.mark.parametrize("debug", ["default,verify,quarantine=0", "audit=64,guard,verify"])
def test_without_quarantine(programs, debug):
    check_found("freed", at_exit(programs, "freed", debug=debug))


@pytest.mark.parametrize("debug", ["firewall=1,verify", "sample=1,verify"])
@pytest.mark.parametrize("what", ["overrun", "underrun", "large underrun", "object overrun"])
def test_behind_a_firewall(programs, what, debug):
    """What no guard page stops, and no free finds."""
    if what.startswith("object") and "sample" in debug:
        pytest.skip("objects of caches are not sampled")
    check_found(what, at_exit(programs, what, debug=debug))


@pytest.mark.parametrize("end", ["exit", "handler"])
def test_ways_to_exit(programs, end):
    check_found("freed", at_exit(programs, "freed", end))


def test_not_by_hard_exit(programs):
    result = at_exit(programs, "freed", "_exit")
    assert (result.returncode, result.stderr) == (0, ""), result


def test_what_is_not_looked_at(programs):
    """Into a free object of UMC_NOTOUCH nothing is written that could be looked at."""
    result = at_exit(programs, "notouch freed")
    assert (result.returncode, result.stderr) == (0, ""), result


def test_noabort_reports_and_exits(programs):
    result = at_exit(programs, "overrun", debug="default,verify,noabort")
    assert result.returncode == 0 and result.stderr.count("umem allocator: ") == 1, result


@pytest.mark.parametrize("debug", ["guards", "audit=4,guards,quarantine=256k", "default", "audit",
                                   "firewall=1000", "firewall=20,guards", "sample=10"])
def test_beside_running_threads(programs, debug):
    program = programs("verify_beside.c", flags=FLAGS, package="umem")
    result = run([program], debug=debug)
    assert (result.returncode, result.stdout, result.stderr) == (0, "0 corrupt\n", ""), result


def test_each_corrupt_buffer_is_said_once(programs):
    program = programs("verify_beside.c", flags=FLAGS, package="umem")
    result = run([program, "damage"], debug="guards,noabort")
    assert (result.returncode, result.stdout) == (0, "1 corrupt\n"), result
    assert result.stderr.count("umem allocator: ") == 1, result
    assert result.stderr.startswith(f"umem allocator: {REDZONE}\n"), result


SIGNAL = "default,verify=USR1"


def by_signal(programs, how, debug=SIGNAL, **options):
    program = programs("verify_signal.c", flags=FLAGS, package="umem")
    return run([program, how], debug=debug, **options)


@pytest.mark.parametrize("how, env", [
    ("overrun", {}), ("large", {}), ("idle", {"UMEM_OPTIONS": "reap_thread"}),
    ("idle", {"UMEM_OPTIONS": "agent"})])
def test_found_by_signal(programs, how, env):
    result = by_signal(programs, how, env=env)
    assert result.signal == signal.SIGABRT and result.stdout == "", result
    assert result.stderr.startswith(f"umem allocator: {REDZONE}\n"), result
    assert "make_buffer" in frames_after(result.stderr, "allocated by"), result


def test_sound_by_signal(programs):
    result = by_signal(programs, "sound")
    assert (result.returncode, result.stdout) == (0, "survived\n"), result
    assert result.stderr == "umem: verify: corrupt buffers: 0\n", result


def test_by_signal_in_a_child(programs):
    """The handler is inherited, and needs no thread."""
    result = by_signal(programs, "child")
    assert (result.returncode, result.stdout) == (0, "child died\nsurvived\n"), result
    assert result.stderr.count("umem allocator: ") == 1, result
    assert result.stderr.endswith("umem: verify: corrupt buffers: 0\n"), result


def test_signal_of_the_program(programs):
    """Its handler, from before or later, is the one that is called."""
    result = by_signal(programs, "handled")
    assert (result.returncode, result.stdout) == (0, "handled\nsurvived\n"), result
    assert result.stderr == ("umem: verify: the program handles or ignores that signal, "
                             "it is left alone\n"), result
    result = by_signal(programs, "replaced")
    assert (result.returncode, result.stdout, result.stderr) == (0, "handled\nsurvived\n", "")


def test_signal_that_is_ignored(programs):
    """As below nohup: no handler is installed, the signal does nothing."""
    program = programs("verify_signal.c", flags=FLAGS, package="umem")
    result = run(["/bin/sh", "-c", f"trap '' USR1; exec {program} overrun"], debug=SIGNAL)
    assert (result.returncode, result.stdout) == (0, "survived\n"), result
    assert result.stderr.count("left alone") == 1, result


def test_without_the_item_a_signal_ends_the_process(programs):
    assert by_signal(programs, "sound", debug="default,verify").signal == signal.SIGUSR1


@pytest.mark.parametrize("debug", ["default", "default,noabort"])
def test_found_by_command(programs, debug):
    """The report ends the process, and so the connection; or the reply has the number."""
    program = programs("verify_signal.c", flags=FLAGS, package="umem")
    with Background([program, "wait"], debug=debug, env=OPTIONS) as process:
        process.wait_for_line("ready")
        with Agent(process.pid) as agent:
            try:
                reply = agent.ask("verify")
            except ConnectionResetError:
                reply = []
        if "noabort" in debug:
            assert reply == ["corrupt 1", "ok"]
            return
        assert reply == [] and process.wait() == -signal.SIGABRT
        assert process.errors[0] == f"umem allocator: {REDZONE}", process.errors
