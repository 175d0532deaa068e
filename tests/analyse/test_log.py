# SPDX-License-Identifier: MIT
"""`umem log`: what happened last, from a live process and from cores."""

import errno

import pytest

from harness import Background, core_pattern_is_usable
from leak_support import build, refused, target_of, umem, umem_json

PROGRAM = """#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <umem.h>
#define KEPT __attribute__((noipa))
KEPT static void *take(umem_cache_t *c)
{
    void *p = umem_cache_alloc(c, UMEM_DEFAULT);
    __asm__ volatile("" : "+r"(p)); /* no tail call: this function is to be in the stack */
    return p;
}
KEPT static void drop(umem_cache_t *c, void *p)
{
    umem_cache_free(c, p);
    __asm__ volatile("");
}
KEPT static void *fail(void)
{
    umem_setmtbf(1);
    void *p = umem_alloc(4711, UMEM_DEFAULT);
    umem_setmtbf(0);
    return p;
}
int main(void)
{
    umem_cache_t *rocket = umem_cache_create("rocket", 3000, 0, NULL, NULL, NULL, NULL, NULL, 0);
    umem_cache_t *anvil = umem_cache_create("anvil", 72, 0, NULL, NULL, NULL, NULL, NULL, 0);
    void *first = take(rocket), *second = NULL;
    for (int i = 0; i < 40; i++)
        drop(anvil, take(anvil));
    setvbuf(stdout, NULL, _IONBF, 0);
    if (fail() != NULL)
        return 1;
    second = take(anvil);
    drop(anvil, second);
    second = umem_alloc(300000, UMEM_DEFAULT);
    printf("first %p second %p\\n", first, second);
    drop(rocket, first);
    printf("ready\\n");
    pause();
    return 0;
}
"""
LOGS = "transaction,fail=4k,slab"
WAYS = ["live", "gcore", pytest.param("kernel", marks=pytest.mark.skipif(
    not core_pattern_is_usable(), reason="the kernel's core pattern names another place"))]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("log"), PROGRAM, package="umem-core", libs=())


def waiting(program, logging=LOGS, debug="audit=20", cwd=None):
    process = Background([program], debug=debug, env={"UMEM_LOGGING": logging}, cwd=cwd,
                         core=cwd is not None)
    process.wait_for_line("ready")
    return process


def functions(event):
    return [frame["function"] for frame in event["stack"]]


@pytest.mark.parametrize("how", WAYS)
def test_transactions(program, tmp_path, how):
    with waiting(program, cwd=tmp_path) as process:
        log = umem_json("log", target_of(process, how, tmp_path), "--max=0")
    events = log["events"]
    assert log["complete"] is True and log["log"] == "transaction"
    assert log["records"] == len(events) == 1 + 2 * 40 + 2 + 1 + 1
    last, large, freed, taken = events[:4]
    assert (last["kind"], last["cache"], last["size"]) == ("freed", "rocket", 3000)
    assert functions(last)[:2] == ["drop", "main"] and last["stack"][0]["line"] is not None
    assert (large["kind"], large["cache"], large["size"]) == ("allocated", "oversize", 300000)
    assert (freed["kind"], taken["kind"], taken["cache"]) == ("freed", "allocated", "anvil")
    assert freed["address"] == taken["address"]
    assert functions(taken)[:2] == ["take", "main"]
    assert events[-1]["kind"] == "allocated" and events[-1]["address"] == last["address"]
    ages = [event["age_s"] for event in events]
    assert ages == sorted(ages) and 0 <= ages[0] <= ages[-1] < 60
    assert len({event["thread"] for event in events}) == 1


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("debug", [None, "audit=20"])
def test_failures_and_slabs(program, tmp_path, how, debug):
    logging = LOGS if debug else "fail,slab"
    with waiting(program, logging, debug=debug, cwd=tmp_path) as process:
        target = target_of(process, how, tmp_path)
        fails = umem_json("log", target, "fail")
        slabs = umem_json("log", target, "slab", "-n", "0")
        status = umem_json("status", target)
    event, = fails["events"]
    assert (event["kind"], event["size"], event["errno"]) == ("failed", 4711, errno.ENOMEM)
    assert event["address"] is None and event["cache"].startswith("umem_alloc_")
    assert functions(event)[:2] == ["fail", "main"]
    made = [event for event in slabs["events"] if event["kind"] == "slab made"]
    assert {"rocket", "anvil"} <= {event["cache"] for event in made}
    assert "take" in functions(next(event for event in made if event["cache"] == "anvil"))
    assert status["logs"]["fail"]["records"] == 1
    assert status["logs"]["slab"]["records"] == slabs["records"]
    assert (status["logs"]["transaction"] is None) == (debug is None)


def test_text(program):
    with waiting(program) as process:
        result = umem("log", process.pid, "-n", "2")
        fails = umem("log", process.pid, "fail")
        status = umem("status", process.pid)
    assert result.returncode == 0, result
    lines = result.stdout.splitlines()
    assert lines[0].startswith("transaction log: 85 records, the oldest ")
    assert ": freed 0x" in lines[1] and ", 3,000 bytes, rocket, by thread " in lines[1]
    assert "drop+0x" in lines[2]
    assert lines[-1] == "83 records are older; -n 0 lists them"
    assert ": failed, 4,711 bytes, umem_alloc_" in fails.stdout
    assert ": Cannot allocate memory, by thread " in fails.stdout
    assert "transaction of 85 records, the oldest " in status.stdout
    assert "fail of 1 record, the oldest " in status.stdout


def test_log_that_has_come_round(program):
    """The smallest ring is a page; the newest are there."""
    with waiting(program, "transaction=1") as process:
        log = umem_json("log", process.pid, "--max=0")
    assert 4096 // 40 >= log["records"] >= 85
    assert log["events"][0]["cache"] == "rocket"


def test_refused(program):
    refused("log", "/dev/null")
    with waiting(program, "fail") as process:
        assert "UMEM_DEBUG=audit UMEM_LOGGING=transaction" in refused("log", process.pid)
        assert "give transaction, fail or slab" in refused("log", process.pid, "contents")
        assert umem_json("log", process.pid, "fail")["records"] == 1
    with waiting(program, "") as process:
        assert umem_json("status", process.pid)["logs"] == {
            "transaction": None, "fail": None, "slab": None}
        assert "  logs" not in umem("status", process.pid).stdout
