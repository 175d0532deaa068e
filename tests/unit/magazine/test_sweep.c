/* SPDX-License-Identifier: MIT */
/*
 * test_sweep.c - idle bins give up their magazines, also where their thread
 * sleeps; bins that are in use, or in the middle of an operation, never do,
 * whenever a sweep comes.
 */
#include "support.h"

#include "os/os.h"

enum { CACHED = 40 };

static void
sweep_all(void)
{
    while (tcache_sweep(1))
        ;
}

/* Twice: the first notes the marks, the second finds them unchanged. */
static void
sweep_twice(void)
{
    sweep_all();
    sweep_all();
}

/* A thread that does what it is told, and sleeps in between. */
struct sleeper {
    unsigned bin;
    void (*order)(struct sleeper *sleeper);
    sem_t go, done;
    pthread_t thread;
    struct tbin *b;
    void *obj;
};

static void *
sleeper_main(void *arg)
{
    struct sleeper *sleeper = arg;

    for (;;) {
        while (sem_wait(&sleeper->go) != 0)
            ;
        if (sleeper->order == NULL)
            return NULL;
        sleeper->b = bin_of(sleeper->bin);
        sleeper->order(sleeper);
        sem_post(&sleeper->done);
    }
}

static void
order(struct sleeper *sleeper, void (*fn)(struct sleeper *))
{
    sleeper->order = fn;
    sem_post(&sleeper->go);
    while (sem_wait(&sleeper->done) != 0)
        ;
}

static void
start(struct sleeper *sleeper, unsigned bin)
{
    *sleeper = (struct sleeper){.bin = bin};
    sem_init(&sleeper->go, 0, 0);
    sem_init(&sleeper->done, 0, 0);
    assert_int_equal(pthread_create(&sleeper->thread, NULL, sleeper_main, sleeper), 0);
}

static void
finish(struct sleeper *sleeper)
{
    sleeper->order = NULL;
    sem_post(&sleeper->go);
    pthread_join(sleeper->thread, NULL);
}

static void
cache_some(struct sleeper *sleeper)
{
    for (int i = 0; i < CACHED; i++)
        put(sleeper->bin, &objects[i]);
}

static void
take_one(struct sleeper *sleeper)
{
    sleeper->obj = get(sleeper->bin);
}

static void
put_back(struct sleeper *sleeper)
{
    put(sleeper->bin, sleeper->obj);
}

static void
touch(struct sleeper *sleeper)
{
    take_one(sleeper);
    put_back(sleeper);
}

/* Up to the point where the window has been found open. */
static void
begin_alloc(struct sleeper *sleeper)
{
    if (!tcache_begin_alloc(sleeper->b))
        abort();
}

static void
finish_alloc(struct sleeper *sleeper)
{
    sleeper->obj = *--sleeper->b->bin_cur;
}

static void
begin_free(struct sleeper *sleeper)
{
    tcache_begin_free(sleeper->b);
}

static void
finish_free(struct sleeper *sleeper)
{
    *sleeper->b->bin_cur++ = sleeper->obj;
}

static void
test_sleeping_thread(void **state)
{
    struct sleeper sleeper;
    struct depot depot;
    unsigned bin = new_bin(&depot);

    (void)state;
    start(&sleeper, bin);
    order(&sleeper, cache_some);
    sweep_all();
    assert_int_equal(tcache_bin_rounds(bin) + depot.depot_rounds, CACHED);
    size_t before = tcache_bin_rounds(bin);
    assert_true(before > 0);
    sweep_all();
    if (!os_barrier()) {
        /* Bins wait for their threads, and are as they were. */
        assert_int_equal(tcache_bin_rounds(bin), before);
    } else {
        assert_int_equal(tcache_bin_rounds(bin), 0);
        assert_int_equal(depot.depot_rounds, CACHED);
        assert_true(is_closed_for_good(sleeper.b));
        sweep_twice(); /* nothing is left to take */
        assert_true(is_closed_for_good(sleeper.b));
    }
    for (int i = 0; i < 3; i++)
        order(&sleeper, touch);
    assert_true(tcache_is_quiet(sleeper.b));
    assert_int_equal(tcache_bin_rounds(bin) + depot.depot_rounds, CACHED);
    assert_int_equal(allocations(&depot, bin), 3);
    finish(&sleeper);
    assert_int_equal(depot.depot_rounds, CACHED);
    assert_int_equal(depot.depot_retired_allocs, 3);
    end(bin, &depot);
}

/* Used between any two sweeps, if by one operation: it stays. */
static void
test_used_bin_stays(void **state)
{
    struct sleeper sleeper;
    struct depot depot;
    unsigned bin = new_bin(&depot);

    (void)state;
    start(&sleeper, bin);
    order(&sleeper, cache_some);
    size_t before = depot.depot_rounds;
    for (int i = 0; i < 50; i++) {
        order(&sleeper, i % 2 == 0 ? take_one : put_back);
        sweep_all();
        assert_int_equal(depot.depot_rounds, before);
    }
    finish(&sleeper);
    end(bin, &depot);
}

