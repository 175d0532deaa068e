/* SPDX-License-Identifier: MIT */
/*
 * stress_stacks.c - stacks of all sizes in many threads, which run fibers and threads on them to
 * random depths, hand them to each other, free what others allocated, fork, and run off their
 * ends in children; meanwhile the main thread trims, reaps, reserves, seals and unseals.
 *
 *   stress_stacks [SECONDS [THREADS [SEED]]]
 *
 * The seed decides too how stacks of each size are made: backend, lazy, scrubbed, bounds.  At the
 * end no stack may be left in use but that of the main thread's signals, and none in the caches.
 *
 * `gate` is held by each thread round one operation, for reading; for writing by the main thread
 * round stack_seal() and stack_unseal(), which nobody may be beside.  Then threads that
 * stack_pthread_create() made must have ended as well: they are counted.  Queues have mutexes.
 */
#include "fibers.h"
#include "stress.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stackalloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <umem.h>
#include <unistd.h>

enum {
    MAX_WORKERS = 32,
    SLOTS = 12,          /* items of a worker */
    QUEUE = 16,          /* items on their way to it */
    CHILD_SECONDS = 300, /* a child that lives longer hangs, on a busy machine too */
    CHILD_ITEMS = 20,
    PATIENCE = 20,   /* times as long as it was to take, for what is not to be missing */
    TEND_US = 20000, /* from one thing that the main thread does to the next */
    REPORT_BYTES = 1000,
    MOST_RESERVED = 24,
    MOST_KEPT = 3000, /* operations of a thread that frees all its stacks itself: a second or so */
    MEASURE_SLACK = 8192, /* what a fiber uses besides what it asked for, and a page */
    KIB = 1024
};
#define SIZES 7
/*
 * The least stack of a thread, and its own part: under ThreadSanitizer it is large, and glibc on
 * aarch64 takes none below 128 KiB.
 */
#ifdef __aarch64__
#define THREAD_SIZE_MIN ((size_t)(UNDER_TSAN ? 2048 : 128) * KIB)
#else
#define THREAD_SIZE_MIN ((size_t)(UNDER_TSAN ? 2048 : 32) * KIB)
#endif
#define THREAD_RESERVE ((size_t)20 * KIB)

/* What was done; each worker has its own, that the main thread looks at meanwhile. */
struct counts {
    _Atomic uint64_t made, remote, fibers, resumed, threads, forks, overflows, measured;
};

struct worker {
    pthread_t thread;
    struct rng rng;
    unsigned number;
    _Atomic bool leave; /* its thread is to end; another goes on */
    uint64_t keeps;     /* so many operations without giving stacks away */
    struct counts counts;
    struct item slot[SLOTS];
    pthread_mutex_t lock; /* of the queue */
    unsigned waiting;
    struct item queue[QUEUE];
};

static struct worker workers[MAX_WORKERS];
static unsigned worker_count;
static pthread_rwlock_t gate;

static _Noreturn void
fail(const char *what)
{
    fprintf(stderr, "stress: %s (errno %d)\n", what, errno);
    abort();
}

/* By its worker alone. */
static void
count(_Atomic uint64_t *counter, uint64_t n)
{
    uint64_t before = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, before + n, memory_order_relaxed);
}

/* Small ones more often. */
static size_t
random_size(struct rng *r)
{
    uint64_t a = rng_below(r, SIZES), b = rng_below(r, SIZES);
    return (size_t)32 * KIB << (a < b ? a : b);
}

static size_t
random_depth(struct rng *r, size_t size)
{
    return FIBER_RESERVE / 2 + rng_below(r, size - FIBER_RESERVE);
}

/* --- Items --- */

static bool
item_make(struct worker *w, struct item *item)
{
    struct stack_info info;
    item->size = random_size(&w->rng);
    item->stack = stack_alloc(item->size);
    if (item->stack == NULL)
        return false;
    item->tag = rng_next(&w->rng) | 1;
    item->suspended = false;
    item_stamp(item);
    count(&w->counts.made, 1);
    const char *inside = item->stack + rng_below(&w->rng, item->size);
    if (stack_name(inside, "stress") != 0 || stack_info(inside, &info) != 0 ||
        info.info_base != item->stack || info.info_size != item->size ||
        info.info_state != STACK_IS_USED || strcmp(info.info_name, "stress") != 0)
        item_fail(item, "info of a new one", (uintptr_t)inside);
    return true;
}

