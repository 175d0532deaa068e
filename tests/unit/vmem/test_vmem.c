/* SPDX-License-Identifier: MIT */
/*
 * test_vmem.c - allocating and freeing, imports and returns, quantum caches,
 * resizing; one arena under many threads.
 */
#include <pthread.h>

#include "support.h"

/* --- A source that counts, keeps books and can be told to fail. --- */

struct source {
    size_t calls;
    size_t fail_from, fail_to; /* calls numbered so fail */
    size_t fail_above;         /* and those for more than this, if not 0 */
    size_t last_size;
    size_t outstanding;
    size_t returns;
    uintptr_t next;
    uintptr_t unaligned; /* added to what is returned */
};
static struct source source;
static vmem_t *source_arena; /* what afunc must be called with */
static vmem_t *held_arena;   /* whose lock must not be held */

static void *
source_alloc(vmem_t *vmp, size_t size, int vmflag)
{
    (void)vmflag;
    assert_ptr_equal(vmp, source_arena);
    if (held_arena != NULL)
        assert_false(umem_lock_is_held(&held_arena->vm_lock));
    size_t call = source.calls++;
    if ((call >= source.fail_from && call < source.fail_to) ||
        (source.fail_above != 0 && size > source.fail_above))
        return NULL;
    source.last_size = size;
    source.outstanding += size;
    source.next += size + 0x100000; /* spans that do not touch */
    return PTR(source.next - size + source.unaligned);
}

static void
source_free(vmem_t *vmp, void *addr, size_t size)
{
    assert_ptr_equal(vmp, source_arena);
    assert_non_null(addr);
    if (held_arena != NULL)
        assert_false(umem_lock_is_held(&held_arena->vm_lock));
    assert_true(source.outstanding >= size);
    source.outstanding -= size;
    source.returns++;
}

static int
reset_source(void **state)
{
    (void)state;
    memset(&source, 0, sizeof(source));
    source.next = 0x10000000;
    source_arena = NULL;
    held_arena = NULL;
    return 0;
}

static vmem_t *
importer(size_t quantum, int vmflag)
{
    vmem_t *vmp =
        vmem_new("importer", NULL, 0, quantum, source_alloc, source_free, NULL, 0, vmflag);

    assert_non_null(vmp);
    held_arena = vmp;
    return vmp;
}

/* --- Plain allocation --- */

static void
test_alloc_free(void **state)
{
    vmem_t *vmp = numbers(100, 50, 1, 0);
    bool seen[50] = {false};

    (void)state;
    for (int i = 0; i < 50; i++) {
        uintptr_t n = NUM(vmem_alloc(vmp, 1, VM_SLEEP));
        assert_in_range(n, 100, 149);
        assert_false(seen[n - 100]);
        seen[n - 100] = true;
    }
    assert_true(vmem_verify(vmp));
    errno = 0;
    assert_null(vmem_alloc(vmp, 1, VM_SLEEP)); /* VM_SLEEP does not wait */
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(vmp->vm_stats.vms_fails, 1);
    for (uintptr_t n = 100; n < 150; n += 2)
        vmem_free(vmp, PTR(n), 1);
    assert_null(vmem_alloc(vmp, 2, VM_NOSLEEP));
    for (uintptr_t n = 101; n < 150; n += 2)
        vmem_free(vmp, PTR(n), 1);
    assert_true(vmem_verify(vmp));
    /* All merged again. */
    assert_int_equal(NUM(vmem_alloc(vmp, 50, VM_SLEEP)), 100);
    vmem_free(vmp, PTR(100), 50);
    vmem_destroy(vmp);
}

static void
test_sizes_are_rounded(void **state)
{
    vmem_t *vmp = numbers(0x10000, 0x10000, 0x1000, 0);

    (void)state;
    void *a = vmem_alloc(vmp, 1, 0);
    assert_non_null(a);
    assert_int_equal(vmem_size(vmp, VMEM_ALLOC), 0x1000);
    assert_int_equal(vmem_size(vmp, VMEM_FREE), 0xf000);
    assert_int_equal(vmem_size(vmp, VMEM_ALLOC | VMEM_FREE), 0x10000);
    vmem_free(vmp, a, 0x1000); /* rounds to the same */
    errno = 0;
    assert_null(vmem_alloc(vmp, 0, 0));
    assert_int_equal(errno, EINVAL);
    errno = 0;
    assert_null(vmem_alloc(vmp, SIZE_MAX, 0));
    assert_int_equal(errno, ENOMEM);
    assert_null(vmem_alloc(vmp, SIZE_MAX - 0x1000, 0));
    vmem_destroy(vmp);
}

