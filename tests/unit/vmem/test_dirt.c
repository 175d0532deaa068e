/* SPDX-License-Identifier: MIT */
/*
 * test_dirt.c - the dirt of segments through cutting and merging, on an arena
 * of plain numbers that is told to track pages: nothing touches what they name.
 */
#include "support.h"
#include "vmem/private.h"

#define UNIT ((size_t)4096)

static vmem_t *
tracking(size_t units)
{
    vmem_t *vmp = numbers(UNIT, units * UNIT, UNIT, 0);

    vmp->vm_tracks_pages = true;
    vmp->vm_decay.decay_max = SIZE_MAX / 2;
    vmp->vm_decay.decay_tick_ms = UINT64_MAX / 2; /* no interval ever ends */
    return vmp;
}

/* Takes [at, at + n) units, counted from the start. */
static void
take(vmem_t *vmp, size_t at, size_t n)
{
    void *addr = PTR((at + 1) * UNIT);
    assert_ptr_equal(vmem_xalloc(vmp, n * UNIT, 0, 0, 0, addr, PTR((at + 1 + n) * UNIT), 0), addr);
    assert_true(vmem_verify(vmp));
}

static void
give(vmem_t *vmp, size_t at, size_t n)
{
    vmem_xfree(vmp, PTR((at + 1) * UNIT), n * UNIT);
    assert_true(vmem_verify(vmp));
}

static struct vmem_seg *
aged(vmem_t *vmp, size_t position)
{
    struct umem_list *link = vmp->vm_aged.next;

    while (position-- > 0)
        link = link->next;
    assert_true(link != &vmp->vm_aged);
    return UMEM_CONTAINER_OF(link, struct vmem_seg, seg_aged);
}

/* The dirt of the segment at that place of vm_aged, in units. */
static void
assert_dirt(vmem_t *vmp, size_t position, size_t start, size_t end)
{
    struct vmem_seg *seg = aged(vmp, position);

    assert_int_equal(seg->seg_dirt.dirt_start, (start + 1) * UNIT);
    assert_int_equal(seg->seg_dirt.dirt_end, (end + 1) * UNIT);
}

static void
test_cut_and_merge(void **state)
{
    vmem_t *vmp = tracking(100);

    (void)state;
    take(vmp, 0, 20);
    assert_int_equal(vmp->vm_decay.decay_dirty, 0);
    give(vmp, 0, 20); /* merges with the clean rest, which stays clean */
    assert_dirt(vmp, 0, 0, 20);
    assert_int_equal(vmp->vm_decay.decay_dirty, 20 * UNIT);
    take(vmp, 5, 10); /* out of the middle of the dirt */
    assert_dirt(vmp, 0, 0, 5);
    assert_dirt(vmp, 1, 15, 20);
    assert_int_equal(vmp->vm_decay.decay_dirty, 10 * UNIT);
    take(vmp, 18, 10); /* half dirty */
    assert_dirt(vmp, 1, 15, 18);
    assert_int_equal(vmp->vm_decay.decay_dirty, 8 * UNIT);
    take(vmp, 50, 10); /* clean */
    give(vmp, 50, 10);
    assert_dirt(vmp, 2, 50, 60);
    give(vmp, 18, 10); /* takes in what lies clean between */
    assert_int_equal(vmp->vm_decay.decay_dirty, (5 + 45) * UNIT);
    give(vmp, 5, 10);
    assert_dirt(vmp, 0, 0, 60);
    assert_int_equal(vmp->vm_decay.decay_dirty, 60 * UNIT);
    take(vmp, 0, 100);
    assert_int_equal(vmp->vm_decay.decay_dirty, 0);
    give(vmp, 0, 100);
    vmem_destroy(vmp);
}

/* Of two that merge the place of the one with more dirt counts. */
static void
test_order(void **state)
{
    vmem_t *vmp = tracking(100);

    (void)state;
    take(vmp, 0, 30);
    take(vmp, 30, 1);
    take(vmp, 31, 9);
    take(vmp, 40, 10);
    take(vmp, 50, 10);
    take(vmp, 60, 40);
    give(vmp, 0, 30);
    aged(vmp, 0)->seg_since_ms -= 100;
    uint32_t old = aged(vmp, 0)->seg_since_ms;
    give(vmp, 40, 10);
    give(vmp, 30, 1); /* a scrap does not make the large one young */
    assert_dirt(vmp, 0, 0, 31);
    assert_int_equal(aged(vmp, 0)->seg_since_ms, old);
    assert_dirt(vmp, 1, 40, 50);
    give(vmp, 60, 40);
    give(vmp, 50, 10); /* nor does an old scrap make it old */
    assert_dirt(vmp, 0, 0, 31);
    assert_dirt(vmp, 1, 40, 100);
    assert_int_not_equal(aged(vmp, 1)->seg_since_ms, old);

    /* Forgotten, it keeps its dirt, until something is freed beside it. */
    struct vmem_seg *seg = aged(vmp, 0);
    umem_lock_acquire(&vmp->vm_lock);
    vmem_dirt_forget(vmp, seg);
    umem_lock_release(&vmp->vm_lock);
    assert_true(vmem_verify(vmp));
    assert_int_equal(vmem_dirt_size(seg), 31 * UNIT);
    assert_int_equal(vmp->vm_decay.decay_dirty, 60 * UNIT);
    give(vmp, 31, 9);
    assert_dirt(vmp, 0, 0, 100);
    vmem_destroy(vmp);
}

/* A bit a unit tells what may hold data: whatever is not in a segment's dirt never was written. */
static void
test_random(void **state)
{
    enum { UNITS = 300, HELD = 40 };
    vmem_t *vmp = tracking(UNITS);
    bool written[UNITS] = {false};
    struct {
        size_t at, n;
    } held[HELD] = {{0, 0}};
    uint64_t random = 88172645463325252u;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        size_t slot = random_next(&random) % HELD;
        if (held[slot].n != 0) {
            give(vmp, held[slot].at, held[slot].n);
            held[slot].n = 0;
            continue;
        }
        size_t n = 1 + random_next(&random) % 20;
        struct vmem_request rq = {.rq_policy = 0};
        assert_int_equal(vmem_request_init(&rq, vmp, n * UNIT, 0, 0, 0, 0, 0), 0);
        uintptr_t addr = NUM(vmem_request_alloc(vmp, &rq, 0));
        if (addr == 0)
            continue;
        held[slot].at = addr / UNIT - 1;
        held[slot].n = n;
        for (size_t unit = held[slot].at; unit < held[slot].at + n; unit++) {
            uintptr_t start = (unit + 1) * UNIT;
            if (start < rq.rq_dirt.dirt_start || start >= rq.rq_dirt.dirt_end)
                assert_false(written[unit]);
            written[unit] = true;
        }
    }
    for (size_t slot = 0; slot < HELD; slot++)
        if (held[slot].n != 0)
            give(vmp, held[slot].at, held[slot].n);
    vmem_destroy(vmp);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_and_merge),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests_name("vmem/dirt", tests, NULL, NULL);
}
