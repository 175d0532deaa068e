# SPDX-License-Identifier: MIT
"""`umem diff`: growth by place and by reachability, of one process and across runs."""

import os
import signal

import pytest

from leak_support import build, gcore, refused, sleeping, umem, umem_json, waiting

PROGRAM = """#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void *volatile kept[3000], *volatile lost;
static volatile int told;
__attribute__((noipa)) static void *grows(void)
{
    void *p = malloc(100);
    __asm__ volatile("" : "+r"(p)); /* no tail call */
    return p;
}
__attribute__((noipa)) static void *shrinks(void)
{
    void *p = malloc(3000);
    __asm__ volatile("" : "+r"(p));
    return p;
}
__attribute__((noipa)) static void *stays(void)
{
    void *p = malloc(500);
    __asm__ volatile("" : "+r"(p));
    return p;
}
__attribute__((noipa)) static void *leaks(void)
{
    void *p = malloc(700);
    __asm__ volatile("" : "+r"(p));
    return p;
}
__attribute__((noipa)) static void scrub(void)
{
    char room[8192];
    memset(room, 0, sizeof(room));
    __asm__ volatile("" : : "r"(room) : "memory");
}
static void second(int signal)
{
    told = signal;
}
__attribute__((noipa)) static void grow_and_lose(void)
{
    for (int i = 0; i < 50; i++) {
        kept[2900] = leaks();
        if (i % 5 != 0)
            kept[2901] = kept[2900];
    }
    kept[2900] = kept[2901] = NULL;
    scrub();
}
int main(int argc, char **argv)
{
    int n = 0;
    signal(SIGUSR1, second);
    for (int i = 0; i < 200; i++) {
        kept[n++] = stays();
        kept[n++] = grows();
    }
    for (int i = 1000; i < 1010; i++)
        kept[i] = shrinks();
    int again = argc > 1 && strcmp(argv[1], "more") == 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!again)
        puts("ready");
    while (!told && !again)
        pause();
    for (int i = 0; i < 1000; i++)
        kept[1100 + i] = grows();
    for (int i = 1000; i < 1006; i++) {
        free(kept[i]);
        kept[i] = NULL;
    }
    grow_and_lose();
    puts(again ? "ready" : "second");
    for (;;)
        pause();
}
"""


@pytest.fixture(scope="module", name="program")
def fixture_program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("diff"), PROGRAM, libs=())


@pytest.fixture(scope="module", name="snapshots")
def fixture_snapshots(program, tmp_path_factory):
    """Of one process, before and after."""
    folder = tmp_path_factory.mktemp("snapshots")
    with waiting(program, debug="audit=20,quarantine=0") as process:
        assert umem("snapshot", process.pid, "-o", folder / "first").returncode == 0
        os.kill(process.pid, signal.SIGUSR1)
        process.wait_for_line("second")
        assert umem("snapshot", process.pid, "-o", folder / "second").returncode == 0
    return folder / "first", folder / "second"


def by_function(report):
    found = {}
    for row in report["changes"]:
        for frame in row["stack"]:
            if frame["function"] in ("grows", "shrinks", "stays", "leaks"):
                found.setdefault(frame["function"], []).append(row)
    return found


def check(found):
    assert set(found) == {"grows", "shrinks", "leaks"}
    grown = sum(row["after"]["buffers"] - row["before"]["buffers"] for row in found["grows"])
    assert grown == 1000
    # Both places that call it: in the first loop, and in the second.
    assert sorted(row["growth_bytes"] for row in found["grows"])[-1] == 1000 * 112
    [shrunk] = found["shrinks"]
    assert (shrunk["before"]["buffers"], shrunk["after"]["buffers"]) == (10, 4)
    assert shrunk["growth_bytes"] < 0
    [leaked] = found["leaks"]
    assert leaked["before"] == {"buffers": 0, "bytes": 0, "leaked_buffers": 0, "leaked_bytes": 0}
    assert leaked["after"]["buffers"] == leaked["after"]["leaked_buffers"] == 50
    assert leaked["after"]["leaked_bytes"] == leaked["after"]["bytes"] == leaked["growth_bytes"]


