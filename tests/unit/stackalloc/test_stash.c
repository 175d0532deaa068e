/* SPDX-License-Identifier: MIT */
/*
 * test_stash.c - stacks that a thread keeps at hand: freed once and never
 * twice, whoever frees them; and others get at them.
 */
#include "stacktest.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <umem.h>

#include "stash.h"

#define STACK (64 * KIB)
#define CLASS 1 /* of 64 KiB */

enum { RACES = 3000, HELD = 10, ORDERS = 20000 };

static struct stash_pile *
pile(void)
{
    return stash_pile_of(stash_own.own_stash, STACK);
}

static bool
is_open(void)
{
    return pile()->pile_size == STACK && pile()->pile_bias != PILE_CLOSED;
}

static unsigned
pile_count(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < STASH_ROUNDS; i++)
        count += pile()->pile_place[i].place_body % 2 == 0;
    return count;
}

/* A few turns, after which this thread's pile is open. */
static void
warm_up(void)
{
    for (int i = 0; i < 4; i++) {
        void *stack = stack_alloc(STACK);
        CHECK(stack != NULL && stack_free(stack, STACK) == 0);
    }
}

/* A thread does what it is told, and waits in between. */
struct worker {
    pthread_t worker_id;
    _Atomic(void (*)(void *)) worker_fn;
    void *worker_arg;
};

static void
leave(void *unused)
{
    (void)unused;
    pthread_exit(NULL);
}

static void *
work(void *arg)
{
    struct worker *w = arg;
    for (;;) {
        void (*fn)(void *) = atomic_load_explicit(&w->worker_fn, memory_order_acquire);
        if (fn == NULL) {
            usleep(100);
            continue;
        }
        fn(w->worker_arg);
        atomic_store_explicit(&w->worker_fn, NULL, memory_order_release);
    }
    return NULL;
}

static void
start(struct worker *w)
{
    memset(w, 0, sizeof(*w));
    CHECK(pthread_create(&w->worker_id, NULL, work, w) == 0);
}

static void
tell(struct worker *w, void (*fn)(void *), void *arg)
{
    w->worker_arg = arg;
    atomic_store_explicit(&w->worker_fn, fn, memory_order_release);
    while (fn != leave && atomic_load_explicit(&w->worker_fn, memory_order_acquire) != NULL)
        usleep(100);
}

static void
end(struct worker *w)
{
    tell(w, leave, NULL);
    pthread_join(w->worker_id, NULL);
}

static void
take_one(void *where)
{
    warm_up();
    CHECK(is_open());
    *(void **)where = stack_alloc(STACK);
}

static void
free_refused(void *where)
{
    CHECK(is_refused(*(void **)where, STACK));
}

static void
free_one(void *where)
{
    CHECK(!is_open() || pile_count() > 0);
    CHECK(stack_free(*(void **)where, STACK) == 0);
}

static void
child_misuse(void *unused)
{
    (void)unused;
    warm_up();
    CHECK(is_open());
    char *stack = stack_alloc(STACK);
    CHECK(is_refused(stack + PAGE, STACK) && is_refused(stack + 16, STACK / 2));
    CHECK(is_refused(stack, STACK / 2) && is_refused(stack, 2 * STACK) && is_refused(stack, 0));
    CHECK(is_refused(stack, STACK + 1) && is_refused(stack, 4 * MIB) && is_refused(NULL, STACK));
    CHECK(stack_free(stack, STACK) == 0 && is_refused(stack, STACK));
    CHECK(stack_alloc(STACK) == stack && stack_name(stack, "noted") == 0);
    CHECK(stack_free(stack, STACK) == 0 && is_refused(stack, STACK));
    struct stack_info info;
    CHECK(stack_info(stack, &info) == 0 && info.info_state == STACK_IS_CACHED);
    CHECK(info.info_base == stack && info.info_size == STACK);
}

static void
test_misuse_is_refused(void **state)
{
    (void)state;
    must_succeed(child_misuse, NULL);
}