/* This thread's own: no barrier is needed. */
static void
test_own_bin(void **state)
{
    struct depot depot;
    unsigned bin = new_bin(&depot);

    (void)state;
    for (int i = 0; i < CACHED; i++)
        put(bin, &objects[i]);
    sweep_twice();
    assert_int_equal(depot.depot_rounds, CACHED);
    assert_int_equal(tcache_bin_rounds(bin), 0);
    assert_true(is_closed_for_good(bin_of(bin)));
    for (int i = 0; i < CACHED; i++)
        assert_non_null(get(bin));
    assert_null(get(bin));
    end(bin, &depot);
}

static void
test_pinned(void **state)
{
    struct sleeper sleeper;
    struct depot depot;
    unsigned bin = new_bin(&depot);

    (void)state;
    depot.depot_pinned = true;
    start(&sleeper, bin);
    order(&sleeper, cache_some);
    size_t before = tcache_bin_rounds(bin);
    for (int i = 0; i < 5; i++)
        sweep_all();
    assert_int_equal(tcache_bin_rounds(bin), before);
    assert_true(before > 0);
    finish(&sleeper);
    end(bin, &depot);
}

/* Its thread was put to sleep between mark and window: the bin is left, and open again. */
static void
test_midway(void **state)
{
    enum { TAKEN = 2 };
    struct sleeper sleeper;
    struct depot depot;
    unsigned bin = new_bin(&depot);

    (void)state;
    start(&sleeper, bin);
    order(&sleeper, cache_some);
    for (int i = 0; i < TAKEN; i++) /* so that there is credit: frees alone left one */
        order(&sleeper, take_one);
    size_t before = depot.depot_rounds;
    void *next = sleeper.b->bin_cur[-1];
    order(&sleeper, begin_alloc);
    for (int i = 0; i < 4; i++)
        sweep_all();
    assert_int_equal(depot.depot_rounds, before);
    assert_ptr_equal(sleeper.b->bin_base, sleeper.b->bin_loaded->mag_round);
    order(&sleeper, finish_alloc);
    assert_ptr_equal(sleeper.obj, next);
    assert_true(tcache_is_quiet(sleeper.b));

    order(&sleeper, begin_free);
    for (int i = 0; i < 4; i++)
        sweep_all();
    assert_int_equal(depot.depot_rounds, before);
    assert_ptr_equal(sleeper.b->bin_limit,
                     sleeper.b->bin_loaded->mag_round + sleeper.b->bin_loaded->mag_size);
    order(&sleeper, finish_free);
    assert_true(tcache_is_quiet(sleeper.b));
    sweep_twice();
    if (os_barrier())
        assert_int_equal(depot.depot_rounds, CACHED - TAKEN);
    finish(&sleeper);
    end(bin, &depot);
}

/* A few threads at a time, each once a round, those included that come meanwhile. */
static void
test_rounds(void **state)
{
    enum { SLEEPERS = 7 };
    struct sleeper sleepers[SLEEPERS];
    struct depot depots[SLEEPERS];
    unsigned turns = 1;

    (void)state;
    sweep_all();
    for (int i = 0; i < SLEEPERS; i++) {
        start(&sleepers[i], new_bin(&depots[i]));
        order(&sleepers[i], cache_some);
    }
    size_t threads = 0;
    UMEM_LIST_FOR (node, &umem_tcaches)
        threads++;
    while (tcache_sweep(3))
        turns++;
    assert_int_equal(turns, threads / 3 + 1);
    while (tcache_sweep(3))
        ;
    for (int i = 0; i < SLEEPERS; i++) {
        if (os_barrier())
            assert_int_equal(depots[i].depot_rounds, CACHED);
        finish(&sleepers[i]);
        end(sleepers[i].bin, &depots[i]);
    }
}

enum { SHARED = 600, IN_HAND = 50, WORKERS = 3, SWEEPS = 6000, MORE_BINS = 40 };

/* What the threads below share; out: an object is in a thread's hands. */
static struct storm {
    struct depot depot;
    unsigned bin;
    struct depot more[MORE_BINS];
    unsigned more_bin[MORE_BINS];
    _Atomic bool out[SHARED];
    _Atomic bool stop;
    _Atomic uint64_t allocs;
} storm;

static void *
take_checked(uint64_t *allocs)
{
    int *obj = get(storm.bin);

    if (obj != NULL) {
        ++*allocs;
        if (atomic_exchange(&storm.out[obj - objects], true))
            abort(); /* handed out twice */
    }
    return obj;
}

static void
put_checked(void *obj)
{
    if (!atomic_exchange(&storm.out[(int *)obj - objects], false))
        abort();
    put(storm.bin, obj);
}

/* Pauses of no time, of some nanoseconds, and of some sweeps. */
static void
pause_for(unsigned seed)
{
    unsigned kind = seed >> 16 & 15;

    if (kind == 0)
        usleep(seed >> 20 & 63);
    else if (kind < 6)
        for (volatile unsigned i = seed >> 20 & 255; i > 0;)
            i--;
}

