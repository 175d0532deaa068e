/* SPDX-License-Identifier: MIT */
/*
 * The workload: each part of the library in turn, written so that anything
 * may fail.  What fails says ENOMEM (threads: EAGAIN) and leaves what there
 * was before; what succeeds keeps errno; blocks keep what is written in them.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vmem.h>
#include <umem.h>

#include "every_failure.h"

enum {
    UNTOUCHED = 4711,
    BLOCKS = 96,
    OBJECTS = 80,
    THREADS = 3,
    STACK_SIZE = 256 << 10,
    LARGE = 200000
};

static const size_t sizes[] = {1,     16,    100,   700,    1024,   1500,   5000,
                               16384, 30000, 90000, 131072, 200000, 3000000};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

/* The value, of which the compiler knows nothing any more. */
static void *
opaque(void *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

/* What an allocation gave, errno having been UNTOUCHED before. */
static void *
given(void *p)
{
    p = opaque(p);
    if (p == NULL)
        CHECK(errno == ENOMEM && inject_is_armed());
    else
        CHECK(errno == UNTOUCHED);
    errno = UNTOUCHED;
    return p;
}

static void
mark(void *p, size_t size, unsigned char value)
{
    if (p == NULL)
        return;
    ((unsigned char *)p)[0] = ((unsigned char *)p)[size / 2] = value;
    ((unsigned char *)p)[size - 1] = value;
}

static void
look(const void *p, size_t size, unsigned char value)
{
    const unsigned char *bytes = p;

    if (p != NULL)
        CHECK(bytes[0] == value && bytes[size / 2] == value && bytes[size - 1] == value);
}

static void *
allocate(size_t size, size_t way)
{
    void *p = NULL;

    errno = UNTOUCHED;
    switch (way % 6) {
    case 0:
        p = given(calloc(2, (size + 1) / 2));
        look(p, size, 0);
        return p;
    case 1: { /* says it by its result */
        int error = posix_memalign(&p, 256, size);
        CHECK(errno == UNTOUCHED);
        CHECK(error == 0 || (error == ENOMEM && inject_is_armed()));
        return p;
    }
    case 2:
        return given(realloc(NULL, size));
    case 3:
        return given(aligned_alloc(64, size));
    default:
        return given(malloc(size));
    }
}

static void
malloc_family(void)
{
    void *p[BLOCKS];

    for (size_t i = 0; i < BLOCKS; i++) {
        p[i] = allocate(sizes[i % SIZES], i / SIZES + i);
        mark(p[i], sizes[i % SIZES], (unsigned char)i);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        look(p[i], sizes[i % SIZES], (unsigned char)i);
        if (i % 2 == 0)
            free(p[i]);
    }
    for (size_t i = 0; i < BLOCKS; i += 2) {
        p[i] = allocate(sizes[i % SIZES], i);
        mark(p[i], sizes[i % SIZES], (unsigned char)i);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        look(p[i], sizes[i % SIZES], (unsigned char)i);
        free(p[i]);
    }
    CHECK(errno == UNTOUCHED);
    for (size_t align = 16; align <= 1 << 20; align *= 4) {
        void *q = given(memalign(align, 1000));
        CHECK(((uintptr_t)q & (align - 1)) == 0);
        mark(q, 1000, 1);
        free(q);
    }
    free(given(valloc(100)));
}

/* In place, by copying and by moving pages; what fails leaves the block as it was. */
static void
resizing(void)
{
    static const size_t steps[] = {20,      90,      1000,    9000,   100000, 300000, 600000,
                                   5000000, 7000000, 9000000, 400000, 2000,   10};
    size_t size = 10;

    errno = UNTOUCHED;
    void *other = given(malloc(700000)), *p = given(malloc(size));
    if (p != NULL) {
        mark(p, size, 7);
        for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
            unsigned char *q =
                given(i % 2 == 0 ? realloc(p, steps[i]) : reallocarray(p, steps[i] / 10, 10));
            const unsigned char *kept = q != NULL ? q : p;
            CHECK(kept[0] == 7);
            if (q == NULL)
                look(p, size, 7);
            p = q != NULL ? q : p;
            size = q != NULL ? steps[i] : size;
            mark(p, size, 7);
        }
    }
    free(p);
    free(other);
}

