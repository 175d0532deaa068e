# SPDX-License-Identifier: MIT
"""`umem leaks` on every kind of block there is: exactly what is lost, nothing else.

leak_kinds.c says what is held how, and what is lost.
"""

import collections
import os
import pathlib
import re
import shutil

import pytest

from harness import Background, compile_c, core_pattern_is_usable, gcore, paths
from leak_support import build, refused, target_of, umem, umem_json, waiting

# (kind, site) -> (buffers, bytes requested); site is the function that allocated.
LOST = {
    ("direct", "lost_widgets"): (3, 3 * 64),
    ("indirect", "widget_construct"): (3, 3 * 120),
    ("direct", "lost_pages"): (2, 2 * 4096),
    ("direct", "lost_large"): (1, 300000),
    ("direct", "lost_aligned"): (1, 100),
    ("direct", "lost_stack"): (1, None),
    ("direct", "lost_string"): (1, 48),
    ("direct", "lost_circles"): (1, 48),
    ("indirect", "lost_circles"): (19, 19 * 48),
    ("direct", "lost_by_thread"): (3, 3 * 555),
    ("direct", "lost_mapping"): (1, 263),
}
LOST_BUFFERS = sum(count for count, _ in LOST.values())
SITES = {site for _, site in LOST} | {"held_by_interior"}
GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    return build(tmp_path_factory.mktemp("kinds"))


def site(group):
    """The innermost function of the stack that leak_kinds.c names."""
    for frame in group["stack"]:
        if frame["function"] in SITES:
            return frame["function"]
    return None


def by_site(report):
    found = collections.defaultdict(lambda: (0, 0))
    for group in report["groups"]:
        count, requested = found[group["kind"], site(group)]
        found[group["kind"], site(group)] = (count + group["count"],
                                             requested + (group["requested_bytes"] or 0))
    return dict(found)


KERNEL = pytest.param("kernel", marks=pytest.mark.skipif(
    not core_pattern_is_usable(), reason="the kernel's core pattern pipes or names a directory"))


def check_kinds(report):
    """Just the blocks that leak_kinds loses, by what their stacks say."""
    assert report["complete"] is True, report
    found = by_site(report)
    assert found.keys() == LOST.keys()
    for key, (count, requested) in LOST.items():
        assert found[key][0] == count, key
        if requested is not None:
            assert found[key][1] == requested, key
    assert report["total"]["buffers"] == LOST_BUFFERS
    assert report["unreached_mappings"]["buffers"] == 1


@pytest.mark.parametrize("how", ["live", "gcore", KERNEL])
@pytest.mark.parametrize("debug", ["audit=20", "audit=64,guard", "default"])
def test_kinds_with_stacks(kinds, tmp_path, debug, how):
    with waiting(kinds, "lose", debug=debug, cwd=tmp_path) as process:
        report = umem_json("leaks", target_of(process, how, tmp_path), expect=1)
    check_kinds(report)
    assert report["total"]["bytes"] == sum(group["bytes"] for group in report["groups"])


@pytest.mark.parametrize("how", ["live", "gcore", KERNEL])
@pytest.mark.parametrize("debug", [None, "guard"])
def test_kinds_without_stacks(kinds, tmp_path, debug, how):
    with waiting(kinds, "lose", debug=debug, cwd=tmp_path) as process:
        report = umem_json("leaks", target_of(process, how, tmp_path), expect=1)
    found = {(group["kind"], group["cache"]): group["count"] for group in report["groups"]}
    # With guards a block comes from the class that has room for its tag, too.
    node, resource = ("umem_alloc_64", "umem_alloc_144") if debug else ("umem_alloc_48",
                                                                        "umem_alloc_128")
    assert found == {
        ("direct", "umem_oversize"): 2, ("direct", "stack_64k"): 1, ("direct", "pages"): 2,
        ("direct", "umem_alloc_576"): 3, ("direct", node): 2,
        ("direct", "widgets"): 3, ("direct", "umem_alloc_288"): 1,
        ("indirect", node): 19, ("indirect", resource): 3}
    assert report["audit"] is False


def test_what_hangs_on_what(kinds):
    with waiting(kinds, "lose", debug="audit=20") as process:
        report = umem_json("leaks", process.pid, expect=1)
    holds = {site(group): group["holds"]["buffers"] for group in report["groups"]
             if group["kind"] == "direct" and group["holds"]["buffers"] > 0}
    assert holds == {"lost_circles": 19, "lost_widgets": 3}