/* One thread's stacks freed by another: the second free is refused, whoever makes it. */
static void
child_two_threads(void *unused)
{
    (void)unused;
    struct worker w;
    void *stack, *other;
    start(&w);
    tell(&w, take_one, &stack);
    tell(&w, take_one, &other);
    CHECK(stack_free(stack, STACK) == 0 && is_refused(stack, STACK));
    tell(&w, free_refused, &stack);
    CHECK(is_refused(other, STACK / 2));
    tell(&w, free_one, &other);
    CHECK(is_refused(other, STACK));
    end(&w);
}

static void
test_another_thread_frees(void **state)
{
    (void)state;
    must_succeed(child_two_threads, NULL);
}

static void
take_and_free(void *times)
{
    for (uint32_t i = 0; i < *(uint32_t *)times; i++) {
        void *stack = stack_alloc(STACK);
        CHECK(stack != NULL && stack_free(stack, STACK) == 0);
    }
}

static void
check_closed(void *unused)
{
    (void)unused;
    CHECK(!is_open());
}

static void
check_open(void *unused)
{
    (void)unused;
    CHECK(is_open());
}

/* A thread whose stack another one freed does without for a while, the next time for longer. */
static void
child_lies_low(void *unused)
{
    (void)unused;
    struct worker w;
    uint32_t few = ((uint32_t)1 << STASH_PATIENCE_SHIFT) - 10, rest = 20;
    void *stack;
    start(&w);
    for (int i = 0; i < 2; i++) {
        tell(&w, take_one, &stack);
        CHECK(stack_free(stack, STACK) == 0);
        for (int k = 0; k <= i; k++) {
            tell(&w, take_and_free, &few);
            tell(&w, check_closed, NULL);
            tell(&w, take_and_free, &rest);
        }
        tell(&w, check_open, NULL);
    }
    end(&w);
}

static void
test_piles_come_back(void **state)
{
    (void)state;
    must_succeed(child_lies_low, NULL);
}

/* Owner and another thread free at one instant, again and again, each time with a new owner. */
struct race {
    void *race_stack;
    _Atomic int race_ready, race_won, race_done;
};

/* By a busy wait, so that both go on at one instant; not for long, as others want the processor. */
static void
wait_for_both(_Atomic int *count)
{
    for (unsigned n = 1; atomic_load_explicit(count, memory_order_relaxed) < 2; n++)
        if (n % 10000 == 0)
            sched_yield();
}

static void
run_for_it(struct race *race)
{
    atomic_fetch_add(&race->race_ready, 1);
    wait_for_both(&race->race_ready);
    if (stack_free(race->race_stack, STACK) == 0)
        atomic_fetch_add(&race->race_won, 1);
    /* A free that comes after the next allocation would be of that. */
    atomic_fetch_add(&race->race_done, 1);
    wait_for_both(&race->race_done);
}

static void *
race_owner(void *arg)
{
    struct race *race = arg;
    void *again[HELD];
    take_one(&race->race_stack);
    run_for_it(race);
    for (int i = 0; i < HELD; i++) {
        CHECK((again[i] = stack_alloc(STACK)) != NULL);
        for (int k = 0; k < i; k++)
            CHECK(again[i] != again[k]);
    }
    for (int i = 0; i < HELD; i++)
        CHECK(stack_free(again[i], STACK) == 0);
    return NULL;
}

static void
child_races(void *unused)
{
    (void)unused;
    int rounds = SANITIZED ? RACES / 10 : RACES;
    for (int i = 0; i < rounds; i++) {
        struct race race = {.race_won = 0};
        pthread_t id;
        CHECK(pthread_create(&id, NULL, race_owner, &race) == 0);
        while (atomic_load(&race.race_ready) < 1)
            sched_yield();
        run_for_it(&race);
        pthread_join(id, NULL);
        CHECK(race.race_won == 1);
    }
}

static void
test_one_of_racing_frees_wins(void **state)
{
    (void)state;
    must_succeed(child_races, NULL);
}

static size_t
constructions(void)
{
    struct stack_stats stats;
    CHECK(stack_stats(&stats, sizeof(stats)) == 0);
    return stats.stats_constructions;
}

static size_t
cached(void)
{
    struct stack_stats stats;
    CHECK(stack_stats(&stats, sizeof(stats)) == 0);
    return stats.stats_class[CLASS].class_cached;
}

