/* SPDX-License-Identifier: MIT */
/*
 * test_tcache_bin.c - what lies behind a window: exchanges, how magazines grow,
 * credit and what is counted by it, batches, and what a bin does not keep.
 */
#include "support.h"

enum { CREDIT_FIRST = 16, CREDIT_MOST = 4096, CREDIT_MS = 64, FIRST_SIZE = 6 };

static void
assert_quiet(unsigned bin)
{
    assert_true(tcache_is_quiet(bin_of(bin)));
}

/* An operation between its mark and its end is seen by anybody who looks. */
static void
test_marks(void **state)
{
    struct depot depot;
    unsigned bin = new_bin(&depot);
    void *obj;

    (void)state;
    put(bin, &objects[0]);
    put(bin, &objects[1]);
    struct tbin *b = bin_of(bin);
    assert_true(tcache_begin_alloc(b) || b->bin_credit < 0);
    assert_false(tcache_is_quiet(b));
    tcache_undo_alloc(b);
    assert_quiet(bin);
    tcache_begin_free(b);
    assert_false(tcache_is_quiet(b));
    tcache_undo_free(b);
    assert_quiet(bin);
    assert_ptr_equal(get(bin), &objects[1]);
    assert_true(tcache_pop(b, &obj));
    assert_ptr_equal(obj, &objects[0]);
    assert_quiet(bin);
    assert_false(tcache_pop(b, &obj)); /* an empty window leaves no mark */
    assert_quiet(bin);
    end(bin, &depot);
}

/* Whatever happens to a bin, marks and counts account for it, and objects come out once. */
static void
walk(unsigned bin, struct depot *depot, unsigned seed)
{
    static unsigned char out[OBJECTS];
    static int held[OBJECTS]; /* indices of objects that are out */
    uint64_t allocs = 0;
    int n = 0;

    memset(out, 1, sizeof(out));
    for (int i = 0; i < OBJECTS; i++)
        held[n++] = i;
    for (int step = 0; step < 400000; step++) {
        struct magazine *surplus = NULL;
        seed = seed * 1664525 + 1013904223;
        /* Long runs in one direction, so that windows run out. */
        bool wants = (seed >> 28) < ((step >> 12 & 1) ? 12u : 4u);
        if (seed % 997 == 0)
            now_ms += seed % 200;
        if (seed % 4999 == 0)
            tcache_flush_self();
        if (wants) {
            int *obj = get(bin);
            if (obj != NULL) {
                assert_int_equal(out[obj - objects]++, 0);
                held[n++] = (int)(obj - objects);
                allocs++;
            }
        } else if (n > 0 && try_put(bin, &objects[held[n - 1]], &surplus)) {
            out[held[--n]]--;
        }
        for (uint32_t i = 0; surplus != NULL && i < surplus->mag_rounds; i++) {
            int index = (int)((int *)surplus->mag_round[i] - objects);
            assert_int_equal(out[index]++, 0);
            held[n++] = index;
        }
        if (surplus != NULL)
            surplus->mag_rounds = 0;
        depot_put(depot, surplus);
        assert_quiet(bin);
        assert_int_equal(allocations(depot, bin), allocs);
    }
    assert_int_equal(tcache_bin_rounds(bin) + depot->depot_rounds, OBJECTS - n);
    assert_true(depot_verify(depot));
}

static void
test_walk(void **state)
{
    static const size_t sizes[] = {16, 64, 1024, 8192, 65536};

    (void)state;
    for (unsigned i = 0; i < UMEM_ARRAY_SIZE(sizes); i++)
        for (int bounded = 0; bounded <= 1; bounded++) {
            struct depot depot;
            unsigned bin = new_bin_of(&depot, sizes[i], bounded != 0);
            walk(bin, &depot, i * 2 + (unsigned)bounded);
            end(bin, &depot);
        }
}

/* A thread that goes back and forth over a magazine's edge stays off the depot. */
static void
test_previous_absorbs(void **state)
{
    struct depot depot;
    unsigned bin = new_bin(&depot);

    (void)state;
    for (int i = 0; i < 14 * 2 + 7; i++)
        put(bin, &objects[i]);
    size_t rounds = depot.depot_rounds;
    for (int turn = 0; turn < 100; turn++) {
        for (int i = 0; i < 14; i++)
            assert_non_null(get(bin));
        for (int i = 0; i < 14; i++)
            put(bin, &objects[i]);
        assert_true(depot.depot_rounds <= rounds);
    }
    end(bin, &depot);
}

