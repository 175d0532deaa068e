# SPDX-License-Identifier: MIT
"""`umem caches`, `arenas`, `threads`, `sizes`, `history`, `grep`: what they tell of a program
that says what it did."""

import pytest

from harness import Background
from leak_support import build, refused, target_of, umem, umem_json, waiting

PROGRAM = """#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <umem.h>
#include <unistd.h>
static void *kept[200];
static char *volatile watched, *volatile moved;
struct holder { long other; char *volatile pointer; };
static struct holder *holder;
static volatile int ready;
__attribute__((noipa)) static void *allocate(size_t size)
{
    void *p = malloc(size);
    __asm__ volatile("" : "+r"(p)); /* no tail call */
    return p;
}
__attribute__((noipa)) static void release(void *p)
{
    free(p);
    __asm__ volatile("");
}
static void *thread(void *arg)
{
    void *p[100];
    for (int i = 0; i < 100; i++)
        p[i] = allocate(200);
    for (int i = 0; i < 100; i++)
        release(p[i]);
    ready = 1;
    pause();
    return arg;
}
int main(void)
{
    pthread_t t;
    umem_cache_t *cache = umem_cache_create("own_cache", 72, 0, NULL, NULL, NULL, NULL, NULL, 0);
    (void)umem_cache_create("idle_cache", 80, 0, NULL, NULL, NULL, NULL, NULL, 0);
    vmem_t *arena = vmem_create("own_arena", (void *)0x1000, 0x10000, 1, NULL, NULL, NULL, 0, 0);
    vmem_alloc(arena, 0x300, VM_SLEEP);
    kept[0] = umem_cache_alloc(cache, UMEM_DEFAULT);
    for (int i = 1; i < 101; i++)
        kept[i] = allocate(5000);
    for (int i = 101; i < 150; i++)
        kept[i] = allocate(6000 + (i & 1));
    kept[150] = allocate(300000);
    holder = allocate(sizeof(*holder));
    watched = allocate(48);
    for (int i = 0; i < 3; i++) {
        release(watched);
        watched = allocate(48);
    }
    holder->pointer = watched + 5;
    memcpy(kept[150], "\\xef\\xbe\\xfe\\xca\\x0d\\xf0\\x5e\\x7e", 8);
    pthread_create(&t, NULL, thread, NULL);
    while (!ready)
        usleep(1000);
    printf("watched %p\\nholder %p\\nlarge %p\\nown %p\\n", watched, (void *)holder, kept[150],
           (void *)cache);
    printf("variable %p\\n", (void *)&watched);
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
"""


@pytest.fixture(scope="module", name="program")
def fixture_program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("look"), PROGRAM, libs=())


@pytest.fixture(scope="module", name="plain")
def fixture_plain(program):
    with waiting(program) as process:
        yield process


@pytest.fixture(scope="module", name="audited")
def fixture_audited(program):
    with waiting(program, debug="audit=20,guards,quarantine=0") as process:
        yield process


def addresses(process):
    words = [line.split() for line in process.lines]
    return {word[0]: int(word[1], 16) for word in words if len(word) == 2}


def lines_of(*arguments):
    result = umem(*arguments)
    assert result.returncode == 0, result
    lines = result.stdout.splitlines()
    assert all(len(line) <= 120 for line in lines), lines
    return lines


# --- caches, arenas, threads ---


def test_caches(plain, audited):
    report = umem_json("caches", audited.pid)
    caches = {cache["name"]: cache for cache in report["caches"]}
    own = caches["own_cache"]
    assert int(own["address"], 16) == addresses(audited)["own"]
    assert own["bufsize"] == 72 and own["chunk"] >= 72 + 16 and own["total"] > 0
    assert own["debugging"] == ["audit", "fill", "redzone"]
    stat = {cache["name"]: cache for cache in umem_json("stat", audited.pid)["caches"]}
    for name, cache in caches.items():
        assert cache["slabs"] * cache["slab_size"] == stat[name]["bytes"], name
    [alone] = umem_json("caches", plain.pid, "own_cache")["caches"]
    assert alone["debugging"] == [] and alone["inuse"] == 1
    text = lines_of("caches", audited.pid)
    row = next(line.split() for line in text if "own_cache" in line)
    assert row[0] == hex(addresses(audited)["own"]) and row[-1] == "audit,fill,redzone"
    assert text[-1].endswith("never used; --all lists them")
    assert not any("idle_cache" in line for line in text)
    assert any("idle_cache" in line for line in lines_of("caches", "--all", audited.pid))
    assert len(lines_of("caches", audited.pid, "own_cache")) == 2
    assert "no cache 'mine'" in refused("caches", audited.pid, "mine")
    refused("caches", "/dev/null")


UNTOUCHED = """#include <stdio.h>
#include <umem.h>
#include <unistd.h>
static void *volatile object;
int main(void)
{
    umem_cache_t *cache =
        umem_cache_create("untouched", 72, 0, NULL, NULL, NULL, NULL, NULL, UMC_NOTOUCH);
    object = umem_cache_alloc(cache, UMEM_DEFAULT);
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
"""


