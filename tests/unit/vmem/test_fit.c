/* SPDX-License-Identifier: MIT */
/*
 * test_fit.c - the four policies, and constraints held against a search that
 * tries every number.
 */
#include "support.h"

/* Of [1000, 1000 + size), allocates all but the holes given as pairs of offset and length. */
static vmem_t *
with_holes(size_t size, const size_t (*holes)[2], size_t count, int policy)
{
    vmem_t *vmp = numbers(1000, size, 1, policy);
    size_t at = 0;

    for (size_t i = 0; i <= count; i++) {
        size_t end = i < count ? holes[i][0] : size;
        if (end > at)
            assert_int_equal(
                NUM(vmem_xalloc(vmp, end - at, 0, 0, 0, PTR(1000 + at), PTR(1000 + end), 0)),
                1000 + at);
        at = i < count ? end + holes[i][1] : end;
    }
    assert_true(vmem_verify(vmp));
    return vmp;
}

/* Everything, live or not, is gone with the arena; the complaint about it is not of interest. */
static void
drop(vmem_t *vmp)
{
    struct {
        uintptr_t start[256];
        size_t size[256];
        size_t n;
    } live = {.n = 0};
    UMEM_LIST_FOR (order, &vmp->vm_order) {
        struct vmem_seg *seg = UMEM_CONTAINER_OF(order, struct vmem_seg, seg_order);
        if (seg->seg_type == VMEM_SEG_ALLOC) {
            assert_true(live.n < 256);
            live.start[live.n] = seg->seg_start;
            live.size[live.n++] = seg->seg_end - seg->seg_start;
        }
    }
    while (live.n-- > 0)
        vmem_xfree(vmp, PTR(live.start[live.n]), live.size[live.n]);
    assert_true(vmem_verify(vmp));
    vmem_destroy(vmp);
}

static const size_t holes[][2] = {{10, 8}, {30, 20}, {60, 5}, {70, 6}, {80, 5}, {90, 40}};
#define HOLES UMEM_ARRAY_SIZE(holes)

static void
test_bestfit(void **state)
{
    vmem_t *vmp = with_holes(200, holes, HOLES, VM_BESTFIT);

    (void)state;
    /* The lower of two, whichever was freed last. */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(NUM(vmem_alloc(vmp, 5, 0)), 1060);
        assert_int_equal(NUM(vmem_alloc(vmp, 5, 0)), 1080);
        vmem_free(vmp, PTR(i == 0 ? 1060 : 1080), 5);
        vmem_free(vmp, PTR(i == 0 ? 1080 : 1060), 5);
    }
    assert_int_equal(NUM(vmem_alloc(vmp, 5, 0)), 1060);
    assert_int_equal(NUM(vmem_alloc(vmp, 5, 0)), 1080);
    assert_int_equal(NUM(vmem_alloc(vmp, 5, 0)), 1070);
    assert_int_equal(NUM(vmem_alloc(vmp, 9, 0)), 1030);
    assert_int_equal(NUM(vmem_alloc(vmp, 9, 0)), 1039); /* 11 are left, better than 40 */
    assert_int_equal(NUM(vmem_alloc(vmp, 9, 0)), 1090);
    assert_null(vmem_alloc(vmp, 32, 0));
    assert_int_equal(NUM(vmem_alloc(vmp, 1, 0)), 1075);
    drop(vmp);
}

static void
test_firstfit(void **state)
{
    vmem_t *vmp = with_holes(200, holes, HOLES, VM_FIRSTFIT);

    (void)state;
    assert_int_equal(NUM(vmem_alloc(vmp, 5, 0)), 1010);
    assert_int_equal(NUM(vmem_alloc(vmp, 5, 0)), 1030);
    assert_int_equal(NUM(vmem_alloc(vmp, 3, 0)), 1015);
    assert_int_equal(NUM(vmem_alloc(vmp, 21, 0)), 1090);
    assert_int_equal(NUM(vmem_alloc(vmp, 1, 0)), 1035);
    drop(vmp);
}

