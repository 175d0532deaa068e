# SPDX-License-Identifier: MIT
"""`umem stacks`: those in use and cached, threads on them, names, in cores and processes."""

import re

import pytest

from leak_support import build, refused, target_of, umem, umem_json, waiting

PROGRAM = """#include <stackalloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static volatile int ready;
__attribute__((noipa)) static void *serve(void *arg)
{
    volatile char frame[20000];
    frame[0] = 1;
    stack_name((void *)frame, "server");
    ready = 1;
    for (;;)
        pause();
    return arg;
}
int main(void)
{
    pthread_t thread;
    setvbuf(stdout, NULL, _IOLBF, 0);
    char *fiber = stack_alloc(32768), *freed = stack_alloc(131072);
    stack_name(fiber, "fiber");
    stack_free(freed, 131072);
    char *deep = stack_alloc(65536);
    stack_name(deep, "deep");
    stack_watermark(deep, 65536, STACK_WATERMARK_FILL);
    deep[65536 - 12345] = 0;
    if (stack_pthread_create(&thread, NULL, 65536, serve, NULL) != 0)
        return 3;
    while (!ready)
        usleep(1000);
    printf("fiber %p\\nfreed %p\\nready\\n", (void *)fiber, (void *)freed);
    pause();
    return 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("stacks"), PROGRAM, package="stackalloc")


@pytest.mark.parametrize("how", ["live", "gcore", "kernel"])
def test_stacks(program, tmp_path, how):
    with waiting(program, cwd=tmp_path) as process:
        at = {line.split()[0]: line.split()[1] for line in process.lines if " 0x" in line}
        told = umem_json("stacks", target_of(process, how, tmp_path))
        rows = told["stacks"]
        assert rows == sorted(rows, key=lambda row: int(row["base"], 16))
        by_name = {row["name"]: row for row in rows if row["state"] == "in use"}
        assert set(by_name) == {"server", "fiber", "deep"}
        assert by_name["deep"]["high_water"] == 12345 and by_name["fiber"]["high_water"] is None
        assert by_name["deep"]["high_water_at_most"] == 12345
        assert by_name["fiber"]["high_water_at_most"] == 32768  # it was faulted in
        totals = {row["state"]: row for row in told["totals"]}
        assert (totals["in use"]["count"], totals["in use"]["bytes"]) == (3, 163840), totals
        assert totals["cached"]["bytes"] == sum(row["size"] for row in rows
                                                if row["state"] == "cached"), totals
        assert totals["cold"]["count"] == 0, totals
        # A core does not tell; building these stacks took a fault a page at most.
        assert (told["faults"] or 0) > 100 if how == "live" else told["faults"] is None
        fiber, server = by_name["fiber"], by_name["server"]
        assert fiber["base"] == at["fiber"] and fiber["size"] == 32768
        assert fiber["thread"] == 0 and fiber["depth"] == 0
        assert server["size"] == 65536 and server["start"] == "serve"
        assert server["thread"] > process.pid and 20000 < server["depth"] < 40000
        freed = [row for row in rows if row["base"] == at["freed"]]
        assert len(freed) == 1 and freed[0]["state"] == "cached"
        assert freed[0]["size"] == 131072 and freed[0]["name"] == ""


def test_text(program):
    with waiting(program) as process:
        result = umem("stacks", process.pid)
        assert result.returncode == 0 and result.stderr == "", result
        lines = result.stdout.splitlines()
        assert re.fullmatch(r"3 stacks in use \(163,840 bytes\), \d cached \([\d,]+ bytes\); "
                            r"the process took [\d,]+ page faults", lines[0]), result
        assert any(" 12,345 " in line and line.endswith(" deep") for line in lines), result
        assert any(" serve " in line and line.endswith(" server") for line in lines), result
        result = umem("stacks", "--max=1", process.pid)
        assert "more: --max 0 lists all" in result.stdout, result


COLD = """#include <stackalloc.h>
#include <stdio.h>
#include <unistd.h>
int main(void)
{
    void *stacks[20];
    for (int i = 0; i < 20; i++)
        stacks[i] = stack_alloc(65536);
    for (int i = 1; i < 20; i++)
        stack_free(stacks[i], 65536);
    stack_trim(65536, 0);
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
"""


def test_cold_stacks(tmp_path):
    with waiting(build(tmp_path, COLD, package="stackalloc")) as process:
        states = [row["state"] for row in umem_json("stacks", process.pid)["stacks"]]
        assert states.count("in use") == 1 and states.count("cold") == 19, states
        first = umem("stacks", process.pid).stdout.splitlines()[0]
        assert first.split(";")[0] == "1 stack in use (65,536 bytes), 0 cached (0 bytes), 19 cold"


LAZY = """#include <stackalloc.h>
#include <stdio.h>
#include <unistd.h>
int main(void)
{
    struct stack_config lazy = {.config_lazy = 1};
    stack_config(65536, &lazy, sizeof(lazy));
    char *none = stack_alloc(65536), *some = stack_alloc(65536);
    stack_name(none, "none");
    stack_name(some, "some");
    some[65536 - 10000] = 0;
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
"""


@pytest.mark.parametrize("how", ["live", "kernel"])
def test_high_water_by_pages(tmp_path, how):
    """Of one that was not filled, the pages that hold memory tell: of a process, and at most."""
    with waiting(build(tmp_path, LAZY, package="stackalloc"), cwd=tmp_path) as process:
        target = target_of(process, how, tmp_path)
        rows = {row["name"]: row for row in umem_json("stacks", target)["stacks"]}
        none, some = rows["none"], rows["some"]
        assert none["high_water"] is None and some["high_water"] is None, rows
        assert none["high_water_at_most"] == (0 if how == "live" else 65536), rows
        assert some["high_water_at_most"] == (12288 if how == "live" else 65536), rows
        lines = umem("stacks", target).stdout.splitlines()
        assert any("12,288 at most" in line for line in lines) == (how == "live"), lines


def test_no_library():
    with waiting("/bin/sh", "-c", "echo ready; exec sleep 100") as process:
        assert "no libstackalloc" in refused("stacks", str(process.pid))


FREED = """#include <stackalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static void *volatile freed; /* the program remembers it, and may not use it any more */
__attribute__((noipa)) static void lose(void)
{
    void *volatile *stack = stack_alloc(65536);
    stack[1000] = malloc(48);
    stack[2000] = NULL;
    stack_free((void *)stack, 65536);
    freed = (void *)stack;
}
int main(void)
{
    lose();
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
"""


@pytest.mark.parametrize("debug", [None, "audit=16"])  # in its thread's pile, in a magazine
def test_freed_stack_holds_nothing(tmp_path, debug):
    freeing = build(tmp_path, FREED, package="stackalloc", libs=("-lumem",))
    with waiting(freeing, debug=debug) as process:
        found = umem_json("leaks", process.pid, expect=1)
        assert [(group["count"], group["cache"]) for group in found["groups"]] == \
            [(1, "umem_alloc_48")], found
        caches = umem_json("stat", process.pid)["caches"]
        assert [(row["inuse"], row["cached"]) for row in caches
                if row["name"] == "stack_64k"] == [(0, 1)], caches
