/* SPDX-License-Identifier: MIT */
/*
 * Memory runs out at every point that a sweep of RLIMIT_AS can reach: NULL and
 * ENOMEM, never a crash, and afterwards everything works.  Fault injection by
 * umem_setmtbf() beside it.
 */
#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <umem.h>
#include <unistd.h>

/* Steps of the sweep: pages at first, then squares, past what everything needs (300 MB). */
enum { STEPS = 54, PAGE_STEPS = 24, PAGE_STEP = 4096, SQUARE_STEP = 512 * 1024 };
enum { PER_SIZE = 12 };

static void
limit_space(rlim_t bytes)
{
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        abort();
}

static rlim_t
space_in_use(void)
{
    char text[64] = "";
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f != NULL && fgets(text, sizeof(text), f) != NULL)
        pages = strtoul(text, NULL, 10);
    if (f != NULL)
        fclose(f);
    return pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static const size_t sizes[] = {8, 100, 1000, 5000, 40000, 130000, 200000, 3000000};
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

/* One kind of allocation; the sweep tries each. */
struct kind {
    void *(*make)(size_t size);
    void (*drop)(void *p, size_t size);
};

static void *
by_umem(size_t size)
{
    return umem_alloc(size, UMEM_DEFAULT);
}

static void *
by_align(size_t size)
{
    return umem_alloc_align(size, 256, UMEM_DEFAULT);
}

static void *
by_calloc(size_t size)
{
    return calloc(1, size);
}

static void *
by_memalign(size_t size)
{
    return memalign(512, size);
}

static void
drop_malloc(void *p, size_t size)
{
    (void)size;
    free(p);
}

static umem_cache_t *cache;

static void *
by_cache(size_t size)
{
    (void)size;
    return umem_cache_alloc(cache, UMEM_DEFAULT);
}

static void
drop_object(void *p, size_t size)
{
    (void)size;
    umem_cache_free(cache, p);
}

static const struct kind kinds[] = {{by_umem, umem_free},       {by_align, umem_free_align},
                                    {malloc, drop_malloc},      {by_calloc, drop_malloc},
                                    {by_memalign, drop_malloc}, {by_cache, drop_object}};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static void *held[KINDS][SIZES][PER_SIZE];

/* Allocates some of everything; the number of failures, all of them with ENOMEM. */
static int
allocate_all(bool may_fail)
{
    int failures = 0;
    for (int k = 0; k < KINDS; k++)
        for (int s = 0; s < SIZES; s++)
            for (int i = 0; i < PER_SIZE; i++) {
                errno = 0;
                void *p =
                    cache != NULL || kinds[k].make != by_cache ? kinds[k].make(sizes[s]) : NULL;
                held[k][s][i] = p;
                if (p != NULL)
                    *(volatile char *)p = 1;
                else if (cache != NULL || kinds[k].make != by_cache) {
                    failures++;
                    CHECK(errno == ENOMEM);
                }
            }
    CHECK(may_fail || failures == 0);
    return failures;
}

static void
drop_all(void)
{
    for (int k = 0; k < KINDS; k++)
        for (int s = 0; s < SIZES; s++)
            for (int i = 0; i < PER_SIZE; i++)
                if (held[k][s][i] != NULL)
                    kinds[k].drop(held[k][s][i], sizes[s]);
}

/* In a child: everything under the limit, then again without. */
static _Noreturn void
one_step(rlim_t extra)
{
    alarm(60);
    limit_space(space_in_use() + extra);
    cache = umem_cache_create("swept", 300, 0, NULL, NULL, NULL, NULL, NULL, 0);
    CHECK(cache != NULL || errno == ENOMEM);
    int failures = allocate_all(true);
    drop_all();
    limit_space(RLIM_INFINITY);
    if (cache == NULL)
        cache = umem_cache_create("swept", 300, 0, NULL, NULL, NULL, NULL, NULL, 0);
    CHECK(cache != NULL);
    CHECK(allocate_all(false) == 0);
    drop_all();
    _exit(atomic_load(&check_failures) != 0 ? 1 : failures == 0 ? 10 : 0);
}

/* Rising limits; the first steps are pages, where set-up itself fails. */
static void
sweep(void)
{
    bool failed = false, succeeded = false;
    for (int step = 0; step < STEPS; step++) {
        rlim_t square = (rlim_t)(step - PAGE_STEPS) * (rlim_t)(step - PAGE_STEPS);
        rlim_t extra = step < PAGE_STEPS ? (rlim_t)step * PAGE_STEP : square * SQUARE_STEP;
        pid_t pid = fork();
        NEED(pid >= 0);
        if (pid == 0)
            one_step(extra);
        int status = 0;
        waitpid(pid, &status, 0);
        if (status != 0 && status != 10 << 8)
            fprintf(stderr, "step %d, %lu bytes: status %#x\n", step, (unsigned long)extra, status);
        NEED(status == 0 || status == 10 << 8);
        failed |= status == 0;
        succeeded |= status != 0;
    }
    /* A sweep that never failed, or never got through, has shown nothing. */
    CHECK(failed);
    CHECK(succeeded);
}

/* The same where the heap was in use before. */
static void
sweep_after_use(void)
{
    NEED((cache = umem_cache_create("used", 300, 0, NULL, NULL, NULL, NULL, NULL, 0)) != NULL);
    CHECK(allocate_all(false) == 0);
    sweep();
    drop_all();
    umem_cache_destroy(cache);
    cache = NULL;
}