static void
item_drop(struct item *item, const char *when)
{
    size_t other = item->size == 32 * KIB ? 64 * KIB : 32 * KIB;
    if (item->suspended)
        fiber_resume(item);
    item_check(item, when);
    if (stack_free(item->stack, other) == 0 || stack_free(item->stack + 4096, item->size) == 0)
        item_fail(item, "freed as what it is not", other);
    if (stack_free(item->stack, item->size) != 0)
        item_fail(item, when, (unsigned)errno);
    item->stack = NULL;
}

static void
item_run(struct worker *w, struct item *item)
{
    size_t depth = random_depth(&w->rng, item->size);
    uint64_t how = rng_below(&w->rng, 4);
    count(&w->counts.fibers, 1);
    fiber_run(item, depth, how == 0 ? FIBER_FREES_ITSELF : how == 1 ? FIBER_RETURNS : FIBER_STOPS);
    if (how == 0)
        item->stack = NULL;
}

/* How deep a fiber went is told by both measures. */
static void
item_measure(struct worker *w)
{
    enum stack_watermark_how how =
        rng_below(&w->rng, 2) == 0 ? STACK_WATERMARK_FILL : STACK_WATERMARK_PAGES;
    struct item item;
    if (!item_make(w, &item))
        return;
    size_t depth = random_depth(&w->rng, item.size);
    if (stack_watermark(item.stack, item.size, how) != 0)
        item_fail(&item, "watermark", (unsigned)errno);
    fiber_run(&item, depth, FIBER_RETURNS);
    ssize_t used = stack_highwater(item.stack + item.size / 2);
    if (used < (ssize_t)depth || used > (ssize_t)(depth + MEASURE_SLACK))
        item_fail(&item, "high water", (uint64_t)used);
    item_stamp(&item);
    item_drop(&item, "measured");
    count(&w->counts.measured, 1);
}

/* --- Queues --- */

static bool
hand_over(struct worker *to, struct item *item)
{
    pthread_mutex_lock(&to->lock);
    bool room = to->waiting < QUEUE;
    if (room)
        to->queue[to->waiting++] = *item;
    pthread_mutex_unlock(&to->lock);
    if (room)
        item->stack = NULL;
    return room;
}

static void
receive(struct worker *w)
{
    struct item got[QUEUE];
    pthread_mutex_lock(&w->lock);
    unsigned n = w->waiting;
    memcpy(got, w->queue, n * sizeof(got[0]));
    w->waiting = 0;
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < n; i++) {
        count(&w->counts.resumed, got[i].suspended);
        item_drop(&got[i], "received");
    }
    count(&w->counts.remote, n);
}

/* --- Threads on stacks --- */

static void *
thread_main(void *arg)
{
    uintptr_t bits = (uintptr_t)arg;
    struct stack_info info;
    char here = 0;
    if (stack_info(&here, &info) != 0 || info.info_state != STACK_IS_USED)
        fail("a thread's stack is none");
    char *low = info.info_base;
    go_down(low + THREAD_RESERVE / 2, low + info.info_size, bits % info.info_size);
    if (bits % 5 == 0)
        pthread_exit(arg);
    return arg;
}

static size_t
thread_size(size_t size)
{
    return size < THREAD_SIZE_MIN ? THREAD_SIZE_MIN : size;
}

static void
thread_make(struct worker *w)
{
    size_t size = random_size(&w->rng);
    pthread_t thread;
    void *result, *arg = (void *)(uintptr_t)rng_next(&w->rng);
    int error = stack_pthread_create(&thread, NULL, thread_size(size), thread_main, arg);
    if (error != 0) {
        errno = error;
        fail("stack_pthread_create");
    }
    count(&w->counts.threads, 1);
    if (rng_below(&w->rng, 2) == 0)
        error = pthread_detach(thread);
    else if ((error = pthread_join(thread, &result)) == 0 && result != arg)
        fail("a thread's result");
    if (error != 0)
        fail("detach or join");
}

/* --- Children --- */

static int
wait_for(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            fail("waitpid");
    return status;
}

/* Everything of this worker is there and can be used, and so can the library. */
static _Noreturn void
child_main(struct worker *w)
{
    alarm(CHILD_SECONDS);
    if (stack_reprefault() != 0)
        fail("stack_reprefault");
    for (unsigned i = 0; i < SLOTS; i++)
        if (w->slot[i].stack != NULL)
            item_drop(&w->slot[i], "inherited");
    for (unsigned i = 0; i < CHILD_ITEMS; i++) {
        struct item item;
        if (!item_make(w, &item))
            fail("no stack in a child");
        fiber_run(&item, random_depth(&w->rng, item.size), FIBER_RETURNS);
        item_drop(&item, "in a child");
    }
    thread_make(w);
    _exit(0);
}

