# SPDX-License-Identifier: MIT
"""How many blocks can live behind a firewall, with guard regions and without."""

import pathlib
import re

import pytest

from harness import run

MILLION = 1000000
STEP = 100  # blocks of which the program asks one
FLAGS = ("-O1", "-w", "-fno-builtin")
LIMIT = "firewall: guards have taken half of the mappings that the system allows " \
        "(vm.max_map_count): more blocks go without"


def max_map_count():
    return int(pathlib.Path("/proc/sys/vm/max_map_count").read_text())


def many(programs, *arguments):
    """Guarded blocks of those asked, mappings taken, standard error."""
    program = programs("firewall_many.c", flags=FLAGS, package="umem-core")
    result = run([program, *map(str, arguments)], debug="firewall=64", timeout=180)
    if result.returncode == 77:
        pytest.skip("no filters of system calls here")
    assert result.returncode == 0, result
    match = re.fullmatch(r"guarded (\d+)\nmaps (\d+)\n", result.stdout)
    assert match, result
    return int(match.group(1)), int(match.group(2)), result.stderr


def test_a_million(programs):
    guarded, maps, stderr = many(programs, MILLION)
    if LIMIT in stderr:
        pytest.skip("the kernel has no guard regions")
    assert (guarded, stderr) == (MILLION // STEP, "")
    assert maps < 1000  # those of the heap itself and of the records


def test_without_guard_regions(programs):
    guarded, maps, stderr = many(programs, 5000, "refuse")
    assert (guarded, stderr) == (5000 // STEP, "")
    assert 2 * 5000 <= maps < 2 * 5000 + 1000


def test_limit_of_mappings(programs):
    """Half of them are taken; more blocks go without a guard, and one line says so."""
    guarded, maps, stderr = many(programs, 2 * max_map_count(), "refuse")
    assert stderr == f"umem: {LIMIT}\n"
    assert abs(guarded * STEP - max_map_count() // 4) <= STEP
    assert maps < max_map_count() // 2 + 1000
