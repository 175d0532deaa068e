# SPDX-License-Identifier: MIT
"""Memory that nobody uses goes back: between phases, from idle threads, after a peak.

Nothing here asserts a time: what is waited for is polled, with a generous end.
"""

import contextlib
import json
import os
import pathlib
import shutil

import pytest

from harness import Background, paths, run

FLAGS = ("-O1", "-w", "-fno-builtin")
DEBUG = "audit=64,guard"


# --- Phases under the limit of a container ---

LIMIT_MB = 256
BELOW_IT = {"UMEM_OPTIONS": "limit=240m"}


@pytest.fixture
def alternate(programs):
    return programs("alternate.c", flags=FLAGS)


@pytest.mark.parametrize("env, peak_mb", [(BELOW_IT, LIMIT_MB), ({}, 2 * LIMIT_MB)])
def test_phases_reuse_memory(alternate, env, peak_mb):
    """By the kernel's count of the process.  Without a limit each kind may keep its own a while."""
    result = run([alternate], preload=True, env=env, timeout=180)
    assert result.returncode == 0 and result.stderr == "", result
    assert int(result.stdout) < peak_mb << 10, result


def write(path, text):
    path.write_text(f"{text}\n")


@contextlib.contextmanager
def limited_cgroup(parent):
    """A group of LIMIT_MB without swap, below a directory that its owner names for this."""
    group = parent / f"umem-test-{os.getpid()}"
    try:
        group.mkdir()
        if (group / "memory.max").exists():
            write(group / "memory.max", LIMIT_MB << 20)
            if (group / "memory.swap.max").exists():
                write(group / "memory.swap.max", 0)
        elif (group / "memory.limit_in_bytes").exists():
            write(group / "memory.limit_in_bytes", LIMIT_MB << 20)
            if (group / "memory.memsw.limit_in_bytes").exists():
                write(group / "memory.memsw.limit_in_bytes", LIMIT_MB << 20)
        else:
            pytest.skip(f"{parent} has no memory controller")
    except OSError as error:
        pytest.skip(f"no group below {parent}: {error}")
    else:
        yield group
    finally:
        if group.exists():
            group.rmdir()


def test_phases_under_a_cgroup(alternate):
    """A service manager is asked for a group, or UMEM_TEST_CGROUP names one to make ours in.

    The group that the tests themselves run in belongs to whoever made it, and stays as it is.
    """
    delegated = os.environ.get("UMEM_TEST_CGROUP")
    if delegated:
        with limited_cgroup(pathlib.Path(delegated)) as group:
            # A shell enters and becomes the program, with the library from then on.
            enter = 'echo $$ > "$1/cgroup.procs" && LD_PRELOAD="$2" UMEM_OPTIONS="$3" exec "$0"'
            result = run(["/bin/sh", "-c", enter, alternate, group, paths.libumem(),
                          BELOW_IT["UMEM_OPTIONS"]], timeout=180)
    elif os.geteuid() == 0 and pathlib.Path("/run/systemd/system").is_dir() and \
            shutil.which("systemd-run"):
        result = run(["systemd-run", "--scope", "--quiet", "-p", f"MemoryMax={LIMIT_MB}M", "-p",
                      "MemorySwapMax=0", "env", f"LD_PRELOAD={paths.libumem()}",
                      f"UMEM_OPTIONS={BELOW_IT['UMEM_OPTIONS']}", alternate],
                     timeout=180)
    else:
        pytest.skip("no systemd to ask for a cgroup, and UMEM_TEST_CGROUP names none")
    assert result.returncode == 0 and result.stderr == "", result


# --- Idle threads ---

THREADS = 1000
CACHED_EACH = 8 << 10


@pytest.mark.parametrize("debug", [None, DEBUG])
def test_idle_threads_hold_little(programs, umem, debug):
    """What is free in magazines, the depots' included, by the library's own count."""
    program = programs("idle.c", flags=FLAGS)
    with Background([program, "threads", THREADS], preload=True, debug=debug) as idle:
        idle.wait_for_line("idle")
        status = run([umem, "status", "--format=json", idle.pid], timeout=120)
        assert status.returncode == 0, status
        report = json.loads(status.stdout)
    assert report["threads"] > THREADS and report["complete"], report
    assert report["cached"]["bytes"] < THREADS * CACHED_EACH, report


# --- After a peak ---

# Three times what a cautious allocator waits before it gives memory back.
PATIENCE_S = 30


def test_memory_goes_back_after_a_peak(programs):
    program = programs("idle.c", flags=FLAGS)
    result = run([program, "peak", PATIENCE_S], preload=True, timeout=180)
    assert result.returncode == 0 and result.stderr == "", result
