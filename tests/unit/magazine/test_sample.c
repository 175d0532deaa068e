/* SPDX-License-Identifier: MIT */
/*
 * test_sample.c - about one allocation in so many is drawn, whichever bins they
 * come from, and the windows go on serving the others.
 */
#include "support.h"

enum { BINS = 3, ALLOCS = 300000 };

struct tally {
    unsigned served; /* by the window */
    unsigned sampled;
};

/* As the cache layer does. */
static void *
alloc(unsigned bin, struct tally *tally)
{
    struct tcache *tc = tcache_get(bin);
    void *obj;

    if (tcache_pop(&tc->tc_bin[bin], &obj)) {
        tally->served++;
        return obj;
    }
    if (tcache_sample_due(tc, bin, now_ms)) {
        tally->sampled++;
        return NULL;
    }
    return tcache_take(tc, bin, now_ms);
}

/* Bins that allocate much, little and least. */
static struct tally
run(uint32_t every)
{
    struct depot depot[BINS];
    unsigned bin[BINS];
    struct tally tally = {0, 0};

    tcache_sample_every = every;
    tcache_sample_init(tcache_get(1));
    for (int i = 0; i < BINS; i++) {
        bin[i] = new_bin(&depot[i]);
        for (int k = 0; k < 10; k++)
            put(bin[i], &objects[i * 10 + k]);
    }
    for (int i = 0; i < ALLOCS; i++) {
        int which = i % 100 == 0 ? 2 : i % 10 == 0;
        void *obj = alloc(bin[which], &tally);
        if (obj != NULL)
            put(bin[which], obj);
        if (i % 10000 == 0)
            now_ms += 7;
    }
    for (int i = 0; i < BINS; i++)
        end(bin[i], &depot[i]);
    tcache_sample_every = 0;
    return tally;
}

static void
test_rate(void **state)
{
    (void)state;
    for (uint32_t every = 1; every <= 1000; every *= 10) {
        struct tally tally = run(every);
        assert_in_range(tally.sampled, ALLOCS / every * 8 / 10, ALLOCS / every * 12 / 10);
    }
}

/* A thread's first, and each bin's, are as likely as others: with one in one they are all drawn. */
static void
test_first(void **state)
{
    static unsigned first;

    (void)state;
    assert_int_equal(run(1).sampled, ALLOCS);
    tcache_sample_every = 10;
    for (int i = 0; i < 10000; i++) {
        struct tcache *tc = tcache_get(1);
        tcache_sample_init(tc);
        first += tcache_sample_other(tc);
    }
    tcache_sample_every = 0;
    assert_in_range(first, 300, 800); /* one in 2N - 1 */
}

static void
test_windows_serve(void **state)
{
    (void)state;
    assert_true(run(1000).served > ALLOCS * 9 / 10);
    assert_true(run(100).served > ALLOCS * 7 / 10);
}

static void
test_other(void **state)
{
    struct depot depot;
    unsigned bin = new_bin(&depot), sampled = 0;

    (void)state;
    tcache_sample_every = 10;
    tcache_sample_init(tcache_get(bin));
    for (int i = 0; i < 10000; i++)
        sampled += tcache_sample_other(tcache_get(bin));
    assert_in_range(sampled, 800, 1200);
    tcache_sample_every = 0;
    end(bin, &depot);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_first),
        cmocka_unit_test(test_windows_serve),
        cmocka_unit_test(test_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
