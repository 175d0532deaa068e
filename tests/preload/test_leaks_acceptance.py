# SPDX-License-Identifier: MIT
"""`umem leaks` on a program whose leaks are known: exactly those, nothing else.

leaky.c is built with -O2 and without frame pointers.  It loses 1,052 blocks and
keeps some ten thousand, a few of them only by a register, a stack, thread-local
storage, an address inside the block, or the data of a module.
"""

import json
import os
import pathlib
import re

import pytest

from harness import Background, core_pattern_is_usable, gcore, run
from harness.cores import is_core

HERE = pathlib.Path(__file__).parent
DEBUG = "audit=64,guard"
CORE_PATTERN = pathlib.Path("/proc/sys/kernel/core_pattern")
# site: (blocks, bytes the program asked for)
LOST = {
    "leak_24": (500, 500 * 24),
    "leak_100": (300, 300 * 100),
    "leak_1000": (200, 200 * 1000),
    "lose_list": (50, 50 * 56),
    "lose_cycle": (2, 2 * 256),
}
LOST_BLOCKS = sum(blocks for blocks, _ in LOST.values())
LOST_BYTES = sum(size for _, size in LOST.values())
# kept: the list of 10,000 and eight blocks that hang by all sorts of threads
KEPT_BLOCKS = 10008


def site_lines():
    """Line of each site in leaky.c."""
    text = (HERE / "leaky.c").read_text().splitlines()
    found = {}
    for number, line in enumerate(text, 1):
        match = re.search(r"/\* SITE (\w+) \*/", line)
        if match:
            found[match.group(1)] = number
    assert found.keys() == LOST.keys()
    return found


def start(programs, what, directory, debug=DEBUG):
    program = programs("leaky.c", flags=("-O2", "-fomit-frame-pointer"))
    module = programs("leaky_module.c", name="leaky_module.so",
                      flags=("-O2", "-fomit-frame-pointer", "-shared", "-fPIC"))
    process = Background([program, what, module], preload=True, debug=debug, cwd=directory,
                         core=True)
    process.wait_for_line("ready")
    return process


@pytest.fixture
def kernel_cores():
    """Sees to it that the kernel writes cores into the working directory."""
    old = CORE_PATTERN.read_text()
    if core_pattern_is_usable():
        yield
        return
    try:
        CORE_PATTERN.write_text("core\n")
    except OSError:
        pytest.skip(f"the kernel's core pattern is {old.strip()!r} and cannot be set")
    try:
        yield
    finally:
        CORE_PATTERN.write_text(old)


def kernel_core(process, directory):
    """Ends the program so that the kernel leaves a core; its path."""
    os.kill(process.pid, 3)
    assert process.wait() == -3
    cores = [path for path in pathlib.Path(directory).iterdir() if is_core(path)]
    assert len(cores) == 1, cores
    return cores[0]


def leaks(umem, target):
    """What `umem leaks` says, as (exit code, JSON)."""
    result = run([umem, "leaks", "--format=json", target], timeout=120)
    assert result.returncode in (0, 1), result
    assert result.stderr == "", result
    return result.returncode, json.loads(result.stdout)


def site_of(group):
    """The function of leaky.c that a group was allocated by, with its line."""
    for frame in group["stack"]:
        if frame.get("function") in LOST:
            assert frame["file"].endswith("leaky.c"), frame
            return frame["function"], frame["line"]
    raise AssertionError(f"a group without a site: {json.dumps(group, indent=1)}")


def assert_exactly_the_lost(code, report):
    lines = site_lines()
    found = {}  # site: {kind: [count, bytes asked for]}
    for group in report["groups"]:
        site, line = site_of(group)
        assert line == lines[site], (site, line)
        kinds = found.setdefault(site, {})
        assert group["kind"] in ("direct", "indirect"), group
        assert group["bytes"] >= group["requested_bytes"], group
        count, size = kinds.get(group["kind"], (0, 0))
        kinds[group["kind"]] = (count + group["count"], size + group["requested_bytes"])
    summed = {site: tuple(map(sum, zip(*kinds.values()))) for site, kinds in found.items()}
    assert summed == LOST, found
    for site in ("leak_24", "leak_100", "leak_1000"):
        assert found[site] == {"direct": LOST[site]}, found
    assert found["lose_list"] == {"direct": (1, 56), "indirect": (49, 49 * 56)}, found
    # Each of a cycle's two hangs on the other: one of them has to stand for both.
    assert found["lose_cycle"] == {"direct": (1, 256), "indirect": (1, 256)}, found
    assert report["total"]["buffers"] == LOST_BLOCKS, report["total"]
    assert report["complete"] is True, report
    # libc and the loader keep some dozens of blocks of their own.
    assert KEPT_BLOCKS <= report["live"]["buffers"] - LOST_BLOCKS <= KEPT_BLOCKS + 200
    assert code == 1


@pytest.mark.parametrize("what", ["leaks", "thread"])
def test_gcore_core(programs, umem, tmp_path, what):
    with start(programs, what, tmp_path) as process:
        core = gcore(process.pid, tmp_path)
    assert_exactly_the_lost(*leaks(umem, core))


@pytest.mark.parametrize("what", ["leaks", "thread"])
def test_kernel_core(programs, umem, tmp_path, kernel_cores, what):
    with start(programs, what, tmp_path) as process:
        core = kernel_core(process, tmp_path)
    assert_exactly_the_lost(*leaks(umem, core))


@pytest.mark.parametrize("what", ["leaks", "thread"])
def test_live_process(programs, umem, tmp_path, what):
    with start(programs, what, tmp_path) as process:
        assert_exactly_the_lost(*leaks(umem, process.pid))
        assert_exactly_the_lost(*leaks(umem, process.pid))  # it was left as it was
        process.say("quit")
        assert process.wait() == 0
        assert process.errors == []


def test_text(programs, umem, tmp_path):
    """The report for people names sites, lines and sums."""
    with start(programs, "leaks", tmp_path) as process:
        result = run([umem, "leaks", process.pid], timeout=120)
    assert result.returncode == 1 and result.stderr == "", result
    for site, line in site_lines().items():
        assert site in result.stdout and f"leaky.c:{line}" in result.stdout, result
    assert re.search(r"\b1,?052\b", result.stdout), result


@pytest.mark.parametrize("how", ["gcore", "live"])
def test_no_leaks(programs, umem, tmp_path, how):
    with start(programs, "clean", tmp_path) as process:
        target = process.pid if how == "live" else gcore(process.pid, tmp_path)
        code, report = leaks(umem, target)
    assert (code, report["groups"], report["total"]["buffers"]) == (0, [], 0), report


@pytest.mark.parametrize("how", ["gcore", "live"])
def test_without_debugging(programs, umem, tmp_path, how):
    """No stacks were recorded, but what is lost is known all the same."""
    with start(programs, "leaks", tmp_path, debug=None) as process:
        target = process.pid if how == "live" else gcore(process.pid, tmp_path)
        code, report = leaks(umem, target)
    assert code == 1
    direct = sum(group["count"] for group in report["groups"] if group["kind"] == "direct")
    assert (report["total"]["buffers"], direct) == (LOST_BLOCKS, LOST_BLOCKS - 50), report["total"]