/* --- Imports --- */

static void
test_import_and_return(void **state)
{
    vmem_t *vmp = importer(0x1000, 0);

    (void)state;
    assert_int_equal(source.calls, 0);
    void *a = vmem_alloc(vmp, 0x3000, 0);
    assert_non_null(a);
    assert_int_equal(source.outstanding, 0x3000); /* no more than needed */
    void *b = vmem_alloc(vmp, 0x1000, 0);
    assert_int_equal(source.calls, 2);
    assert_int_equal(vmp->vm_stats.vms_import, 0x4000);
    assert_true(vmem_verify(vmp));
    vmem_free(vmp, a, 0x3000);
    assert_int_equal(source.outstanding, 0x1000);
    assert_int_equal(vmem_contains(vmp, a, 1), 0);
    vmem_free(vmp, b, 0x1000);
    assert_int_equal(source.outstanding, 0);
    assert_int_equal(vmp->vm_stats.vms_total, 0);
    assert_true(vmem_verify(vmp));
    vmem_destroy(vmp);
}

static void
test_import_min(void **state)
{
    vmem_t *vmp = importer(0x1000, 0);
    void *a[16];

    (void)state;
    vmp->vm_import_min = 0x8000;
    for (int i = 0; i < 16; i++)
        assert_non_null(a[i] = vmem_alloc(vmp, 0x1000, 0));
    assert_int_equal(source.calls, 2);
    assert_int_equal(source.last_size, 0x8000);
    /* A span goes back when its last segment does, no earlier. */
    for (int i = 0; i < 16; i++) {
        assert_int_equal(source.returns, (size_t)i / 8);
        vmem_free(vmp, a[i], 0x1000);
    }
    assert_int_equal(source.outstanding, 0);
    /* More than the source likes: just what is needed. */
    source.fail_above = 0x2000;
    void *b = vmem_alloc(vmp, 0x2000, 0);
    assert_non_null(b);
    assert_int_equal(source.last_size, 0x2000);
    errno = 0;
    assert_null(vmem_alloc(vmp, 0x3000, 0));
    assert_int_equal(errno, ENOMEM);
    vmem_free(vmp, b, 0x2000);
    assert_int_equal(source.outstanding, 0);
    vmem_destroy(vmp);
}

static void
test_import_aligned(void **state)
{
    vmem_t *vmp = importer(0x1000, 0);

    (void)state;
    source.next = 0x10001000;
    for (size_t align = 0x1000; align <= 0x100000; align *= 2) {
        void *a = vmem_xalloc(vmp, 0x2000, align, 0, 0, NULL, NULL, 0);
        assert_non_null(a);
        assert_int_equal(NUM(a) & (align - 1), 0);
        void *b = vmem_xalloc(vmp, 0x2000, align, align - 0x1000, 0, NULL, NULL, 0);
        assert_non_null(b);
        assert_int_equal(NUM(b) & (align - 1), align - 0x1000);
        assert_true(vmem_verify(vmp));
        vmem_xfree(vmp, a, 0x2000);
        vmem_xfree(vmp, b, 0x2000);
        assert_int_equal(source.outstanding, 0);
    }
    /* A place is asked for: no import can be sure to meet that. */
    size_t calls = source.calls;
    assert_null(vmem_xalloc(vmp, 0x1000, 0, 0, 0, PTR(0x1000), PTR(0x9000), 0));
    assert_int_equal(errno, ENOMEM);
    assert_null(vmem_xalloc(vmp, 0x1000, 0, 0, 0x1000, NULL, NULL, 0));
    assert_int_equal(source.calls, calls);
    vmem_destroy(vmp);
}