enum overflow { FIBER_BELOW, BYTE_BELOW, BYTE_ABOVE, THREAD_BELOW, OVERFLOWS };

static void *
thread_off(void *arg)
{
    go_down(NULL, NULL, 0);
    return arg;
}

static _Noreturn void
child_off(struct item *item, enum overflow how, size_t beyond, int standard_error)
{
    pthread_t thread;
    alarm(CHILD_SECONDS);
    dup2(standard_error, STDERR_FILENO);
    if (how == FIBER_BELOW)
        fiber_run(item, 0, FIBER_RUNS_OFF_BELOW);
    else if (how == BYTE_BELOW)
        *(volatile char *)(item->stack - beyond) = 1;
    else if (how == BYTE_ABOVE)
        *(volatile char *)(item->stack + item->size + beyond - 1) = 1;
    else if (stack_pthread_create(&thread, NULL, thread_size(item->size), thread_off, NULL) == 0)
        pthread_join(thread, NULL);
    _exit(0);
}

/* Its parts: what it is, where, and of what stack; a thread of the child's has one of its own. */
static void
check_report(const struct item *item, enum overflow how, size_t beyond, const char *report)
{
    char expected[120];
    const char *kind =
        how == FIBER_BELOW || how == THREAD_BELOW ? "stack overflow: " : "stray access: ";
    const char *side = how == BYTE_ABOVE ? "above" : "below";
    bool good = strncmp(report, "stackalloc: ", 12) == 0 && strstr(report, kind) != NULL;
    if (how == BYTE_BELOW || how == BYTE_ABOVE) {
        snprintf(expected, sizeof(expected), ": %zu byte%s %s the stack at %p of %zu bytes", beyond,
                 beyond == 1 ? "" : "s", side, (void *)item->stack, item->size);
    } else if (how == FIBER_BELOW) {
        snprintf(expected, sizeof(expected), " below the stack at %p of %zu bytes, \"stress\"\n",
                 (void *)item->stack, item->size);
    } else {
        good = good && strstr(report, ", started in ") != NULL &&
               strstr(report, "`thread_off, was in ") != NULL;
        snprintf(expected, sizeof(expected), " of %zu bytes", item->size);
    }
    if (!good || strstr(report, expected) == NULL)
        fprintf(stderr, "stress: expected \"%s\" in:\n%s", expected, report);
    if (!good || strstr(report, expected) == NULL)
        item_fail(item, "report of an overflow", how);
}

static void
run_off(struct worker *w)
{
    char report[REPORT_BYTES + 1] = "";
    size_t length = 0;
    int ends[2];
    struct item item;
    enum overflow how = (enum overflow)rng_below(&w->rng, OVERFLOWS);
    if (!item_make(w, &item) || pipe(ends) != 0)
        fail("no stack or pipe");
    size_t beyond = 1 + rng_below(&w->rng, 4096);
    pid_t child = fork();
    if (child == 0)
        child_off(&item, how, beyond, ends[1]);
    close(ends[1]);
    for (ssize_t n = 1; n > 0 && length<REPORT_BYTES; length += n> 0 ? (size_t)n : 0)
        n = read(ends[0], report + length, REPORT_BYTES - length);
    close(ends[0]);
    int status = child < 0 ? -1 : wait_for(child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV) {
        fprintf(stderr, "%s", report);
        item_fail(&item, "a child that ran off did not die of it", (unsigned)status);
    }
    check_report(&item, how, beyond, report);
    item_drop(&item, "run off by a child");
    count(&w->counts.overflows, 1);
}

static void
fork_child(struct worker *w)
{
    pid_t child = fork();
    if (child == 0)
        child_main(w);
    int status = child < 0 ? -1 : wait_for(child);
    if (status != 0) {
        fprintf(stderr, "stress: child of worker %u: status %#x\n", w->number, (unsigned)status);
        fail("a child");
    }
    count(&w->counts.forks, 1);
}

/* --- Workers --- */

static void
operate(struct worker *w)
{
    struct item *item = &w->slot[rng_below(&w->rng, SLOTS)];
    uint64_t what = rng_below(&w->rng, 1000);
    w->keeps -= w->keeps > 0;
    if (item->stack == NULL) {
        if (!item_make(w, item))
            fail("no stack");
    } else if (what < 350 && w->keeps == 0) {
        if (!hand_over(&workers[rng_below(&w->rng, worker_count)], item))
            item_drop(item, "queue full");
    } else if (what < 600) {
        item_drop(item, "own");
    } else if (what < 960) {
        if (item->suspended)
            fiber_resume(item);
        else
            item_run(w, item);
    } else if (what < 980) {
        thread_make(w);
    } else if (what < 994 || UNDER_TSAN) { /* its runtime does not support forks of threads */
        item_measure(w);
    } else if (what < 997) {
        fork_child(w);
    } else {
        run_off(w);
    }
    if (what % 4 == 0)
        receive(w);
}

