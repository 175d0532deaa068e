# SPDX-License-Identifier: MIT
"""glibc's own heap: in a program without libumem leaks are found exactly, without stacks.

glibc_kinds.c says what is held how, and what is lost.
"""

import json
import pathlib
import subprocess
import sys

import pytest

from harness import Background, compile_c, core_pattern_is_usable
from leak_support import refused, target_of, umem, umem_json, waiting

HERE = pathlib.Path(__file__).resolve().parent
LOST = {("direct", "malloc_104"): 7, ("direct", "malloc_to_8k"): 3, ("direct", "malloc_to_1m"): 2,
        ("direct", "malloc_56"): 1, ("indirect", "malloc_56"): 4}
LOST_BY_THREAD = ("direct", "malloc_216"), 4
# free_some() holds 13 of 40 of each of seven sizes.
HELD_EACH = 13

KERNEL = pytest.param("kernel", marks=pytest.mark.skipif(
    not core_pattern_is_usable(), reason="the kernel's core pattern pipes or names a directory"))


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    return compile_c(HERE / "glibc_kinds.c", tmp_path_factory.mktemp("glibc") / "glibc_kinds",
                     flags=["-O1", "-pthread"])


@pytest.fixture(scope="module")
def kinds_static(tmp_path_factory):
    return compile_c(HERE / "glibc_kinds.c", tmp_path_factory.mktemp("static") / "glibc_kinds",
                     flags=["-O1", "-pthread", "-static"])


def groups(report):
    return {(group["kind"], group["cache"]): group["count"] for group in report["groups"]}


@pytest.mark.parametrize("how", ["live", "gcore", KERNEL])
@pytest.mark.parametrize("threads", [0, 3])
def test_exact(kinds, tmp_path, threads, how):
    expected = dict(LOST)
    if threads:
        expected[LOST_BY_THREAD[0]] = LOST_BY_THREAD[1] * threads
    with waiting(kinds, "lose", str(threads), cwd=tmp_path) as process:
        report = umem_json("leaks", target_of(process, how, tmp_path), expect=1)
    assert report["allocator"] == "glibc" and report["complete"] is True, report["incomplete"]
    assert groups(report) == expected
    assert all(group["stack"] == [] for group in report["groups"])


@pytest.mark.parametrize("threads", [0, 3])
def test_nothing_lost(kinds, threads):
    with waiting(kinds, "hold", str(threads)) as process:
        result = umem("leaks", process.pid)
    assert result.returncode == 0, result
    assert "glibc's own heap" in result.stdout and "no leaks in" in result.stdout


def same_addresses_each_time():
    """What to start a program with; nothing where that is not allowed, as in some containers."""
    words = ["setarch", "-R"]
    try:
        return words if subprocess.run(words + ["true"], check=False).returncode == 0 else []
    except FileNotFoundError:
        return []


def test_static_program(kinds_static):
    """Without a libc module to look in.  Its heap is at addresses as low as that some number in
    the program is one of them now and then."""
    with waiting(*same_addresses_each_time(), kinds_static, "lose", "2") as process:
        report = umem_json("leaks", process.pid, expect=1)
    assert report["allocator"] == "glibc"
    assert groups(report) == {**LOST, LOST_BY_THREAD[0]: 2 * LOST_BY_THREAD[1]}


def test_counts(kinds):
    """Free chunks in threads' caches, fast bins and bins are not in use."""
    with waiting(kinds, "hold", "2") as process:
        caches = {row["name"]: row for row in umem_json("stat", process.pid)["caches"]}
        arenas = umem_json("stat", process.pid)["arenas"]
    rounds = 4  # main twice, two threads
    assert caches["malloc_104"]["inuse"] >= 2 * rounds * HELD_EACH
    assert caches["malloc_104"]["inuse"] < 2 * rounds * HELD_EACH + 8  # libc's own
    assert caches["malloc_to_512k"]["inuse"] == rounds * HELD_EACH
    assert caches["malloc_24"]["cached"] > 7  # more than a thread's cache takes
    assert [arena["name"] for arena in arenas] == ["main_arena", "arena 1", "arena 2"]


def test_whatis(kinds):
    with waiting(kinds, "lose", "1") as process:
        report = umem_json("leaks", process.pid, expect=1)
        for group in report["groups"]:
            at = int(group["buffers"][0], 16)
            what = umem_json("whatis", process.pid, hex(at + 5))
            assert (what["kind"], what["base"], what["offset"]) == ("buffer", hex(at), 5)
            assert what["cache"] == group["cache"]
        free = umem_json("users", process.pid, "--max=0")
    assert free["allocator"] == "glibc"


def test_report(kinds, tmp_path):
    with waiting(kinds, "lose") as process:
        result = umem("report", process.pid, "--folded=-", "--value=leaked-objects")
    lines = dict(line.rsplit(" ", 1) for line in result.stdout.splitlines())
    assert lines["[no stack recorded];malloc_104"] == "7"


def test_damaged_heap(kinds, tmp_path):
    """What can be told is, and how much cannot; what the damaged part leads to is no leak."""
    with waiting(kinds, "hold", "smash") as process:
        result = umem("leaks", process.pid)
        report = umem_json("leaks", process.pid)
        live = report["live"]["buffers"]
    with waiting(kinds, "hold") as process:
        sound = umem_json("leaks", process.pid)["live"]["buffers"]
    assert result.returncode == 0, result
    assert report["complete"] is False
    assert len(report["incomplete"]) == 1
    assert "bytes of the heap at 0x" in report["incomplete"][0]
    assert 0 <= sound + 2 - live <= 2  # the one smashed, and the one that its header told of


