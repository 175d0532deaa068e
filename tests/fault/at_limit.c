/* SPDX-License-Identifier: MIT */
/*
 * A process at its limit of address space or of data, by RLIMIT_AS or
 * RLIMIT_DATA (`at_limit SECTION as|data`): allocates until NULL, sees ENOMEM,
 * goes on, frees all, and can have as much again.  In one thread and in four
 * at once, with threads and children made right there.
 *
 * Blocks are linked through their first word, so that the program needs no
 * memory of its own.
 */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <umem.h>
#include <unistd.h>

enum { ROOM_MB = 96, THREADS = 4, AGAIN_PERCENT = 95, CHILD_SECONDS = 60 };

static int resource = RLIMIT_AS;

/* A field of /proc/self/status in bytes; read without malloc. */
static rlim_t
field(const char *name)
{
    static char text[8192];
    FILE *f = fopen("/proc/self/status", "r");
    if (f == NULL)
        return 0;
    static char buffer[8192];
    setvbuf(f, buffer, _IOFBF, sizeof(buffer));
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *at = strstr(text, name);
    return at == NULL ? 0 : strtoul(at + strlen(name), NULL, 10) << 10;
}

static void
set_limit(rlim_t bytes)
{
    struct rlimit limit;
    getrlimit(resource, &limit);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    if (setrlimit(resource, &limit) != 0)
        abort();
}

/* ROOM_MB more than is in use now. */
static void
limit_here(void)
{
    set_limit(field(resource == RLIMIT_AS ? "VmSize:" : "VmData:") + ((rlim_t)ROOM_MB << 20));
}

struct link {
    struct link *next;
    size_t size;
};

struct chain {
    struct link *first;
    size_t count, bytes;
};

/* Allocates until NULL, which has to come with ENOMEM. */
static void
fill(struct chain *c, const size_t *sizes, size_t n)
{
    for (size_t i = 0;; i++) {
        size_t size = sizes[i % n];
        errno = 0;
        struct link *p = opaque(malloc(size));
        if (p == NULL) {
            CHECK(errno == ENOMEM);
            return;
        }
        memset(p, (int)(size % 251), size);
        p->next = c->first;
        p->size = size;
        c->first = p;
        c->count++;
        c->bytes += size;
    }
}

/* Frees up to most blocks, each with what was written into it. */
static void
drop(struct chain *c, size_t most)
{
    while (c->first != NULL && most-- > 0) {
        struct link *p = c->first;
        size_t size = p->size;
        const unsigned char *bytes = (const unsigned char *)p;
        CHECK(size == sizeof(*p) || bytes[size - 1] == size % 251);
        c->first = p->next;
        c->count--;
        c->bytes -= size;
        free(p);
    }
}

static const size_t small_sizes[] = {16, 24, 64, 100, 500};
static const size_t medium_sizes[] = {2000, 9000, 40000, 128 << 10};
static const size_t large_sizes[] = {200000, 1000003, 3000000};
static const size_t mixed_sizes[] = {40, 3000, 700, 20, 60000, 300, 250000};
#define OF(sizes) sizes, sizeof(sizes) / sizeof(sizes[0])

/* Fills and empties three times; what fits does not shrink. */
static void
again_and_again(const size_t *sizes, size_t n)
{
    struct chain c = {0};
    limit_here();
    fill(&c, sizes, n);
    size_t bytes = c.bytes;
    CHECK(bytes > (size_t)ROOM_MB << 18); /* a quarter of the room, whatever it costs */
    for (int round = 0; round < 3; round++) {
        drop(&c, SIZE_MAX);
        fill(&c, sizes, n);
        if (c.bytes < bytes / 100 * AGAIN_PERCENT)
            fprintf(stderr, "round %d: %zu bytes, %zu at first\n", round, c.bytes, bytes);
        CHECK(c.bytes >= bytes / 100 * AGAIN_PERCENT);
    }
    drop(&c, SIZE_MAX);
}

static void
small(void)
{
    again_and_again(OF(small_sizes));
}

static void
medium(void)
{
    again_and_again(OF(medium_sizes));
}

static void
large(void)
{
    again_and_again(OF(large_sizes));
}

static void
mixed(void)
{
    again_and_again(OF(mixed_sizes));
}

/* What one kind of size gave back serves another. */
static void
by_turns(void)
{
    static const struct {
        const size_t *sizes;
        size_t n;
    } kinds[] = {{OF(small_sizes)}, {OF(medium_sizes)}, {OF(large_sizes)}};
    size_t first[3] = {0};
    limit_here();
    for (int turn = 0; turn < 9; turn++) {
        struct chain c = {0};
        int k = turn % 3;
        fill(&c, kinds[k].sizes, kinds[k].n);
        if (turn < 3)
            first[k] = c.bytes;
        if (c.bytes < first[k] / 100 * AGAIN_PERCENT || c.bytes < (size_t)ROOM_MB << 18)
            fprintf(stderr, "turn %d: %zu bytes, %zu at first\n", turn, c.bytes, first[k]);
        CHECK(c.bytes > (size_t)ROOM_MB << 18);
        CHECK(c.bytes >= first[k] / 100 * AGAIN_PERCENT);
        drop(&c, SIZE_MAX);
    }
}

/* --- Threads --- */

static pthread_barrier_t barrier;
static struct chain chains[THREADS];

static void *
fill_in_thread(void *arg)
{
    size_t number = (size_t)(uintptr_t)arg;
    for (int round = 0; round < 3; round++) {
        pthread_barrier_wait(&barrier);
        fill(&chains[number], OF(mixed_sizes));
        pthread_barrier_wait(&barrier);
        pthread_barrier_wait(&barrier); /* the main thread has added up */
        drop(&chains[number], SIZE_MAX);
    }
    return NULL;
}

