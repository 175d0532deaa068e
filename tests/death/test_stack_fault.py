# SPDX-License-Identifier: MIT
"""stack_fault_handler_install(): who runs off a stack is told where, and dies by SIGSEGV."""

import pathlib
import re
import signal

import pytest

from harness import compile_c, run

SIZE = 32768
ADVICE = {
    "overflow": "to raise: the size that stack_alloc() is asked for; the next is 65536 bytes",
    "largest": "no larger size is supported: look for endless recursion or large frames",
    "underflow": "that is above the first frame: look for an index or pointer gone too far",
    "stray": "its stack pointer was elsewhere: a wild pointer, or a frame wider than the guard",
}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    source = pathlib.Path(__file__).with_name("stack_fault.c")
    return compile_c(source, tmp_path_factory.mktemp("stack") / "stack_fault",
                     package="stackalloc",
                     flags=["-O1", "-fno-stack-clash-protection", "-pthread", "-Wno-all",
                            "-Wno-error"], libs=["-lumem_core"])


def report(kind, beyond, where, start, function, *, size=SIZE, used=None, advice=None, tail="",
           name=', "reader"'):
    """The whole of standard error, as a regular expression."""
    unit = "byte" if beyond == "1" else "bytes"
    used = size if used is None else used
    lines = [f"stackalloc: {kind}: {beyond} {unit} {where} the stack at 0x[0-9a-f]+ of "
             f"{size} bytes{name}",
             rf"thread \d+ \(stack_fault\), started in stack_fault`{start}, was in {function}",
             f"high water: {used} of {size} bytes",
             re.escape(ADVICE[advice or kind.split()[-1]])]
    return "\n".join(lines) + "\n" + tail


def overflow(beyond, start="worker", function=r"stack_fault`touch\+0x[0-9a-f]+", **more):
    return report("stack overflow", beyond, "below", start, function, **more)


def underflow(beyond, start="worker", function=r"stack_fault`touch\+0x[0-9a-f]+", **more):
    return report("stack underflow", beyond, "above", start, function, **more)


DIVE = r"stack_fault`dive\+0x[0-9a-f]+"
CASES = {
    "thread-below": overflow("8"),
    "thread-byte": overflow("1"),
    "thread-guard": overflow("16384"),
    "thread-dive": overflow("[0-9]{1,3}", function=DIVE),
    "thread-dive-filled": overflow("[0-9]{1,3}", function=DIVE, used="32[67][0-9][0-9]"),
    "thread-byte-filled": overflow("1", used="[3-9][0-9]{3}"),
    "thread-dive-large": overflow("[0-9]{1,3}", function=DIVE, size=64 * SIZE, advice="largest"),
    "thread-wide": overflow("1", function=r"stack_fault`sprawl\+0x[0-9a-f]+"),
    "thread-above": underflow("25"),
    "thread-starve": overflow("[0-9]+", function=r"lib\S+\.so\S+", used=SIZE),
    "created-dive": overflow("[0-9]{1,3}", start="innocent", function=DIVE, name=""),
    "fiber-dive": overflow("[0-9]{1,3}", start="main", function=DIVE),
    "fiber-above": underflow("25", start="main"),
    "alternate-dive": overflow("[0-9]{1,3}", start="main", function=DIVE),
    "alternate-above": underflow("25", start="main"),
    "stray-below": report("stray access", "8", "below", "main",
                          r"stack_fault`touch\+0x[0-9a-f]+", advice="stray"),
    "freed-below": report("stray access", "8", "below", "main",
                          r"stack_fault`touch\+0x[0-9a-f]+", advice="stray",
                          name=", which was freed"),
}


@pytest.mark.parametrize("preload", [False, True], ids=["core", "preload"])
@pytest.mark.parametrize("mode", CASES)
def test_report(program, mode, preload):
    result = run([program, mode], preload=preload)
    assert result.signal == signal.SIGSEGV and result.stdout == "", result
    assert re.fullmatch(CASES[mode], result.stderr), result


def test_handler_of_before(program):
    """It gets the same fault, after the report."""
    result = run([program, "thread-below-chained"])
    assert result.returncode == 9, result
    assert re.fullmatch(overflow("8", tail="old handler\n"), result.stderr), result


def test_handler_of_before_once(program):
    """SA_RESETHAND: the second time is the default."""
    result = run([program, "thread-below-once"])
    assert result.signal == signal.SIGSEGV, result
    one = overflow("8")
    assert re.fullmatch(one + "once\n" + one, result.stderr), result


@pytest.mark.parametrize("order", ["", "-early"], ids=["engine_last", "engine_first"])
@pytest.mark.parametrize("preload", [False, True], ids=["core", "preload"])
def test_beside_the_firewall_of_the_engine(program, order, preload):
    """Each explains its own faults, whichever was there first."""
    result = run([program, "thread-dive" + order], preload=preload, debug="firewall=48")
    assert result.signal == signal.SIGSEGV, result
    assert re.fullmatch(overflow("[0-9]{1,3}", function=DIVE), result.stderr), result
    result = run([program, "thread-heap" + order], preload=preload, debug="firewall=48")
    assert result.signal == signal.SIGSEGV, result
    assert "past end of buffer" in result.stderr, result
    assert "stackalloc:" not in result.stderr, result


def test_sent_by_a_process(program):
    """kill -SEGV has no address, and ends the process all the same."""
    result = run(["sh", "-c", 'exec "$0" ""', program])
    assert result.returncode == 0 and result.stdout == "survived\n", result
