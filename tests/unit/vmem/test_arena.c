/* SPDX-License-Identifier: MIT */
/*
 * test_arena.c - making and destroying arenas.
 */
#include "os/meta.h"
#include "support.h"

static bool
is_listed(const vmem_t *vmp)
{
    UMEM_LIST_FOR (link, &vmem_arenas) {
        if (link == &vmp->vm_link)
            return true;
    }
    return false;
}

static void
test_create(void **state)
{
    vmem_t *vmp = vmem_new("a name that is longer than 31 characters", PTR(0x1000), 0x2000, 0x1000,
                           NULL, NULL, NULL, 0, 0);

    (void)state;
    assert_non_null(vmp);
    assert_string_equal(vmp->vm_name, "a name that is longer than 31 c");
    assert_true(is_listed(vmp));
    assert_true(is_listed(&vmem_heap));
    assert_true(vmem_verify(vmp));
    assert_int_equal(vmem_size(vmp, VMEM_FREE), 0x2000);
    vmem_destroy(vmp);
    assert_false(is_listed(vmp));
}

static void
refuse(const char *name, uintptr_t base, size_t size, size_t quantum)
{
    errno = 0;
    assert_null(vmem_new(name, PTR(base), size, quantum, NULL, NULL, NULL, 0, 0));
    assert_int_equal(errno, EINVAL);
}

static void
test_create_invalid(void **state)
{
    (void)state;
    refuse(NULL, 0x1000, 0x1000, 0x1000);
    refuse("x", 0x1000, 0x1000, 0);
    refuse("x", 0x1000, 0x1000, 3);
    refuse("x", 0x1800, 0x1000, 0x1000);
    refuse("x", 0x1000, 0x1800, 0x1000);
    refuse("x", 0, 0x1000, 0x1000); /* the first quantum is never handed out */
    refuse("x", UINTPTR_MAX, 1, 1); /* its end is 0 */
    refuse("x", UINTPTR_MAX, 100, 1);
    refuse("x", 0x1000, SIZE_MAX & ~(size_t)0xfff, 0x1000);
}

/* On the caller's record, again and again. */
static void
test_init_arena(void **state)
{
    static struct vmem arena;

    (void)state;
    for (int i = 0; i < 3; i++) {
        memset(&arena, 0, sizeof(arena));
        assert_int_equal(
            vmem_init_arena(&arena, "own", PTR(1), 10, 1, NULL, NULL, NULL, 0, VM_BESTFIT), 0);
        assert_true(is_listed(&arena));
        void *a = vmem_alloc(&arena, 3, 0);
        vmem_free(&arena, a, 3);
        vmem_destroy(&arena);
        assert_false(is_listed(&arena));
        assert_string_equal(arena.vm_name, "own"); /* the record is ours, untouched */
    }
    memset(&arena, 0, sizeof(arena));
    assert_int_equal(vmem_init_arena(&arena, "own", PTR(1), 10, 5, NULL, NULL, NULL, 0, 0), -1);
    assert_int_equal(errno, EINVAL);
}

/* Making and destroying arenas, however used, takes no more memory the second time. */
static void
test_no_leak(void **state)
{
    size_t mapped = 0;

    (void)state;
    for (int round = 0; round < 200; round++) {
        vmem_t *low = numbers(0x10000, 0x100000, 0x100, 0);
        vmem_t *high = vmem_new("high", NULL, 0, 0x10, vmem_alloc, vmem_free, low, 0, 0);
        void *held[500];
        for (int i = 0; i < 500; i++)
            assert_non_null(held[i] = vmem_alloc(high, 0x20, 0));
        for (int i = 0; i < 500; i++)
            vmem_free(high, held[i], 0x20);
        vmem_destroy(high);
        assert_int_equal(vmem_size(low, VMEM_ALLOC), 0);
        vmem_destroy(low);
        if (round == 2)
            mapped = umem_meta_mapped();
    }
    assert_int_equal(umem_meta_mapped(), mapped);
}

/* Destroyed with segments still there: said once, and everything is freed. */
static size_t outstanding;

static void *
import(vmem_t *vmp, size_t size, int vmflag)
{
    static uintptr_t next = 0x100000;

    (void)vmp;
    (void)vmflag;
    outstanding += size;
    next += size + 0x1000;
    return PTR(next - size);
}

static void
give_back(vmem_t *vmp, void *addr, size_t size)
{
    (void)vmp;
    (void)addr;
    outstanding -= size;
}

static void
destroy_busy(void)
{
    vmem_t *vmp = vmem_new("busy", PTR(0x1000), 0x1000, 0x1000, import, give_back, NULL, 0, 0);

    for (int i = 0; i < 40; i++)
        if (vmem_alloc(vmp, 0x1000, 0) == NULL)
            _exit(1);
    vmem_free(vmp, vmem_alloc(vmp, 0x2000, 0), 0x2000);
    if (outstanding != 39 * 0x1000)
        _exit(2);
    vmem_destroy(vmp);
    if (outstanding != 0)
        _exit(3);
    /* The tags are fit for use again. */
    vmp = vmem_new("next", PTR(1), 1000, 1, NULL, NULL, NULL, 0, 0);
    for (int i = 0; i < 1000; i++)
        if (vmem_alloc(vmp, 1, 0) == NULL)
            _exit(4);
    _exit(vmem_verify(vmp) ? 42 : 5);
}

static void
test_destroy_busy(void **state)
{
    char text[256];
    int status = run_in_child(destroy_busy, text, sizeof(text));

    (void)state;
    assert_string_equal(text, "umem: vmem_destroy(arena 'busy'): 40 segments of 163840 units still "
                              "allocated\n");
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

/* The same where segments, and so a large table, are left at the end. */
static void
destroy_busy_often(void)
{
    size_t mapped = 0;

    if (freopen("/dev/null", "w", stderr) == NULL)
        _exit(1);
    for (int round = 0; round < 100; round++) {
        /* 1,100 segments: a table of 1,024 buckets that is still being moved to. */
        vmem_t *vmp = numbers(1, 3000, 1, 0);
        for (int i = 0; i < (round % 2 ? 2900 : 1100); i++)
            if (vmem_alloc(vmp, 1, 0) == NULL)
                _exit(2);
        vmem_destroy(vmp);
        if (round == 5)
            mapped = umem_meta_mapped();
    }
    _exit(umem_meta_mapped() == mapped ? 42 : 3);
}

static void
test_destroy_busy_often(void **state)
{
    char text[256];
    int status = run_in_child(destroy_busy_often, text, sizeof(text));

    (void)state;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),       cmocka_unit_test(test_create_invalid),
        cmocka_unit_test(test_init_arena),   cmocka_unit_test(test_no_leak),
        cmocka_unit_test(test_destroy_busy), cmocka_unit_test(test_destroy_busy_often),
    };
    return cmocka_run_group_tests_name("vmem/arena", tests, NULL, NULL);
}
