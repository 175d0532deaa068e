/* SPDX-License-Identifier: MIT */
/*
 * test_reap.c - what a reap and an update give back, and what happens when
 * destructors and reclaim functions use the allocator meanwhile.
 */
#include "support.h"

static umem_cache_t *cache, *made;
static int reclaimed;

enum { MANY = 20000, OBJECT = 200 };
static void *objs[MANY];

static int
construct(void *buf, void *private_data, int flags)
{
    (void)private_data;
    (void)flags;
    *(char *)buf = 'c';
    return 0;
}

/* Allocates and frees many; what the heap gave out at the most. */
static size_t
use_many(umem_cache_t *cp)
{
    for (int i = 0; i < MANY; i++)
        objs[i] = umem_cache_alloc(cp, UMEM_DEFAULT);
    size_t peak = vmem_size(&vmem_heap, VMEM_ALLOC);
    for (int i = 0; i < MANY; i++)
        umem_cache_free(cp, objs[i]);
    return peak;
}

static void
assert_all_reaped(umem_cache_t *cp, size_t peak)
{
    umem_reap();
    assert_int_equal(cp->cache_depot.depot_rounds, 0);
    assert_int_equal(cp->cache_slabs.pool_slabs, 0);
    assert_true(vmem_size(&vmem_heap, VMEM_ALLOC) + MANY * OBJECT <= peak);
    assert_true(verify_caches());
    umem_cache_destroy(cp);
}

/* Constructed objects stay till they are reaped. */
static void
test_reap(void **state)
{
    (void)state;
    cache = umem_cache_create("reap", OBJECT, 0, construct, NULL, NULL, NULL, NULL, 0);
    size_t peak = use_many(cache);
    assert_true(cache->cache_depot.depot_rounds > MANY / 2);
    assert_all_reaped(cache, peak);
}

/* Of plain ones most go at once, but for what turns out to be wanted again and again. */
static void
test_bound(void **state)
{
    (void)state;
    cache = umem_cache_create("bound", OBJECT, 0, NULL, NULL, NULL, NULL, NULL, 0);
    size_t peak = use_many(cache);
    assert_true(cache->cache_depot.depot_rounds < MANY / 10);
    assert_true(cache->cache_slabs.pool_allocated < MANY / 5);
    assert_true(vmem_size(&vmem_heap, VMEM_ALLOC) + MANY * OBJECT / 2 < peak);
    for (int i = 0; i < 30; i++)
        peak = use_many(cache);
    assert_true(cache->cache_depot.depot_rounds > MANY / 2);
    assert_all_reaped(cache, peak);
}

static void
use_all(void *private_data)
{
    (void)private_data;
    reclaimed++;
    umem_reap(); /* recursive: returns at once */
    umem_free(umem_alloc(1000, UMEM_DEFAULT), 1000);
    made = umem_cache_create("made by reclaim", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);
    umem_cache_destroy(made);
}

static void
destructor_uses_all(void *buf, void *private_data)
{
    (void)buf;
    use_all(private_data);
}

/* Who comes by a slow path lets go what has been free in the heap for long enough. */
static void
test_heap(void **state)
{
    const size_t size = 1 << 19;

    (void)state;
    umem_reap();
    char *p = umem_alloc(size, UMEM_DEFAULT);
    memset(p, 1, size);
    umem_free(p, size);
    assert_true(vmem_heap.vm_decay.decay_dirty >= size);
    (void)umem_update_if_due(NULL);
    assert_true(vmem_heap.vm_decay.decay_dirty >= size);
    umem_lock_acquire(&vmem_heap.vm_lock);
    UMEM_LIST_FOR (link, &vmem_heap.vm_aged)
        UMEM_CONTAINER_OF(link, struct vmem_seg, seg_aged)->seg_since_ms -= VMEM_DECAY_MS;
    umem_lock_release(&vmem_heap.vm_lock);
    atomic_store(&vmem_heap.vm_decay.decay_due_ms, os_clock_coarse_ms());
    (void)umem_update_if_due(NULL);
    assert_true(vmem_heap.vm_decay.decay_dirty < size);
}

