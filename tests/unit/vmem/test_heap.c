/* SPDX-License-Identifier: MIT */
/*
 * test_heap.c - the heap arena: real memory, mapped in modest spans and given
 * back.
 */
#include <pthread.h>
#include <sys/mman.h>

#include "os/os.h"
#include "support.h"
#include "vmem/private.h"

#define MIB ((size_t)1 << 20)

/* Bytes of mappings labelled umem_heap. */
static size_t
named_bytes(void)
{
    char line[512];
    size_t bytes = 0;
    FILE *maps = fopen("/proc/self/maps", "r");

    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        unsigned long start, end;
        if (strstr(line, "[anon:umem_heap]") != NULL && sscanf(line, "%lx-%lx", &start, &end) == 2)
            bytes += end - start;
    }
    fclose(maps);
    return bytes;
}

/* Whether this kernel can label mappings at all. */
static bool
has_names(void)
{
    void *page = os_map(os_page_size(), os_page_size());
    os_name(page, os_page_size(), "umem_heap");
    bool named = named_bytes() != 0;
    os_unmap(page, os_page_size());
    return named;
}

static void
test_first_use(void **state)
{
    bool names = has_names();
    vmem_t *heap = the_heap();

    (void)state;
    vmem_init(); /* once more does no harm */
    assert_int_equal(vmem_size(heap, VMEM_ALLOC | VMEM_FREE), 0);
    assert_int_equal(named_bytes(), 0);

    char *a = vmem_alloc(heap, VMEM_HEAP_QUANTUM, 0);
    assert_non_null(a);
    assert_int_equal(NUM(a) & (VMEM_HEAP_QUANTUM - 1), 0);
    assert_int_equal(vmem_size(heap, VMEM_ALLOC | VMEM_FREE), VMEM_HEAP_IMPORT_MIN);
    if (names)
        assert_int_equal(named_bytes(), VMEM_HEAP_IMPORT_MIN);
    for (size_t i = 0; i < VMEM_HEAP_QUANTUM; i++)
        assert_int_equal(a[i], 0);
    memset(a, 1, VMEM_HEAP_QUANTUM);
    vmem_free(heap, a, VMEM_HEAP_QUANTUM);
    assert_true(vmem_verify(heap));
}

/* One clean span stays, so that a loop of alloc and free makes no system calls; the others go. */
static void
test_one_span_is_kept(void **state)
{
    vmem_t *heap = the_heap();
    void *held[100];

    (void)state;
    vmem_reap(heap);
    assert_int_equal(vmem_size(heap, VMEM_ALLOC | VMEM_FREE), 0);
    void *first = vmem_alloc(heap, VMEM_HEAP_QUANTUM, 0);
    for (int i = 0; i < 100; i++) {
        vmem_free(heap, first, VMEM_HEAP_QUANTUM);
        assert_int_equal(vmem_size(heap, VMEM_FREE), VMEM_HEAP_IMPORT_MIN);
        assert_ptr_equal(vmem_alloc(heap, VMEM_HEAP_QUANTUM, 0), first);
        assert_true(vmem_verify(heap));
    }
    vmem_free(heap, first, VMEM_HEAP_QUANTUM);
    for (int i = 0; i < 100; i++)
        assert_non_null(held[i] = vmem_alloc(heap, VMEM_HEAP_QUANTUM, 0));
    size_t used = 100 * VMEM_HEAP_QUANTUM, mapped = vmem_size(heap, VMEM_ALLOC | VMEM_FREE);
    assert_true(mapped >= used && mapped <= used + used / VMEM_HEAP_IMPORT_FRACTION);
    for (int i = 0; i < 100; i++)
        vmem_free(heap, held[i], VMEM_HEAP_QUANTUM);
    /* Dirty ones stay up to the bound of decay.c. */
    assert_true(vmem_size(heap, VMEM_ALLOC | VMEM_FREE) <= 3 * VMEM_HEAP_IMPORT_MIN);
    vmem_reap(heap);
    assert_int_equal(vmem_size(heap, VMEM_ALLOC | VMEM_FREE), 0);
    /* Larger than that is mapped as such. */
    char *large = vmem_alloc(heap, 5 * VMEM_HEAP_IMPORT_MIN + 1, 0);
    assert_non_null(large);
    large[5 * VMEM_HEAP_IMPORT_MIN] = 1;
    assert_int_equal(vmem_size(heap, VMEM_ALLOC), 5 * VMEM_HEAP_IMPORT_MIN + VMEM_HEAP_QUANTUM);
    assert_int_equal(vmem_size(heap, VMEM_FREE), 0);
    vmem_free(heap, large, 5 * VMEM_HEAP_IMPORT_MIN + 1);
    vmem_reap(heap);
    unsigned char present;
    assert_int_equal(mincore(large, os_page_size(), &present), -1);
    assert_int_equal(errno, ENOMEM); /* not mapped any more */
    vmem_reap(heap);
    assert_int_equal(vmem_size(heap, VMEM_ALLOC | VMEM_FREE), 0);
    assert_int_equal(named_bytes(), 0);
    assert_true(vmem_verify(heap));
}

