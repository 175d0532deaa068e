/* SPDX-License-Identifier: MIT */
/*
 * test_reserve.c - reserves: they are there, they stay, and out of a sealed
 * cache threads allocate under a filter that ends the process at the first
 * system call, counting their page faults.
 */
#include "support.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "cache/reserve.h"
#include "debug/ring.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

enum { THREADS = 4, OBJECTS = 200, SIZE = 1000, ROUNDS = 200 };

static umem_cache_t *cache;
static int constructed, constructed_max = INT32_MAX;

static int
construct(void *buf, void *private_data, int flags)
{
    (void)private_data;
    (void)flags;
    if (constructed == constructed_max) {
        errno = EMFILE;
        return -1;
    }
    constructed++;
    memset(buf, 7, SIZE);
    return 0;
}

static void
destruct(void *buf, void *private_data)
{
    (void)buf;
    (void)private_data;
    constructed--;
}

static umem_cache_t *
make_cache(int cflags)
{
    constructed = 0;
    return umem_cache_create("reserve", SIZE, 0, construct, destruct, NULL, NULL, NULL, cflags);
}

static bool
is_whole(const char *obj)
{
    for (int i = 0; i < SIZE; i++)
        if (obj[i] != 7)
            return false;
    return true;
}

static void
test_reserve_stays(void **state)
{
    void *objs[OBJECTS];

    (void)state;
    cache = make_cache(UMC_NOTOUCH);
    assert_int_equal(umem_cache_reserve(cache, OBJECTS), 0);
    assert_int_equal(constructed, OBJECTS);
    assert_int_equal(cache->cache_depot.depot_rounds, OBJECTS);
    umem_reap();
    for (int i = 0; i < 3; i++)
        (void)umem_cache_reap(cache);
    assert_int_equal(cache->cache_depot.depot_rounds, OBJECTS);
    uint64_t slabs = cache->cache_slabs.pool_creates;
    for (int i = 0; i < OBJECTS; i++) {
        objs[i] = umem_cache_alloc(cache, UMEM_DEFAULT);
        assert_true(is_whole(objs[i]));
    }
    assert_int_equal(cache->cache_slabs.pool_creates, slabs);
    assert_int_equal(constructed, OBJECTS);
    /* As many again beside those in use; what is freed stays. */
    assert_int_equal(umem_cache_reserve(cache, OBJECTS), 0);
    for (int i = 0; i < OBJECTS; i++)
        umem_cache_free(cache, objs[i]);
    umem_reap();
    assert_int_equal(constructed, 2 * OBJECTS);
    assert_int_equal(umem_cache_reserve(cache, 0), 0);
    umem_reap();
    assert_int_equal(constructed, 0);
    umem_cache_destroy(cache);
    assert_true(verify_caches());
}

/* Large plain objects, of which a depot keeps few and a bin's first ones none. */
static void
test_reserve_has_no_bound(void **state)
{
    void *objs[OBJECTS];

    (void)state;
    cache = umem_cache_create("large", 16384, 0, NULL, NULL, NULL, NULL, NULL, 0);
    assert_int_equal(umem_cache_reserve(cache, OBJECTS), 0);
    for (int i = 0; i < OBJECTS; i++)
        objs[i] = umem_cache_alloc(cache, UMEM_DEFAULT);
    for (int i = 0; i < OBJECTS; i++)
        umem_cache_free(cache, objs[i]);
    assert_int_equal(cache->cache_slabs.pool_allocated, OBJECTS);
    umem_cache_destroy(cache);
}