static void *
worker_main(void *arg)
{
    struct worker *w = arg;
    if (stack_fault_thread_init() != 0)
        fail("stack_fault_thread_init");
    while (!atomic_load(&w->leave)) {
        pthread_rwlock_rdlock(&gate);
        operate(w);
        pthread_rwlock_unlock(&gate);
    }
    return NULL;
}

static void
worker_start(struct worker *w)
{
    atomic_store(&w->leave, false);
    w->keeps = rng_below(&w->rng, MOST_KEPT);
    if (pthread_create(&w->thread, NULL, worker_main, w) != 0)
        fail("pthread_create");
}

static void
worker_end(struct worker *w)
{
    atomic_store(&w->leave, true);
    if (pthread_join(w->thread, NULL) != 0)
        fail("pthread_join");
}

/* --- The main thread --- */

static unsigned
count_tasks(void)
{
    unsigned n = 0;
    DIR *tasks = opendir("/proc/self/task");
    if (tasks == NULL)
        fail("/proc/self/task");
    for (struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks))
        n += entry->d_name[0] != '.';
    closedir(tasks);
    return n;
}

/* Until there is nobody but the main thread and so many workers, and ThreadSanitizer's thread. */
static void
wait_for_threads(unsigned left)
{
    while (count_tasks() > left + 1 + UNDER_TSAN)
        usleep(1000);
}

/* Seals, or unseals. */
static void
turn_seal(bool *sealed)
{
    pthread_rwlock_wrlock(&gate);
    wait_for_threads(worker_count);
    if ((*sealed ? stack_unseal() : stack_seal()) != 0)
        fail("seal or unseal");
    *sealed = !*sealed;
    if (*sealed && (stack_trim(0, 0) != -1 || errno != EBUSY))
        fail("trimmed although sealed");
    if (*sealed && (stack_reserve(32 * KIB, 1) != -1 || errno != EBUSY))
        fail("reserved although sealed");
    pthread_rwlock_unlock(&gate);
}

static int
look_at(const struct stack_info *info, void *arg)
{
    *(size_t *)arg += info->info_state == STACK_IS_USED;
    return info->info_size < 32 * KIB || info->info_guard_low == 0 || info->info_guard_high == 0;
}

/* One thing of those that may happen at any time, or nearly so. */
static void
tend(struct rng *r, bool *sealed)
{
    struct stack_stats stats;
    size_t used = 0, keep = rng_below(r, 8);
    switch (rng_below(r, 8)) {
    case 0:
    case 1:
        turn_seal(sealed);
        break;
    case 2:
        if (!*sealed && stack_trim(rng_below(r, 2) == 0 ? 0 : random_size(r), keep) < 0)
            fail("stack_trim");
        break;
    case 3:
        umem_reap();
        break;
    case 4:
        /* Mostly given up: a size with a reserve has no piles of threads. */
        if (!*sealed && stack_reserve((size_t)32 * KIB << rng_below(r, SIZES - 2),
                                      keep < 5 ? 0 : rng_below(r, MOST_RESERVED)) != 0)
            fail("stack_reserve");
        break;
    case 5:
        if (stack_foreach(look_at, &used) != 0 || used == 0)
            fail("stack_foreach");
        break;
    case 6:
        if (stack_stats(&stats, sizeof(stats)) != 0 || stats.stats_used_bytes == 0)
            fail("stack_stats");
        break;
    default:
        if (umem_verify() != 0)
            fail("umem_verify");
    }
}

static void
choose_forms(struct rng *r)
{
    for (unsigned i = 0; i < SIZES; i++) {
        struct stack_config config = {
            .config_backend = (enum stack_backend)rng_below(r, 3),
            .config_lazy = rng_below(r, 4) == 0,
            .config_scrub =
                rng_below(r, 2) == 0 ? (enum stack_scrub)rng_below(r, 3) : STACK_SCRUB_NONE,
            .config_idle_ms = rng_below(r, 5) == 0 ? 50 : 0,
            .config_cache_bytes = rng_below(r, 5) == 0 ? (size_t)4 << 20 : 0,
        };
        if (stack_config((size_t)32 * KIB << i, &config, sizeof(config)) == 0)
            continue;
        if (errno != ENOTSUP)
            fail("stack_config");
    }
}