static void
test_aligned(void **state)
{
    vmem_t *heap = the_heap();

    (void)state;
    for (size_t align = VMEM_HEAP_QUANTUM; align <= 64 * VMEM_HEAP_IMPORT_MIN; align *= 2) {
        char *a = vmem_xalloc(heap, 3 * VMEM_HEAP_QUANTUM, align, 0, 0, NULL, NULL, 0);
        assert_non_null(a);
        assert_int_equal(NUM(a) & (align - 1), 0);
        memset(a, 1, 3 * VMEM_HEAP_QUANTUM);
        assert_true(vmem_verify(heap));
        vmem_xfree(heap, a, 3 * VMEM_HEAP_QUANTUM);
    }
    errno = 0;
    assert_null(vmem_alloc(heap, SIZE_MAX / 2, 0));
    assert_int_equal(errno, ENOMEM);
    vmem_reap(heap);
}

/* Too little room for a modest span: just what is asked for, and NULL when that is too much. */
static void
with_little_memory(void)
{
    vmem_t *heap = the_heap();
    unsigned long pages = 0;
    void *held[64];
    size_t n = 0;

    vmem_free(heap, vmem_alloc(heap, VMEM_HEAP_QUANTUM, 0), VMEM_HEAP_QUANTUM);
    vmem_reap(heap);
    FILE *statm = fopen("/proc/self/statm", "r");
    if (statm == NULL || fscanf(statm, "%lu", &pages) != 1)
        _exit(2);
    fclose(statm);
    /* 700 kB: not enough for 1 MiB, enough for some granules and what aligning them takes. */
    rlim_t limit = pages * (rlim_t)os_page_size() + 700000;
    setrlimit(RLIMIT_AS, &(struct rlimit){limit, limit});
    errno = 0;
    while (n < 64 && (held[n] = vmem_alloc(heap, VMEM_HEAP_QUANTUM, 0)) != NULL)
        n++;
    if (n < 5 || n > 10 || errno != ENOMEM)
        _exit(3);
    if (vmem_size(heap, VMEM_ALLOC | VMEM_FREE) != n * VMEM_HEAP_QUANTUM || !vmem_verify(heap))
        _exit(4);
    while (n > 0)
        vmem_free(heap, held[--n], VMEM_HEAP_QUANTUM);
    vmem_reap(heap);
    _exit(vmem_size(heap, VMEM_ALLOC | VMEM_FREE) == 0 ? 42 : 5);
}

