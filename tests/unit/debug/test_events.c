/* SPDX-License-Identifier: MIT */
/*
 * test_events.c - the transaction, fail and slab logs hold the last events,
 * whole ones, whoever writes and however often the ring has come round.
 */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <sys/vmem.h>

#include "cache/cache.h"
#include "debug/debug.h"
#include "debug/events.h"
#include "debug/log.h"
#include "os/os.h"

enum { LOG_SIZE = 8192, THREADS = 4, TURNS = 20000 };
#define SLOTS (LOG_SIZE / (UMEM_EVENT_RUN * sizeof(struct umem_event)) * UMEM_EVENT_RUN)

static int
setup(void **state)
{
    (void)state;
    assert_true(umem_ready());
    umem_options.opt_transaction_log = LOG_SIZE;
    umem_options.opt_fail_log = LOG_SIZE;
    umem_options.opt_slab_log = LOG_SIZE;
    slab_watcher = umem_event_slab;
    return 0;
}

/* A transaction of which every field follows from n. */
static void
write_event(uint64_t n)
{
    struct umem_bufctl bc = {
        .bc_last = {.txn_stack = (uint32_t)n,
                    .txn_when = umem_transaction_when((uint32_t)n + 1, n << UMEM_TXN_TIME_SHIFT)}};

    umem_bufctl_set_size(&bc, n + 2);
    umem_event_transaction(&bc, (void *)(uintptr_t)(n + 4), (struct umem_cache *)(uintptr_t)(n + 3),
                           UMEM_EVENT_ALLOC);
}

static uint64_t
number_of(const struct umem_event *event)
{
    return event->event_time >> UMEM_TXN_TIME_SHIFT;
}

static bool
is_whole(const struct umem_event *event)
{
    uint64_t n = number_of(event);

    return event->event_stack == (uint32_t)n && event->event_thread == (uint32_t)n + 1 &&
           event->event_size == ((n + 2) << UMEM_EVENT_KIND_BITS | UMEM_EVENT_ALLOC) &&
           event->event_cache == n + 3 && event->event_addr == n + 4;
}

/* Newest event of a log, by time. */
static const struct umem_event *
newest(const struct umem_event_log *log)
{
    const struct umem_event *events = log->log_events, *found = NULL;

    for (uint64_t i = 0; events != NULL && i < log->log_slots; i++)
        if (events[i].event_time != 0 && events[i].event_time != UMEM_EVENT_BUSY &&
            (found == NULL || events[i].event_time > found->event_time))
            found = &events[i];
    return found;
}

/* How many of the events from first on the transaction log has; all of its events are whole. */
static size_t
kept_from(uint64_t first)
{
    const struct umem_event *events = umem_transaction_log.log_events;
    size_t kept = 0;

    for (uint64_t i = 0; i < umem_transaction_log.log_slots; i++) {
        assert_int_not_equal(events[i].event_time, UMEM_EVENT_BUSY);
        if (events[i].event_time == 0)
            continue;
        assert_true(is_whole(&events[i]));
        kept += number_of(&events[i]) >= first;
    }
    return kept;
}

static void
keeps_the_last(void **state)
{
    (void)state;
    assert_null(newest(&umem_transaction_log));
    for (uint64_t n = 1; n <= 10 * SLOTS; n++) {
        write_event(n);
        assert_int_equal(number_of(newest(&umem_transaction_log)), n);
        /* What is older than the ring is gone, but for the rest of the run that is being filled. */
        uint64_t most = n < SLOTS ? n : SLOTS;
        assert_int_equal(kept_from(n - most + UMEM_EVENT_RUN),
                         most < UMEM_EVENT_RUN ? 0 : most - UMEM_EVENT_RUN + 1);
    }
    assert_int_equal(umem_transaction_log.log_slots, SLOTS);
}

static void *
writer(void *arg)
{
    uint64_t thread = (uintptr_t)arg;

    for (uint64_t i = 0; i < TURNS; i++)
        write_event((i + 1000) * THREADS + thread);
    return NULL;
}

static void
never_torn(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, writer, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(kept_from(0), SLOTS);
    assert_int_equal(number_of(newest(&umem_transaction_log)) / THREADS, TURNS + 999);
}

static void *
write_one(void *arg)
{
    write_event((uintptr_t)arg);
    return NULL;
}