static void
injected_failures(void)
{
    umem_cache_t *cp = umem_cache_create("injected", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);
    NEED(cp != NULL);
    /* Full magazines must not hide it. */
    for (int i = 0; i < 100; i++)
        umem_free(umem_alloc(50, UMEM_DEFAULT), 50);
    umem_setmtbf(1);
    for (int i = 0; i < 100; i++) {
        for (int s = 0; s < SIZES; s++) {
            errno = 0;
            CHECK(umem_alloc(sizes[s], UMEM_DEFAULT) == NULL);
            CHECK(errno == ENOMEM);
            errno = 0;
            CHECK(umem_zalloc(sizes[s], UMEM_DEFAULT) == NULL);
            CHECK(errno == ENOMEM);
            CHECK(umem_alloc_align(sizes[s], 64, UMEM_DEFAULT) == NULL);
        }
        errno = 0;
        CHECK(umem_cache_alloc(cp, UMEM_DEFAULT) == NULL);
        CHECK(errno == ENOMEM);
        void *p = umem_alloc(50, UMEM_NOFAIL);
        void *q = umem_cache_alloc(cp, UMEM_NOFAIL);
        void *r = umem_alloc(1000000, UMEM_NOFAIL);
        CHECK(p != NULL && q != NULL && r != NULL);
        umem_free(p, 50);
        umem_cache_free(cp, q);
        umem_free(r, 1000000);
    }
    umem_setmtbf(10);
    int failures = 0;
    for (int i = 0; i < 10000; i++) {
        void *p = umem_alloc(50, UMEM_DEFAULT);
        failures += p == NULL;
        umem_free(p, p != NULL ? 50 : 0);
    }
    /* About one in ten: six standard deviations either way. */
    CHECK(failures > 820 && failures < 1180);
    umem_setmtbf(0);
    for (int i = 0; i < 1000; i++) {
        void *p = umem_alloc(50, UMEM_DEFAULT), *q = umem_cache_alloc(cp, UMEM_DEFAULT);
        CHECK(p != NULL && q != NULL);
        umem_free(p, 50);
        umem_cache_free(cp, q);
    }
    umem_cache_destroy(cp);
}

/* malloc fails as the umem functions do, where it is ours. */
static void
injected_malloc(void)
{
    umem_setmtbf(1);
    errno = 0;
    void *p = opaque(malloc(100));
    int why = errno;
    void *q = opaque(calloc(3, 30)), *r = opaque(realloc(NULL, 70));
    umem_setmtbf(0);
    CHECK(p == NULL && q == NULL && r == NULL);
    CHECK(why == ENOMEM);
    p = malloc(100);
    CHECK(p != NULL);
    free(p);
}

static int ctor_calls;

static int
moody_constructor(void *buf, void *private_data, int flags)
{
    (void)private_data, (void)flags;
    memset(buf, 5, 40);
    return ++ctor_calls % 3 == 0 ? -1 : 0;
}

/* A constructor that refuses makes the allocation fail, and nothing is lost. */
static void
failing_constructor(void)
{
    enum { N = 3000 };
    static char *p[N];
    int failures = 0;
    umem_cache_t *cp =
        umem_cache_create("moody", 40, 0, moody_constructor, NULL, NULL, NULL, NULL, 0);
    NEED(cp != NULL);
    for (int i = 0; i < N; i++) {
        p[i] = umem_cache_alloc(cp, UMEM_DEFAULT);
        failures += p[i] == NULL;
        CHECK(p[i] == NULL || p[i][39] == 5);
    }
    CHECK(failures > N / 6 && failures < N / 2);
    for (int i = 0; i < N; i++)
        if (p[i] != NULL)
            umem_cache_free(cp, p[i]);
    umem_cache_destroy(cp);
}

static void
bad_caches(void)
{
    errno = 0;
#define INVALID(...)                                                                               \
    errno = 0;                                                                                     \
    CHECK(umem_cache_create(__VA_ARGS__) == NULL);                                                 \
    CHECK(errno == EINVAL)
    INVALID(NULL, 64, 0, NULL, NULL, NULL, NULL, NULL, 0);
    INVALID("zero", 0, 0, NULL, NULL, NULL, NULL, NULL, 0);
    INVALID("align", 64, 48, NULL, NULL, NULL, NULL, NULL, 0);
    INVALID("both", 64, 0, NULL, NULL, NULL, NULL, NULL, UMC_NOHASH | UMC_NOTOUCH);
    errno = 0;
    CHECK(umem_cache_create("huge", SIZE_MAX - 100, 0, NULL, NULL, NULL, NULL, NULL, 0) == NULL);
    CHECK(errno == ENOMEM || errno == EINVAL);
    CHECK(umem_alloc(0, UMEM_DEFAULT) == NULL);
    umem_free(NULL, 0);
    errno = 0;
    CHECK(umem_alloc_align(100, 24, UMEM_DEFAULT) == NULL);
    CHECK(errno == EINVAL);
}

static const struct section sections[] = {
    {"sweep", sweep},
    {"sweep_after_use", sweep_after_use},
    {"injected_failures", injected_failures},
    {"injected_malloc", injected_malloc},
    {"failing_constructor", failing_constructor},
    {"bad_caches", bad_caches},
};

int
main(int argc, char **argv)
{
    return check_main(argc, argv, sections, sizeof(sections) / sizeof(sections[0]));
}
