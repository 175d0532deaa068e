/* SPDX-License-Identifier: MIT */
/*
 * test_span.c - spans: the tree that finds them, and the quantum at 0 that is
 * never handed out.
 */
#include "support.h"
#include "vmem/private.h"

enum { SPANS = 3000, STRIDE = 64 };

/* Spans of 16 units at odd places, added in random order, all found and nothing else. */
static void
test_many_spans(void **state)
{
    static uintptr_t order[SPANS];
    uint64_t rng = 4242;
    vmem_t *vmp = vmem_new("spans", NULL, 0, 1, NULL, NULL, NULL, 0, VM_FIRSTFIT);

    (void)state;
    assert_non_null(vmp);
    for (uintptr_t i = 0; i < SPANS; i++)
        order[i] = i;
    for (size_t i = SPANS - 1; i > 0; i--) {
        size_t j = random_next(&rng) % (i + 1);
        uintptr_t swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    for (size_t i = 0; i < SPANS; i++) {
        uintptr_t start = (order[i] + 1) * STRIDE;
        assert_ptr_equal(vmem_add(vmp, PTR(start), 16, 0), PTR(start));
    }
    assert_true(vmem_verify(vmp));
    for (uintptr_t i = 0; i <= SPANS; i++) {
        uintptr_t start = i * STRIDE;
        assert_int_equal(vmem_contains(vmp, PTR(start), 16), i > 0);
        assert_int_equal(vmem_contains(vmp, PTR(start + 15), 1), i > 0);
        assert_int_equal(vmem_contains(vmp, PTR(start + 8), 9), 0);
        assert_int_equal(vmem_contains(vmp, PTR(start + 8), SIZE_MAX), 0);
        assert_int_equal(vmem_contains(vmp, PTR(start + 16), 1), 0);
        assert_int_equal(vmem_contains(vmp, PTR(start + STRIDE - 1), 1), 0);
    }
    assert_int_equal(vmem_contains(vmp, PTR(UINTPTR_MAX), 1), 0);
    /* Whatever the order of adding, segments lie in the order of addresses. */
    for (uintptr_t i = 1; i <= SPANS; i++)
        assert_int_equal(NUM(vmem_alloc(vmp, 16, 0)), i * STRIDE);
    for (uintptr_t i = 1; i <= SPANS; i++)
        vmem_free(vmp, PTR(i * STRIDE), 16);
    vmem_destroy(vmp);
}

/* Adjacent spans stay apart, for vmem_contains() too. */
static void
test_adjacent(void **state)
{
    vmem_t *vmp = numbers(100, 10, 1, 0);

    (void)state;
    assert_non_null(vmem_add(vmp, PTR(110), 10, 0));
    assert_int_equal(vmem_contains(vmp, PTR(100), 10), 1);
    assert_int_equal(vmem_contains(vmp, PTR(110), 10), 1);
    assert_int_equal(vmem_contains(vmp, PTR(109), 2), 0);
    vmem_destroy(vmp);
}

/* Imports that come and go in random order. */
static bool mapped[SPANS];
static uint64_t import_rng = 777;

static void *
import_somewhere(vmem_t *vmp, size_t size, int vmflag)
{
    uintptr_t i;

    (void)vmp;
    (void)vmflag;
    assert_int_equal(size, 16);
    do
        i = random_next(&import_rng) % SPANS;
    while (mapped[i]);
    mapped[i] = true;
    return PTR((i + 1) * STRIDE);
}

static void
return_it(vmem_t *vmp, void *addr, size_t size)
{
    (void)vmp;
    assert_int_equal(size, 16);
    assert_true(mapped[NUM(addr) / STRIDE - 1]);
    mapped[NUM(addr) / STRIDE - 1] = false;
}

static void
test_imports_come_and_go(void **state)
{
    enum { HELD = 1000 };
    static void *held[HELD];
    uint64_t rng = 31337;
    vmem_t *vmp = vmem_new("imports", NULL, 0, 16, import_somewhere, return_it, NULL, 0, 0);

    (void)state;
    assert_non_null(vmp);
    for (int round = 0; round < 20000; round++) {
        size_t slot = random_next(&rng) % HELD;
        if (held[slot] == NULL) {
            assert_non_null(held[slot] = vmem_alloc(vmp, 16, 0));
        } else {
            vmem_free(vmp, held[slot], 16);
            assert_int_equal(vmem_contains(vmp, held[slot], 16), 0);
            held[slot] = NULL;
        }
        if (round % 1000 == 0)
            assert_true(vmem_verify(vmp));
    }
    for (size_t i = 0; i < HELD; i++) {
        assert_int_equal(held[i] != NULL && vmem_contains(vmp, held[i], 16), held[i] != NULL);
        if (held[i] != NULL)
            vmem_free(vmp, held[i], 16);
    }
    for (size_t i = 0; i < SPANS; i++)
        assert_false(mapped[i]);
    assert_null(vmp->vm_spans);
    vmem_destroy(vmp);
}

static void
test_zero(void **state)
{
    vmem_t *vmp = numbers(0, 0x40, 0x10, VM_FIRSTFIT);

    (void)state;
    /* NULL means failure, so 0 is never handed out. */
    assert_int_equal(vmem_size(vmp, VMEM_FREE), 0x30);
    assert_int_equal(NUM(vmem_alloc(vmp, 0x10, 0)), 0x10);
    assert_int_equal(NUM(vmem_alloc(vmp, 0x20, 0)), 0x20);
    assert_null(vmem_alloc(vmp, 0x10, 0));
    assert_int_equal(vmem_contains(vmp, PTR(0), 0x40), 1);
    assert_true(vmem_verify(vmp));
    vmem_free(vmp, PTR(0x10), 0x10);
    vmem_free(vmp, PTR(0x20), 0x20);
    assert_true(vmem_verify(vmp));
    assert_int_equal(NUM(vmem_alloc(vmp, 0x30, 0)), 0x10);
    vmem_free(vmp, PTR(0x10), 0x30);
    vmem_destroy(vmp);

    vmp = numbers(0x100, 0x10, 0x10, 0);
    errno = 0;
    assert_null(vmem_add(vmp, PTR(0), 0x20, 0)); /* its address, as it happens */
    assert_int_equal(errno, 0);
    assert_int_equal(vmem_size(vmp, VMEM_FREE), 0x20);
    vmem_destroy(vmp);
}

static void
test_bad_ranges(void **state)
{
    vmem_t *vmp = numbers(0x1000, 0x1000, 0x1000, 0);

    (void)state;
    errno = 0;
    assert_null(vmem_add(vmp, PTR(0x2000), 0, 0));
    assert_int_equal(errno, EINVAL);
    errno = 0;
    assert_null(vmem_add(vmp, PTR(0), 0x1000, 0)); /* nothing of it could be used */
    assert_int_equal(errno, EINVAL);
    errno = 0;
    uintptr_t top = UINTPTR_MAX - 0xfff;
    assert_null(vmem_add(vmp, PTR(top), 0x1000, 0)); /* its end is 0 */
    assert_int_equal(errno, EINVAL);
    assert_null(vmem_add(vmp, PTR(top), 0x2000, 0)); /* wraps round */
    assert_non_null(vmem_add(vmp, PTR(top - 0x1000), 0x1000, 0));
    assert_true(vmem_verify(vmp));
    vmem_destroy(vmp);
}

/* A segment becomes a span of its own, whatever is on either side; it leaves and comes back. */
static void
test_isolate(void **state)
{
    (void)state;
    for (unsigned around = 0; around < 4; around++) {
        uintptr_t before = around & 1 ? 0x2000 : 0, after = around & 2 ? 0x3000 : 0;
        size_t size = before + 0x1000 + after, spans;
        vmem_t *vmp = vmem_new("cut", NULL, 0, 0x1000, NULL, NULL, NULL, 0, 0);
        assert_true(vmem_lock_with_tags(vmp));
        (void)vmem_span_insert(vmp, 0x10000, 0x10000 + size, true);
        umem_lock_release(&vmp->vm_lock);
        void *p = PTR(0x10000 + before);
        assert_ptr_equal(vmem_xalloc(vmp, 0x1000, 0, 0, 0, p, PTR(NUM(p) + 0x1000), 0), p);

        assert_true(vmem_lock_with_tags(vmp));
        struct vmem_seg *seg = vmem_hash_find(vmp, NUM(p));
        struct vmem_seg *span = vmem_span_isolate(vmp, seg);
        assert_int_equal(span->seg_start, NUM(p));
        assert_int_equal(span->seg_end, NUM(p) + 0x1000);
        umem_lock_release(&vmp->vm_lock);
        assert_true(vmem_verify(vmp));
        assert_true(vmem_span_tree_verify(vmp, &spans));
        assert_int_equal(spans, 1 + (before != 0) + (after != 0));

        vmem_span_unlink(vmp, span, seg);
        assert_true(vmem_verify(vmp));
        assert_int_equal(vmem_size(vmp, VMEM_ALLOC), 0);
        vmem_span_link(vmp, span, seg, 0x50000, 0x58000);
        assert_true(vmem_verify(vmp));
        assert_true(vmem_contains(vmp, PTR(0x50000), 0x8000));
        assert_int_equal(vmem_contains(vmp, p, 0x1000), 0);
        vmem_xfree(vmp, PTR(0x50000), 0x8000);
        assert_int_equal(vmem_size(vmp, VMEM_ALLOC), 0);
        vmem_destroy(vmp);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_spans),          cmocka_unit_test(test_adjacent),
        cmocka_unit_test(test_imports_come_and_go), cmocka_unit_test(test_zero),
        cmocka_unit_test(test_bad_ranges),          cmocka_unit_test(test_isolate),
    };
    return cmocka_run_group_tests_name("vmem/span", tests, NULL, NULL);
}