def test_mappings(kinds):
    with waiting(kinds, "lose", debug="audit=20") as process:
        report = umem_json("leaks", process.pid, "--mappings", expect=1)
    maps = [group for group in report["groups"] if group["cache"] == "mapping"]
    assert [(group["kind"], group["count"], group["bytes"]) for group in maps] == [
        ("direct", 1, 1 << 20)]
    assert maps[0]["holds"]["buffers"] == 1
    assert by_site(report)["indirect", "lost_mapping"] == (1, 263)


@pytest.mark.parametrize("debug", [None, "audit=20", "audit,guard"])
@pytest.mark.parametrize("how", ["live", "gcore"])
def test_nothing_lost(kinds, tmp_path, debug, how):
    with waiting(kinds, "hold", debug=debug) as process:
        target = target_of(process, how, tmp_path)
        result = umem("leaks", target)
        report = umem_json("leaks", target)
    assert result.returncode == 0, result
    assert result.stdout.startswith("no leaks in ")
    assert report["groups"] == [] and report["total"] == {"buffers": 0, "bytes": 0}


def test_inner_pointers(kinds):
    """Held by an address in their middle only: no leak; a possible one where asked for."""
    with waiting(kinds, "hold", debug="audit=20") as process:
        report = umem_json("leaks", process.pid, "--possible")
    assert {group["kind"] for group in report["groups"]} == {"possible"}
    assert by_site(report)["possible", "held_by_interior"] == (1, 509)


def test_storm(kinds):
    """Threads caught in the middle of malloc and free have lost nothing."""
    with waiting(kinds, "storm", debug=None) as process:
        for _ in range(10):
            result = umem("leaks", process.pid)
            assert result.returncode == 0, result
        assert process.process.poll() is None


def test_target_runs_on(kinds):
    with waiting(kinds, "hold") as process:
        umem("leaks", process.pid)
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    assert re.search(r"^State:\s+[RS]", status, re.M), status
    assert re.search(r"^TracerPid:\s+0$", status, re.M), status