static void
fill_pile(void *unused)
{
    (void)unused;
    void *stacks[HELD];
    warm_up();
    for (int i = 0; i < HELD; i++)
        CHECK((stacks[i] = stack_alloc(STACK)) != NULL);
    for (int i = 0; i < HELD; i++)
        CHECK(stack_free(stacks[i], STACK) == 0);
    CHECK(is_open() && pile_count() > 1);
}

static void
check_empty(void *unused)
{
    (void)unused;
    CHECK(!is_open() && pile_count() == 0);
}

/* Every size finds a pile of its own class, or one of another size. */
static void
child_sizes(void *unused)
{
    (void)unused;
    warm_up();
    for (size_t size = 0; size <= 4 * MIB; size += size < 64 ? 1 : PAGE / 2) {
        bool class = size >= 32 * KIB && size <= 2 * MIB && (size & (size - 1)) == 0;
        CHECK((stash_pile_of(stash_own.own_stash, size)->pile_size == size) == class);
    }
    for (unsigned shift = 22; shift < 64; shift++)
        CHECK(stash_pile_of(stash_own.own_stash, (size_t)1 << shift)->pile_size != (size_t)1
                                                                                       << shift);
}

/* Whatever the order, a stack has one holder, and what is freed is freed once. */
static void
child_orders(void *unused)
{
    (void)unused;
    void *held[HELD];
    size_t count = 0, spare = cached();
    uint64_t r = 1;
    warm_up();
    for (int i = 0; i < ORDERS; i++) {
        r = r * 6364136223846793005u + 1442695040888963407u;
        size_t which = (r >> 40) % HELD;
        if (which >= count && count < HELD) {
            CHECK((held[count] = stack_alloc(STACK)) != NULL);
            for (size_t k = 0; k < count; k++)
                CHECK(held[k] != held[count]);
            count++;
        } else if (which < count) {
            CHECK(stack_free(held[which], STACK) == 0 && is_refused(held[which], STACK));
            held[which] = held[--count];
        }
        CHECK(is_open() && pile_count() <= pile()->pile_limit);
    }
    while (count > 0)
        CHECK(stack_free(held[--count], STACK) == 0);
    CHECK(cached() >= spare && cached() <= HELD + 1 && umem_verify() == 0);
}

/* The place of what was taken last does not make it the owner's when somebody else freed it. */
static void
child_taken(void *unused)
{
    (void)unused;
    struct worker w;
    start(&w);
    warm_up();
    void *stack = stack_alloc(STACK);
    CHECK(is_open() && pile()->pile_top->place_body == (uintptr_t)stack + PLACE_EMPTY);
    tell(&w, free_one, &stack);
    CHECK(is_refused(stack, STACK));
    tell(&w, take_one, &stack);
    CHECK(stack_free(stack, STACK) == 0 && is_refused(stack, STACK));
    end(&w);
}

static void
test_places(void **state)
{
    (void)state;
    must_succeed(child_sizes, NULL);
    must_succeed(child_orders, NULL);
    must_succeed(child_taken, NULL);
}

/* What an idle thread has at hand goes with umem_reap(); the thread goes on as before. */
static void
child_reap(void *unused)
{
    (void)unused;
    struct worker w;
    start(&w);
    tell(&w, fill_pile, NULL);
    umem_reap();
    tell(&w, check_empty, NULL);
    tell(&w, fill_pile, NULL);
    end(&w);
    umem_reap();
    umem_reap();
    CHECK(cached() <= 1);
}

static void
test_reap_takes_it(void **state)
{
    (void)state;
    must_succeed(child_reap, NULL);
}

/* The child of a fork has what its parent's threads had at hand, and their stacks in use. */
static void
child_fork(void *unused)
{
    (void)unused;
    struct worker w;
    void *used, *stacks[HELD];
    start(&w);
    tell(&w, fill_pile, NULL);
    tell(&w, take_one, &used);
    fill_pile(NULL);
    size_t there = cached();
    pid_t pid = fork();
    if (pid == 0) {
        size_t before = constructions();
        for (size_t i = 0; i < there; i++)
            CHECK((stacks[i % HELD] = stack_alloc(STACK)) != NULL && stacks[i % HELD] != used);
        CHECK(constructions() == before && cached() == 0);
        CHECK(stack_free(used, STACK) == 0 && is_refused(used, STACK));
        warm_up();
        CHECK(is_open());
        _exit(0);
    }
    int status;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
    tell(&w, fill_pile, NULL);
    tell(&w, free_one, &used);
    end(&w);
}

