# SPDX-License-Identifier: MIT
"""`umem users`: who has the memory; and `umem leaks --since`, which goes by the same times."""

import pytest

from harness import gcore
from leak_support import build, refused, target_of, umem, umem_json, waiting

PROGRAM = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <umem.h>
#include <unistd.h>
static void *kept[1000], *volatile lost;
__attribute__((noipa)) static void *many(void)
{
    void *p = malloc(50);
    __asm__ volatile("" : "+r"(p)); /* no tail call */
    return p;
}
__attribute__((noipa)) static void *large(void)
{
    void *p = malloc(200000);
    __asm__ volatile("" : "+r"(p));
    return p;
}
__attribute__((noipa)) static void *few(umem_cache_t *cache)
{
    void *p = umem_cache_alloc(cache, UMEM_DEFAULT);
    __asm__ volatile("" : "+r"(p));
    return p;
}
__attribute__((noipa)) static void lose(void)
{
    lost = malloc(300);
    lost = NULL;
}
int main(void)
{
    umem_cache_t *cache = umem_cache_create("few_cache", 72, 0, NULL, NULL, NULL, NULL, NULL, 0);
    int n = 0;
    lose();
    while (n < 700)
        kept[n++] = many();
    kept[n++] = large();
    kept[n++] = few(cache);
    free(kept[0]);
    kept[0] = NULL;
    usleep(1200 * 1000);
    while (n < 705)
        kept[n++] = few(cache);
    lose();
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
"""


@pytest.fixture(scope="module", name="program")
def fixture_program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("users"), PROGRAM, libs=())


def by_function(report, *names):
    """What each of these functions allocated, wherever it was called."""
    found = {}
    for group in report["groups"]:
        for name in {frame["function"] for frame in group["stack"]} & set(names):
            sum_up = found.setdefault(name, {"count": 0, "bytes": 0, "requested_bytes": 0,
                                             "cache": group["cache"]})
            for key in ("count", "bytes", "requested_bytes"):
                sum_up[key] += group[key]
    return found


@pytest.mark.parametrize("how", ["live", "gcore"])
def test_groups(program, tmp_path, how):
    with waiting(program, debug="audit=20") as process:
        report = umem_json("users", target_of(process, how, tmp_path))
    assert report["complete"] is True
    found = by_function(report, "many", "large", "few")
    assert (found["many"]["count"], found["many"]["cache"]) == (699, "umem_alloc_64")
    assert found["many"]["requested_bytes"] == 699 * 50 and found["many"]["bytes"] == 699 * 64
    assert (found["large"]["count"], found["large"]["cache"]) == (1, "umem_oversize")
    assert found["large"]["requested_bytes"] == 200000
    assert (found["few"]["count"], found["few"]["cache"]) == (4, "few_cache")
    assert report["total"] == report["live"]
    assert report["total"]["bytes"] == sum(group["bytes"] for group in report["groups"])
    sizes = [group["bytes"] for group in report["groups"]]
    assert sizes == sorted(sizes, reverse=True)


def test_without_audit_by_cache(program):
    with waiting(program) as process:
        report = umem_json("users", process.pid)
    groups = {group["cache"]: group for group in report["groups"]}
    assert len(groups) == len(report["groups"])
    assert groups["few_cache"]["count"] == 4 and groups["few_cache"]["stack"] == []


def test_caches_and_since(program, tmp_path):
    with waiting(program, debug="audit=20") as process:
        some = umem_json("users", process.pid, "--cache=few_cache", "--cache", "umem_oversize")
        old = by_function(umem_json("users", process.pid, "--since=1d"), "many", "few")
        # In a core nothing grows older: its now is that of its last transaction.
        core = gcore(process.pid, tmp_path)
    young = by_function(umem_json("users", core, "--since=1s"), "many", "few")
    lost = umem_json("leaks", core, expect=1)
    lately = umem_json("leaks", core, "--since=1s", expect=1)
    never = umem("leaks", core, "--since=1s", "--cache=few_cache")
    assert {group["cache"] for group in some["groups"]} == {"few_cache", "umem_oversize"}
    assert set(young) == {"few"} and young["few"]["count"] == 3
    assert old["many"]["count"] == 699
    assert (lost["total"]["buffers"], lately["total"]["buffers"]) == (2, 1)
    assert never.returncode == 0 and "no leaks of that kind" in never.stdout


def test_text(program):
    with waiting(program, debug="audit=20") as process:
        result = umem("users", process.pid)
        everything = umem("users", "-e", "-f", "-n", 0, process.pid)
    assert result.returncode == 0, result
    lines = result.stdout.splitlines()
    assert lines[0].split()[1:4] == ["live", "buffers", "in"] and " bytes from " in lines[0]
    assert any(line.startswith("  699 buffers, 44,736 bytes (34,950 requested), umem_alloc_64, ")
               for line in lines)
    assert any(line.startswith("      many+") for line in lines)
    assert not any("few+" in line for line in lines) and "small; -e lists them" in result.stdout
    assert any("few+" in line for line in everything.stdout.splitlines())
    each = [line for line in everything.stdout.splitlines()
            if line.startswith("      0x") and "  50 bytes, " in line]
    assert len(each) == 699
    assert all(len(line) <= 100 for line in lines)


@pytest.mark.parametrize("arguments,said", [
    (["--since=soon", "1"], "--since=soon: not an age (30s, 10m, 2h, 1d)"),
    (["--since=", "1"], "not an age"),
    (["--since=99999999999d", "1"], "not an age"),
    ([], "needs TARGET"),
    (["/dev/null"], "/dev/null")])
def test_refused(arguments, said):
    assert said in refused("users", *arguments)


def test_no_such_cache(program):
    with waiting(program) as process:
        assert "no cache 'nosuch'" in refused("users", "--cache=nosuch", process.pid)
