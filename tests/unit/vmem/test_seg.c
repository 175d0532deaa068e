/* SPDX-License-Identifier: MIT */
/*
 * test_seg.c - cutting and merging: a long random run, with imports and
 * resizing, held against one flag a number.
 */
#include "support.h"

enum { SPACE = 2048, SLOTS = 256, ROUNDS = 40000 };

/* The model: which numbers the arena has, and which of them are allocated. */
static bool present[SPACE], used[SPACE];

/* A source of aligned runs of 64 numbers out of the space, mapped in the model. */
static void *
model_import(vmem_t *vmp, size_t size, int vmflag)
{
    (void)vmp;
    (void)vmflag;
    for (uintptr_t n = 64; n + size <= SPACE; n += 64) {
        bool free = true;
        for (uintptr_t i = n; i < n + size && free; i++)
            free = !present[i];
        if (free) {
            memset(present + n, true, size);
            return PTR(n);
        }
    }
    return NULL;
}

static void
model_return(vmem_t *vmp, void *addr, size_t size)
{
    (void)vmp;
    for (uintptr_t i = NUM(addr); i < NUM(addr) + size; i++) {
        assert_true(present[i]);
        assert_false(used[i]);
        present[i] = false;
    }
}

static size_t
count(const bool *flags)
{
    size_t n = 0;

    for (size_t i = 0; i < SPACE; i++)
        n += flags[i];
    return n;
}

struct held {
    uintptr_t n;
    size_t size;
};

static void
take(vmem_t *vmp, struct held *held, size_t size)
{
    held->size = size;
    held->n = NUM(vmem_alloc(vmp, size, 0));
    for (uintptr_t i = held->n; held->n != 0 && i < held->n + size; i++) {
        assert_true(present[i]);
        assert_false(used[i]);
        used[i] = true;
    }
}

static void
give(vmem_t *vmp, struct held *held)
{
    memset(used + held->n, false, held->size);
    vmem_free(vmp, PTR(held->n), held->size);
    held->n = 0;
}

static void
resize(vmem_t *vmp, struct held *held, size_t size)
{
    if (vmem_resize(vmp, PTR(held->n), held->size, size)) {
        for (uintptr_t i = held->n + held->size; i < held->n + size; i++) {
            assert_true(present[i]);
            assert_false(used[i]);
            used[i] = true;
        }
        for (uintptr_t i = held->n + size; i < held->n + held->size; i++)
            used[i] = false;
        held->size = size;
    } else {
        assert_true(size > held->size); /* shrinking always works */
    }
}

static void
run(int policy, size_t import_min, uint64_t rng)
{
    struct held held[SLOTS] = {{0, 0}};
    vmem_t *vmp = vmem_new("model", NULL, 0, 1, model_import, model_return, NULL, 0, policy);

    memset(present, 0, sizeof(present));
    memset(used, 0, sizeof(used));
    assert_non_null(vmp);
    vmp->vm_import_min = import_min;
    for (int round = 0; round < ROUNDS; round++) {
        /* Waves, so that the arena fills and empties. */
        bool filling = round / 2000 % 2 == 0;
        struct held *slot = &held[random_next(&rng) % SLOTS];
        uint64_t dice = random_next(&rng) % 8;
        if (slot->n != 0 && dice == 0)
            resize(vmp, slot, 1 + random_next(&rng) % 48);
        else if (slot->n != 0 && (!filling || dice < 3))
            give(vmp, slot);
        else if (slot->n == 0 && (filling || dice < 2))
            take(vmp, slot, 1 + random_next(&rng) % 48);
        if (round % 100 == 0) {
            assert_true(vmem_verify(vmp));
            assert_int_equal(vmem_size(vmp, VMEM_ALLOC), count(used));
            assert_int_equal(vmem_size(vmp, VMEM_ALLOC | VMEM_FREE), count(present));
        }
    }
    for (size_t i = 0; i < SLOTS; i++)
        if (held[i].n != 0)
            give(vmp, &held[i]);
    /* Every span has gone back. */
    assert_int_equal(count(present), 0);
    assert_int_equal(vmp->vm_stats.vms_import, 0);
    assert_true(vmem_verify(vmp));
    assert_true(vmp->vm_stats.vms_allocs > ROUNDS / 20);
    assert_true(vmp->vm_stats.vms_fails > 0); /* it was full at times */
    vmem_destroy(vmp);
}

static void
test_random(void **state)
{
    static const int policies[] = {0, VM_BESTFIT, VM_FIRSTFIT, VM_NEXTFIT};

    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(policies); i++) {
        run(policies[i], 0, 88172645463325252u + i);
        run(policies[i], 256, 362436069u + i);
    }
}

/* Merging stops where a span does, also where the next one begins right there. */
static void
test_spans_do_not_merge(void **state)
{
    vmem_t *vmp = numbers(100, 10, 1, 0);

    (void)state;
    assert_non_null(vmem_add(vmp, PTR(110), 10, 0));
    assert_non_null(vmem_add(vmp, PTR(90), 10, 0));
    assert_null(vmem_alloc(vmp, 11, 0));
    for (int i = 0; i < 3; i++)
        assert_non_null(vmem_alloc(vmp, 10, 0));
    for (uintptr_t n = 90; n < 120; n += 10)
        vmem_free(vmp, PTR(n), 10);
    assert_null(vmem_alloc(vmp, 11, 0));
    assert_true(vmem_verify(vmp));
    vmem_destroy(vmp);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_spans_do_not_merge),
    };
    return cmocka_run_group_tests_name("vmem/seg", tests, NULL, NULL);
}