static void
test_errors(void **state)
{
    (void)state;
    cache = make_cache(0);
    errno = 0;
    assert_int_equal(umem_cache_reserve(NULL, 1), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(umem_cache_seal(NULL), -1);
    assert_int_equal(umem_cache_unseal(NULL), -1);
    errno = 0;
    assert_int_equal(umem_cache_unseal(cache), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(umem_cache_reserve(cache, SIZE_MAX / 2), -1);
    assert_int_equal(errno, ENOMEM);
    constructed_max = 10;
    assert_int_equal(umem_cache_reserve(cache, 20), -1);
    assert_int_equal(errno, EMFILE);
    constructed_max = INT32_MAX;
    assert_int_equal(constructed, 10); /* what was made stays */
    assert_int_equal(cache->cache_depot.depot_rounds, 10);
    assert_int_equal(umem_cache_seal(cache), 0);
    errno = 0;
    assert_int_equal(umem_cache_seal(cache), -1);
    assert_int_equal(errno, EINVAL);
    errno = 0;
    assert_int_equal(umem_cache_reserve(cache, 1), -1);
    assert_int_equal(errno, EINVAL);
    umem_cache_destroy(cache); /* sealed as it is */
    assert_int_equal(constructed, 0);
}

/* Objects in use at the sealing have a node too; then comes the breach. */
static void
test_seal(void **state)
{
    void *held_objs[10], *objs[OBJECTS], *extra;

    (void)state;
    cache = make_cache(0);
    for (int i = 0; i < 10; i++)
        held_objs[i] = umem_cache_alloc(cache, UMEM_DEFAULT);
    assert_int_equal(umem_cache_reserve(cache, OBJECTS), 0);
    assert_int_equal(umem_cache_seal(cache), 0);
    struct reserve *r = cache->cache_reserve;
    assert_int_equal(r->res_nodes, OBJECTS + 10);
    assert_true(reserve_verify(r));
    for (int i = 0; i < OBJECTS; i++)
        assert_true(is_whole(objs[i] = umem_cache_alloc(cache, UMEM_DEFAULT)));
    assert_int_equal(umem_cache_breaches(cache), 0);
    uint64_t mark = umem_ring.ring_head;
    assert_non_null(extra = umem_cache_alloc(cache, UMEM_DEFAULT));
    assert_true(umem_ring.ring_head > mark);
    mark = umem_ring.ring_head;
    umem_cache_free(cache, umem_cache_alloc(cache, UMEM_DEFAULT));
    assert_int_equal(umem_ring.ring_head, mark); /* told once */
    assert_int_equal(umem_cache_breaches(cache), 2);
    for (int i = 0; i < OBJECTS; i++)
        umem_cache_free(cache, objs[i]);
    for (int i = 0; i < 10; i++)
        umem_cache_free(cache, held_objs[i]);
    umem_cache_free(cache, extra); /* no node is left: to the slab */
    assert_int_equal(constructed, OBJECTS + 10);
    assert_true(reserve_verify(r));
    umem_reap();
    assert_int_equal(constructed, OBJECTS + 10);

    assert_int_equal(umem_cache_unseal(cache), 0);
    assert_int_equal(cache->cache_depot.depot_rounds, OBJECTS + 10);
    umem_cache_free(cache, umem_cache_alloc(cache, UMEM_DEFAULT));
    assert_int_equal(umem_cache_breaches(cache), 2);
    assert_int_equal(constructed, OBJECTS + 10);
    umem_cache_destroy(cache);
    assert_int_equal(constructed, 0);
    assert_true(verify_caches());
}

static void
test_without_magazines(void **state)
{
    (void)state;
    cache = make_cache(UMC_NOMAGAZINE);
    assert_int_equal(umem_cache_reserve(cache, 20), 0);
    assert_int_equal(umem_cache_seal(cache), 0);
    void *obj = umem_cache_alloc(cache, UMEM_DEFAULT);
    assert_int_equal(constructed, 20);
    umem_cache_free(cache, obj);
    umem_cache_destroy(cache);
    assert_int_equal(constructed, 0);
}

static struct reserve *shared;
static _Atomic int owners[OBJECTS];

static void *
shuffle(void *arg)
{
    void *mine[OBJECTS / THREADS];

    for (int round = 0; round < 20 * ROUNDS; round++) {
        int n = 0;
        while (n < OBJECTS / THREADS && (mine[n] = reserve_take(shared)) != NULL)
            if (atomic_fetch_add((_Atomic int *)mine[n++], 1) != 0)
                return arg;
        while (n > 0) {
            (void)atomic_fetch_sub((_Atomic int *)mine[--n], 1);
            if (!reserve_put(shared, mine[n]))
                return arg;
        }
    }
    return NULL;
}

/* Nobody's object is another's at the same time, and none is lost. */
static void
test_stacks(void **state)
{
    pthread_t threads[THREADS];
    void *failed;

    (void)state;
    shared = reserve_create(OBJECTS);
    for (int i = 0; i < OBJECTS; i++)
        assert_true(reserve_put(shared, (void *)&owners[i]));
    assert_false(reserve_put(shared, &shared));
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, shuffle, &shared);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_true(reserve_verify(shared));
    for (int i = 0; i < OBJECTS; i++)
        assert_non_null(reserve_take(shared));
    assert_null(reserve_take(shared));
    reserve_destroy(shared);
}

/* From here on this thread may ask for its page faults, and do nothing else of the system. */
static void
forbid_system_calls(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrusage, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = UMEM_ARRAY_SIZE(code), .filter = code};

    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0);
}

static long
page_faults(void)
{
    struct rusage usage;

    CHECK(getrusage(RUSAGE_THREAD, &usage) == 0);
    return usage.ru_minflt + usage.ru_majflt;
}

static _Atomic int ready, done;
static void *taken[THREADS][OBJECTS / THREADS];

static void
churn(void **objs)
{
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < OBJECTS / THREADS; i++) {
            CHECK((objs[i] = umem_cache_alloc(cache, UMEM_DEFAULT)) != NULL);
            memset(objs[i], round, SIZE);
        }
        for (int i = 0; i < OBJECTS / THREADS; i++)
            umem_cache_free(cache, objs[i]);
    }
}