def test_truncated_core(kinds, tmp_path):
    """What is missing may point to them: possible leaks, and said to be partial."""
    with waiting(kinds, "lose", debug="audit=20") as process:
        core = gcore(process.pid, tmp_path)
    short = tmp_path / "short"
    shutil.copy(core, short)
    seen = set()
    for part in (99, 90, 60, 30):
        with open(short, "r+b") as file:
            file.truncate(core.stat().st_size * part // 100)
        result = umem("leaks", "--format=json", short)
        assert result.returncode in (1, 2), result
        seen.add(result.returncode)
        if result.returncode == 2:
            assert result.stdout == "" and result.stderr.startswith("umem: ")
            continue
        report = umem_json("leaks", short, expect=1)
        assert report["complete"] is False and report["incomplete"]
        assert {group["kind"] for group in report["groups"]} <= {"possible"}
    assert 1 in seen or 2 in seen


def test_filters(kinds):
    with waiting(kinds, "lose", debug="audit=20") as process:
        one = umem_json("leaks", process.pid, "--cache=widgets", expect=1)
        large = umem_json("leaks", process.pid, "--min-bytes=64k", expect=1)
        none = umem("leaks", process.pid, "--cache=stack_128k")
        few = umem_json("leaks", process.pid, "--max=2", expect=1)
        text = umem("leaks", process.pid, "--max=2")
    assert [group["cache"] for group in one["groups"]] == ["widgets"]
    assert one["total"]["buffers"] == 3
    assert {group["cache"] for group in large["groups"]} == {"umem_oversize", "stack_64k"}
    assert none.returncode == 0 and none.stdout.startswith("no leaks of that kind"), none
    assert max(len(group["buffers"]) for group in few["groups"]) == 2
    assert few["total"]["buffers"] == LOST_BUFFERS
    assert "more places; --max=0 lists all" in text.stdout


def test_order(kinds):
    """Direct before indirect, most bytes first: what a reader needs is on top."""
    with waiting(kinds, "lose", debug="audit=20") as process:
        report = umem_json("leaks", process.pid, expect=1)
    keys = [(group["kind"], -group["bytes"] - group["holds"]["bytes"])
            for group in report["groups"]]
    assert keys == sorted(keys)


CXX = """#include <cstdio>
#include <cstring>
#include <unistd.h>
struct Widget { virtual ~Widget() {} int size = 3; };
static Widget *volatile sink;
__attribute__((noipa)) static void lose() { sink = new Widget; sink = nullptr; }
__attribute__((noipa)) static void wipe()
{
    volatile char dead[65536];
    __asm__ volatile("" : : "r"(memset((char *)dead, 0, sizeof(dead))) : "memory");
}
int main() { lose(); wipe(); puts("ready"); fflush(stdout); pause(); }
"""


def test_hints_without_audit(kinds, tmp_path):
    """Strings and classes are named where no stack is known, and how to get stacks is said."""
    source = tmp_path / "widget.cc"
    source.write_text(CXX)
    program = compile_c(source, tmp_path / "widget", flags=["-O1"])
    with waiting(program, preload=True) as process:
        result = umem("leaks", process.pid)
    assert result.returncode == 1, result
    assert "vtable for Widget" in result.stdout
    assert "umem run --audit" in result.stdout
    with waiting(kinds, "lose") as process:
        result = umem("leaks", process.pid)
    assert '"a string that nobody freed"' in result.stdout


def normal(text):
    """Without what differs from run to run, and libc's frames, which differ by version."""
    text = re.sub(r"0x[0-9a-f]+", "0x...", text)
    text = re.sub(r"\(pid \d+\)", "(pid N)", text)
    text = re.sub(r"thread \d+", "thread N", text)
    text = re.sub(r"allocated .* ago", "allocated ... ago", text)
    text = re.sub(r"[0-9.]+ % of [0-9,]+ bytes in [0-9,]+ live", "N % of N bytes in N live", text)
    text = re.sub(r" +/\S*/([^/\s]+:\d+)", r"  \1", text)
    lines = [line.rstrip() for line in text.splitlines()]
    libc = r"\s+(__libc_start\w*|_start|start_thread|__clone3?|clone|libc\.so\.6\+0x)(\b|\.)"
    keep = [line for line in lines if not re.match(libc, line)]
    return "\n".join(re.sub(r"(\S)  +(\S)", r"\1  \2", line) for line in keep) + "\n"


SMALL = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
struct node { struct node *next; char rest[24]; };
__attribute__((noipa)) static void forget(void)
{
    for (int i = 0; i < 3; i++) {
        char *p = malloc(100);
        memset(p, 1, 100);
    }
}
__attribute__((noipa)) static void forget_list(void)
{
    struct node *head = NULL;
    for (int i = 0; i < 4; i++) {
        struct node *n = malloc(sizeof(*n));
        memset(n, 0, sizeof(*n));
        n->next = head;
        head = n;
    }
    __asm__ volatile("" : : "r"(head) : "memory");
}
__attribute__((noipa)) static void wipe(void)
{
    volatile char dead[65536];
    __asm__ volatile("" : : "r"(memset((char *)dead, 0, sizeof(dead))) : "memory");
}
int main(void)
{
    static char *volatile kept;
    kept = malloc(50);
    memset(kept, 2, 50);
    forget();
    forget_list();
    wipe();
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
"""


def test_text(tmp_path):
    """The report as a person reads it, word for word."""
    program = build(tmp_path, SMALL, libs=())
    with waiting(program, debug="audit=20,guard") as process:
        result = umem("leaks", process.pid)
    assert result.returncode == 1, result
    assert result.stderr == ""
    assert normal(result.stdout) == (GOLDEN / "leaks.txt").read_text()


@pytest.mark.parametrize("arguments", [["leaks"], ["leaks", "1", "2"], ["leaks", "/dev/null"],
                                       ["leaks", "/no/such/file"], ["leaks", "--nonsense", "1"],
                                       ["leaks", "--format=xml", "1"]])
def test_wrong_usage(arguments):
    refused(*arguments)


def test_help():
    result = umem("leaks", "--help")
    assert result.returncode == 0 and "Exit code: 0 no leaks, 1 leaks" in result.stdout


def test_marked_by_several_threads(tmp_path):
    """As many blocks as are worth it: the same is found as by one, which a processor is left to."""
    leaky = compile_c(paths.REPO / "bench" / "leaky.c", tmp_path / "leaky",
                      flags=["-O2", "-pthread"])
    core = tmp_path / "core"
    with Background([leaky, "300000"], preload=True) as process:
        process.wait_for_line("leaked")
        expected = int(process.lines[-1].split()[1])
        assert umem("core", process.pid, "-o", core).returncode == 0
    processors = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(processors)})
        by_one = umem_json("leaks", core, expect=1)
    finally:
        os.sched_setaffinity(0, processors)
    assert by_one["total"]["buffers"] == expected
    for _ in range(3):
        assert umem_json("leaks", core, expect=1) == by_one
