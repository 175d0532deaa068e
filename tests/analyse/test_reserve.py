# SPDX-License-Identifier: MIT
"""A sealed cache under `umem`: what lies in its reserve is free, what was lost is found."""

import pytest

from leak_support import build, target_of, umem_json, waiting

SEALED = """#include <stdio.h>
#include <unistd.h>
#include <umem.h>
static void *kept[30];
static int construct(void *buf, void *arg, int flags)
{
    (void)arg;
    (void)flags;
    *(void **)buf = NULL;
    return 0;
}
static void __attribute__((noinline)) lose(umem_cache_t *c)
{
    for (int i = 0; i < 7; i++)
        *(void *volatile *)umem_cache_alloc(c, UMEM_DEFAULT) = NULL;
}
int main(void)
{
    umem_cache_t *c = umem_cache_create("sealed", 72, 0, construct, NULL, NULL, NULL, NULL, 0);
    kept[29] = umem_cache_alloc(c, UMEM_DEFAULT);
    if (umem_cache_reserve(c, 1000) != 0 || umem_cache_seal(c) != 0)
        return 1;
    lose(c);
    for (int i = 0; i < 29; i++)
        kept[i] = umem_cache_alloc(c, UMEM_DEFAULT);
    for (int i = 0; i < 10; i++)
        umem_cache_free(c, kept[i]);
    for (int i = 0; i < 10; i++)
        kept[i] = NULL;
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
"""


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    return build(tmp_path_factory.mktemp("sealed"), SEALED, libs=())


@pytest.mark.parametrize("how", ["live", "gcore"])
@pytest.mark.parametrize("debug", [None, "audit=20", "audit,guard"])
def test_reserve_is_free(sealed, tmp_path, debug, how):
    with waiting(sealed, debug=debug) as process:
        target = target_of(process, how, tmp_path)
        leaks = umem_json("leaks", target, expect=1)
        stat = umem_json("stat", target)
    assert leaks["complete"] is True
    assert {(group["kind"], group["cache"]): group["count"] for group in leaks["groups"]} == {
        ("direct", "sealed"): 7}
    cache = next(cache for cache in stat["caches"] if cache["name"] == "sealed")
    assert cache["inuse"] == 27
    # Under guards the first allocation took a batch.
    assert 1001 - 27 <= cache["cached"] < 1001 - 27 + 64
    assert cache["allocs"] == 1 + 7 + 29