/* A thread that only frees has one magazine, and the depot the rest; one that allocates, two. */
static void
test_giver(void **state)
{
    enum { FREED = FIRST_SIZE * 12 };
    struct depot depot;
    unsigned bin = new_bin(&depot);

    (void)state;
    for (int i = 0; i < FREED; i++)
        put(bin, &objects[i]);
    const struct tbin *b = bin_of(bin);
    assert_null(b->bin_previous);
    assert_int_equal(depot.depot_rounds, FREED - FIRST_SIZE);
    put(bin, &objects[FREED]);
    assert_int_equal(depot.depot_rounds, FREED);
    assert_int_equal(tcache_bin_rounds(bin), 1);

    for (int i = 0; i < FIRST_SIZE; i++)
        assert_non_null(get(bin));
    for (int i = 0; i < 2 * FIRST_SIZE; i++)
        put(bin, &objects[i]);
    assert_int_equal(b->bin_previous->mag_rounds, FIRST_SIZE);
    end(bin, &depot);
}

/* Puts n objects and takes them again, all others being out. */
static void
sway(unsigned bin, int n)
{
    for (int i = 0; i < n; i++)
        put(bin, &objects[i]);
    for (int i = 0; i < n; i++)
        assert_non_null(get(bin));
}

/* After frees alone, however fast they came, the next allocation makes a visit. */
static void
test_credit_after_frees(void **state)
{
    struct depot depot;
    unsigned bin = new_bin(&depot);

    (void)state;
    for (int i = 0; i < OBJECTS / 2; i++)
        put(bin, &objects[i]);
    for (int i = 0; i < OBJECTS / 2; i++)
        assert_non_null(get(bin));
    assert_true(bin_of(bin)->bin_granted > 1);
    for (int i = 0; i < OBJECTS / 2; i++)
        put(bin, &objects[i]);
    assert_int_equal(bin_of(bin)->bin_credit, 1);
    assert_quiet(bin);
    assert_int_equal(allocations(&depot, bin), OBJECTS / 2);
    end(bin, &depot);
}

static void
test_growth_by_exchanges(void **state)
{
    struct depot depot;
    unsigned bin = new_bin(&depot);
    uint32_t size = 0;

    (void)state;
    /* One way only: the loaded magazine is never the small one for long. */
    for (int i = 0; i < OBJECTS; i++) {
        put(bin, &objects[i]);
        assert_true(bin_of(bin)->bin_size >= size);
        size = bin_of(bin)->bin_size;
        if (i == 0)
            assert_int_equal(size, FIRST_SIZE);
    }
    assert_int_equal(size, depot.depot_mag_size_max);
    assert_int_equal(bin_of(bin)->bin_loaded->mag_size, size);
    end(bin, &depot);

    /* Few exchanges: it stays small. */
    bin = new_bin(&depot);
    for (int i = 0; i < 1000; i++)
        sway(bin, FIRST_SIZE - 1);
    assert_int_equal(bin_of(bin)->bin_size, FIRST_SIZE);
    end(bin, &depot);

    /* To and fro: past the bound of others, until the swaying fits. */
    bin = new_bin(&depot);
    for (int i = 0; i < 200; i++)
        sway(bin, 5000);
    assert_int_equal(bin_of(bin)->bin_size, depot.depot_mag_size_sway);
    assert_true(depot.depot_mag_size_sway > depot.depot_mag_size_max);
    assert_quiet(bin);
    end(bin, &depot);
}

/* Until the credit is spent windows serve; then one visit grants more. */
static void
test_credit(void **state)
{
    struct depot depot;
    unsigned bin = new_bin(&depot);
    uint32_t granted = 0;
    void *obj;

    (void)state;
    sway(bin, 100); /* so that its magazine is large */
    for (int i = 0; i < 200; i++)
        put(bin, &objects[i]);
    struct tbin *b = bin_of(bin);
    for (int i = 0; i < 100000; i++) {
        if (tcache_pop(b, &obj)) {
            put(bin, obj);
            continue;
        }
        bool spent = b->bin_credit == 0;
        obj = get(bin);
        assert_non_null(obj);
        put(bin, obj);
        if (!spent)
            continue; /* the window was empty */
        assert_true(b->bin_granted >= umem_min(2 * granted, CREDIT_MOST));
        assert_true(b->bin_granted <= CREDIT_MOST);
        granted = b->bin_granted;
        assert_int_equal(b->bin_credit, granted - 1);
    }
    /* All of it within one tick of the clock. */
    assert_int_equal(granted, CREDIT_MOST);
    assert_int_equal(allocations(&depot, bin), 100000 + 100);
    end(bin, &depot);
    assert_int_equal(depot.depot_retired_allocs, 100000 + 100);
}