static void
test_little_memory(void **state)
{
    char text[256];

    (void)state;
    if (UNDER_SANITIZER)
        skip();
    int status = run_in_child(with_little_memory, text, sizeof(text));
    assert_string_equal(text, "");
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

/* Under mlockall(MCL_FUTURE) with a limit of 8 MiB more, 6 MiB of granules can be had. */
static void
with_locked_memory(void)
{
    if (geteuid() == 0 && setuid(65534) != 0)
        _exit(77); /* root has no limit */
    struct rlimit limit;
    getrlimit(RLIMIT_MEMLOCK, &limit);
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < ((rlim_t)8 << 20))
        _exit(77);
    limit.rlim_cur = (rlim_t)8 << 20;
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || mlockall(MCL_FUTURE) != 0)
        _exit(77);
    vmem_t *heap = the_heap();
    for (size_t i = 0; i < (6 << 20) / VMEM_HEAP_QUANTUM; i++) {
        char *a = vmem_alloc(heap, VMEM_HEAP_QUANTUM, 0);
        if (a == NULL)
            _exit(3);
        unsigned char present = 0;
        if (mincore(a, os_page_size(), &present) != 0 || (present & 1) == 0)
            _exit(4); /* locked means resident before first use */
    }
    size_t n = 0;
    while (vmem_alloc(heap, VMEM_HEAP_QUANTUM, 0) != NULL)
        if (++n > (4 << 20) / VMEM_HEAP_QUANTUM)
            _exit(5);                                     /* the limit does not hold */
    _exit(errno == EAGAIN && vmem_verify(heap) ? 42 : 6); /* the limit is named */
}

static void
test_locked_memory(void **state)
{
    char text[256];

    (void)state;
    if (UNDER_SANITIZER)
        skip();
    int status = run_in_child(with_locked_memory, text, sizeof(text));
    assert_string_equal(text, "");
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 42);
}

/* The first callers of the layer come at the same time. */
static pthread_barrier_t at_once;

static void *
make_arena(void *arg)
{
    (void)arg;
    pthread_barrier_wait(&at_once);
    vmem_t *vmp = vmem_new("first", PTR(1), 10, 1, NULL, NULL, NULL, 0, 0);
    assert_non_null(vmp);
    vmem_free(the_heap(), vmem_alloc(&vmem_heap, VMEM_HEAP_QUANTUM, 0), VMEM_HEAP_QUANTUM);
    vmem_destroy(vmp);
    return NULL;
}

static void
race_for_init(void)
{
    pthread_t threads[4];
    size_t heaps = 0;

    pthread_barrier_init(&at_once, NULL, 4);
    for (int i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, make_arena, NULL) != 0)
            _exit(2);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    UMEM_LIST_FOR (link, &vmem_arenas) {
        heaps += link == &vmem_heap.vm_link;
    }
    _exit(heaps == 1 && vmem_verify(&vmem_heap) ? 42 : 3);
}

static void
test_init_race(void **state)
{
    char text[256];

    (void)state;
    assert_true(umem_list_empty(&vmem_arenas)); /* first of the tests: nothing is set up yet */
    for (int i = 0; i < 50; i++) {
        int status = run_in_child(race_for_init, text, sizeof(text));
        assert_string_equal(text, "");
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 42);
    }
}

/* The pages of a free segment go, its neighbours' stay. */
static void
test_purge(void **state)
{
    vmem_t *heap = the_heap();
    char *p[3];
    unsigned char resident[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_non_null(p[i] = vmem_alloc(heap, VMEM_HEAP_QUANTUM, VM_FIRSTFIT));
        memset(p[i], i + 1, VMEM_HEAP_QUANTUM);
    }
    vmem_free(heap, p[1], VMEM_HEAP_QUANTUM);
    size_t free_before = vmem_size(heap, VMEM_FREE);
    assert_false(vmem_heap_purge()); /* it was only just freed */
    assert_int_equal(mincore(p[1], os_page_size(), &resident[1]), 0);
    assert_true(resident[1] & 1);
    vmem_decay_all(heap);
    for (int i = 0; i < 3; i++)
        assert_int_equal(mincore(p[i], os_page_size(), &resident[i]), 0);
    assert_true((resident[0] & 1) && (resident[2] & 1));
    assert_false(resident[1] & 1);
    assert_int_equal(p[0][100], 1);
    assert_int_equal(p[2][100], 3);
    assert_int_equal(vmem_size(heap, VMEM_FREE), free_before);
    assert_true(vmem_verify(heap));
    vmem_free(heap, p[0], VMEM_HEAP_QUANTUM);
    vmem_free(heap, p[2], VMEM_HEAP_QUANTUM);
}