/* Of all that there was, one stack is left: for the main thread's signals. */
static void
check_end(void)
{
    struct stack_stats stats;
    pthread_t last;
    for (unsigned i = 0; i < SIZES; i++)
        if (stack_reserve((size_t)32 * KIB << i, 0) != 0)
            fail("giving up a reserve");
    wait_for_threads(0);
    /* Who creates a thread takes back what ended ones had that nobody joined. */
    if (stack_pthread_create(&last, NULL, THREAD_SIZE_MIN, thread_main, NULL) != 0 ||
        pthread_join(last, NULL) != 0)
        fail("the last thread");
    if (stack_trim(0, 0) < 0)
        fail("stack_trim");
    umem_reap();
    if (stack_stats(&stats, sizeof(stats)) != 0)
        fail("stack_stats");
    size_t all_used = 0;
    bool good = stats.stats_cached_bytes == 0;
    for (unsigned i = 0; i < SIZES; i++) {
        size_t used = stats.stats_class[i].class_used, cold = stats.stats_class_cold[i];
        /* Cold ones are unmapped but for those that lie beside one in use. */
        good = good && (all_used += used) <= 1 && (used > 0 || cold == 0);
        if (!good)
            fprintf(stderr, "stress: of %zu KiB: %zu in use, %zu cached, %zu cold\n", 32ul << i,
                    used, stats.stats_class[i].class_cached, cold);
    }
    if (!good || umem_verify() != 0)
        fail("something is left");
}

static uint64_t
sum(size_t counter)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < worker_count; i++)
        n += atomic_load_explicit((_Atomic uint64_t *)((char *)&workers[i].counts + counter),
                                  memory_order_relaxed);
    return n;
}
#define SUM(counter) ((unsigned long long)sum(offsetof(struct counts, counter)))

/* What a run is for has happened. */
static bool
did_enough(void)
{
    return SUM(made) > 0 && SUM(remote) > 0 && SUM(resumed) > 0;
}

static void
drop_all(struct worker *w)
{
    receive(w);
    for (unsigned i = 0; i < SLOTS; i++)
        if (w->slot[i].stack != NULL)
            item_drop(&w->slot[i], "at the end");
}

static void
set_up(struct stress_arguments a, struct rng *r)
{
    pthread_rwlockattr_t attr;
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&gate, &attr);
    choose_forms(r);
    if (stack_fault_handler_install() != 0)
        fail("stack_fault_handler_install");
    worker_count = a.threads < MAX_WORKERS ? a.threads : MAX_WORKERS;
    for (unsigned i = 0; i < worker_count; i++) {
        workers[i].number = i;
        workers[i].rng.state = (a.seed + i) * 0x9e3779b97f4a7c15ULL | 1;
        pthread_mutex_init(&workers[i].lock, NULL);
    }
    for (unsigned i = 0; i < worker_count; i++)
        worker_start(&workers[i]);
}

int
main(int argc, char **argv)
{
    struct stress_arguments a = stress_arguments(argc, argv, 10);
    struct rng r = {.state = a.seed * 2 + 1};
    bool sealed = false;
    unsigned turns = 0;
    time_t start = time(NULL), now = start;

    set_up(a, &r);
    /* A busy machine may have given us little of the time. */
    for (; now < start + a.seconds || (!did_enough() && now < start + a.seconds * PATIENCE);
         now = time(NULL), turns++) {
        usleep(TEND_US);
        tend(&r, &sealed);
        if (turns % 8 == 0) {
            worker_end(&workers[turns / 8 % worker_count]);
            worker_start(&workers[turns / 8 % worker_count]);
        }
    }
    if (sealed)
        turn_seal(&sealed);
    for (unsigned i = 0; i < worker_count; i++)
        worker_end(&workers[i]);
    for (unsigned i = 0; i < worker_count; i++)
        drop_all(&workers[i]);
    check_end();
    printf("stacks: seed %llu, %u threads, %llu stacks, %llu freed by another thread, %llu fibers, "
           "%llu of them ended by another thread, %llu threads, %llu measured, %llu forks, "
           "%llu overflows, %llu breaches\n",
           (unsigned long long)a.seed, worker_count, SUM(made), SUM(remote), SUM(fibers),
           SUM(resumed), SUM(threads), SUM(measured), SUM(forks), SUM(overflows),
           (unsigned long long)stack_breaches());
    return did_enough() ? 0 : 1;
}
