# SPDX-License-Identifier: MIT
"""Blocks behind a firewall under `umem`: live, freed and lost ones are told apart."""

import pytest

from leak_support import build, target_of, umem, umem_json, waiting

PROGRAM = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <umem.h>
static void *kept[100], *object, *freed, *large;
static umem_cache_t *cache;
__attribute__((noipa)) static void *allocate(size_t size)
{
    void *p = umem_alloc(size, UMEM_DEFAULT);
    __asm__ volatile("" : "+r"(p));
    return p;
}
__attribute__((noipa)) static void lose(void)
{
    for (int i = 0; i < 7; i++)
        *(void *volatile *)allocate(200) = allocate(300); /* the latter by the former alone */
    *(void *volatile *)umem_cache_alloc(cache, UMEM_DEFAULT) = NULL;
    *(void *volatile *)allocate(3000000) = NULL;
}
__attribute__((noipa)) static void scrub(void)
{
    char room[8192];
    memset(room, 0, sizeof(room));
    __asm__ volatile("" : : "r"(room) : "memory");
}
int main(void)
{
    cache = umem_cache_create("guarded", 72, 0, NULL, NULL, NULL, NULL, NULL, 0);
    lose();
    object = umem_cache_alloc(cache, UMEM_DEFAULT);
    for (int i = 0; i < 100; i++)
        kept[i] = allocate(100);
    large = allocate(5000000);
    memcpy(large, "of a large block", 17);
    /* Kept by the last word of a large block alone. */
    *(void **)((char *)large + 5000000 - 8) = allocate(400);
    strcpy(kept[0], "of a guarded block");
    freed = allocate(500);
    umem_free(freed, 500);
    for (int i = 50; i < 100; i++) {
        umem_free(kept[i], 100);
        kept[i] = NULL;
    }
    scrub();
    printf("live %p\\nlarge %p\\nfreed %p\\nobject %p\\n", kept[0], large, freed, object);
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
"""
LOST = {("direct", "umem_alloc_208"): 7, ("indirect", "umem_alloc_320"): 7,
        ("direct", "guarded"): 1, ("direct", "umem_oversize"): 1}


@pytest.fixture(scope="module", name="program")
def fixture_program(tmp_path_factory):
    return build(tmp_path_factory.mktemp("guarded"), PROGRAM, libs=())


@pytest.mark.parametrize("how", ["live", "kernel"])
@pytest.mark.parametrize("debug", ["firewall=64", "firewall=below:64,guards"])
def test_guarded(program, tmp_path, debug, how):
    with waiting(program, debug=debug, cwd=tmp_path if how == "kernel" else None) as process:
        address = {name: int(value, 16) for name, value in
                   (line.split() for line in process.lines if " 0x" in line)}
        target = target_of(process, how, tmp_path)
        leaks = umem_json("leaks", target, expect=1)
        stat = umem_json("stat", target)
        status = umem_json("status", target)
        text = umem("status", target).stdout
        what = {name: umem_json("whatis", target, hex(where + 9))
                for name, where in address.items()}
    assert leaks["complete"] is True, leaks
    lost = {}
    for group in leaks["groups"]:
        key = (group["kind"], group["cache"])
        lost[key] = lost.get(key, 0) + group["count"]
    assert lost == LOST
    assert any("allocate" in str(group["stack"]) for group in leaks["groups"])
    inuse = {cache["name"]: cache["inuse"] for cache in stat["caches"]}
    assert (inuse["umem_alloc_112"], inuse["guarded"]) == (50, 2)
    # Beside these there is what libc has allocated.
    buffers = 50 + 2 + 7 + 7 + 1 + 3
    size = 50 * 100 + 2 * 72 + 7 * 500 + 400 + 3000000 + 5000000
    assert buffers <= status["live"]["buffers"] < buffers + 20
    assert size <= status["live"]["bytes"] < size + 100000
    assert status["debug"]["firewall"] is True and status["debug"]["firewall_bytes"] == 64
    assert "firewall (" in text and "64 bytes and more)" in text
    assert [what[name]["kind"] for name in ("live", "large", "freed", "object")] == [
        "buffer", "buffer", "free buffer", "buffer"]
    assert [what[name]["base"] for name in address] == [hex(where) for where in address.values()]
    assert [what[name]["offset"] for name in address] == [9] * 4