static void
test_nextfit(void **state)
{
    vmem_t *vmp = with_holes(200, holes, HOLES, VM_NEXTFIT);

    (void)state;
    assert_int_equal(NUM(vmem_alloc(vmp, 5, 0)), 1010);
    assert_int_equal(NUM(vmem_alloc(vmp, 5, 0)), 1030);
    assert_int_equal(NUM(vmem_alloc(vmp, 3, 0)), 1035);
    assert_int_equal(NUM(vmem_alloc(vmp, 40, 0)), 1090);
    assert_int_equal(NUM(vmem_alloc(vmp, 3, 0)), 1015); /* round again */
    assert_int_equal(NUM(vmem_alloc(vmp, 5, 0)), 1038);
    drop(vmp);
}

/* What was freed last comes last, also where it merged with what is to come. */
static void
test_nextfit_does_not_reuse(void **state)
{
    vmem_t *vmp = numbers(1, 100, 1, VM_NEXTFIT);

    (void)state;
    for (uintptr_t i = 0; i < 1000; i++) {
        uintptr_t n = NUM(vmem_alloc(vmp, 1, 0));
        assert_int_equal(n, 1 + i % 100);
        vmem_free(vmp, PTR(n), 1);
        assert_true(vmem_verify(vmp));
    }
    /* Other policies and other spans beside it do not disturb the rotor. */
    assert_int_equal(NUM(vmem_alloc(vmp, 1, 0)), 1);
    assert_int_equal(NUM(vmem_alloc(vmp, 10, VM_BESTFIT)), 2);
    assert_non_null(vmem_add(vmp, PTR(1000), 5, 0));
    assert_int_equal(NUM(vmem_alloc(vmp, 90, 0)), 0); /* 89 and 5 */
    assert_int_equal(NUM(vmem_alloc(vmp, 89, 0)), 12);
    assert_int_equal(NUM(vmem_alloc(vmp, 5, 0)), 1000);
    vmem_free(vmp, PTR(2), 10);
    vmem_free(vmp, PTR(1000), 5);
    assert_int_equal(NUM(vmem_alloc(vmp, 1, 0)), 2);
    drop(vmp);
}

static void
test_instant(void **state)
{
    vmem_t *vmp = with_holes(200, holes, HOLES, 0);

    (void)state;
    /* 8 is a power of two: lists from 8 up are all good. */
    uintptr_t n = NUM(vmem_alloc(vmp, 8, 0));
    assert_int_equal(n, 1010);
    /* 17 is not: only the list of 32 is sure. */
    assert_int_equal(NUM(vmem_alloc(vmp, 17, 0)), 1090);
    /* Nothing is sure any more, yet what is left of it does, and the hole of 20. */
    assert_int_equal(NUM(vmem_alloc(vmp, 21, 0)), 1107);
    assert_int_equal(NUM(vmem_alloc(vmp, 20, 0)), 1030);
    assert_null(vmem_alloc(vmp, 7, 0));
    drop(vmp);
}

/* A flag for one call wins over the arena's policy; the default is what new arenas get. */
static void
test_policy_choice(void **state)
{
    vmem_t *vmp = with_holes(200, holes, HOLES, VM_BESTFIT);

    (void)state;
    assert_int_equal(NUM(vmem_alloc(vmp, 6, VM_FIRSTFIT)), 1010);
    assert_int_equal(NUM(vmem_alloc(vmp, 6, 0)), 1070);
    drop(vmp);
    vmem_set_default_policy(VM_FIRSTFIT);
    assert_int_equal(vmem_heap.vm_policy, VM_FIRSTFIT);
    vmem_t *first = numbers(1, 10, 1, 0), *best = numbers(1, 10, 1, VM_BESTFIT);
    assert_int_equal(first->vm_policy, VM_FIRSTFIT);
    assert_int_equal(best->vm_policy, VM_BESTFIT);
    vmem_set_default_policy(0);
    vmem_destroy(first);
    vmem_destroy(best);
}