static void
umem_blocks(void)
{
    void *p[SIZES], *q[SIZES], *r[SIZES];

    errno = UNTOUCHED;
    for (size_t i = 0; i < SIZES; i++) {
        p[i] = given(umem_alloc(sizes[i], UMEM_DEFAULT));
        q[i] = given(umem_zalloc(sizes[i], UMEM_DEFAULT));
        look(q[i], sizes[i], 0);
        r[i] = given(umem_alloc_align(sizes[i], 512, UMEM_DEFAULT));
        mark(p[i], sizes[i], 1);
        mark(r[i], sizes[i], 2);
    }
    for (size_t i = 0; i < SIZES; i++) {
        look(p[i], sizes[i], 1);
        umem_free(p[i], p[i] != NULL ? sizes[i] : 0);
        umem_free(q[i], q[i] != NULL ? sizes[i] : 0);
        umem_free_align(r[i], r[i] != NULL ? sizes[i] : 0);
    }
    CHECK(errno == UNTOUCHED);
}

/* --- Caches --- */

static _Atomic long constructed;

/* An object owns a block; where that cannot be had there is no object. */
static int
construct(void *obj, void *private, int flags)
{
    void **owned = obj;

    *owned = umem_alloc((size_t)(uintptr_t) private, flags);
    if (*owned == NULL)
        return -1;
    constructed++;
    return 0;
}

static void
destruct(void *obj, void *private)
{
    umem_free(*(void **)obj, (size_t)(uintptr_t) private);
    constructed--;
}

static void
use_cache(umem_cache_t *cp, size_t objects)
{
    void *p[OBJECTS];

    for (int round = 0; round < 2; round++) {
        errno = UNTOUCHED;
        for (size_t i = 0; i < objects; i++)
            p[i] = given(umem_cache_alloc(cp, UMEM_DEFAULT));
        for (size_t i = 0; i < objects; i++)
            if (p[i] != NULL)
                umem_cache_free(cp, p[i]);
        CHECK(errno == UNTOUCHED);
        if (round == 0)
            umem_reap();
    }
}

/* NULL says ENOMEM. */
static umem_cache_t *
make_cache(const char *name, size_t size, bool with_constructor, vmem_t *source, int flags)
{
    umem_cache_t *cp =
        umem_cache_create(name, size, 0, with_constructor ? construct : NULL,
                          with_constructor ? destruct : NULL, NULL, (void *)40, source, flags);

    CHECK(cp != NULL || (errno == ENOMEM && inject_is_armed()));
    return cp;
}

static void
caches(void)
{
    static const struct {
        size_t size;
        bool with_constructor;
        int flags;
        size_t objects;
    } cases[] = {
        {48, false, 0, OBJECTS},       {100, true, 0, OBJECTS},         {3000, true, 0, 50},
        {300, false, UMC_NOTOUCH, 50}, {300, true, UMC_NOMAGAZINE, 20}, {200000, false, 0, 5},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        umem_cache_t *cp =
            make_cache("failing", cases[i].size, cases[i].with_constructor, NULL, cases[i].flags);
        if (cp == NULL)
            continue;
        use_cache(cp, cases[i].objects);
        umem_cache_destroy(cp);
        CHECK(constructed == 0);
    }
}

static void
reserves(void)
{
    umem_cache_t *cp = make_cache("reserved", 200, true, NULL, 0);

    if (cp == NULL)
        return;
    bool reserved = umem_cache_reserve(cp, 100) == 0;
    CHECK(reserved || (errno == ENOMEM && inject_is_armed()));
    bool sealed = umem_cache_seal(cp) == 0;
    CHECK(sealed || (errno == ENOMEM && inject_is_armed()));
    use_cache(cp, OBJECTS);
    CHECK(!sealed || !reserved || umem_cache_breaches(cp) == 0);
    CHECK(!sealed || umem_cache_unseal(cp) == 0);
    use_cache(cp, OBJECTS);
    umem_cache_destroy(cp);
    CHECK(constructed == 0);
}

/* --- Arenas --- */

/* Arenas promise nothing of errno where they succeed. */
static void *
taken(void *p)
{
    CHECK(p != NULL || (errno == ENOMEM && inject_is_armed()));
    return p;
}