static void
test_fork_hands_it_on(void **state)
{
    (void)state;
    must_succeed(child_fork, NULL);
}

static struct worker *working;
static _Atomic bool at_work;

static void
work_until_told(void *stack)
{
    stash_begin(stash_own.own_stash, table_known(stack));
    atomic_store(&at_work, true);
    while (atomic_load(&at_work))
        usleep(100);
    stash_end(stash_own.own_stash);
}

/* As a free that is under way does at its beginning; piles are closed already. */
static void
before_fork(void)
{
    atomic_store_explicit(&working->worker_fn, work_until_told, memory_order_release);
    while (!atomic_load(&at_work))
        usleep(100);
}

/* A thread that was at work at that moment is not there in the child, and nobody waits for it. */
static void
child_fork_amid_work(void *unused)
{
    (void)unused;
    struct worker w;
    void *stack;
    /* Before the library has its own: so it is the last one that runs. */
    CHECK(pthread_atfork(before_fork, NULL, NULL) == 0);
    start(&w);
    working = &w;
    tell(&w, take_one, &stack);
    w.worker_arg = stack;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(CHILD_SECONDS);
        umem_reap();
        CHECK(stack_trim(0, 0) >= 0 && stack_free(stack, STACK) == 0);
        _exit(0);
    }
    atomic_store(&at_work, false);
    int status;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
    while (atomic_load(&w.worker_fn) != NULL)
        usleep(100);
    end(&w);
}

static void
test_fork_amid_work(void **state)
{
    (void)state;
    must_succeed(child_fork_amid_work, NULL);
}

/* Sealed and reserved sizes do without, since one free in a while would be a system call. */
static void
child_forbidden(void *unused)
{
    (void)unused;
    struct worker w;
    void *stack;
    start(&w);
    tell(&w, take_one, &stack);
    warm_up();
    CHECK(is_open());
    CHECK(stack_reserve(STACK, 3) == 0 && !is_open());
    warm_up();
    CHECK(!is_open());
    CHECK(stack_seal() == 0 && stack_reserve(STACK, 0) == -1);
    forbid_system_calls();
    if (stack_free(stack, STACK) != 0)
        _exit(2);
    _exit(0);
}

static void
child_permitted(void *unused)
{
    (void)unused;
    CHECK(stack_reserve(STACK, 3) == 0 && stack_seal() == 0 && stack_unseal() == 0);
    warm_up();
    CHECK(!is_open());
    CHECK(stack_reserve(STACK, 0) == 0);
    warm_up();
    CHECK(is_open());
}

static void
test_reserved_and_sealed_sizes(void **state)
{
    (void)state;
    must_succeed(child_permitted, NULL);
    if (!SANITIZED)
        must_succeed(child_forbidden, NULL);
}

/* Where each allocation counts, each reaches the cache. */
static void
child_watched(void *unused)
{
    (void)unused;
    warm_up();
    CHECK(is_open());
    struct umem_audit_spec spec = {.audit_cache = "stack_64k"};
    CHECK(umem_audit_start(&spec) == 0 && !is_open());
    warm_up();
    CHECK(!is_open());
    CHECK(umem_audit_stop() == 0);
    warm_up();
    CHECK(is_open());
}

static void
test_watched_cache(void **state)
{
    (void)state;
    must_succeed(child_watched, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_misuse_is_refused), cmocka_unit_test(test_another_thread_frees),
        cmocka_unit_test(test_piles_come_back),   cmocka_unit_test(test_one_of_racing_frees_wins),
        cmocka_unit_test(test_reap_takes_it),     cmocka_unit_test(test_fork_hands_it_on),
        cmocka_unit_test(test_fork_amid_work),    cmocka_unit_test(test_reserved_and_sealed_sizes),
        cmocka_unit_test(test_watched_cache),     cmocka_unit_test(test_places),
    };
    if (syscall(SYS_membarrier, 0, 0, 0) <= 0)
        return 77; /* skipped: no pile is ever open */
    return cmocka_run_group_tests_name("stackalloc/stash", tests, NULL, NULL);
}
