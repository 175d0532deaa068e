/* SPDX-License-Identifier: MIT */
/*
 * A kernel that refuses: `refused CALL ERROR WHEN` installs a seccomp filter by
 * which one system call fails from then on, before the heap was ever used
 * (WHEN is cold) or after (warm), and uses the heap in every way.  What cannot
 * be had is NULL and ENOMEM; what is held stays as it is and can be freed, and
 * what was freed serves again.
 *
 * A filter cannot be taken off again: one case a process.  Exit code 77: no
 * filters here.
 */
#include "check.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <umem.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
/* What the low half of the first argument is compared with; ANY where it does not matter. */
#define ANY 0

enum {
    PER_SIZE = 40,
    MOST_PER_SIZE = 4000,
    MOST_BYTES = 32 << 20,
    SHARES_SPANS = 5000,
    SKIPPED = 77
};

static const size_t sizes[] = {8, 100, 1000, 5000, 40000, 130000, 200000, 3000000};
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static const struct call {
    const char *name;
    int number;
    uint32_t first_argument;
    bool needed; /* without it there is no more memory after a while */
} calls[] = {
    {"mmap", SYS_mmap, ANY, true},
    {"munmap", SYS_munmap, ANY, false},
    {"madvise", SYS_madvise, ANY, false},
    {"mprotect", SYS_mprotect, ANY, false},
    {"mremap", SYS_mremap, ANY, false},
    {"membarrier", SYS_membarrier, ANY, false},
    {"prctl_vma", SYS_prctl, PR_SET_VMA, false},
};

static const struct call *call;

static const struct {
    const char *name;
    int number;
} errors[] = {{"ENOMEM", ENOMEM}, {"EPERM", EPERM}, {"ENOSYS", ENOSYS}, {"EINVAL", EINVAL}};

/* Little endian: the low half of an argument is at its offset. */
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define SKIP_UNLESS(value, n) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, n)