/* Who allocates seldom is granted little: its next allocation makes a visit. */
static void
test_credit_of_idle(void **state)
{
    struct depot depot;
    unsigned bin = new_bin(&depot);
    void *obj;

    (void)state;
    put(bin, &objects[0]);
    struct tbin *b = bin_of(bin);
    for (int i = 0; i < 20; i++) {
        now_ms += 1000;
        put(bin, get(bin));
    }
    now_ms += 1000;
    while (tcache_pop(b, &obj)) /* none, or one */
        put(bin, obj);
    assert_int_equal(b->bin_credit, 0);
    uint32_t visited = b->bin_visit_ms;
    put(bin, get(bin));
    assert_true(b->bin_visit_ms != visited);
    assert_int_equal(b->bin_visit_ms, now_ms);
    assert_true(b->bin_granted <= 1);

    /* A hundred in 100 ms are worth 64. */
    now_ms += 1000;
    put(bin, get(bin));
    for (int i = 0; i < 99; i++) {
        now_ms += i % 100 == 0 ? 1 : 0;
        put(bin, get(bin));
    }
    uint64_t counted = allocations(&depot, bin);
    now_ms += 100;
    tcache_flush_self(); /* so that the next goes past the window */
    put(bin, get(bin));
    assert_int_equal(allocations(&depot, bin), counted + 1);
    assert_true(b->bin_granted >= 1 && b->bin_granted <= 100);
    end(bin, &depot);
}

/* The clock of visits is modulo 2^32. */
static void
test_credit_over_the_edge(void **state)
{
    struct depot depot;
    unsigned bin = new_bin(&depot);
    uint32_t before = now_ms;

    (void)state;
    now_ms = UINT32_MAX - 10;
    put(bin, &objects[0]);
    for (int i = 0; i < 1000; i++) {
        now_ms += i % 10 == 0 ? 1 : 0;
        put(bin, get(bin));
        assert_true(bin_of(bin)->bin_granted <= CREDIT_MOST);
        assert_quiet(bin);
    }
    assert_true(now_ms < 1000);
    assert_int_equal(allocations(&depot, bin), 1000);
    end(bin, &depot);
    now_ms = before;
}

/* A source of objects[] in order; how many it was asked for, and the most it gives. */
struct source {
    unsigned source_asked, source_most;
    int source_next;
};

static unsigned
next_objects(void *arg, void **out, unsigned n)
{
    struct source *source = arg;
    unsigned given = n < source->source_most ? n : source->source_most;

    source->source_asked = n;
    for (unsigned i = 0; i < given; i++)
        out[i] = &objects[source->source_next++];
    return given;
}

/* What is taken at once doubles, within bounds; the first taken goes out first. */
static void
test_fill(void **state)
{
    enum { MOST = 64, INITIAL_BYTES = 256 };
    struct depot depot;

    (void)state;
    for (size_t size = 8; size <= 131072; size *= 2) {
        unsigned bin = new_bin_of(&depot, size, true);
        unsigned last = 0;
        for (int i = 0; i < 12; i++) {
            struct source source = {.source_most = UINT32_MAX};
            void *obj = tcache_fill(tcache_get(bin), bin, next_objects, &source);
            if (obj == NULL) { /* one at a time is enough */
                assert_int_equal(source.source_asked, 0);
                assert_true(last <= 1);
                last = 1;
                continue;
            }
            assert_true(last == 0 ? source.source_asked * size <= INITIAL_BYTES
                                  : source.source_asked <= 2 * last);
            assert_true(source.source_asked <= MOST);
            last = source.source_asked;
            for (int n = 0; obj != NULL; n++, obj = get(bin))
                assert_ptr_equal(obj, &objects[n]);
            assert_quiet(bin);
        }
        end(bin, &depot);
    }
}

/* A source that has less, or nothing; a bin that has something already. */
static void
test_fill_less(void **state)
{
    struct depot depot;
    struct source less = {.source_most = 3}, none = {.source_most = 0};
    unsigned bin = new_bin(&depot);
    struct tcache *tc = tcache_get(bin);

    (void)state;
    assert_ptr_equal(tcache_fill(tc, bin, next_objects, &less), &objects[0]);
    assert_quiet(bin);
    assert_null(tcache_fill(tc, bin, next_objects, &less)); /* not empty */
    assert_ptr_equal(get(bin), &objects[1]);
    assert_ptr_equal(get(bin), &objects[2]);
    assert_null(get(bin));
    assert_null(tcache_fill(tc, bin, next_objects, &none));
    assert_true(none.source_asked > 1);
    assert_quiet(bin);
    assert_null(get(bin));
    assert_int_equal(allocations(&depot, bin), 3);
    end(bin, &depot);
}