static void
expect_errno(vmem_t *vmp, size_t size, size_t align, size_t phase, size_t nocross, uintptr_t min,
             uintptr_t max, int error)
{
    errno = 0;
    assert_null(vmem_xalloc(vmp, size, align, phase, nocross, PTR(min), PTR(max), 0));
    assert_int_equal(errno, error);
}

static void
test_impossible(void **state)
{
    vmem_t *vmp = numbers(0x1000, 0x10000, 0x10, 0);

    (void)state;
    expect_errno(vmp, 0, 0, 0, 0, 0, 0, EINVAL);
    expect_errno(vmp, 0x10, 0x30, 0, 0, 0, 0, EINVAL);        /* align: no power of two */
    expect_errno(vmp, 0x10, 0x20, 0x20, 0, 0, 0, EINVAL);     /* phase: not below align */
    expect_errno(vmp, 0x10, 0x20, 0x8, 0, 0, 0, EINVAL);      /* phase: no quantum */
    expect_errno(vmp, 0x10, 0, 0, 0x30, 0, 0, EINVAL);        /* nocross: no power of two */
    expect_errno(vmp, 0x50, 0, 0, 0x40, 0, 0, EINVAL);        /* nocross: smaller than size */
    expect_errno(vmp, 0x30, 0x40, 0x20, 0x40, 0, 0, EINVAL);  /* always straddles */
    expect_errno(vmp, 0x30, 0x80, 0x60, 0x40, 0, 0, EINVAL);  /* the same, align larger */
    expect_errno(vmp, 0x10, 0, 0, 0, 0x2000, 0x2000, EINVAL); /* nothing between */
    expect_errno(vmp, 0x10, 0, 0, 0, 0x3000, 0x2000, EINVAL);
    expect_errno(vmp, 0x20, 0, 0, 0, 0x2000, 0x2010, EINVAL);      /* too little between */
    expect_errno(vmp, 0x10, 0x1000, 0, 0, 0x2010, 0x3000, EINVAL); /* no multiple between */
    expect_errno(vmp, SIZE_MAX, 0, 0, 0, 0, 0, ENOMEM);
    expect_errno(vmp, SIZE_MAX & ~(size_t)0xf, 0, 0, 0, 0, 0, ENOMEM);
    expect_errno(vmp, SIZE_MAX / 2 + 1, SIZE_MAX / 2 + 1, 0, 0, 0, 0, ENOMEM);
    expect_errno(vmp, 0x10, 0, 0, 0, 0x20000, 0, ENOMEM); /* possible, but not here */
    expect_errno(vmp, 0x10, SIZE_MAX / 2 + 1, 0, 0, 0, 0, ENOMEM);
    assert_true(vmem_verify(vmp));
    assert_int_equal(vmem_size(vmp, VMEM_ALLOC), 0);
    vmem_destroy(vmp);
}

/* At the far end of the address space nothing wraps round. */
static void
test_high_end(void **state)
{
    uintptr_t top = UINTPTR_MAX & ~(uintptr_t)0xffff;
    vmem_t *vmp = numbers(top, 0xf000, 0x1000, 0);

    (void)state;
    expect_errno(vmp, 0x1000, 0x10000, 0x1000, 0, top + 0x2000, 0, EINVAL);
    expect_errno(vmp, 0x2000, 0x1000, 0, 0x2000, top + 0xd000, 0, EINVAL);
    void *a = vmem_xalloc(vmp, 0x2000, 0, 0, 0x2000, PTR(top + 0xb000), NULL, 0);
    assert_int_equal(NUM(a), top + 0xc000);
    void *b = vmem_xalloc(vmp, 0x1000, 0, 0, 0, PTR(top + 0xe000), NULL, 0);
    assert_int_equal(NUM(b), top + 0xe000);
    vmem_xfree(vmp, a, 0x2000);
    vmem_xfree(vmp, b, 0x1000);
    vmem_destroy(vmp);
}