static bool
refuse(const struct call *call, int error)
{
    /* An argument that does not matter: either way of the jump goes to the next instruction. */
    uint8_t past = call->first_argument == ANY ? 0 : 1;
    struct sock_filter code[] = {
        LOAD(arch),
        SKIP_UNLESS(AUDIT_ARCH_X86_64, 5),
        LOAD(nr),
        SKIP_UNLESS((uint32_t)call->number, 3),
        LOAD(args[0]),
        SKIP_UNLESS(call->first_argument, past),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

static unsigned char *held[SIZES][MOST_PER_SIZE];
static unsigned count[SIZES];

static unsigned char
mark(size_t s, unsigned i)
{
    return (unsigned char)(s * 31 + i * 7 + 1);
}

/* By each way in turn. */
static void *
make(size_t size, unsigned i)
{
    void *p = NULL;
    int error;
    switch (i % 4) {
    case 0:
        return calloc(1, size);
    case 1:
        error = posix_memalign(&p, 256, size);
        errno = error != 0 ? error : errno;
        return error == 0 ? p : NULL;
    case 2:
        return realloc(NULL, size);
    default:
        return malloc(size);
    }
}

/* Up to `most` of each size, marked; whether one was refused. */
static bool
fill(unsigned most)
{
    bool refused = false;
    for (size_t s = 0; s < SIZES; s++)
        while (count[s] < most && count[s] * sizes[s] < MOST_BYTES) {
            errno = 0;
            unsigned char *p = opaque(make(sizes[s], count[s]));
            if (p == NULL) {
                if (errno != ENOMEM && !refused)
                    fprintf(stderr, "%zu bytes: %s\n", sizes[s], strerror(errno));
                CHECK(errno == ENOMEM);
                refused = true;
                break;
            }
            if (count[s] % 4 == 0)
                CHECK(p[0] == 0 && p[sizes[s] / 2] == 0 && p[sizes[s] - 1] == 0);
            memset(p, mark(s, count[s]), sizes[s]);
            held[s][count[s]++] = p;
        }
    return refused;
}

/* All that is held is as it was written. */
static void
look(void)
{
    for (size_t s = 0; s < SIZES; s++)
        for (unsigned i = 0; i < count[s]; i++) {
            unsigned char *p = held[s][i], m = mark(s, i);
            CHECK(p[0] == m && p[sizes[s] / 2] == m && p[sizes[s] - 1] == m);
        }
}

/* Frees down to `least` of each size. */
static void
drop(unsigned least)
{
    for (size_t s = 0; s < SIZES; s++)
        while (count[s] > least)
            free(held[s][--count[s]]);
}

/*
 * The half of what is held is freed, and as much of each size can be had again.
 * Where mmap is refused, spans that became free are gone with munmap: the half
 * of the half then, and of small blocks only, whose slabs share spans.
 */
static void
free_and_have_again(void)
{
    for (size_t s = 0; s < SIZES; s++) {
        unsigned before = count[s], least = before / 2, wanted = before;
        while (count[s] > least)
            free(held[s][--count[s]]);
        if (call->needed)
            wanted = sizes[s] <= SHARES_SPANS ? least + (before - least) / 2 : 0;
        while (count[s] < before) {
            unsigned char *p = opaque(malloc(sizes[s]));
            if (p == NULL)
                break;
            memset(p, mark(s, count[s]), sizes[s]);
            held[s][count[s]++] = p;
        }
        if (count[s] < wanted)
            fprintf(stderr, "%zu bytes: %u of %u again\n", sizes[s], count[s], before);
        CHECK(count[s] >= wanted);
    }
}

/* Larger and smaller; what fails leaves the old block as it is. */
static void
resize(void)
{
    static const size_t steps[] = {10, 100, 3000, 50000, 700000, 5000000, 9000000, 200000, 5};
    size_t size = 10;
    unsigned char *p = opaque(malloc(size));
    if (p == NULL)
        return;
    memset(p, 9, size);
    for (size_t i = 1; i < sizeof(steps) / sizeof(steps[0]); i++) {
        errno = 0;
        unsigned char *q = opaque(realloc(p, steps[i]));
        CHECK(q != NULL || errno == ENOMEM);
        p = q != NULL ? q : p;
        size_t kept = q != NULL && steps[i] < size ? steps[i] : size;
        CHECK(p[0] == 9 && p[kept - 1] == 9);
        if (q != NULL) {
            size = steps[i];
            memset(p, 9, size);
        }
    }
    free(p);
}

static void *
in_thread(void *arg)
{
    for (unsigned round = 0; round < 200; round++) {
        unsigned char *p[SIZES];
        for (size_t s = 0; s < SIZES; s++) {
            errno = 0;
            p[s] = opaque(malloc(sizes[s] + round));
            CHECK(p[s] != NULL || errno == ENOMEM);
            if (p[s] != NULL)
                p[s][0] = p[s][sizes[s] - 1] = 1;
        }
        for (size_t s = 0; s < SIZES; s++)
            free(p[s]);
    }
    return arg;
}

/* Their stacks are mapped by libc, which may be refused them. */
static void
threads(void)
{
    pthread_t t[4];
    bool runs[4];
    for (size_t i = 0; i < 4; i++)
        runs[i] = pthread_create(&t[i], NULL, in_thread, NULL) == 0;
    for (size_t i = 0; i < 4; i++)
        if (runs[i])
            pthread_join(t[i], NULL);
}

/* Caches of the umem interface, made now and destroyed. */
static void
caches(void)
{
    errno = 0;
    umem_cache_t *cp = umem_cache_create("refused", 300, 0, NULL, NULL, NULL, NULL, NULL, 0);
    CHECK(cp != NULL || errno == ENOMEM);
    if (cp == NULL)
        return;
    void *p[500];
    for (size_t i = 0; i < 500; i++) {
        errno = 0;
        p[i] = umem_cache_alloc(cp, UMEM_DEFAULT);
        CHECK(p[i] != NULL || errno == ENOMEM);
    }
    for (size_t i = 0; i < 500; i++)
        if (p[i] != NULL)
            umem_cache_free(cp, p[i]);
    umem_cache_destroy(cp);
}

static void
use_the_heap(void)
{
    bool refused = fill(MOST_PER_SIZE);
    CHECK(refused == call->needed);
    look();
    free_and_have_again();
    look();
    resize();
    threads();
    caches();
    umem_reap();
    look();
    drop(PER_SIZE / 2);
    malloc_trim(0);
    look();
    fill(PER_SIZE); /* from memory that may have been given back, or not */
    look();
    drop(0);
    umem_reap();
    fill(PER_SIZE);
    look();
    drop(0);
}

static const struct call *
call_named(const char *name)
{
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        if (strcmp(name, calls[i].name) == 0)
            return &calls[i];
    return NULL;
}

static int
error_named(const char *name)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (strcmp(name, errors[i].name) == 0)
            return errors[i].number;
    return 0;
}

int
main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    call = call_named(argv[1]);
    int error = error_named(argv[2]);
    if (call == NULL || error == 0)
        return 2;
    if (strcmp(argv[3], "warm") == 0)
        fill(PER_SIZE);
    if (!refuse(call, error))
        return SKIPPED;
    use_the_heap();
    puts("went on");
    return atomic_load(&check_failures) != 0;
}