@pytest.mark.parametrize("debug, names", [("guards", ["state"]), ("audit", ["audit"]),
                                          ("audit,guards", ["audit", "state"])])
def test_cache_whose_objects_are_not_written_to(tmp_path, debug, names):
    program = build(tmp_path, UNTOUCHED, libs=())
    with waiting(program, debug=debug) as process:
        [cache] = umem_json("caches", process.pid, "untouched")["caches"]
        assert cache["debugging"] == names
        row = lines_of("caches", process.pid, "untouched")[-1]
    assert row.split()[-1] == ",".join(names)


def test_arenas(plain):
    arenas = {arena["name"]: arena for arena in umem_json("arenas", plain.pid)["arenas"]}
    assert arenas["own_arena"]["inuse"] == 0x300 and arenas["own_arena"]["total"] == 0x10000
    assert arenas["own_arena"]["source"] == "" and arenas["own_arena"]["allocs"] == 1
    text = lines_of("arenas", plain.pid)
    assert [line for line in text if line.split()[1:2] == ["own_arena"]]
    # What imports from the heap stands below it, indented.
    children = [name for name, arena in arenas.items() if arena["source"] == "umem_heap"]
    for name in children:
        assert any(f"   {name}" in line for line in text)
    assert len(text) == 1 + len(arenas)
    refused("arenas")


@pytest.mark.parametrize("how", ["live", "gcore"])
def test_threads(program, tmp_path, how):
    with waiting(program) as process:
        target = target_of(process, how, tmp_path)
        threads = umem_json("threads", target)["threads"]
        text = lines_of("threads", target)
        stacks = lines_of("threads", "--stacks", target)
        stat = umem_json("stat", target)["threads"]
    assert len(threads) == 2 and process.pid in [row["thread"] for row in threads]
    other = next(row for row in threads if row["thread"] != process.pid)
    assert "thread" in [frame["function"] for frame in other["stack"]]
    assert other["cached_bytes"] >= 2000 and other["cached"] >= 10
    assert not other["gone"]
    for row in stat:
        same = next(one for one in threads if one["thread"] == row["thread"])
        assert (same["cached"], same["allocs"]) == (row["cached"], row["allocs"])
    assert text[0].split() == ["thread", "cached", "bytes", "allocations", "where", "it", "is"]
    assert len(text) == 3 and "pause" in text[1] + text[2]
    assert any(line.startswith("      thread+") for line in stacks)
    refused("threads", "/dev/null")


# --- sizes ---


def test_sizes(audited, plain):
    report = umem_json("sizes", audited.pid)
    sizes = {row["size"]: row["count"] for row in report["sizes"]}
    assert (sizes[5000], sizes[6000], sizes[6001], sizes[300000]) == (100, 24, 25, 1)
    assert report["unrecorded"] == 0
    assert report["total"]["buffers"] == sum(sizes.values())
    assert report["total"]["bytes"] == sum(size * count for size, count in sizes.items())
    bins = report["histogram"]
    assert bins[0]["from"] == 0 and bins[0]["to"] == 15 and bins[1]["to"] == 31
    assert all(one["to"] + 1 == two["from"] for one, two in zip(bins, bins[1:]))
    assert sum(row["count"] for row in bins) == report["total"]["buffers"]
    holds = next(row for row in bins if row["from"] <= 5000 <= row["to"])
    assert (holds["from"], holds["to"], holds["count"]) == (4096, 8191, 149 + sum(
        count for size, count in sizes.items()
        if 4096 <= size <= 8191 and size not in (5000, 6000, 6001)))
    caches = {row["name"]: row for row in report["caches"]}
    assert "own_cache" not in caches
    large = caches["umem_oversize"]
    assert large["requested_bytes"] >= 300000 and large["memory"] >= large["requested_bytes"]
    without = umem_json("sizes", plain.pid)
    assert without["unrecorded"] > 0 and without["total"]["buffers"] == report["total"]["buffers"]


def test_sizes_of_one_cache_and_bins(audited):
    own = umem_json("sizes", "--cache=own_cache", audited.pid)
    assert own["total"] == {"buffers": 1, "bytes": 72}
    linear = umem_json("sizes", "--linear", "--bins=4", audited.pid)["histogram"]
    assert len(linear) <= 4
    assert len({row["to"] - row["from"] for row in linear[:-1]}) == 1
    few = umem_json("sizes", "-b", "3", "-B", "1k", audited.pid)["histogram"]
    assert [row["to"] for row in few[:2]] == [1023, 2047] and len(few) == 3
    assert few[2]["to"] >= 300000
    text = lines_of("sizes", audited.pid)
    row = next(line for line in text if "4,096 to 8,191" in line)
    assert row.count("#") == 40
    assert any(line.split()[:2] == ["umem_oversize", "1"] for line in text)
    assert text[-1].startswith("total")


@pytest.mark.parametrize("arguments,said", [
    (["--bins=0", "1"], "--bins=0: give 1 to 256"), (["--bins=257", "1"], "give 1 to 256"),
    (["--bin-size=x", "1"], "not a size"), (["/dev/null"], "/dev/null")])