/* A large block that is needed once is not kept; one that is needed again and again is. */
static void
test_reluctance(void **state)
{
    struct depot depot;
    struct magazine *surplus;
    int refused = 0;

    (void)state;
    unsigned bin = new_bin_of(&depot, 8192, true);
    assert_null(get(bin));
    while (!try_put(bin, &objects[0], &surplus)) {
        assert_null(surplus);
        assert_int_equal(tcache_bin_rounds(bin), 0);
        assert_null(get(bin));
        refused++;
    }
    assert_int_equal(refused, 32);
    assert_ptr_equal(get(bin), &objects[0]);
    end(bin, &depot);

    /* Small ones, and those that took work to make, are kept at once. */
    bin = new_bin_of(&depot, 1024, true);
    put(bin, &objects[0]);
    end(bin, &depot);
    bin = new_bin_of(&depot, 8192, false);
    put(bin, &objects[0]);
    end(bin, &depot);
}

/* Beyond the depot's bound a full magazine comes back with the operation. */
static void
test_surplus(void **state)
{
    struct depot depot;
    unsigned bin = new_bin_of(&depot, OBJECT_SIZE, true);
    struct magazine *surplus;
    size_t came_back = 0;

    (void)state;
    for (int i = 0; i < OBJECTS; i++) {
        assert_true(try_put(bin, &objects[i], &surplus));
        if (surplus == NULL)
            continue;
        assert_true(surplus->mag_rounds > 0);
        came_back += surplus->mag_rounds;
        surplus->mag_rounds = 0;
        depot_put(&depot, surplus);
        assert_quiet(bin);
    }
    size_t kept = tcache_bin_rounds(bin) + depot.depot_rounds;
    assert_int_equal(kept + came_back, OBJECTS);
    assert_true(depot.depot_rounds < depot.depot_rounds_max + depot.depot_mag_size_max);
    end(bin, &depot);
}

/* A flush leaves the marks to the owner; what ends for good begins anew. */
static void
test_flush_and_retire(void **state)
{
    struct depot depot;
    unsigned bin = new_bin(&depot);
    struct tcache *tc = tcache_get(bin);
    struct tbin *b = &tc->tc_bin[bin];

    (void)state;
    sway(bin, 50);
    for (int i = 0; i < 40; i++)
        put(bin, &objects[i]);
    uint32_t frees = b->bin_frees, granted = b->bin_granted;
    int32_t credit = b->bin_credit;
    umem_lock_acquire(&tc->tc_lock);
    tcache_flush_bin(tc, bin);
    umem_lock_release(&tc->tc_lock);
    assert_int_equal(b->bin_frees, frees);
    assert_int_equal(b->bin_granted, granted);
    assert_int_equal(b->bin_credit, credit);
    assert_true(is_closed_for_good(b));
    assert_null(b->bin_loaded);
    assert_null(b->bin_previous);
    assert_int_equal(depot.depot_rounds, 40);
    assert_int_equal(allocations(&depot, bin), 50);
    umem_lock_acquire(&tc->tc_lock);
    tcache_retire_bin(tc, bin);
    umem_lock_release(&tc->tc_lock);
    assert_int_equal(depot.depot_retired_allocs, 50);
    assert_int_equal(b->bin_granted, 0);
    assert_int_equal(b->bin_credit, 0);
    sway(bin, 20);
    assert_int_equal(allocations(&depot, bin), 70);
    assert_quiet(bin);
    end(bin, &depot);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_previous_absorbs),
        cmocka_unit_test(test_giver),
        cmocka_unit_test(test_credit_after_frees),
        cmocka_unit_test(test_growth_by_exchanges),
        cmocka_unit_test(test_credit),
        cmocka_unit_test(test_credit_of_idle),
        cmocka_unit_test(test_credit_over_the_edge),
        cmocka_unit_test(test_fill),
        cmocka_unit_test(test_fill_less),
        cmocka_unit_test(test_reluctance),
        cmocka_unit_test(test_surplus),
        cmocka_unit_test(test_flush_and_retire),
    };

    /* The engine's set-up does this; here only this layer runs. */
    tcache_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