/* Where many segments that are too small lie before it, an import is found all the same. */
static void
test_import_beside_fragments(void **state)
{
    vmem_t *vmp = importer(0x1000, 0);
    enum { PIECES = 200 };
    uintptr_t base = 0x4000000;

    (void)state;
    assert_non_null(vmem_add(vmp, PTR(base), PIECES * 0x4000, 0));
    for (uintptr_t i = 0; i < PIECES; i++)
        assert_non_null(vmem_xalloc(vmp, 0x1000, 0, 0, 0, PTR(base + i * 0x4000 + 0x3000),
                                    PTR(base + i * 0x4000 + 0x4000), 0));
    /* 200 holes of 3 quanta, not one of which holds 2 at a multiple of 16 quanta plus 2. */
    void *a = vmem_xalloc(vmp, 0x2000, 0x10000, 0x2000, 0, NULL, NULL, 0);
    assert_non_null(a);
    assert_int_equal(source.calls, 1);
    assert_true(NUM(a) >= 0x10000000);
    vmem_xfree(vmp, a, 0x2000);
    assert_int_equal(source.outstanding, 0);
    /* Without the source, the one hole that would do is found, however many others there are. */
    source.fail_to = SIZE_MAX;
    vmem_xfree(vmp, PTR(base + 0x3000), 0x1000);
    assert_null(vmem_alloc(vmp, 0x8000, 0));
    a = vmem_alloc(vmp, 0x7000, 0);
    assert_int_equal(NUM(a), base);
    vmem_xfree(vmp, a, 0x7000);
    assert_true(vmem_verify(vmp));
    for (uintptr_t i = 1; i < PIECES; i++)
        vmem_xfree(vmp, PTR(base + i * 0x4000 + 0x3000), 0x1000);
    vmem_destroy(vmp);
}

/* The source fails at the nth call, for rising n: nothing is lost, the arena stays whole. */
static void
test_import_failures(void **state)
{
    (void)state;
    for (size_t nth = 0; nth < 6; nth++) {
        reset_source(NULL);
        vmem_t *vmp = importer(0x1000, 0);
        void *a[4];
        source.fail_from = nth;
        source.fail_to = nth + 1;
        size_t failed = 0;
        for (int i = 0; i < 4; i++) {
            a[i] = vmem_alloc(vmp, 0x5000, 0);
            failed += a[i] == NULL;
            assert_true(vmem_verify(vmp));
        }
        assert_int_equal(failed, nth < 4);
        assert_int_equal(vmp->vm_stats.vms_fails, failed);
        for (int i = 0; i < 4; i++)
            if (a[i] != NULL)
                vmem_free(vmp, a[i], 0x5000);
        assert_int_equal(source.outstanding, 0);
        vmem_destroy(vmp);
    }
}

/* An arena over an arena: spans pass up and down. */
static void
test_nested(void **state)
{
    vmem_t *low = numbers(0x100000, 0x100000, 0x1000, 0);
    vmem_t *high = vmem_new("high", NULL, 0, 0x10, vmem_alloc, vmem_free, low, 0, 0);

    (void)state;
    assert_non_null(high);
    void *a = vmem_alloc(high, 0x20, 0);
    assert_non_null(a);
    /* A quantum of the source, all of which is here now. */
    assert_int_equal(vmem_size(low, VMEM_ALLOC), 0x1000);
    assert_int_equal(vmem_size(high, VMEM_FREE), 0xfe0);
    vmem_free(high, a, 0x20);
    assert_int_equal(vmem_size(low, VMEM_ALLOC), 0);
    assert_null(vmem_alloc(high, 0x200000, 0));
    vmem_destroy(high);
    vmem_destroy(low);
}

/* While the source is being asked, another thread frees what was missing. */
static vmem_t *racing_arena;
static void *racing_addr;
static void *
racing_alloc(vmem_t *vmp, size_t size, int vmflag)
{
    vmem_free(racing_arena, racing_addr, 0x1000);
    return source_alloc(vmp, size, vmflag);
}

static void
test_look_again(void **state)
{
    (void)state;
    racing_arena =
        vmem_new("racing", PTR(0x1000), 0x1000, 0x1000, racing_alloc, source_free, NULL, 0, 0);
    assert_non_null(racing_arena);
    racing_addr = vmem_alloc(racing_arena, 0x1000, 0);
    void *a = vmem_alloc(racing_arena, 0x1000, 0);
    assert_ptr_equal(a, racing_addr);
    assert_int_equal(source.calls, 1);
    assert_int_equal(source.outstanding, 0); /* went back unused */
    assert_true(vmem_verify(racing_arena));
    vmem_free(racing_arena, a, 0x1000);
    vmem_destroy(racing_arena);
}