static void
test_reclaim(void **state)
{
    (void)state;
    cache = umem_cache_create("reclaim", 64, 0, NULL, NULL, use_all, NULL, NULL, 0);
    reclaimed = 0;
    umem_reap();
    assert_int_equal(reclaimed, 1);
    umem_cache_destroy(cache);
    umem_reap();
    assert_int_equal(reclaimed, 1);
}

static void
test_destructors(void **state)
{
    (void)state;
    cache = umem_cache_create("destructor", 64, 0, NULL, destructor_uses_all, NULL, NULL, NULL, 0);
    for (int i = 0; i < 100; i++)
        objs[i] = umem_cache_alloc(cache, UMEM_DEFAULT);
    for (int i = 0; i < 100; i++)
        umem_cache_free(cache, objs[i]);
    reclaimed = 0;
    umem_reap();
    assert_int_equal(reclaimed, 100);
    assert_true(verify_caches());
    umem_cache_destroy(cache);
}

/* Lets the first update be due; keeps updates out until their steps are let pass. */
static void
prepare_updates(void)
{
    umem_options.opt_reap_interval_s = 0;
    (void)umem_update_if_due(NULL);
    CHECK(umem_reap_exclude());
}

/* Time for a step passes, and cp allocates, n times. */
static void
let_steps_pass(umem_cache_t *cp, int n)
{
    for (int i = 0; i < n; i++) {
        usleep(15000); /* a step is due every 10 ms; the clock ticks every 4 */
        (void)umem_update_if_due(cp);
    }
}

/* An update takes what lay unused for an interval, in steps, on an allocation's way. */
static void
updating(void)
{
    enum { STEP_ROUNDS_MAX = 64 * MAGAZINE_ROUNDS_MAX };

    umem_cache_t *cp = umem_cache_create("update", OBJECT, 0, construct, NULL, NULL, NULL, NULL, 0);
    prepare_updates();
    (void)use_many(cp);
    size_t rounds = cp->cache_depot.depot_rounds, slabs = cp->cache_slabs.pool_slabs;
    CHECK(rounds > MANY / 2);
    umem_reap_admit(true);
    for (int i = 0; i < 60 && cp->cache_slabs.pool_allocated > 0; i++) {
        size_t before = cp->cache_depot.depot_rounds;
        let_steps_pass(cp, 1);
        CHECK(cp->cache_depot.depot_rounds + STEP_ROUNDS_MAX >= before);
    }
    CHECK(cp->cache_depot.depot_rounds == 0);
    CHECK(cp->cache_slabs.pool_slabs <= 1 && slabs > 1);
    CHECK(tcache_bin_rounds(cp->cache_slow_bin) == 0); /* of this thread too */
    CHECK(verify_caches());
}

/* What a step does at most: it is not all. */
static void
step_is_bounded(void)
{
    enum { STEP_MAGAZINES = 64, LATE_STEPS = 8 }; /* who comes late makes so many at once */

    umem_cache_t *cp = umem_cache_create("update", OBJECT, 0, construct, NULL, NULL, NULL, NULL, 0);
    prepare_updates();
    for (int i = 0; i < 3 * LATE_STEPS * STEP_MAGAZINES; i++) {
        struct magazine *mag = magazine_create(&cp->cache_depot, 14);
        mag->mag_rounds = 1;
        mag->mag_round[0] = NULL;
        /* As the slabs count it, the object is out. */
        CHECK(slab_alloc(&cp->cache_slabs, &mag->mag_round[0], 1) == 1);
        depot_put(&cp->cache_depot, mag);
    }
    size_t left = cp->cache_depot.depot_rounds;
    int steps = 0;
    umem_reap_admit(true);
    for (int i = 0; i < 300 && left > 0; i++) {
        let_steps_pass(cp, 1);
        CHECK(cp->cache_depot.depot_rounds + LATE_STEPS * STEP_MAGAZINES >= left);
        steps += cp->cache_depot.depot_rounds != left;
        left = cp->cache_depot.depot_rounds;
    }
    CHECK(left == 0 && steps >= 3);
}

static umem_cache_t *sleepers;
static pthread_barrier_t asleep;