def test_sizes_refused(arguments, said):
    assert said in refused("sizes", *arguments)


# --- history ---


def test_history(program):
    with waiting(program, debug="audit=20,quarantine=0") as process:
        watched = addresses(process)["watched"]
        report = umem_json("history", process.pid, hex(watched + 3))
        text = lines_of("history", process.pid, hex(watched))
    # Without a log: the last transaction and the one before.
    assert report["base"] == hex(watched) and report["kind"] == "buffer"
    assert [event["kind"] for event in report["events"]] == ["allocated", "freed"]
    assert report["events"][0]["size"] == 48 and report["events"][0]["thread"] == process.pid
    assert "allocate" in [frame["function"] for frame in report["events"][0]["stack"]]
    assert "release" in [frame["function"] for frame in report["events"][1]["stack"]]
    assert text[0].endswith("2 transactions known") and text[1].startswith("  allocated (48 bytes)")


def test_history_from_the_log(program):
    with Background([program], debug="audit=20,quarantine=0",
                    env={"UMEM_LOGGING": "transaction=1m"}) as process:
        process.wait_for_line("ready")
        watched = addresses(process)["watched"]
        report = umem_json("history", process.pid, hex(watched))
        some = lines_of("history", "-n", "2", process.pid, hex(watched))
    kinds = [event["kind"] for event in report["events"]]
    # Four allocations and three frees in between, no transaction twice.
    assert kinds == ["allocated", "freed"] * 3 + ["allocated"]
    assert report["transactions"] == 7 and "5 are older; -n 0 lists them" in some[-1]


def test_history_of_what_has_none(plain):
    text = lines_of("history", plain.pid, hex(addresses(plain)["watched"]))
    assert text[0].endswith("0 transactions known") and "UMEM_LOGGING=transaction" in text[1]
    assert "not an address" in refused("history", plain.pid, "here")
    refused("history", plain.pid)


# --- grep ---


def grep(process, *arguments, expect=0):
    return umem_json("grep", process.pid, *arguments, expect=expect)


def test_grep(plain, tmp_path):
    at = addresses(plain)
    for target in (plain.pid, target_of(plain, "gcore", tmp_path)):
        report = umem_json("grep", target, hex(at["watched"] + 5))
        held = {hit["address"]: hit for hit in report["hits"]}
        hit = held[hex(at["holder"] + 8)]
        assert hit["kind"] == "buffer" and hit["base"] == hex(at["holder"])
        assert hit["cache"] == "umem_alloc_16"
        into = umem_json("grep", target, "-n", "0", "--buffer", hex(at["watched"] + 20))
        places = {hit["address"]: hit["place"] for hit in into["hits"]}
        assert {hex(at["holder"] + 8), hex(at["variable"])} <= set(places)
        assert "watched" in places[hex(at["variable"])]
        assert into["count"] == len(into["hits"])


def test_grep_masks_and_sizes(plain):
    at = addresses(plain)
    low = at["large"]
    exact = grep(plain, "7e5ef00dcafebeef")
    assert [hit["address"] for hit in exact["hits"] if hit["kind"] == "buffer"] == [hex(low)]
    masked = grep(plain, "-n", "0", "--mask=ffffffff", "0xcafebeef", f"--from={low:x}",
                  f"--to={low + 4096:x}")
    assert [hit["value"] for hit in masked["hits"]] == ["0x7e5ef00dcafebeef"]
    inverse = grep(plain, "-M", "ffffffff00000000", "cafebeef", f"--from={low:x}",
                   f"--to={low + 4096:x}")
    assert inverse["count"] == 1
    half = grep(plain, "--size=4", "7e5ef00d", f"--from={low:x}", f"--to={low + 4096:x}")
    assert [hit["address"] for hit in half["hits"]] == [hex(low + 4)]
    near = grep(plain, "--distance=16", "7e5ef00dcafebee0", f"--from={low:x}",
                f"--to={low + 4096:x}")
    assert near["count"] == 1
    assert grep(plain, "--distance=8", "7e5ef00dcafebee0", f"--from={low:x}",
                f"--to={low + 4096:x}", expect=1)["hits"] == []


def test_grep_text(plain):
    at = addresses(plain)
    text = lines_of("grep", plain.pid, hex(at["watched"] + 5))
    assert any(line.startswith(hex(at["holder"] + 8)) and
               f"umem_alloc_16+0x8 in buffer {at['holder']:#x}" in line for line in text)
    missing = umem("grep", plain.pid, "123456789abcdef1")
    assert (missing.returncode, missing.stdout) == (1, "not found\n")


@pytest.mark.parametrize("arguments,said", [
    (["xyz"], "xyz: not a number"), (["-m", "q", "1"], "--mask=q: not a number"),
    (["--size=3", "1"], "--size=3: give 1, 2, 4 or 8"), (["--from=", "1"], "--from=: not a number"),
    (["--buffer", "0x10"], "0x10 is in no buffer"), ([], "needs TARGET VALUE")])
def test_grep_refused(plain, arguments, said):
    assert said in refused("grep", plain.pid, *arguments)
