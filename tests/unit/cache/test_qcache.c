/* SPDX-License-Identifier: MIT */
/*
 * test_qcache.c - arenas with quantum caches: small sizes come from caches,
 * nothing is handed out twice, all of it goes back.
 */
#include "support.h"

static void
check_arena(size_t quantum, uintptr_t base, size_t units)
{
    enum { MANY = 2000 };
    static void *addr[MANY];
    static size_t size[MANY];
    char *used = calloc(units, 1);
    vmem_t *vmp = vmem_create("quanta", (void *)base, units * quantum, quantum, NULL, NULL, NULL,
                              8 * quantum, VM_NOSLEEP);

    assert_non_null(vmp);
    assert_int_equal(vmp->vm_qcaches, 8);
    for (int i = 0; i < MANY; i++) {
        size[i] = (size_t)(i % 10 + 1) * quantum;
        addr[i] = vmem_alloc(vmp, size[i], VM_NOSLEEP);
        assert_non_null(addr[i]);
        assert_int_equal((uintptr_t)addr[i] % quantum, 0);
        for (size_t u = 0; u < size[i] / quantum; u++)
            assert_int_equal(used[((uintptr_t)addr[i] - base) / quantum + u]++, 0);
    }
    for (int i = 0; i < MANY; i++)
        vmem_free(vmp, addr[i], size[i]);
    /* Freed sizes come again without the segment lists. */
    uint64_t allocs = vmp->vm_stats.vms_allocs;
    for (int i = 0; i < 100; i++)
        vmem_free(vmp, vmem_alloc(vmp, 2 * quantum, VM_NOSLEEP), 2 * quantum);
    assert_int_equal(vmp->vm_stats.vms_allocs, allocs);
    assert_true(vmem_verify(vmp));
    umem_reap();
    assert_int_equal(vmem_size(vmp, VMEM_ALLOC), 0);
    vmem_destroy(vmp);
    assert_true(verify_caches());
    free(used);
}

static void
test_numbers(void **state)
{
    (void)state;
    check_arena(1, 1, 1 << 20);
    check_arena(64, 0x10000, 1 << 16);
}

static void
test_pages(void **state)
{
    (void)state;
    check_arena(4096, 0x100000, 1 << 16);
}

/* A cache over a user's arena over the heap: three layers of ours in a row. */
static void
test_stacked(void **state)
{
    vmem_alloc_t *import;
    vmem_free_t *give_back;
    vmem_t *heap = vmem_heap_arena(&import, &give_back);
    assert_ptr_equal(heap, &vmem_heap);
    assert_true(import == vmem_alloc && give_back == vmem_free);
    size_t before = vmem_size(heap, VMEM_ALLOC);
    vmem_t *vmp = vmem_create("stacked", NULL, 0, 4096, import, give_back, heap, 4 * 4096, 0);
    umem_cache_t *cp =
        umem_cache_create("stacked", 500, 0, NULL, NULL, NULL, NULL, vmp, UMEM_DEFAULT);
    void *objs[1000];

    (void)state;
    for (int i = 0; i < 1000; i++) {
        objs[i] = umem_cache_alloc(cp, UMEM_DEFAULT);
        assert_non_null(objs[i]);
        memset(objs[i], i, 500);
    }
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(*((unsigned char *)objs[i] + 499), i & 0xff);
        umem_cache_free(cp, objs[i]);
    }
    umem_cache_destroy(cp);
    umem_reap();
    vmem_destroy(vmp);
    assert_int_equal(vmem_size(heap, VMEM_ALLOC), before);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_stacked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