static void *
hurry(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    uint64_t allocs = 0;

    while (!storm.stop) {
        void *in_hand[IN_HAND];
        unsigned n = 0;
        seed = seed * 1664525 + 1013904223;
        for (unsigned want = (seed >> 8) % IN_HAND + 1; n < want; n++)
            if ((in_hand[n] = take_checked(&allocs)) == NULL)
                break;
        pause_for(seed);
        while (n > 0)
            put_checked(in_hand[--n]);
        pause_for(seed * 2654435761u);
    }
    atomic_fetch_add(&storm.allocs, allocs);
    return NULL;
}

/* Its thread cache grows, ends, and comes again, while it is swept. */
static void *
grow(void *arg)
{
    uint64_t allocs = 0;

    for (int i = 0; i < MORE_BINS && !storm.stop; i++) {
        void *obj = take_checked(&allocs);
        int index = SHARED + i + (int)(uintptr_t)arg * MORE_BINS;
        put(storm.more_bin[i], &objects[index]);
        if (obj != NULL)
            put_checked(obj);
        if (get(storm.more_bin[i]) == NULL)
            abort();
    }
    atomic_fetch_add(&storm.allocs, allocs);
    return NULL;
}

static void *
grow_again(void *arg)
{
    while (!storm.stop) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, grow, arg) != 0)
            abort();
        pthread_join(thread, NULL);
    }
    return NULL;
}

static void
begin_storm(pthread_t *threads)
{
    storm = (struct storm){.stop = false};
    storm.bin = new_bin(&storm.depot);
    for (int i = 0; i < MORE_BINS; i++)
        storm.more_bin[i] = new_bin(&storm.more[i]);
    for (int i = 0; i < SHARED; i++)
        put(storm.bin, &objects[i]);
    tcache_flush_self();
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hurry, (void *)(uintptr_t)(i + 1)), 0);
    assert_int_equal(pthread_create(&threads[WORKERS], NULL, grow_again, NULL), 0);
}

static void
end_storm(const pthread_t *threads)
{
    storm.stop = true;
    for (int i = 0; i <= WORKERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(storm.depot.depot_rounds, SHARED);
    assert_int_equal(storm.depot.depot_retired_allocs, storm.allocs);
    end(storm.bin, &storm.depot);
    for (int i = 0; i < MORE_BINS; i++)
        end(storm.more_bin[i], &storm.more[i]);
}

static void
test_storm(void **state)
{
    pthread_t threads[WORKERS + 1];

    (void)state;
    begin_storm(threads);
    for (int i = 0; i < SWEEPS; i++) {
        sweep_all();
        pause_for((unsigned)i * 2654435761u);
    }
    end_storm(threads);
}

static void *
sweep_on(void *arg)
{
    (void)arg;
    while (!storm.stop)
        (void)tcache_sweep(2);
    return NULL;
}

/* Each object at most once, and all but what threads had in their hands. */
static bool
is_whole(void)
{
    static bool seen[SHARED];
    size_t found = 0;

    for (struct magazine *mag = storm.depot.depot_full.list_head; mag != NULL;
         mag = mag->mag_next) {
        for (uint32_t i = 0; i < mag->mag_rounds; i++, found++) {
            size_t index = (size_t)((int *)mag->mag_round[i] - objects);
            if (index >= SHARED || seen[index])
                return false;
            seen[index] = true;
        }
    }
    return found >= SHARED - WORKERS * IN_HAND - 1;
}

/* Wherever a sweep is, the child of a fork takes over every magazine once. */
static void
test_fork_midway(void **state)
{
    enum { FORKS = 300 };
    pthread_t threads[WORKERS + 1], sweeper;
    int status;

    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* its runtime is not told of _Fork(): it sees the child use what others used */
#endif
    begin_storm(threads);
    assert_int_equal(pthread_create(&sweeper, NULL, sweep_on, NULL), 0);
    for (int i = 0; i < FORKS; i++) {
        tcache_fork_prepare();
        umem_lock_acquire_fork(&storm.depot.depot_lock);
        pid_t pid = _Fork(); /* the handlers are called here */
        if (pid == 0) {
            umem_lock_reset_child(&storm.depot.depot_lock);
            for (int j = 0; j < MORE_BINS; j++)
                umem_lock_reset_child(&storm.more[j].depot_lock);
            alarm(20);
            tcache_fork_child();
            sweep_twice();
            _exit(is_whole() && depot_verify(&storm.depot) ? 0 : 1);
        }
        umem_lock_release(&storm.depot.depot_lock);
        tcache_fork_parent();
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
    storm.stop = true;
    pthread_join(sweeper, NULL);
    end_storm(threads);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sleeping_thread), cmocka_unit_test(test_used_bin_stays),
        cmocka_unit_test(test_own_bin),         cmocka_unit_test(test_pinned),
        cmocka_unit_test(test_midway),          cmocka_unit_test(test_rounds),
        cmocka_unit_test(test_storm),           cmocka_unit_test(test_fork_midway),
    };

    /* The engine's set-up does this; here only this layer runs. */
    tcache_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
