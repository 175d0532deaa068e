/* SPDX-License-Identifier: MIT */
/*
 * test_tcache.c - thread caches are born closed, grow, and end: neither a
 * thread's end nor a bin's nor a fork loses an object or a count.
 */
#include "support.h"

static void
test_starts_closed(void **state)
{
    (void)state;
    /* No thread of this program has allocated yet. */
    assert_false(tcache_is_live(tcache_self));
    for (unsigned bin = 0; bin < TCACHE_STATIC_BINS; bin++) {
        assert_null(tcache_self->tc_bin[bin].bin_cur);
        assert_null(tcache_self->tc_bin[bin].bin_base);
        assert_null(tcache_self->tc_bin[bin].bin_limit);
    }
}

static void
test_every_object_once(void **state)
{
    static unsigned char seen[OBJECTS];
    struct depot depot;
    unsigned bin = new_bin(&depot);

    (void)state;
    assert_null(get(bin));
    for (int i = 0; i < OBJECTS; i++)
        put(bin, &objects[i]);
    assert_int_equal(tcache_bin_rounds(bin) + depot.depot_rounds, OBJECTS);
    assert_true(depot_verify(&depot));
    for (int i = 0; i < OBJECTS; i++) {
        int *obj = get(bin);
        assert_non_null(obj);
        assert_int_equal(seen[obj - objects]++, 0);
    }
    assert_null(get(bin));
    end(bin, &depot);
}

/* More bins than a thread cache begins with: it grows and keeps what it has. */
static void
test_growth(void **state)
{
    static struct depot depots[300];
    unsigned bins[300];

    (void)state;
    for (int i = 0; i < 300; i++) {
        bins[i] = new_bin(&depots[i]);
        put(bins[i], &objects[i]);
    }
    assert_true(tcache_self->tc_bins > 300);
    for (int i = 0; i < 300; i++) {
        assert_ptr_equal(get(bins[i]), &objects[i]);
        assert_null(get(bins[i]));
        end(bins[i], &depots[i]);
    }
}

static void
test_bins_run_out(void **state)
{
    static struct depot depot;
    static unsigned bins[TCACHE_MAX_BINS];
    unsigned n = 0;

    (void)state;
    depot_init(&depot, OBJECT_SIZE, false);
    while ((bins[n] = tcache_bin_create(0, &depot)) != 0)
        n++;
    assert_int_equal(n, TCACHE_MAX_BINS - TCACHE_STATIC_BINS);
    tcache_bin_destroy(bins[1000]);
    assert_int_equal(tcache_bin_create(0, &depot), bins[1000]);
    for (unsigned i = 0; i < n; i++)
        tcache_bin_destroy(bins[i]);
}

struct worker {
    unsigned bin;
    pthread_barrier_t ready, leave;
};

static void *
hold_ten(void *arg)
{
    struct worker *worker = arg;

    for (int i = 0; i < 12; i++)
        put(worker->bin, &objects[i]);
    for (int i = 0; i < 2; i++)
        (void)get(worker->bin);
    pthread_barrier_wait(&worker->ready);
    pthread_barrier_wait(&worker->leave);
    return NULL;
}

static void
start(struct worker *worker, unsigned bin, pthread_t *thread)
{
    worker->bin = bin;
    pthread_barrier_init(&worker->ready, NULL, 2);
    pthread_barrier_init(&worker->leave, NULL, 2);
    assert_int_equal(pthread_create(thread, NULL, hold_ten, worker), 0);
    pthread_barrier_wait(&worker->ready);
}

static void
test_thread_exit(void **state)
{
    struct worker worker;
    struct depot depot;
    unsigned bin = new_bin(&depot);
    pthread_t thread;

    (void)state;
    start(&worker, bin, &thread);
    assert_int_equal(depot.depot_rounds, 0);
    assert_int_equal(tcache_bin_rounds(bin), 10);
    assert_int_equal(allocations(&depot, bin), 2);
    pthread_barrier_wait(&worker.leave);
    pthread_join(thread, NULL);
    assert_int_equal(depot.depot_rounds, 10);
    assert_int_equal(tcache_bin_rounds(bin), 0);
    assert_int_equal(depot.depot_retired_allocs, 2);
    end(bin, &depot);
}

static void
test_bin_destroy(void **state)
{
    struct worker worker;
    struct depot depot;
    unsigned bin = new_bin(&depot);
    pthread_t thread;

    (void)state;
    start(&worker, bin, &thread);
    put(bin, &objects[50]);
    tcache_bin_destroy(bin); /* the other thread lives, but uses the bin no more */
    assert_int_equal(depot.depot_rounds, 11);
    pthread_barrier_wait(&worker.leave);
    pthread_join(thread, NULL);
    assert_int_equal(depot.depot_rounds, 11);
    end(bin, &depot);
}

static void
test_flush_self(void **state)
{
    struct depot depot;
    unsigned bin = new_bin(&depot);

    (void)state;
    for (int i = 0; i < 40; i++)
        put(bin, &objects[i]);
    for (int i = 0; i < 3; i++)
        assert_non_null(get(bin));
    tcache_flush_self();
    assert_int_equal(depot.depot_rounds, 37);
    assert_int_equal(tcache_bin_rounds(bin), 0);
    assert_int_equal(allocations(&depot, bin), 3);
    assert_true(is_closed_for_good(bin_of(bin)));
    assert_non_null(get(bin));
    assert_int_equal(allocations(&depot, bin), 4);
    end(bin, &depot);
    assert_int_equal(depot.depot_retired_allocs, 4);
}