static void
use_arena(vmem_t *vmp, size_t unit)
{
    void *p[60];

    for (size_t i = 0; i < 60; i++)
        p[i] = taken(i % 4 == 3 ? vmem_xalloc(vmp, unit, 4 * unit, 0, 0, NULL, NULL, VM_NOSLEEP)
                                : vmem_alloc(vmp, (i % 6 + 1) * unit, VM_NOSLEEP));
    for (size_t i = 0; i < 60; i++) {
        size_t n = (i * 7) % 60;
        if (p[n] == NULL)
            continue;
        if (n % 4 == 3)
            vmem_xfree(vmp, p[n], unit);
        else
            vmem_free(vmp, p[n], (n % 6 + 1) * unit);
    }
    CHECK(vmem_size(vmp, VMEM_ALLOC) == 0 || vmem_size(vmp, VMEM_FREE) > 0);
}

static void
arenas(void)
{
    vmem_alloc_t *import;
    vmem_free_t *give_back;
    vmem_t *heap = vmem_heap_arena(&import, &give_back);
    size_t page = 65536;

    vmem_t *numbers =
        vmem_create("numbers", (void *)1000, 1000, 1, NULL, NULL, NULL, 4, VM_NOSLEEP);
    CHECK(numbers != NULL || (errno == ENOMEM && inject_is_armed()));
    if (numbers != NULL) {
        void *added = vmem_add(numbers, (void *)5000, 500, VM_NOSLEEP);
        CHECK(added != NULL || (errno == ENOMEM && inject_is_armed()));
        use_arena(numbers, 1);
        vmem_destroy(numbers);
    }
    vmem_t *memory = vmem_create("memory", NULL, 0, page, import, give_back, heap, 0, VM_NOSLEEP);
    CHECK(memory != NULL || (errno == ENOMEM && inject_is_armed()));
    if (memory == NULL)
        return;
    use_arena(memory, page);
    umem_cache_t *cp = make_cache("in_arena", 1000, true, memory, 0);
    if (cp != NULL) {
        use_cache(cp, OBJECTS);
        umem_cache_destroy(cp);
        CHECK(constructed == 0);
    }
    vmem_destroy(memory);
}

/* --- Threads: each frees what the one before it allocated --- */

static void *_Atomic passed[THREADS][SIZES];

static void *
in_thread(void *arg)
{
    size_t self = (size_t)(uintptr_t)arg, before = (self + THREADS - 1) % THREADS;

    for (int round = 0; round < 4; round++)
        for (size_t i = 0; i < SIZES; i++) {
            errno = UNTOUCHED;
            void *p = given(malloc(sizes[i]));
            mark(p, sizes[i], 3);
            free(atomic_exchange(&passed[self][i], p));
            p = atomic_exchange(&passed[before][i], NULL);
            look(p, sizes[i], 3);
            free(p);
        }
    return NULL;
}

/*
 * On stacks of ours, since libc keeps its own, and what it allocates for a
 * thread with them.
 */
static void
threads(void)
{
    static _Alignas(4096) char stacks[THREADS][STACK_SIZE];
    pthread_t thread[THREADS];
    bool runs[THREADS];

    for (size_t i = 0; i < THREADS; i++) {
        pthread_attr_t attr;
        pthread_attr_init(&attr);
        pthread_attr_setstack(&attr, stacks[i], STACK_SIZE);
        int error = pthread_create(&thread[i], &attr, in_thread, (void *)(uintptr_t)i);
        pthread_attr_destroy(&attr);
        runs[i] = error == 0;
        CHECK(runs[i] || ((error == EAGAIN || error == ENOMEM) && inject_is_armed()));
    }
    for (size_t i = 0; i < THREADS; i++)
        if (runs[i])
            pthread_join(thread[i], NULL);
    for (size_t i = 0; i < THREADS; i++)
        for (size_t j = 0; j < SIZES; j++) {
            free(passed[i][j]);
            passed[i][j] = NULL;
        }
}

void
workload(bool large_first)
{
    errno = UNTOUCHED;
    if (large_first)
        free(given(malloc(LARGE)));
    malloc_family();
    resizing();
    umem_blocks();
    caches();
    reserves();
    arenas();
    threads();
    umem_reap();
    malloc_trim(0);
    malloc_family();
}