/* A thread that comes back to its run after the ring has come round starts another. */
static void
old_run_is_given_up(void **state)
{
    pthread_t thread;
    uint64_t n = 1000000;

    (void)state;
    for (int i = 0; i < UMEM_EVENT_RUN / 2; i++)
        write_event(n++);
    uint64_t first = n;
    for (size_t i = 0; i < SLOTS; i++) { /* each of them a run */
        assert_int_equal(pthread_create(&thread, NULL, write_one, (void *)(uintptr_t)n++), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    uint64_t head = umem_transaction_log.log_head;
    size_t kept = kept_from(first);
    write_event(n);
    assert_int_equal(umem_transaction_log.log_head, head + UMEM_EVENT_RUN);
    assert_in_range(kept_from(first), kept, kept + 1);
    assert_int_equal(number_of(newest(&umem_transaction_log)), n);
}

static _Atomic int stop;

static void *
endless_writer(void *arg)
{
    (void)arg;
    for (uint64_t n = 2000000; !stop; n++)
        write_event(n);
    return NULL;
}

/* Every record serves the child of a fork in the midst of writing. */
static void
fork_while_writing(void **state)
{
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, endless_writer, NULL), 0);
    for (int i = 0; i < 50; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            umem_events_fork_child();
            for (uint64_t n = 1; n <= SLOTS + UMEM_EVENT_RUN; n++)
                write_event(((uint64_t)1 << 40) + n);
            _exit(kept_from((uint64_t)1 << 40) == SLOTS ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
    stop = 1;
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static int
refuse(void *buf, void *arg, int flags)
{
    (void)buf;
    (void)arg;
    (void)flags;
    errno = EMFILE;
    return -1;
}

static void
assert_failed(const void *cache, uint64_t size, int error)
{
    const struct umem_event *event = newest(&umem_fail_log);

    assert_non_null(event);
    assert_int_equal(event->event_cache, (uintptr_t)cache);
    assert_int_equal(event->event_size, size << UMEM_EVENT_KIND_BITS | UMEM_EVENT_FAIL);
    assert_int_equal(event->event_addr, error);
    assert_int_not_equal(event->event_stack, 0);
    assert_int_equal(event->event_thread, umem_thread_self());
    assert_true(os_clock_ns() - event->event_time < 10000000000u);
}

static void
failures(void **state)
{
    umem_cache_t *cache = umem_cache_create("refuse", 100, 0, refuse, NULL, NULL, NULL, NULL, 0);

    (void)state;
    assert_null(newest(&umem_fail_log));
    errno = 0;
    assert_null(umem_cache_alloc(cache, UMEM_DEFAULT));
    assert_int_equal(errno, EMFILE);
    assert_failed(cache, 100, EMFILE);
    assert_null(umem_alloc(SIZE_MAX / 2, UMEM_DEFAULT));
    assert_int_equal(errno, ENOMEM);
    assert_failed(NULL, UINT64_MAX >> UMEM_EVENT_KIND_BITS, ENOMEM);
    assert_null(umem_alloc_align(10, 48, UMEM_DEFAULT));
    assert_failed(NULL, 10, EINVAL);
    umem_setmtbf(1);
    assert_null(umem_alloc(300000, UMEM_DEFAULT));
    assert_failed(NULL, 300000, ENOMEM);
    umem_setmtbf(0);
    uint64_t head = umem_fail_log.log_head;
    umem_free(umem_alloc(300000, UMEM_DEFAULT), 300000);
    assert_int_equal(umem_fail_log.log_head, head);
    umem_cache_destroy(cache);
}

static void
slabs(void **state)
{
    umem_cache_t *cache = umem_cache_create("slabs", 1000, 0, NULL, NULL, NULL, NULL, NULL, 0);
    uint64_t size = cache->cache_slabs.pool_slab_size;

    (void)state;
    umem_cache_free(cache, umem_cache_alloc(cache, UMEM_DEFAULT));
    const struct umem_event *made = newest(&umem_slab_log);
    assert_int_equal(made->event_cache, (uintptr_t)cache);
    assert_int_equal(made->event_size, size << UMEM_EVENT_KIND_BITS | UMEM_EVENT_SLAB_MADE);
    umem_cache_destroy(cache);
    const struct umem_event *gone = newest(&umem_slab_log);
    assert_int_equal(gone->event_size, size << UMEM_EVENT_KIND_BITS | UMEM_EVENT_SLAB_DESTROYED);
    assert_int_equal(gone->event_addr, made->event_addr);
    assert_int_not_equal(gone->event_stack, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_last),
        cmocka_unit_test(never_torn),
        cmocka_unit_test(old_run_is_given_up),
        cmocka_unit_test(fork_while_writing),
        cmocka_unit_test(failures),
        cmocka_unit_test(slabs),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