static void *
run_forbidden(void *arg)
{
    churn(arg); /* code and stack are there */
    (void)page_faults();
    ready++;
    while (ready < THREADS)
        ;
    forbid_system_calls();
    long before = page_faults();
    churn(arg);
    long after = page_faults();
    CHECK(after == before);
    done++;
    for (;;) /* not even the end of a thread goes without system calls */
        ;
}

static void
run_sealed(void)
{
    pthread_t thread;

    cache = umem_cache_create("sealed", SIZE, 0, NULL, NULL, NULL, NULL, NULL, 0);
    CHECK(umem_cache_reserve(cache, OBJECTS) == 0);
    CHECK(umem_cache_seal(cache) == 0);
    memset(taken, 0, sizeof(taken));
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&thread, NULL, run_forbidden, taken[i]) == 0);
    while (done < THREADS)
        usleep(1000);
    CHECK(umem_cache_breaches(cache) == 0);
    _exit(0);
}

static void
run_sealed_locked(void)
{
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        _exit(0); /* not allowed here */
    run_sealed();
}

static void
test_sealed_without_system(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    assert_exits(run_sealed, NULL, 0);
    assert_exits(run_sealed_locked, NULL, 0);
}

/* Not sealed, one thread: all of the reserve, without a system call. */
static void
run_unsealed(void)
{
    static void *objs[OBJECTS];

    cache = umem_cache_create("unsealed", SIZE, 0, NULL, NULL, NULL, NULL, NULL, 0);
    CHECK(umem_cache_reserve(cache, OBJECTS) == 0);
    forbid_system_calls();
    for (int i = 0; i < OBJECTS; i++)
        objs[i] = umem_cache_alloc(cache, UMEM_DEFAULT);
    for (int i = 0; i < OBJECTS; i++)
        if (objs[i] == NULL)
            __builtin_trap();
    raise(SIGKILL); /* ends by the filter: SIGSYS */
}

static void
test_unsealed_without_system(void **state)
{
    char text[256];

    (void)state;
    if (SANITIZED)
        skip();
    int status = in_child(run_unsealed, NULL, text, sizeof(text));
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void
run_debugged(void)
{
    void *objs[20];

    cache = make_cache(0);
    CHECK(umem_cache_reserve(cache, 20) == 0);
    CHECK(umem_cache_seal(cache) == 0);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 20; i++)
            CHECK(is_whole(objs[i] = umem_cache_alloc(cache, UMEM_DEFAULT)));
        for (int i = 0; i < 20; i++)
            umem_cache_free(cache, objs[i]);
    }
    CHECK(umem_cache_breaches(cache) == 0);
    umem_cache_destroy(cache);
    _exit(0);
}

static void
run_double_free(void)
{
    cache = make_cache(0);
    CHECK(umem_cache_reserve(cache, 20) == 0);
    CHECK(umem_cache_seal(cache) == 0);
    void *obj = umem_cache_alloc(cache, UMEM_DEFAULT);
    umem_cache_free(cache, obj);
    umem_cache_free(cache, obj);
}

static void
test_debugged(void **state)
{
    (void)state;
    assert_exits(run_debugged, "default", 0);
    assert_exits(run_debugged, "audit", 0);
    assert_dies(run_double_free, "guards", "duplicate free");
}

static void *
churn_for_ever(void *arg)
{
    while (arg != NULL)
        churn(arg);
    return NULL;
}

/* Forks while threads are at the stacks: what the child finds is whole, but for a node or two. */
static void
run_forks(void)
{
    pthread_t thread;
    int status;

    cache = umem_cache_create("forks", SIZE, 0, NULL, NULL, NULL, NULL, NULL, 0);
    CHECK(umem_cache_reserve(cache, 2 * OBJECTS) == 0);
    CHECK(umem_cache_seal(cache) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&thread, NULL, churn_for_ever, taken[i]) == 0);
    for (int i = 0; i < 50; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            void *objs[OBJECTS];
            alarm(20);
            for (int k = 0; k < OBJECTS; k++)
                CHECK((objs[k] = umem_cache_alloc(cache, UMEM_DEFAULT)) != NULL);
            CHECK(umem_cache_breaches(cache) == 0); /* the other half is all that they can hold */
            for (int k = 0; k < OBJECTS; k++)
                umem_cache_free(cache, objs[k]);
            CHECK(umem_cache_unseal(cache) == 0);
            CHECK(verify_caches());
            _exit(0);
        }
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK(status == 0);
    }
    _exit(0);
}

static void
test_fork(void **state)
{
    (void)state;
    assert_exits(run_forks, NULL, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sealed_without_system), /* children first, of a fresh engine */
        cmocka_unit_test(test_unsealed_without_system),
        cmocka_unit_test(test_debugged),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_reserve_stays),
        cmocka_unit_test(test_reserve_has_no_bound),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_seal),
        cmocka_unit_test(test_without_magazines),
        cmocka_unit_test(test_stacks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
