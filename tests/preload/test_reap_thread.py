# SPDX-License-Identifier: MIT
"""UMEM_OPTIONS=reap_thread: memory goes back while nobody allocates, and nothing hangs."""

import os

import pytest

from harness import run
from test_hard_spots import C_FLAGS, NOBODY, WAYS

OPTIONS = {"UMEM_OPTIONS": "reap_thread,reap_interval=1"}
# What waits in quarantine holds slabs for as long as nobody frees.
SETTINGS = [WAYS["preload"], {**WAYS["debug"], "debug": "audit=64,guard,quarantine=0"}]


@pytest.mark.parametrize("settings", SETTINGS, ids=["preload", "debug"])
@pytest.mark.parametrize("leaving", ["exit", "leave"])
def test_reap_thread(programs, settings, leaving):
    program = programs("reap_thread.c", flags=C_FLAGS)
    result = run([program, leaving], env=OPTIONS, timeout=60, **settings)
    assert (result.returncode, result.stderr) == (0, ""), result
    assert result.stdout == "threads 2\nkept much 1, gone back 1\nchild 0\n", result


def test_without_it(programs):
    """Who does not allocate keeps what he freed: else the test above would show nothing."""
    program = programs("reap_thread.c", flags=C_FLAGS)
    result = run([program, "exit"], env={"UMEM_OPTIONS": "reap_interval=1"}, preload=True)
    assert result.stdout == "threads 1\nkept much 1, gone back 0\nchild 0\n", result


@pytest.mark.parametrize("package", ["umem", "umem-core"])
def test_linked(programs, package):
    """The library that sleeps starts nothing."""
    program = programs("both.c", name=f"both-{package}", flags=C_FLAGS, package=package)
    for how in (dict(), dict(preload=True)):
        result = run([program], env=OPTIONS, timeout=60, **how)
        assert (result.returncode, result.stderr) == (0, ""), result


@pytest.mark.parametrize("section", ["fork_in_threads", "thread_exit_destructors"])
def test_hard_spots_beside_it(programs, section):
    program = programs("hard_spots.c", flags=C_FLAGS)
    result = run([program, section], env=OPTIONS | {"UMEM_OPTIONS": "reap_thread,reap_interval=0"},
                 timeout=120, preload=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"ok {section}\n", ""), result


def test_main_thread_ends_first(programs):
    result = run([programs("main_leaves.c", flags=C_FLAGS)], env=OPTIONS, timeout=30, preload=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "went on\n", ""), result


def test_privileged_program_has_none(programs, needs_root):
    library = programs.library()
    program = programs("reap_thread.c", name="reap_thread_uid", flags=C_FLAGS,
                       libs=(f"-L{library.parent}", f"-Wl,-rpath,{library.parent}",
                             "-l:libumem.so.1"))
    if os.statvfs(program).f_flag & os.ST_NOSUID:
        pytest.skip("the file system of temporary files ignores set-uid")
    program.chmod(0o4755)
    result = run([program, "exit"], env=OPTIONS, user=NOBODY, timeout=60)
    assert result.returncode == 0, result
    assert result.stdout.startswith("threads 1\n"), result