/* Imports grow with what is in use, and an allocation tells what of it may hold data. */
static void
test_heap_alloc(void **state)
{
    vmem_t *heap = the_heap();
    size_t size = 100 * VMEM_HEAP_IMPORT_MIN;
    struct vmem_dirt dirt = {1, 2};

    (void)state;
    vmem_reap(heap);
    char *a = vmem_heap_alloc(size, 0, 0, &dirt);
    assert_non_null(a);
    assert_int_equal(dirt.dirt_end, 0);
    char *b = vmem_heap_alloc(VMEM_HEAP_IMPORT_MIN, 2 * VMEM_HEAP_IMPORT_MIN, 0, &dirt);
    assert_non_null(b);
    assert_int_equal(NUM(b) % (2 * VMEM_HEAP_IMPORT_MIN), 0);
    assert_int_equal(dirt.dirt_end, 0);
    assert_true(vmem_size(heap, VMEM_FREE) >= size / VMEM_HEAP_IMPORT_FRACTION / 2);
    vmem_xfree(heap, b, VMEM_HEAP_IMPORT_MIN);
    vmem_decay_all(heap);
    b = vmem_heap_alloc(VMEM_HEAP_IMPORT_MIN, 0, 0, &dirt);
    assert_int_equal(dirt.dirt_end, 0);
    vmem_xfree(heap, b, VMEM_HEAP_IMPORT_MIN);
    assert_ptr_equal(vmem_heap_alloc(2 * VMEM_HEAP_IMPORT_MIN, 0, 0, &dirt), b);
    assert_int_equal(dirt.dirt_start, NUM(b));
    assert_int_equal(dirt.dirt_end, NUM(b) + VMEM_HEAP_IMPORT_MIN);
    vmem_xfree(heap, b, 2 * VMEM_HEAP_IMPORT_MIN);
    vmem_xfree(heap, a, size);
    errno = 0;
    assert_null(vmem_heap_alloc(size, 3, 0, &dirt));
    assert_int_equal(errno, EINVAL);
    assert_true(vmem_verify(heap));
    vmem_reap(heap);
}

/* A block moves with its pages, out of the middle of a span, and from a span of its own. */
static void
test_move(void **state)
{
    vmem_t *heap = the_heap();
    struct vmem_dirt dirt;
    size_t size = 4 * VMEM_HEAP_IMPORT_MIN;
    size_t used = vmem_size(heap, VMEM_ALLOC);

    (void)state;
    char *whole = vmem_heap_alloc(3 * size, 0, 0, &dirt);
    assert_true(vmem_resize(heap, whole, 3 * size, size));
    char *p = vmem_heap_alloc(size, 0, 0, &dirt), *end = vmem_heap_alloc(size, 0, 0, &dirt);
    memset(p, 5, size);
    for (int i = 0; i < 3; i++) {
        char *to = vmem_heap_reserve(size + VMEM_HEAP_QUANTUM);
        assert_non_null(to);
        assert_true(vmem_heap_move(p, size, to, size + VMEM_HEAP_QUANTUM));
        assert_true(vmem_verify(heap));
        p = to;
        size += VMEM_HEAP_QUANTUM;
        assert_int_equal(p[0], 5);
        assert_int_equal(p[4 * VMEM_HEAP_IMPORT_MIN - 1], 5);
        assert_int_equal(p[size - 1], 0);
        p[size - 1] = 1;
    }
    size = 4 * VMEM_HEAP_IMPORT_MIN;
    vmem_xfree(heap, p, size + 3 * VMEM_HEAP_QUANTUM);
    vmem_xfree(heap, whole, size);
    vmem_xfree(heap, end, size);
    vmem_reap(heap);
    assert_true(vmem_verify(heap));
    assert_int_equal(vmem_size(heap, VMEM_ALLOC), used);
    vmem_heap_unreserve(vmem_heap_reserve(size), size);
}

/* One whose mapping the program has split stays where it is; after some of those all do. */
static void
with_split_mapping(void)
{
    struct vmem_dirt dirt;
    size_t size = VMEM_HEAP_IMPORT_MIN;

    vmem_reap(the_heap());
    char *p = vmem_heap_alloc(size, 0, 0, &dirt);
    memset(p, 5, size);
    os_protect(p + VMEM_HEAP_QUANTUM, VMEM_HEAP_QUANTUM, false);
    for (int i = 0; i < 20; i++)
        if (vmem_heap_move(p, size, vmem_heap_reserve(2 * size), 2 * size) ||
            !vmem_verify(&vmem_heap))
            _exit(2);
    if (p[0] != 5 || p[size - 1] != 5)
        _exit(3);
    os_protect(p + VMEM_HEAP_QUANTUM, VMEM_HEAP_QUANTUM, true);
    if (vmem_heap_move(p, size, vmem_heap_reserve(2 * size), 2 * size))
        _exit(4);
    vmem_xfree(&vmem_heap, p, size);
    _exit(vmem_verify(&vmem_heap) ? 42 : 5);
}

