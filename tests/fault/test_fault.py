# SPDX-License-Identifier: MIT
"""Memory runs out: what the umem interface and malloc promise for that case."""

import pathlib
import re
import signal

import pytest

from harness import run

HERE = pathlib.Path(__file__).parent
DEBUG = "audit=64,guard"
FLAGS = ("-O1", "-w", "-fno-builtin", "-I", str(HERE.parent / "preload"))
# Linked with the library that serves malloc too, and with the one that does not.
WAYS = {
    "umem": ("umem", None),
    "umem-debug": ("umem", DEBUG),
    "core": ("umem-core", None),
    "core-debug": ("umem-core", DEBUG),
}
SECTIONS = re.findall(r'\{"(\w+)", ', (HERE / "out_of_memory.c").read_text()
                      .split("section sections[]")[1])


# With the core library malloc is libc's, which knows nothing of umem_setmtbf().
CASES = [(way, section) for way, (package, _) in WAYS.items() for section in SECTIONS
         if (package, section) != ("umem-core", "injected_malloc")]


@pytest.mark.parametrize("way,section", CASES)
def test_out_of_memory(programs, way, section):
    package, debug = WAYS[way]
    program = programs("out_of_memory.c", name=f"out_of_memory-{package}", flags=FLAGS,
                       package=package)
    result = run([program, section], debug=debug, timeout=180)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"ok {section}\n", ""), result


# way: (exit code, stdout)
NOFAIL = {
    "none": (255, "atexit after 0 calls\n"),
    "retry": (0, "went on\natexit after 3 calls\n"),
    "exit": (7, "atexit after 1 calls\n"),
    "big": (3, "atexit after 0 calls\n"),
    "nonsense": (255, "atexit after 0 calls\n"),
    "longjmp": (0, "went on\natexit after 1 calls\n"),
    "thread": (0, "joined 9\natexit after 1 calls\n"),
    "allocates": (8, "atexit after 1 calls\n"),
}


@pytest.mark.parametrize("way", NOFAIL)
@pytest.mark.parametrize("debug", [None, DEBUG])
def test_nofail(programs, way, debug):
    program = programs("nofail.c", flags=("-O1", "-w"), package="umem")
    result = run([program, way], debug=debug)
    assert (result.returncode, result.stdout) == NOFAIL[way], result
    assert result.stderr == "", result


def test_nofail_only_one_thread_exits(programs):
    program = programs("nofail.c", flags=("-O1", "-w"), package="umem")
    for _ in range(20):
        result = run([program, "threads"])
        assert result.returncode == 7, result
        assert re.fullmatch(r"atexit after [1-8] calls\n", result.stdout), result


def test_nofail_during_exit_is_fatal(programs):
    program = programs("nofail.c", flags=("-O1", "-w"), package="umem")
    result = run([program, "recursive"])
    assert result.signal == signal.SIGABRT and "exit" in result.stderr, result


@pytest.mark.parametrize("preload", [False, True])
def test_holes_leave_mappings_for_the_program(programs, preload):
    program = programs("many_maps.c", flags=("-O1", "-fno-builtin", "-w"))
    result = run([program], preload=preload, timeout=180)
    if result.returncode == 77:
        pytest.skip("140 GB of addresses cannot be had here")
    assert (result.returncode, result.stderr) == (0, ""), result


def test_limit(programs):
    program = programs("limit.c", flags=("-O1", "-fno-builtin", "-w"))
    result = run([program], preload=True, env={"UMEM_OPTIONS": "limit=64m"}, timeout=120)
    assert (result.returncode, result.stdout, result.stderr) == (0, "ok\n", ""), result