/* What a thread that the child does not have had cached is the child's. */
static void
test_fork(void **state)
{
    struct worker worker;
    struct depot depot;
    unsigned bin = new_bin(&depot);
    pthread_t thread;
    int status;

    (void)state;
    start(&worker, bin, &thread);
    put(bin, &objects[50]);
    tcache_fork_prepare();
    pid_t pid = _Fork(); /* the handlers are called here */
    if (pid == 0) {
        tcache_fork_child();
        bool good = depot.depot_rounds == 10 && depot.depot_retired_allocs == 2 &&
                    tcache_bin_rounds(bin) == 1 && tcache_self->tc_thread == (uint32_t)getpid();
        _exit(good ? 0 : 1);
    }
    tcache_fork_parent();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    pthread_barrier_wait(&worker.leave);
    pthread_join(thread, NULL);
    end(bin, &depot);
}

enum { SHARED = 64, IN_HAND = 9, FORKS = 200 };

struct storm {
    struct depot depot;
    unsigned bin;
    _Atomic bool stop;
};

/* Magazines of one round or two: nearly every operation is an exchange. */
static void *
exchange(void *arg)
{
    struct storm *storm = arg;

    while (!storm->stop) {
        void *in_hand[IN_HAND];
        int n = 0;
        while (n < IN_HAND && (in_hand[n] = get(storm->bin)) != NULL)
            n++;
        while (n > 0)
            put(storm->bin, in_hand[--n]);
    }
    return NULL;
}

/* Each object once, and all but what the other threads held. */
static bool
all_in_depot(const struct depot *depot)
{
    bool seen[SHARED] = {false};
    size_t objects_seen = 0, magazines = 0;

    for (struct magazine *mag = depot->depot_full.list_head; mag != NULL; mag = mag->mag_next) {
        if (mag->mag_rounds > mag->mag_size || ++magazines > depot->depot_full.list_count)
            return false;
        for (uint32_t i = 0; i < mag->mag_rounds; i++, objects_seen++) {
            size_t index = (size_t)((int *)mag->mag_round[i] - objects);
            if (index >= SHARED || seen[index])
                return false;
            seen[index] = true;
        }
    }
    return objects_seen >= SHARED - 2 * IN_HAND;
}

/* Wherever in an exchange other threads are, the child gets every magazine once. */
static void
test_fork_midway(void **state)
{
    struct storm storm = {.stop = false};
    pthread_t threads[2];
    int status;

    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* its runtime is not told of _Fork(): it sees the child use what others used */
#endif
    storm.bin = new_bin_of(&storm.depot, 128 * 1024, false);
    assert_true(storm.depot.depot_mag_size_sway <= 2);
    for (int i = 0; i < SHARED; i++)
        put(storm.bin, &objects[i]);
    tcache_flush_self();
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, exchange, &storm), 0);
    for (int i = 0; i < FORKS; i++) {
        tcache_fork_prepare();
        umem_lock_acquire_fork(&storm.depot.depot_lock);
        pid_t pid = _Fork(); /* the handlers are called here */
        if (pid == 0) {
            umem_lock_reset_child(&storm.depot.depot_lock);
            tcache_fork_child();
            _exit(all_in_depot(&storm.depot) ? 0 : 1);
        }
        umem_lock_release(&storm.depot.depot_lock);
        tcache_fork_parent();
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
    storm.stop = true;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    end(storm.bin, &storm.depot);
}

enum { RACES = 300, RACE_US = 200, CACHED = 20 };

struct race {
    struct depot depot;
    unsigned bin;
    pthread_barrier_t step;
};

static void *
fill_and_flush(void *arg)
{
    struct race *race = arg;

    for (int i = 0; i < RACES; i++) {
        pthread_barrier_wait(&race->step);
        for (int j = 0; j < CACHED; j++)
            put(race->bin, &objects[j]);
        pthread_barrier_wait(&race->step);
        pthread_barrier_wait(&race->step);
        tcache_flush_self();
        pthread_barrier_wait(&race->step);
    }
    return NULL;
}

/* A thread flushes all its bins while another destroys one that the first had used. */
static void
test_flush_while_destroyed(void **state)
{
    struct race race;
    pthread_t thread;

    (void)state;
    pthread_barrier_init(&race.step, NULL, 2);
    assert_int_equal(pthread_create(&thread, NULL, fill_and_flush, &race), 0);
    for (int i = 0; i < RACES; i++) {
        race.bin = new_bin(&race.depot);
        pthread_barrier_wait(&race.step);
        pthread_barrier_wait(&race.step);
        umem_lock_acquire(&race.depot.depot_lock);
        pthread_barrier_wait(&race.step);
        usleep(RACE_US); /* till the other thread waits for the depot, its bin half empty */
        umem_lock_release(&race.depot.depot_lock);
        tcache_bin_destroy(race.bin);
        assert_true(depot_verify(&race.depot));
        assert_int_equal(race.depot.depot_rounds, CACHED);
        pthread_barrier_wait(&race.step);
        end(race.bin, &race.depot);
    }
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&race.step);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starts_closed), cmocka_unit_test(test_every_object_once),
        cmocka_unit_test(test_growth),        cmocka_unit_test(test_bins_run_out),
        cmocka_unit_test(test_thread_exit),   cmocka_unit_test(test_bin_destroy),
        cmocka_unit_test(test_flush_self),    cmocka_unit_test(test_fork),
        cmocka_unit_test(test_fork_midway),   cmocka_unit_test(test_flush_while_destroyed),
    };

    /* The engine's set-up does this; here only this layer runs. */
    tcache_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