static void
with_limit(void)
{
    struct vmem_dirt dirt;
    size_t size = 10 * VMEM_HEAP_IMPORT_MIN;
    vmem_t *heap = the_heap();

    vmem_reap(heap);
    vmem_heap_set_limit(vmem_size(heap, VMEM_ALLOC) + size);
    char *p = vmem_heap_alloc(size / 2, 0, 0, &dirt);
    char *q = vmem_heap_alloc(size / 2, 0, 0, &dirt);
    if (p == NULL || q == NULL)
        _exit(2);
    if (vmem_heap_alloc(1, 0, 0, &dirt) != NULL || errno != ENOMEM)
        _exit(3);
    if (vmem_heap_move(p, size / 2, vmem_heap_reserve(size), size) ||
        vmem_resize(heap, p, size / 2, size))
        _exit(4);
    heap->vm_decay.decay_max = SIZE_MAX / 2; /* they stay, until they are in the way */
    heap->vm_decay.decay_tick_ms = os_clock_coarse_ms();
    vmem_xfree(heap, p, size / 2);
    vmem_xfree(heap, q, size / 2);
    if (vmem_size(heap, VMEM_FREE) != size)
        _exit(5);
    p = vmem_heap_alloc(size, VMEM_HEAP_IMPORT_MAX, 0, &dirt); /* not where the dirty pages are */
    if (p == NULL || heap->vm_decay.decay_dirty != 0)
        _exit(6);
    vmem_heap_set_limit(0);
    q = vmem_heap_alloc(size, 0, 0, &dirt);
    _exit(q != NULL && vmem_verify(heap) ? 42 : 7);
}

static void
test_in_children(void **state)
{
    static void (*const functions[])(void) = {with_split_mapping, with_limit};
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        int status = run_in_child(functions[i], text, sizeof(text));
        assert_string_equal(text, "");
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 42);
    }
}

/* Where memory is short, the longest part that nobody uses is unmapped, without its neighbours. */
static void
test_release(void **state)
{
    struct vmem_dirt dirt;

    (void)state;
    vmem_reap(the_heap());
    while (vmem_heap_release())
        ;
    char *p = vmem_heap_alloc(32 * MIB, 0, 0, &dirt);
    assert_non_null(p);
    assert_true(vmem_resize(&vmem_heap, p, 32 * MIB, MIB));
    vmem_reap(&vmem_heap); /* its pages were never there, the heap takes them for written */
    size_t total = vmem_size(&vmem_heap, VMEM_ALLOC | VMEM_FREE);
    memset(p, 'x', MIB);
    assert_true(vmem_heap_release());
    assert_true(vmem_size(&vmem_heap, VMEM_ALLOC | VMEM_FREE) <= total - 31 * MIB);
    assert_int_equal(msync(p + MIB, 4096, MS_ASYNC), -1);
    assert_true(p[0] == 'x' && p[MIB - 1] == 'x');
    assert_true(vmem_verify(&vmem_heap));
    assert_false(vmem_heap_release());
    vmem_xfree(&vmem_heap, p, MIB);
    vmem_reap(&vmem_heap);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init_race),
        cmocka_unit_test(test_first_use),
        cmocka_unit_test(test_one_span_is_kept),
        cmocka_unit_test(test_aligned),
        cmocka_unit_test(test_little_memory),
        cmocka_unit_test(test_locked_memory),
        cmocka_unit_test(test_purge),
        cmocka_unit_test(test_heap_alloc),
        cmocka_unit_test(test_move),
        cmocka_unit_test(test_release),
        cmocka_unit_test(test_in_children),
    };
    return cmocka_run_group_tests_name("vmem/heap", tests, NULL, NULL);
}
