/* SPDX-License-Identifier: MIT */
/*
 * What becomes of an UMEM_NOFAIL allocation that cannot be had: one program
 * a way, named on the command line.  It fails since RLIMIT_AS leaves no room.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <umem.h>
#include <unistd.h>

enum { TOO_LARGE = 512 << 20, LIMIT = 256 << 20 };

static atomic_int calls;
static jmp_buf back;

static void
limit_space(rlim_t bytes)
{
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        exit(3);
}

static void
at_exit(void)
{
    printf("atexit after %d calls\n", atomic_load(&calls));
    fflush(stdout);
}

/* No memory twice, then there is some. */
static int
retry(void)
{
    if (atomic_fetch_add(&calls, 1) == 2)
        limit_space(RLIM_INFINITY);
    return UMEM_CALLBACK_RETRY;
}

static int
exit_with_7(void)
{
    atomic_fetch_add(&calls, 1);
    return UMEM_CALLBACK_EXIT(7);
}

/* Only the low byte of a status counts. */
static int
exit_with_big(void)
{
    return UMEM_CALLBACK_EXIT(0x4203);
}

static int
nonsense(void)
{
    return 12345;
}

static int
jump(void)
{
    atomic_fetch_add(&calls, 1);
    longjmp(back, 1);
}

static int
end_thread(void)
{
    atomic_fetch_add(&calls, 1);
    pthread_exit((void *)9);
}

/* The callback may allocate: no lock is held. */
static int
allocates(void)
{
    void *p = umem_alloc(100, UMEM_DEFAULT);
    if (p != NULL)
        umem_free(p, 100);
    atomic_fetch_add(&calls, 1);
    return UMEM_CALLBACK_EXIT(p != NULL ? 8 : 9);
}

static void *
demand(void *unused)
{
    void *p = umem_alloc(TOO_LARGE, UMEM_NOFAIL);
    if (p == NULL) {
        puts("NULL from UMEM_NOFAIL");
        _exit(4);
    }
    umem_free(p, TOO_LARGE);
    return unused;
}

static void
demand_at_exit(void)
{
    demand(NULL);
}

static void
still_usable(void)
{
    void *p[100];
    for (size_t i = 0; i < 100; i++) {
        p[i] = umem_alloc(i * 100 + 1, UMEM_DEFAULT);
        if (p[i] == NULL)
            _exit(5);
        memset(p[i], 1, i * 100 + 1);
    }
    for (size_t i = 0; i < 100; i++)
        umem_free(p[i], i * 100 + 1);
}

static int
demand_in_threads(size_t n)
{
    pthread_t t[16];
    void *result = NULL;
    for (size_t i = 0; i < n; i++)
        if (pthread_create(&t[i], NULL, demand, NULL) != 0)
            return 3;
    for (size_t i = 0; i < n; i++)
        pthread_join(t[i], &result);
    printf("joined %ld\n", (long)result);
    return 0;
}

int
main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "none";
    static const struct {
        const char *name;
        umem_nofail_callback_t *callback;
    } ways[] = {{"none", NULL},           {"retry", retry},
                {"exit", exit_with_7},    {"big", exit_with_big},
                {"nonsense", nonsense},   {"longjmp", jump},
                {"thread", end_thread},   {"threads", exit_with_7},
                {"allocates", allocates}, {"recursive", exit_with_7}};

    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        if (strcmp(ways[i].name, how) == 0)
            umem_nofail_callback(ways[i].callback);
    atexit(at_exit);
    if (strcmp(how, "recursive") == 0)
        atexit(demand_at_exit);
    limit_space(LIMIT);
    if (strcmp(how, "thread") == 0) {
        int status = demand_in_threads(1);
        still_usable();
        return status;
    }
    if (strcmp(how, "threads") == 0)
        return demand_in_threads(8);
    if (setjmp(back) == 0)
        demand(NULL);
    still_usable();
    puts("went on");
    return 0;
}