def test_one_process(snapshots):
    report = umem_json("diff", *snapshots)
    assert report["first"]["complete"] is report["second"]["complete"] is True
    check(by_function(report))
    growths = [row["growth_bytes"] for row in report["changes"]]
    assert growths == sorted(growths, reverse=True)
    assert sum(growths) == report["after"]["bytes"] - report["before"]["bytes"]
    assert report["before"]["leaked_bytes"] == 0 and report["after"]["leaked_buffers"] == 50
    for side, path in zip(("before", "after"), snapshots):
        live = umem_json("users", path)["live"]
        assert {key: report[side][key] for key in live} == live
    backwards = umem_json("diff", *reversed(snapshots))
    assert sorted(-row["growth_bytes"] for row in backwards["changes"]) == sorted(growths)
    nothing = umem_json("diff", snapshots[0], snapshots[0])
    assert nothing["changes"] == [] and nothing["before"] == nothing["after"]


def test_two_runs(program, snapshots, tmp_path):
    """Loaded elsewhere: places are the same all the same. And a core, and a process."""
    with waiting(program, "more", debug="audit=20,quarantine=0") as process:
        check(by_function(umem_json("diff", snapshots[0], process.pid)))
        check(by_function(umem_json("diff", snapshots[0], gcore(process.pid, tmp_path))))
        same = by_function(umem_json("diff", snapshots[1], process.pid))
    assert same == {}


def test_without_audit_by_cache(program, tmp_path):
    with waiting(program) as process, waiting(program, "more") as more:
        report = umem_json("diff", process.pid, more.pid)
    changes = {row["cache"]: row for row in report["changes"]}
    assert changes["umem_alloc_112"]["growth_bytes"] == 1000 * 112
    assert changes["umem_alloc_112"]["stack"] == []


def test_of_glibc_heaps(tmp_path):
    """Without the library: by class of size."""
    program = build(tmp_path, PROGRAM, package=None, libs=())
    with waiting(program) as process, waiting(program, "more") as more:
        report = umem_json("diff", process.pid, more.pid)
    grown = max(report["changes"], key=lambda row: row["growth_bytes"])
    assert grown["after"]["buffers"] - grown["before"]["buffers"] == 1000
    assert report["after"]["leaked_buffers"] - report["before"]["leaked_buffers"] >= 45


def test_options_and_text(snapshots):
    result = umem("diff", *snapshots)
    assert result.returncode == 0, result
    lines = result.stdout.splitlines()
    assert lines[0].startswith("first ") and lines[1].startswith("second ")
    assert "leaked +" in lines[2] and lines[2].startswith("change +1,0")
    assert "  +112,000 bytes, +1,000 buffers (0 to 1,000), umem_alloc_112" in lines
    assert any(line.startswith("    leaked +") and line.endswith("+50 buffers (0 to 50)")
               for line in lines)
    assert any(line.startswith("      shrinks+") for line in lines)
    few = umem("diff", "--min-bytes=100k", *snapshots).stdout
    assert "grows+" in few and "shrinks+" not in few
    one = umem_json("diff", "--cache=umem_alloc_112", *snapshots)
    assert {row["cache"] for row in one["changes"]} == {"umem_alloc_112"}
    assert "1 more place changed" in umem("diff", "-n", len(
        umem_json("diff", *snapshots)["changes"]) - 1, *snapshots).stdout


def test_refused(snapshots):
    assert "needs FIRST SECOND" in refused("diff", snapshots[0])
    assert "no such file" in refused("diff", snapshots[0], "nosuch")
    assert "no cache 'mine'" in refused("diff", "--cache=mine", *snapshots)
    other = sleeping()
    try:
        assert "one has libumem, the other glibc's own heap" in refused("diff", snapshots[0],
                                                                        other.pid)
    finally:
        other.kill()
        other.wait()
