# SPDX-License-Identifier: MIT
"""`umem stat`: what is counted is what the program did."""

import re

import pytest

from leak_support import build, refused, target_of, umem, umem_json, waiting

COUNTED = """#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <umem.h>
static void *volatile kept[1000], *volatile threads_own;
static volatile int ready;
static void *thread(void *arg)
{
    void *p[10];
    for (int i = 0; i < 10; i++)
        p[i] = malloc(3000);
    for (int i = 0; i < 10; i++)
        free(p[i]);
    threads_own = malloc(3000);
    ready = 1;
    pause();
    return arg;
}
int main(void)
{
    pthread_t t;
    umem_cache_t *c = umem_cache_create("counted", 72, 0, NULL, NULL, NULL, NULL, NULL, 0);
    (void)umem_cache_create("idle", 80, 0, NULL, NULL, NULL, NULL, NULL, 0);
    for (int i = 0; i < 1000; i++)
        kept[i] = umem_cache_alloc(c, UMEM_DEFAULT);
    for (int i = 500; i < 1000; i++)
        umem_cache_free(c, kept[i]);
    kept[999] = malloc(1 << 20);
    pthread_create(&t, NULL, thread, NULL);
    while (!ready)
        usleep(1000);
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
"""


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    return build(tmp_path_factory.mktemp("stat"), COUNTED, libs=())


@pytest.mark.parametrize("how", ["live", "gcore"])
@pytest.mark.parametrize("debug", [None, "audit", "guard"])
def test_counts(counted, tmp_path, debug, how):
    with waiting(counted, debug=debug) as process:
        report = umem_json("stat", target_of(process, how, tmp_path))
    caches = {cache["name"]: cache for cache in report["caches"]}
    assert report["complete"] is True
    own = caches["counted"]
    assert own["bufsize"] == 72 and own["inuse"] == 500 and own["fails"] == 0
    assert own["allocs"] == 1000
    # What was freed lies in magazines or in slabs; nothing is lost on the way.
    assert own["inuse"] + own["cached"] <= own["total"]
    assert own["bytes"] >= own["total"] * 72
    class_3000 = next(cache for cache in report["caches"]
                      if cache["name"].startswith("umem_alloc_") and cache["bufsize"] >= 3000)
    assert class_3000["inuse"] == 1
    assert class_3000["allocs"] == 11
    large = caches["umem_oversize"]
    assert large["inuse"] == 1 and large["bytes"] >= 1 << 20 and large["bufsize"] is None
    for cache in report["caches"]:
        assert cache["inuse"] + cache["cached"] <= cache["total"], cache


@pytest.mark.parametrize("debug", [None, "audit"])
def test_arenas_and_threads(counted, debug):
    with waiting(counted, debug=debug) as process:
        report = umem_json("stat", process.pid)
        heap = next(arena for arena in report["arenas"] if arena["name"] == "umem_heap")
        assert heap["inuse"] == sum(cache["bytes"] for cache in report["caches"])
        assert heap["inuse"] <= heap["total"] and heap["allocs"] > 0 and heap["fails"] == 0
        threads = {thread["thread"]: thread for thread in report["threads"]}
        assert process.pid in threads and len(threads) == 2
        cached = sum(cache["cached"] for cache in report["caches"])
        assert sum(thread["cached"] for thread in report["threads"]) <= cached


def test_text(counted):
    with waiting(counted) as process:
        result = umem("stat", process.pid)
        everything = umem("stat", "--all", process.pid)
    assert result.returncode == 0, result
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["cache", "size", "in", "use", "cached", "total", "memory",
                                "allocations", "failed"]
    row = next(line.split() for line in lines if line.startswith("counted"))
    assert row[1:3] == ["72", "500"] and row[6] == "1,000"
    assert "never used; --all lists them" in result.stdout
    assert not any(line.startswith("idle ") for line in lines)
    assert any(line.startswith("idle ") for line in everything.stdout.splitlines())
    assert all(len(line) <= 100 for line in everything.stdout.splitlines())


SAMPLE = re.compile(r'(umem_[a-z_]+)(\{(cache|arena|thread)="((?:[^"\\\n]|\\.)*)"\})? (\d+)')


def samples_of(text):
    """Name and label to value; each family whole, with its type, before the next begins."""
    lines = text.split("\n")
    assert lines[-2:] == ["# EOF", ""]
    found, types, family = {}, {}, None
    for line in lines[:-2]:
        words = line.split(" ", 3)
        if words[0] == "#":
            assert words[1] in ("TYPE", "UNIT", "HELP")
            if words[1] == "TYPE":
                family = words[2]
                assert family not in types and words[3] in ("gauge", "counter")
                types[family] = words[3]
            assert words[2] == family
            assert words[1] != "UNIT" or family.endswith("_" + words[3])
            continue
        name, _, _, label, value = SAMPLE.fullmatch(line).groups()
        assert name == family + ("_total" if types[family] == "counter" else "")
        assert (name, label) not in found
        found[name, label] = int(value)
    return found


def test_openmetrics(counted):
    with waiting(counted, debug="audit") as process:
        report = umem_json("stat", process.pid)
        result = umem("stat", "--format=openmetrics", process.pid)
    assert result.returncode == 0, result
    found = samples_of(result.stdout)
    assert found["umem_complete", None] == 1
    for cache in report["caches"]:
        used = cache["total"] > 0 or cache["allocs"] > 0 or cache["bufsize"] is None
        assert (("umem_cache_inuse_buffers", cache["name"]) in found) == used
        if used:
            assert found["umem_cache_inuse_buffers", cache["name"]] == cache["inuse"]
            assert found["umem_cache_memory_bytes", cache["name"]] == cache["bytes"]
    assert found["umem_cache_allocations_total", "counted"] == 1000
    assert found["umem_cache_buffer_size_bytes", "counted"] == 72
    assert ("umem_cache_buffer_size_bytes", "umem_oversize") not in found
    for arena in report["arenas"]:
        assert found["umem_arena_inuse_bytes", arena["name"]] == arena["inuse"]
    for thread in report["threads"]:
        assert found["umem_thread_free_buffers", str(thread["thread"])] == thread["cached"]
    assert "give text, json or openmetrics" in refused("stat", "--format=xml", process.pid)
    assert "give text or json" in refused("leaks", "--format=openmetrics", process.pid)


def test_refused():
    refused("stat", "/dev/null")
    refused("stat")
