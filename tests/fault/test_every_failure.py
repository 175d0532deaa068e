# SPDX-License-Identifier: MIT
"""Deterministic fault injection: fail=N, and a walk along every path that a failure may take."""

import concurrent.futures
import re

import pytest

from harness import paths, run

DEBUG = "audit=8,guards,contents"
FIREWALL = "default,firewall=64"
# Kind, whether one thing fails or all from there on, every how many-th in the short version.
WALKS = [("alloc", "once", 37), ("map", "once", 7), ("map", "ever", 7), ("meta", "once", 23),
         ("meta", "ever", 23)]
# The whole in chunks, two at a time: each is bounded, and one that fails names its place.
CHUNKS = 8
CHUNKS_AT_ONCE = 2
CHUNK_TIMEOUT_S = 900
# A failure that is told: the heap goes on without what it would have logged.
NO_LOG = "umem: no memory for a contents log of 65536 bytes, none is kept"
RUNS = re.compile(r"(\d+) runs\n")


def walk(kind, how, first, step, debug, timeout):
    result = run([paths.built("tests/fault/every_failure"), kind, how, first, step], debug=debug,
                 timeout=timeout)
    said = set(result.stderr.splitlines()) - ({NO_LOG} if debug else set())
    assert result.returncode == 0 and not said, result
    return int(RUNS.fullmatch(result.stdout).group(1))


@pytest.mark.parametrize("debug", [None, DEBUG])
@pytest.mark.parametrize("kind,how,step", WALKS)
def test_some_failures(kind, how, step, debug):
    assert walk(kind, how, 1, step, debug, timeout=180) > 5


def test_some_failures_behind_firewalls():
    assert walk("meta", "once", 1, 61, FIREWALL, timeout=180) > 5


@pytest.mark.slow
@pytest.mark.parametrize("debug", [None, DEBUG, FIREWALL])
@pytest.mark.parametrize("kind,how", [walk[:2] for walk in WALKS])
def test_every_failure(kind, how, debug):
    with concurrent.futures.ThreadPoolExecutor(CHUNKS_AT_ONCE) as pool:
        chunks = [pool.submit(walk, kind, how, first, CHUNKS, debug, CHUNK_TIMEOUT_S)
                  for first in range(1, CHUNKS + 1)]
        runs = [chunk.result() for chunk in chunks]
    assert max(runs) - min(runs) <= 10, runs  # threads: not each walk sees as many


def one_fails(programs, n):
    program = programs("one_fails.c", flags=("-O0", "-w"), package="umem")
    result = run([program], debug=f"fail={n}")
    assert (result.returncode, result.stderr) == (0, ""), result
    return result.stdout.split("\n")[:-1]


def test_fail(programs):
    """The N-th allocation, whatever its kind, fails with ENOMEM, and no other does."""
    first = next(n for n in range(1, 200) if one_fails(programs, n) == ["0"])
    for i in [1, 2, 3, 4, 5, 6, 7, 8, 50, 99]:
        assert one_fails(programs, first + i) == [str(i)]
    assert one_fails(programs, 100000) == []


def test_fail_is_said(programs):
    """It is in the message ring, and with verbose on standard error."""
    program = programs("one_fails.c", flags=("-O0", "-w"), package="umem")
    result = run([program], debug="fail=7,verbose")
    assert result.stderr == "umem: fail=7: this allocation fails\n", result
