# SPDX-License-Identifier: MIT
"""Items of UMEM_DEBUG that change what is stopped: checknull, nosignal, lite, maxverify, random."""

import re
import signal

import pytest

from harness import run
from test_misuse import CORRUPT, MODIFIED, REDZONE, frames_after, program

NULL = "umem allocator: allocation returns NULL: "
IN_HANDLER = "umem allocator: heap used by a signal handler"


# way: (headline, second line)
NULLS = {
    "large": ("no memory can be had", rf"requested: {1 << 60} bytes  cache: none \(oversize\)"),
    "impossible": ("so much memory does not exist",
                   rf"requested: {2 ** 64 - 1} bytes  cache: none \(oversize\)"),
    "calloc": ("so much memory does not exist", "requested: .*"),
    "reallocarray": ("so much memory does not exist", "requested: .*"),
    "align": ("the alignment is not valid", "requested: 100 bytes .*"),
    "constructor": ("no memory can be had, or the constructor failed",
                    "requested: 100 bytes  cache: anvil"),
}


@pytest.mark.parametrize("guards", ["", ",audit,guards"])
@pytest.mark.parametrize("way", NULLS)
def test_checknull(programs, way, guards):
    result = run([program(programs, "returns_null"), way], debug="checknull" + guards)
    lines = result.stderr.splitlines()
    assert result.signal == signal.SIGABRT and "survived" not in result.stdout, result
    assert lines[0] == NULL + NULLS[way][0] and re.fullmatch(NULLS[way][1], lines[1]), result
    assert CORRUPT not in result.stderr, result
    assert {"ask", "make_object"} & set(frames_after(result.stderr, "stack of the thread that")), \
        result


def test_checknull_of_injected_failures(programs):
    result = run([program(programs, "returns_null"), "small"], debug="checknull,mtbf=1")
    assert result.signal == signal.SIGABRT, result
    assert result.stderr.startswith(NULL + "it was made to fail\n"), result


@pytest.mark.parametrize("way,debug", [(way, None) for way in NULLS] + [("nothing", "checknull")])
def test_null_without_checknull(programs, way, debug):
    """Without the item NULL is returned; a size of 0 is no failure."""
    result = run([program(programs, "returns_null"), way], debug=debug)
    assert (result.returncode, result.stdout, result.stderr) == (0, "survived\n", ""), result


def test_checknull_goes_on_with_noabort(programs):
    result = run([program(programs, "returns_null"), "large"], debug="checknull,noabort")
    assert (result.returncode, result.stdout) == (0, "survived\n"), result
    assert result.stderr.startswith(NULL), result


@pytest.mark.parametrize("how", ["malloc", "free", "large", "deep", "alternate"])
def test_nosignal(programs, how):
    result = run([program(programs, "in_signal"), how], preload=True, debug="nosignal")
    assert result.signal == signal.SIGABRT and "survived" not in result.stdout, result
    assert result.stderr.splitlines()[0] == IN_HANDLER and CORRUPT not in result.stderr, result
    assert "deep" in frames_after(result.stderr, "stack of the thread that called"), result
    if how != "deep":  # what the signal struck lies behind a frame of libc's without a name
        assert re.search(r"`on_signal\+.*`main\+", result.stderr, re.DOTALL), result


@pytest.mark.parametrize("how,debug", [("malloc", "audit"), ("outside", "nosignal")])
def test_signals_that_are_none_of_nosignal(programs, how, debug):
    result = run([program(programs, "in_signal"), how], preload=True, debug=debug)
    assert (result.returncode, result.stdout, result.stderr) == (0, "survived\n", ""), result


@pytest.mark.parametrize("name", ["overrun_by_1", "overrun_into_slack", "overrun_large"])
def test_lite_finds_overruns(programs, name):
    result = run([program(programs, name)], preload=True, debug="lite")
    assert result.signal == signal.SIGABRT, result
    assert result.stderr.startswith(f"umem allocator: {REDZONE}\n"), result
    assert "no transactions are recorded" in result.stderr, result


def test_lite_fills_nothing(programs):
    result = run([program(programs, "fills")], preload=True, debug="lite")
    assert "baddcafe" not in result.stdout and "deadbeef" not in result.stdout, result
    result = run([program(programs, "write_after_free")], preload=True, debug="lite")
    assert (result.returncode, result.stderr) == (0, ""), result


# The write is at offset 8.
@pytest.mark.parametrize("limit,found", [("0", False), ("8", False), ("9", True), ("1k", True)])
def test_maxverify(programs, limit, found):
    result = run([program(programs, "write_after_free")], preload=True,
                 debug=f"guards,maxverify={limit}")
    if found:
        assert result.signal == signal.SIGABRT, result
        assert result.stderr.startswith(f"umem allocator: {MODIFIED}\n"), result
    else:
        assert (result.returncode, result.stderr) == (0, ""), result


def outcome(programs, seed):
    result = run([program(programs, "overrun_by_1")], preload=True, debug=f"random={seed}")
    return result.returncode, result.stderr.split("\n", 1)[0]


def test_random_is_repeated_by_its_seed(programs):
    """Some seeds put a redzone behind this cache's buffers, some do not, each always the same."""
    seeds = range(1, 13)
    found = [outcome(programs, seed) for seed in seeds]
    assert found == [outcome(programs, seed) for seed in seeds]
    assert set(found) == {(0, ""), (-signal.SIGABRT, f"umem allocator: {REDZONE}")}, found


def test_random_tells_its_seed(programs):
    result = run([program(programs, "fills")], preload=True, debug="random")
    assert result.returncode == 0, result
    said = re.fullmatch(r"umem: random debugging; UMEM_DEBUG=random=(\d+) repeats it\n",
                        result.stderr)
    assert said, result
    again = run([program(programs, "fills")], preload=True, debug=f"random={said.group(1)}")
    assert (again.stdout, again.stderr) == (result.stdout, ""), (result, again)


@pytest.mark.parametrize("how", ["linked", "preloaded"])
def test_defaults_of_the_program(programs, how):
    """_umem_debug_init() and its sisters are called, and a variable that is set wins."""
    flags = ("-O1", "-fno-builtin", "-w", "-rdynamic")
    made = programs("own_defaults.c", name=f"own_defaults_{how}", flags=flags,
                    package="umem" if how == "linked" else None)
    options = dict(preload=how == "preloaded")
    result = run([made], **options)
    assert result.signal == signal.SIGABRT, result
    assert REDZONE in result.stderr and CORRUPT in result.stderr, result
    assert 1 <= len(frames_after(result.stderr, "allocated by")) <= 7, result
    for said in ("fnord", "there is no sbrk backend", "audit"):
        assert said in result.stderr.split("umem allocator: ")[0], result
    result = run([made], debug="", env={"UMEM_LOGGING": "", "UMEM_OPTIONS": ""}, **options)
    assert (result.returncode, result.stdout, result.stderr) == (0, "survived\n", ""), result