/* --- Against a search that tries every number --- */

enum { SPACE = 512 };
static bool taken[SPACE];

static bool
model_allows(uintptr_t n, size_t size, size_t align, size_t phase, size_t nocross, uintptr_t min,
             uintptr_t max)
{
    if (n < min || (max != 0 && n + size > max) || n + size > SPACE || n == 0)
        return false;
    if (align != 0 && n % align != phase)
        return false;
    if (nocross != 0 && n / nocross != (n + size - 1) / nocross)
        return false;
    for (size_t i = 0; i < size; i++)
        if (taken[n + i])
            return false;
    return true;
}

static uintptr_t
model_first(size_t size, size_t align, size_t phase, size_t nocross, uintptr_t min, uintptr_t max)
{
    for (uintptr_t n = 1; n < SPACE; n++)
        if (model_allows(n, size, align, phase, nocross, min, max))
            return n;
    return 0;
}

/*
 * Whatever the policy, there is an answer exactly when the model has one, it
 * is one that the model allows, and first fit's is the model's first.
 */
static void
check_constraints(int policy, uint64_t seed)
{
    vmem_t *vmp = numbers(0, SPACE, 1, policy);
    uint64_t rng = seed;
    struct {
        uintptr_t n;
        size_t size;
    } held[64] = {{0, 0}};
    size_t granted = 0, refused = 0;

    memset(taken, 0, sizeof(taken));
    for (int round = 0; round < 20000; round++) {
        size_t slot = random_next(&rng) % 64;
        if (held[slot].n != 0) {
            memset(taken + held[slot].n, false, held[slot].size);
            vmem_xfree(vmp, PTR(held[slot].n), held[slot].size);
            held[slot].n = 0;
            continue;
        }
        size_t size = 1 + random_next(&rng) % 24;
        size_t align = random_next(&rng) % 2 ? (size_t)1 << random_next(&rng) % 7 : 0;
        size_t phase = align != 0 ? random_next(&rng) % align : 0;
        size_t nocross = random_next(&rng) % 2 ? (size_t)1 << (3 + random_next(&rng) % 5) : 0;
        uintptr_t min = random_next(&rng) % 2 ? random_next(&rng) % SPACE : 0;
        uintptr_t max = random_next(&rng) % 2 ? 1 + random_next(&rng) % (SPACE * 2) : 0;

        uintptr_t first = model_first(size, align, phase, nocross, min, max);
        uintptr_t n = NUM(vmem_xalloc(vmp, size, align, phase, nocross, PTR(min), PTR(max), 0));
        assert_int_equal(n != 0, first != 0);
        if (n == 0) {
            refused++;
            continue;
        }
        granted++;
        assert_true(model_allows(n, size, align, phase, nocross, min, max));
        if (policy == VM_FIRSTFIT)
            assert_int_equal(n, first);
        memset(taken + n, true, size);
        held[slot].n = n;
        held[slot].size = size;
        if (round % 64 == 0)
            assert_true(vmem_verify(vmp));
    }
    /* Else it would not have been much of a test. */
    assert_true(granted > 2000 && refused > 2000);
    drop(vmp);
}

static void
test_constraints(void **state)
{
    static const int policies[] = {0, VM_BESTFIT, VM_FIRSTFIT, VM_NEXTFIT};

    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(policies); i++)
        check_constraints(policies[i], 0x1234567 + i);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bestfit),     cmocka_unit_test(test_firstfit),
        cmocka_unit_test(test_nextfit),     cmocka_unit_test(test_nextfit_does_not_reuse),
        cmocka_unit_test(test_instant),     cmocka_unit_test(test_policy_choice),
        cmocka_unit_test(test_impossible),  cmocka_unit_test(test_high_end),
        cmocka_unit_test(test_constraints),
    };
    return cmocka_run_group_tests_name("vmem/fit", tests, NULL, NULL);
}