/* --- Resizing --- */

static void
test_resize(void **state)
{
    vmem_t *vmp = numbers(0x1000, 0x10000, 0x1000, VM_FIRSTFIT);

    (void)state;
    void *a = vmem_alloc(vmp, 0x2000, 0);
    void *b = vmem_alloc(vmp, 0x2000, 0);
    assert_int_equal(NUM(a), 0x1000);
    assert_int_equal(NUM(b), 0x3000);
    assert_false(vmem_resize(vmp, a, 0x2000, 0x3000)); /* b is there */
    assert_true(vmem_resize(vmp, a, 0x2000, 0x1fff));  /* rounds to the same */
    assert_true(vmem_resize(vmp, a, 0x2000, 0x1000));
    assert_true(vmem_verify(vmp));
    assert_int_equal(vmem_size(vmp, VMEM_ALLOC), 0x3000);
    assert_true(vmem_resize(vmp, a, 0x1000, 0x2000)); /* the hole, all of it */
    assert_true(vmem_verify(vmp));
    assert_true(vmem_resize(vmp, b, 0x2000, 0x4000)); /* part of what is free */
    assert_true(vmem_verify(vmp));
    assert_true(vmem_resize(vmp, b, 0x4000, 0x3000)); /* merges with what is free */
    assert_true(vmem_verify(vmp));
    assert_false(vmem_resize(vmp, b, 0x3000, 0x100000));
    assert_false(vmem_resize(vmp, b, 0x3000, 0));
    assert_false(vmem_resize(vmp, b, 0x3000, SIZE_MAX));
    assert_int_equal(vmem_size(vmp, VMEM_ALLOC), 0x5000);
    assert_true(vmem_resize(vmp, b, 0x3000, 0xe000)); /* to the end of the span */
    assert_int_equal(vmem_size(vmp, VMEM_FREE), 0);
    vmem_free(vmp, b, 0xe000);
    vmem_free(vmp, a, 0x2000);
    assert_true(vmem_verify(vmp));
    vmem_destroy(vmp);
}

/* Growing over the place where the next fit would have gone on. */
static void
test_resize_over_rotor(void **state)
{
    vmem_t *vmp = numbers(1, 100, 1, VM_NEXTFIT);

    (void)state;
    assert_int_equal(NUM(vmem_alloc(vmp, 10, 0)), 1);
    assert_int_equal(NUM(vmem_alloc(vmp, 10, 0)), 11);
    vmem_free(vmp, PTR(11), 10);
    assert_true(vmem_resize(vmp, PTR(1), 10, 30));
    assert_true(vmem_verify(vmp));
    assert_int_equal(NUM(vmem_alloc(vmp, 1, 0)), 31);
    vmem_free(vmp, PTR(31), 1);
    vmem_free(vmp, PTR(1), 30);
    vmem_destroy(vmp);
}

/* --- Quantum caches --- */

static struct {
    int created, destroyed, reaped;
    size_t allocs[VMEM_QCACHES + 1], frees[VMEM_QCACHES + 1];
    int fail_at; /* creation that fails; 0: none */
} qcaches;
static char qcache_names[VMEM_QCACHES][VMEM_NAME_SIZE];
struct fake_qcache {
    size_t n;
    vmem_t *arena;
    size_t size;
};
static struct fake_qcache fake_qcaches[VMEM_QCACHES];

static void *
fake_create(const char *name, size_t size, size_t quantum, struct vmem *vmp)
{
    int n = qcaches.created + 1;

    if (n == qcaches.fail_at) {
        errno = ENOMEM; /* as the real one does */
        return NULL;
    }
    strcpy(qcache_names[qcaches.created], name);
    assert_int_equal(size, quantum * (size_t)n);
    fake_qcaches[qcaches.created] = (struct fake_qcache){(size_t)n, vmp, size};
    return &fake_qcaches[qcaches.created++];
}

static void
fake_destroy(void *qcache)
{
    (void)qcache;
    qcaches.destroyed++;
}

