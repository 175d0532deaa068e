/* SPDX-License-Identifier: MIT */
/*
 * test_divert.c - a diverted side of a window is closed, whatever the bin does
 * and whichever thread owns it, the other side and the slow path are as ever,
 * and exempt threads keep theirs open.
 */
#include "support.h"

#include "os/os.h"

enum { SOME = 100, BUSY = 20000 };

static bool
can_pop(unsigned bin)
{
    void *obj;

    if (!tcache_pop(bin_of(bin), &obj))
        return false;
    put(bin, obj);
    return true;
}

static bool
can_push(unsigned bin)
{
    struct tbin *b = bin_of(bin);

    if (!tcache_push(b, &objects[OBJECTS - 1]))
        return false;
    assert_ptr_equal(tcache_take(tcache_get(bin), bin, now_ms), &objects[OBJECTS - 1]);
    return true;
}

static void
test_sides(void **state)
{
    struct depot depot;
    unsigned bin = new_bin(&depot);

    (void)state;
    put(bin, &objects[0]);
    assert_true(can_pop(bin) && can_push(bin));
    tcache_divert(bin, TCACHE_ALLOC_SIDE);
    assert_true(!can_pop(bin) && can_push(bin));
    tcache_divert(bin, TCACHE_FREE_SIDE);
    assert_true(can_pop(bin) && !can_push(bin));
    tcache_divert(bin, TCACHE_ALLOC_SIDE | TCACHE_FREE_SIDE);
    assert_true(!can_pop(bin) && !can_push(bin));
    tcache_divert(bin, 0);
    assert_true(can_pop(bin) && can_push(bin));
    assert_ptr_equal(get(bin), &objects[0]);
    end(bin, &depot);
}

/* Through exchanges and larger magazines nothing opens, and every object is there once. */
static void
test_slow_path_serves(void **state)
{
    struct depot depot;
    unsigned bin = new_bin(&depot);
    static char seen[SOME * SOME];

    (void)state;
    tcache_divert(bin, TCACHE_ALLOC_SIDE | TCACHE_FREE_SIDE);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < SOME * SOME; i++) {
            assert_false(can_push(bin));
            put(bin, &objects[i]);
        }
        memset(seen, 0, sizeof(seen));
        for (int i = 0; i < SOME * SOME; i++) {
            void *obj;
            assert_false(tcache_pop(bin_of(bin), &obj));
            obj = get(bin);
            assert_non_null(obj);
            assert_int_equal(seen[(int *)obj - objects]++, 0);
        }
        assert_null(get(bin));
        assert_true(tcache_is_quiet(bin_of(bin)));
    }
    end(bin, &depot);
}

struct other {
    unsigned bin;
    sem_t ready, go;
    bool pops, pushes, exempt;
};

static void *
other_main(void *arg)
{
    struct other *other = arg;

    put(other->bin, &objects[1]);
    sem_post(&other->ready);
    while (sem_wait(&other->go) != 0)
        ;
    other->pops = can_pop(other->bin);
    other->pushes = can_push(other->bin);
    other->exempt = tcache_is_exempt();
    return NULL;
}

/* A thread that has its window open already, and sleeps meanwhile. */
static struct other
ask_other(unsigned bin, unsigned sides)
{
    struct other other = {.bin = bin};
    pthread_t thread;

    sem_init(&other.ready, 0, 0);
    sem_init(&other.go, 0, 0);
    assert_int_equal(pthread_create(&thread, NULL, other_main, &other), 0);
    while (sem_wait(&other.ready) != 0)
        ;
    tcache_divert(bin, sides);
    sem_post(&other.go);
    pthread_join(thread, NULL);
    return other;
}

static void
test_other_threads(void **state)
{
    struct depot depot;
    unsigned bin = new_bin(&depot);

    (void)state;
    struct other other = ask_other(bin, TCACHE_ALLOC_SIDE);
    assert_true(!other.pops && other.pushes);
    other = ask_other(bin, TCACHE_FREE_SIDE);
    assert_true(other.pops && !other.pushes);
    other = ask_other(bin, 0);
    assert_true(other.pops && other.pushes && !other.exempt);
    tcache_divert(bin, TCACHE_ALLOC_SIDE);
    end(bin, &depot);
}

static void
test_chosen_threads(void **state)
{
    uint32_t self = os_thread_id();
    struct depot depot;
    unsigned bin = new_bin(&depot);

    (void)state;
    put(bin, &objects[0]);
    tcache_choose_threads(&self, 1);
    struct other other = ask_other(bin, TCACHE_ALLOC_SIDE | TCACHE_FREE_SIDE);
    assert_true(other.exempt && other.pops && !other.pushes);
    assert_true(!tcache_is_exempt() && !can_pop(bin));
    /* A grown cache is the same thread's. */
    struct depot many[TCACHE_STATIC_BINS];
    unsigned bins[TCACHE_STATIC_BINS];
    for (int i = 0; i < TCACHE_STATIC_BINS; i++)
        bins[i] = new_bin(&many[i]);
    assert_non_null(tcache_get(bins[TCACHE_STATIC_BINS - 1]));
    assert_true(!tcache_is_exempt() && !can_pop(bin));
    for (int i = 0; i < TCACHE_STATIC_BINS; i++)
        end(bins[i], &many[i]);
    tcache_choose_threads(NULL, 0);
    other = ask_other(bin, TCACHE_ALLOC_SIDE);
    assert_true(!other.exempt && !other.pops);
    end(bin, &depot);
}

/* A bin that both sides of are closed looks swept half-way. */
static void
test_sweep(void **state)
{
    struct depot depot;
    unsigned bin = new_bin(&depot);

    (void)state;
    for (int i = 0; i < SOME; i++)
        put(bin, &objects[i]);
    tcache_divert(bin, TCACHE_ALLOC_SIDE | TCACHE_FREE_SIDE);
    for (int i = 0; i < 3; i++)
        while (tcache_sweep(1))
            ;
    assert_int_equal(tcache_bin_rounds(bin), 0);
    for (int i = 0; i < SOME; i++)
        assert_non_null(get(bin));
    assert_null(get(bin));
    end(bin, &depot);
}

static _Atomic bool stopped;

static void *
swap_objects(void *arg)
{
    unsigned bin = *(unsigned *)arg;

    while (!stopped) {
        void *obj = get(bin);
        if (obj == NULL)
            abort();
        put(bin, obj);
    }
    return NULL;
}

/* While its owner is at it. */
static void
test_race(void **state)
{
    struct depot depot;
    unsigned bin = new_bin(&depot);
    pthread_t thread;

    (void)state;
    for (int i = 0; i < SOME; i++)
        put(bin, &objects[i]);
    tcache_flush_self();
    stopped = false;
    assert_int_equal(pthread_create(&thread, NULL, swap_objects, &bin), 0);
    for (unsigned i = 0; i < BUSY; i++)
        tcache_divert(bin, i % 4);
    stopped = true;
    pthread_join(thread, NULL);
    assert_int_equal(depot.depot_rounds, SOME);
    end(bin, &depot);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sides),         cmocka_unit_test(test_slow_path_serves),
        cmocka_unit_test(test_other_threads), cmocka_unit_test(test_chosen_threads),
        cmocka_unit_test(test_sweep),         cmocka_unit_test(test_race),
    };

    tcache_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