def test_core_of_python(tmp_path):
    script = "import json, re, decimal; x = [str(i) for i in range(1000)]; print('ready', " \
             "flush=True); import time; time.sleep(100)"
    with Background([sys.executable, "-S", "-c", script]) as process:
        process.wait_for_line("ready")
        core = target_of(process, "gcore", tmp_path)
    result = umem("leaks", "--format=json", core)
    assert result.returncode in (0, 1), result
    report = json.loads(result.stdout)
    assert report["allocator"] == "glibc" and report["complete"] is True
    assert report["live"]["buffers"] > 500
    assert report["total"]["bytes"] < report["live"]["bytes"] / 100


def test_sizes(kinds):
    """What stat counts, chunk by chunk: a word of each is glibc's own."""
    with waiting(kinds, "hold", "2") as process:
        used = {row["name"]: row["inuse"] for row in umem_json("stat", process.pid)["caches"]
                if row["inuse"] > 0}
        report = umem_json("sizes", process.pid)
        one = umem_json("sizes", "--cache=malloc_104", process.pid)
        text = umem("sizes", process.pid).stdout
    rows = {row["name"]: row for row in report["caches"] if row["buffers"] > 0}
    assert {name: row["buffers"] for name, row in rows.items()} == used
    for name, row in rows.items():
        if not name.startswith("malloc_to_"):  # some of those are mappings of their own
            assert row["memory"] - row["requested_bytes"] == 8 * row["buffers"], row
    assert sum(row["count"] for row in report["histogram"]) == sum(used.values())
    assert [row["name"] for row in one["caches"]] == ["malloc_104"]
    assert one["sizes"] == [{"size": 104, "count": used["malloc_104"]}]
    assert text.startswith("glibc's own heap") and "audit" not in text


def test_verbs_for_umem_alone(kinds):
    """Each says why, and what comes closest."""
    with waiting(kinds, "hold") as process:
        pid = str(process.pid)
        for verb, *more in (("status",), ("log",), ("caches",), ("history", "0x1000")):
            line = refused(verb, pid, *more)
            assert "no libumem in it: " in line and "'umem run'" in line
        assert "'umem stat'" in refused("caches", pid)
        for verb in ("leaks", "users", "sizes", "verify"):
            assert f"{verb}: no cache 'nope'; 'umem stat --all {pid}' lists them" in \
                refused(verb, "--cache=nope", pid)


def test_verify(kinds):
    """Every chunk is looked at; a program that waits in system calls is in the midst of nothing."""
    with waiting(kinds, "hold", "2") as process:
        result = umem("verify", process.pid)
        report = umem_json("verify", process.pid)
        one = umem_json("verify", "--cache=malloc_104", process.pid)
        in_use = {row["name"]: row["inuse"] for row in umem_json("stat", process.pid)["caches"]}
    assert result.returncode == 0 and "nothing is corrupt" in result.stdout, result
    rows = {row["name"]: row for row in report["caches"]}
    assert report["clean"] is True and not any(row["busy"] for row in rows.values())
    for name, count in in_use.items():
        assert count == 0 or rows[name]["buffers"] >= count, name
    assert [row["name"] for row in one["caches"]] == ["malloc_104"]


def test_verify_damaged(kinds):
    with waiting(kinds, "hold", "smash") as process:
        report = umem_json("verify", process.pid, expect=1)
    assert [problem["kind"] for problem in report["problems"]] == ["heap"]
    assert "bytes of the heap at 0x" in report["problems"][0]["message"]


WRITES_AFTER_FREE = """#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    /* Too large for a thread's cache; the ones between keep them apart. */
    char *blocks[6];
    for (int i = 0; i < 6; i++)
        blocks[i] = malloc(2000);
    volatile char *freed = blocks[3];
    printf("block %p\\n", (void *)freed);
    fflush(stdout);
    for (int i = 1; i < 6; i += 2)
        free(blocks[i]);
    if (argc > 1) /* at which offset; nothing is allocated after it */
        freed[atoi(argv[1])] ^= 0x40;
    return write(1, "ready\\n", 6) == 6 ? pause() : 1;
}
"""


@pytest.mark.parametrize("offset, message", [
    (None, None), (100, None),
    (1, "the next one of its list does not lead back: 0x"),
    (9, "the one before in its list does not lead to it: 0x"),
    (2000, "the size behind it is 0x")])
@pytest.mark.parametrize("how", ["live", "gcore"])
def test_verify_finds_writes_after_free(tmp_path, offset, message, how):
    program = compile_c(WRITES_AFTER_FREE, tmp_path / "program", flags=["-fno-builtin"])
    with waiting(program, *([] if offset is None else [str(offset)])) as process:
        target = target_of(process, how, tmp_path)
        report = umem_json("verify", target, expect=0 if message is None else 1)
    block = process.lines[0].split()[1]
    assert all(problem["kind"] == "modified" and problem["cache"] == "malloc_to_2k"
               for problem in report["problems"])
    found = {problem["address"]: problem["message"] for problem in report["problems"]}
    assert (block in found) == (message is not None), found
    if message is not None:
        assert found.pop(block).startswith(f"free chunk corrupted: {message}")
        # Its neighbour in the list is led back to, or is not: that is told of, too.
        assert len(found) <= 1 and all("of its list" in text or "in its list" in text
                                       for text in found.values()), found


NO_HEAP = """#include <unistd.h>
int main(void) { return write(1, "ready\\n", 6) == 6 ? pause() : 1; }
"""


def test_no_heap_at_all(tmp_path):
    program = compile_c(NO_HEAP, tmp_path / "no_heap")
    with waiting(program) as process:
        line = refused("leaks", str(process.pid))
    assert "no libumem in it" in line and "umem run" in line