static void *
fake_alloc(void *qcache, int vmflag)
{
    struct fake_qcache *q = qcache;

    qcaches.allocs[q->n]++;
    return vmem_xalloc(q->arena, q->size, 0, 0, 0, NULL, NULL, vmflag);
}

static void
fake_free(void *qcache, void *addr)
{
    struct fake_qcache *q = qcache;

    qcaches.frees[q->n]++;
    vmem_xfree(q->arena, addr, q->size);
}

static void
fake_reap(void *qcache)
{
    (void)qcache;
    qcaches.reaped++;
}

static const struct vmem_qcache_ops fake_ops = {fake_create, fake_destroy, fake_alloc, fake_free,
                                                fake_reap};

static void
test_qcaches(void **state)
{
    (void)state;
    vmem_t *before = vmem_new("before", PTR(0x1000), 0x10000, 0x10, NULL, NULL, NULL, 0x40, 0);
    memset(&qcaches, 0, sizeof(qcaches));
    vmem_set_qcache_ops(&fake_ops);
    vmem_t *vmp = vmem_new("q", PTR(0x1000), 0x10000, 0x10, NULL, NULL, NULL, 0x45, 0);
    assert_non_null(vmp);
    assert_int_equal(qcaches.created, 4);
    assert_string_equal(qcache_names[3], "q_64");
    void *a = vmem_alloc(vmp, 1, 0), *b = vmem_alloc(vmp, 0x10, 0), *c = vmem_alloc(vmp, 0x11, 0);
    void *d = vmem_alloc(vmp, 0x40, 0), *e = vmem_alloc(vmp, 0x41, 0);
    void *f = vmem_xalloc(vmp, 0x10, 0, 0, 0, NULL, NULL, 0);
    assert_int_equal(qcaches.allocs[1], 2);
    assert_int_equal(qcaches.allocs[2], 1);
    assert_int_equal(qcaches.allocs[4], 1);
    assert_false(vmem_resize(vmp, f, 0x10, 0x50)); /* would be freed to a cache, or come from one */
    assert_false(vmem_resize(vmp, e, 0x41, 0x10));
    assert_true(vmem_resize(vmp, e, 0x41, 0x4f)); /* beyond the caches: may be */
    vmem_free(vmp, a, 1);
    vmem_free(vmp, b, 0x10);
    vmem_free(vmp, c, 0x11);
    vmem_free(vmp, d, 0x40);
    vmem_xfree(vmp, f, 0x10);
    assert_int_equal(qcaches.frees[1], 2);
    assert_int_equal(qcaches.frees[2], 1);
    assert_int_equal(qcaches.frees[4], 1);
    vmem_reap(vmp);
    assert_int_equal(qcaches.reaped, 4);
    /* Arenas made before the caches were there do without. */
    void *g = vmem_alloc(before, 0x10, 0);
    vmem_free(before, g, 0x10);
    assert_int_equal(qcaches.allocs[1], 2);
    vmem_free(vmp, e, vmem_size(vmp, VMEM_ALLOC));
    vmem_destroy(before);
    assert_int_equal(qcaches.destroyed, 0);
    vmem_destroy(vmp);
    assert_int_equal(qcaches.destroyed, 4);
    vmem_set_qcache_ops(NULL);
}

static void
test_qcache_limits(void **state)
{
    (void)state;
    memset(&qcaches, 0, sizeof(qcaches));
    vmem_set_qcache_ops(&fake_ops);
    vmem_t *vmp = vmem_new("q", PTR(0x1000), 0x10000, 1, NULL, NULL, NULL, 100, 0);
    assert_non_null(vmp);
    assert_int_equal(qcaches.created, 16);
    assert_int_equal(vmp->vm_qcache_max, 16);
    void *a = vmem_alloc(vmp, 17, 0);
    assert_int_equal(qcaches.allocs[16], 0);
    vmem_free(vmp, a, 17);
    vmem_destroy(vmp);
    assert_int_equal(qcaches.destroyed, 16);
    /* One cannot be made: no arena, and those that were made are gone. */
    memset(&qcaches, 0, sizeof(qcaches));
    qcaches.fail_at = 3;
    errno = 0;
    assert_null(vmem_new("q", PTR(0x1000), 0x10000, 1, NULL, NULL, NULL, 8, 0));
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(qcaches.created, 2);
    assert_int_equal(qcaches.destroyed, 2);
    vmem_set_qcache_ops(NULL);
}