static void
threads_at_once(void)
{
    pthread_t t[THREADS];
    size_t first = 0;
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (size_t i = 0; i < THREADS; i++)
        NEED(pthread_create(&t[i], NULL, fill_in_thread, (void *)(uintptr_t)i) == 0);
    limit_here();
    for (int round = 0; round < 3; round++) {
        size_t bytes = 0;
        pthread_barrier_wait(&barrier);
        pthread_barrier_wait(&barrier);
        for (size_t i = 0; i < THREADS; i++)
            bytes += chains[i].bytes;
        if (round == 0)
            first = bytes;
        if (bytes < first / 100 * AGAIN_PERCENT)
            fprintf(stderr, "round %d: %zu bytes, %zu at first\n", round, bytes, first);
        CHECK(bytes >= first / 100 * AGAIN_PERCENT);
        CHECK(bytes > (size_t)ROOM_MB << 18);
        pthread_barrier_wait(&barrier);
    }
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
}

/* A thread's first allocation, where there is nothing left to make its cache of. */
static void *
allocate_in_thread(void *got)
{
    void *p[100];
    for (size_t i = 0; i < 100; i++) {
        errno = 0;
        p[i] = opaque(malloc(i * 40));
        CHECK(p[i] != NULL || errno == ENOMEM);
        *(size_t *)got += p[i] != NULL;
    }
    for (size_t i = 0; i < 100; i++)
        free(p[i]);
    return NULL;
}

/* Refused with EAGAIN, or the thread runs; with its stack from us, too. */
static void
create_threads(void)
{
    static char stack[256 << 10] __attribute__((aligned(4096)));
    struct chain c = {0};
    pthread_t t;
    pthread_attr_t attr;
    size_t got = 0;
    pthread_attr_init(&attr);
    pthread_attr_setstack(&attr, stack, sizeof(stack));
    limit_here();
    fill(&c, OF(large_sizes));
    fill(&c, OF(mixed_sizes));
    fill(&c, OF(small_sizes));
    for (int i = 0; i < 50; i++) {
        int error = pthread_create(&t, NULL, allocate_in_thread, &got);
        CHECK(error == 0 || error == EAGAIN || error == ENOMEM);
        if (error == 0)
            pthread_join(t, NULL);
        error = pthread_create(&t, &attr, allocate_in_thread, &got);
        CHECK(error == 0 || error == EAGAIN || error == ENOMEM);
        if (error == 0)
            pthread_join(t, NULL);
    }
    drop(&c, SIZE_MAX);
    got = 0;
    NEED(pthread_create(&t, NULL, allocate_in_thread, &got) == 0);
    pthread_join(t, NULL);
    CHECK(got == 100);
}

/* --- Children --- */

static void
fork_here(void)
{
    struct chain c = {0};
    limit_here();
    fill(&c, OF(large_sizes));
    fill(&c, OF(mixed_sizes));
    fill(&c, OF(small_sizes));
    size_t bytes = c.bytes;
    for (int i = 0; i < 10; i++) {
        pid_t pid = fork();
        NEED(pid >= 0);
        if (pid == 0) {
            alarm(CHILD_SECONDS);
            errno = 0;
            CHECK(opaque(malloc(10 << 20)) == NULL && errno == ENOMEM);
            drop(&c, SIZE_MAX);
            fill(&c, OF(mixed_sizes));
            CHECK(c.bytes >= bytes / 100 * 80); /* other sizes: another share of waste */
            _exit(atomic_load(&check_failures) != 0);
        }
        int status = 0;
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK(status == 0);
    }
    drop(&c, SIZE_MAX);
}

/* --- UMEM_NOFAIL --- */

static struct chain reserve;
static int calls;

static int
give_way(void)
{
    calls++;
    drop(&reserve, reserve.count / 2 + 1);
    return UMEM_CALLBACK_RETRY;
}

/* The callback frees what was filled, the half each time, until there is room. */
static void
nofail(void)
{
    static const size_t wanted[] = {16, 300, 5000, 100000, 4 << 20};
    umem_nofail_callback(give_way);
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        void *p[64];
        size_t n = 0;
        limit_here();
        fill(&reserve, OF(large_sizes));
        fill(&reserve, OF(mixed_sizes));
        fill(&reserve, OF(small_sizes));
        for (calls = 0; calls == 0 && n < 64; n++) {
            p[n] = umem_alloc(wanted[i], UMEM_NOFAIL);
            NEED(p[n] != NULL);
            memset(p[n], 1, wanted[i]);
            /* The last free pages of a class: more of that size until it is called. */
            fill(&reserve, wanted + i, 1);
        }
        CHECK(calls > 0);
        while (n > 0)
            umem_free(p[--n], wanted[i]);
        drop(&reserve, SIZE_MAX);
        set_limit(RLIM_INFINITY);
    }
    umem_nofail_callback(NULL);
}

static const struct section sections[] = {
    {"small", small},
    {"medium", medium},
    {"large", large},
    {"mixed", mixed},
    {"by_turns", by_turns},
    {"threads_at_once", threads_at_once},
    {"create_threads", create_threads},
    {"fork_here", fork_here},
    {"nofail", nofail},
};

int
main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[2], "data") == 0)
        resource = RLIMIT_DATA;
    return check_main(argc, argv, sections, sizeof(sections) / sizeof(sections[0]));
}