static void *
sleep_on_magazines(void *arg)
{
    void *mine[50];

    (void)arg;
    for (int i = 0; i < 50; i++)
        mine[i] = umem_cache_alloc(sleepers, UMEM_DEFAULT);
    for (int i = 0; i < 50; i++)
        umem_cache_free(sleepers, mine[i]);
    pthread_barrier_wait(&asleep);
    pthread_barrier_wait(&asleep);
    void *obj = umem_cache_alloc(sleepers, UMEM_DEFAULT);
    CHECK(obj != NULL);
    umem_cache_free(sleepers, obj);
    return NULL;
}

/* What a thread cached that now sleeps comes back too, and the thread wakes to a whole bin. */
static void
update_of_sleepers(void)
{
    pthread_t thread;

    sleepers = umem_cache_create("sleepers", OBJECT, 0, NULL, NULL, NULL, NULL, NULL, 0);
    umem_cache_t *mine = umem_cache_create("mine", OBJECT, 0, NULL, NULL, NULL, NULL, NULL, 0);
    prepare_updates();
    pthread_barrier_init(&asleep, NULL, 2);
    CHECK(pthread_create(&thread, NULL, sleep_on_magazines, NULL) == 0);
    pthread_barrier_wait(&asleep);
    CHECK(tcache_bin_rounds(sleepers->cache_slow_bin) > 0);
    umem_reap_admit(true);
    let_steps_pass(mine, 40);
    if (os_barrier()) {
        CHECK(tcache_bin_rounds(sleepers->cache_slow_bin) == 0);
        CHECK(sleepers->cache_slabs.pool_allocated == 0);
    }
    pthread_barrier_wait(&asleep);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(held(sleepers) == 0 && verify_caches());
    umem_cache_destroy(sleepers);
}

static int destroyed;

static void
count_destroyed(void *buf, void *private_data)
{
    (void)buf;
    (void)private_data;
    destroyed++;
}

/* The thread may hold locks that a destructor takes, unless it allocates from that cache. */
static void
update_elsewhere(void)
{
    umem_cache_t *cp =
        umem_cache_create("mine", 256, 0, NULL, count_destroyed, NULL, NULL, NULL, 0);
    umem_cache_t *other = umem_cache_create("other", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);

    prepare_updates();
    for (int i = 0; i < 500; i++)
        CHECK((objs[i] = umem_cache_alloc(cp, UMEM_DEFAULT)) != NULL);
    for (int i = 0; i < 500; i++)
        umem_cache_free(cp, objs[i]);
    umem_reap_admit(true);
    let_steps_pass(other, 20);
    CHECK(destroyed == 0);
    let_steps_pass(cp, 20);
    CHECK(destroyed > 0);
    _exit(0);
}

static void
test_update_elsewhere(void **state)
{
    (void)state;
    assert_exits(update_elsewhere, NULL, 0);
}

static void
test_update(void **state)
{
    (void)state;
    assert_exits(updating, NULL, 0);
    assert_exits(step_is_bounded, NULL, 0);
    assert_exits(update_of_sleepers, NULL, 0);
}

static _Atomic bool stop;

static void *
churn(void *arg)
{
    while (!stop) {
        void *mine[50];
        for (int i = 0; i < 50; i++)
            mine[i] = umem_cache_alloc(arg, UMEM_DEFAULT);
        for (int i = 0; i < 50; i++)
            umem_cache_free(arg, mine[i]);
    }
    return NULL;
}

/* Caches come and go, others are busy, while reaps walk the list. */
static void
test_reap_races(void **state)
{
    pthread_t threads[2];

    (void)state;
    cache = umem_cache_create("busy", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, churn, cache);
    for (int i = 0; i < 300; i++) {
        umem_cache_t *cp = umem_cache_create("brief", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);
        umem_cache_free(cp, umem_cache_alloc(cp, UMEM_DEFAULT));
        umem_reap();
        umem_cache_destroy(cp);
    }
    stop = true;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    umem_reap();
    assert_int_equal(held(cache), 0);
    umem_cache_destroy(cache);
    assert_true(verify_caches());
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_update_elsewhere), /* children first, of a fresh engine */
        cmocka_unit_test(test_update),           /* first: its child is a fresh engine */
        cmocka_unit_test(test_reap),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_heap),
        cmocka_unit_test(test_reclaim),
        cmocka_unit_test(test_destructors),
        cmocka_unit_test(test_reap_races),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