/* --- Threads --- */

enum { THREADS = 4, ROUNDS = 20000, HELD = 64, UNITS = 4096 };
static vmem_t *shared_arena;
static _Atomic unsigned char owner[UNITS]; /* who has each number */

static void *
hammer(void *arg)
{
    unsigned char self = (unsigned char)(uintptr_t)arg;
    uint64_t rng = 0x9e3779b97f4a7c15u * self;
    uintptr_t held[HELD] = {0};
    size_t sizes[HELD] = {0};
    size_t errors = 0;

    for (int round = 0; round < ROUNDS; round++) {
        size_t slot = random_next(&rng) % HELD;
        if (held[slot] != 0) {
            for (size_t i = 0; i < sizes[slot]; i++)
                errors += atomic_exchange(&owner[held[slot] % UNITS + i], 0) != self;
            vmem_free(shared_arena, PTR(held[slot]), sizes[slot]);
            held[slot] = 0;
            continue;
        }
        sizes[slot] = 1 + random_next(&rng) % 16;
        held[slot] = NUM(vmem_alloc(shared_arena, sizes[slot], 0));
        for (size_t i = 0; held[slot] != 0 && i < sizes[slot]; i++)
            errors += atomic_exchange(&owner[held[slot] % UNITS + i], self) != 0;
    }
    for (size_t slot = 0; slot < HELD; slot++)
        if (held[slot] != 0) {
            for (size_t i = 0; i < sizes[slot]; i++)
                atomic_store(&owner[held[slot] % UNITS + i], 0);
            vmem_free(shared_arena, PTR(held[slot]), sizes[slot]);
        }
    return (void *)errors;
}

static void
run_hammer(vmem_t *vmp)
{
    pthread_t threads[THREADS];

    shared_arena = vmp;
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, PTR(i + 1)), 0);
    for (int i = 0; i < THREADS; i++) {
        void *errors;
        pthread_join(threads[i], &errors);
        assert_int_equal(NUM(errors), 0);
    }
    assert_true(vmem_verify(vmp));
    assert_int_equal(vmem_size(vmp, VMEM_ALLOC), 0);
    assert_int_equal(vmp->vm_stats.vms_allocs, vmp->vm_stats.vms_frees);
}

/* Numbers 4096 to 8191 of an arena, so that n % UNITS is different for each. */
static void
test_threads(void **state)
{
    static const int policies[] = {0, VM_BESTFIT, VM_FIRSTFIT, VM_NEXTFIT};

    (void)state;
    for (size_t i = 0; i < UMEM_ARRAY_SIZE(policies); i++) {
        vmem_t *vmp = numbers(UNITS, UNITS, 1, policies[i]);
        run_hammer(vmp);
        vmem_destroy(vmp);
    }
}

/* The same with spans that come and go between two arenas all the time. */
static void
test_threads_importing(void **state)
{
    vmem_t *low = numbers(UNITS, UNITS, 32, 0);
    vmem_t *high = vmem_new("high", NULL, 0, 1, vmem_alloc, vmem_free, low, 0, 0);

    (void)state;
    run_hammer(high);
    assert_true(high->vm_stats.vms_total <= UNITS);
    vmem_destroy(high);
    assert_true(vmem_verify(low));
    assert_int_equal(vmem_size(low, VMEM_ALLOC), 0);
    vmem_destroy(low);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc_free),
        cmocka_unit_test(test_sizes_are_rounded),
        cmocka_unit_test_setup(test_import_and_return, reset_source),
        cmocka_unit_test_setup(test_import_min, reset_source),
        cmocka_unit_test_setup(test_import_aligned, reset_source),
        cmocka_unit_test_setup(test_import_beside_fragments, reset_source),
        cmocka_unit_test_setup(test_import_failures, reset_source),
        cmocka_unit_test(test_nested),
        cmocka_unit_test_setup(test_look_again, reset_source),
        cmocka_unit_test(test_resize),
        cmocka_unit_test(test_resize_over_rotor),
        cmocka_unit_test(test_qcaches),
        cmocka_unit_test(test_qcache_limits),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_threads_importing),
    };
    return cmocka_run_group_tests_name("vmem/vmem", tests, NULL, NULL);
}
