/* SPDX-License-Identifier: MIT */
/*
 * Blocks above 4 GB, where a 32-bit count of bytes, pages or quanta would wrap:
 * every function that allocates, written sparsely, so that they cost addresses
 * and some pages only.  And the ends of size_t, where every one has to refuse.
 */
#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <umem.h>

#define GB ((size_t)1 << 30)
#define FOUR_GB (4 * GB)

static const size_t sizes[] = {FOUR_GB, FOUR_GB + 1, FOUR_GB + 12345, 5 * GB - 3};
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

/* Offsets that are written and looked at: both ends, and round where 32 bits end. */
static const size_t places[] = {0,       4097,         GB + 7,          2 * GB - 1,
                                2 * GB,  3 * GB + 5,   FOUR_GB - 4097,  FOUR_GB - 1,
                                FOUR_GB, FOUR_GB + 11, FOUR_GB + 65536, 5 * GB - 4};
enum { PLACES = sizeof(places) / sizeof(places[0]) };

static unsigned char
mark_at(size_t place, unsigned seed)
{
    return (unsigned char)(1 + (place % 251 + seed * 17) % 255); /* never 0 */
}

static void
write_marks(void *block, size_t size, unsigned seed)
{
    unsigned char *p = block;
    for (size_t i = 0; i < PLACES; i++)
        if (places[i] < size)
            p[places[i]] = mark_at(places[i], seed);
    p[size - 1] = mark_at(size - 1, seed);
}

/* What was written while the block had `written` bytes, as far as it reaches now. */
static bool
marks_are_there(const void *block, size_t written, size_t size, unsigned seed)
{
    const unsigned char *p = block;
    for (size_t i = 0; i < PLACES; i++)
        if (places[i] < written && places[i] < size && p[places[i]] != mark_at(places[i], seed))
            return false;
    return written > size || p[written - 1] == mark_at(written - 1, seed);
}

static bool
is_zero(const void *block, size_t size)
{
    const unsigned char *p = block;
    for (size_t i = 0; i < PLACES; i++)
        if (places[i] < size && p[places[i]] != 0)
            return false;
    return p[size - 1] == 0;
}

/* One way to allocate. */
struct way {
    void *(*make)(size_t size);
    void (*drop)(void *p, size_t size);
    size_t align;
    bool zero, of_malloc;
};

static void *
by_calloc(size_t size)
{
    return calloc(1, size);
}

/* Of n elements: the product is what is above 4 GB. */
static void *
by_calloc_many(size_t size)
{
    return calloc(size / 3 + (size % 3 != 0), 3);
}

static void *
by_realloc(size_t size)
{
    return realloc(NULL, size);
}

static void *
by_memalign(size_t size)
{
    return memalign(64, size);
}

static void *
by_posix_memalign(size_t size)
{
    void *p = NULL;
    int error = posix_memalign(&p, 1 << 20, size);
    if (error != 0)
        errno = error;
    return error == 0 ? p : NULL;
}

static void *
by_aligned_alloc(size_t size)
{
    return aligned_alloc(4096, size);
}

static void *
by_umem_alloc(size_t size)
{
    return umem_alloc(size, UMEM_DEFAULT);
}

static void *
by_umem_zalloc(size_t size)
{
    return umem_zalloc(size, UMEM_DEFAULT);
}

static void *
by_umem_align(size_t size)
{
    return umem_alloc_align(size, 8192, UMEM_DEFAULT);
}

static void
drop_malloc(void *p, size_t size)
{
    (void)size;
    free(p);
}

static const struct way ways[] = {
    {malloc, drop_malloc, 16, false, true},
    {by_calloc, drop_malloc, 16, true, true},
    {by_calloc_many, drop_malloc, 16, true, true},
    {by_realloc, drop_malloc, 16, false, true},
    {by_memalign, drop_malloc, 64, false, true},
    {by_posix_memalign, drop_malloc, 1 << 20, false, true},
    {by_aligned_alloc, drop_malloc, 4096, false, true},
    {by_umem_alloc, umem_free, 16, false, false},
    {by_umem_zalloc, umem_free, 16, true, false},
    {by_umem_align, umem_free_align, 8192, false, false},
};
enum { WAYS = sizeof(ways) / sizeof(ways[0]) };

static void
one_at_a_time(void)
{
    for (size_t w = 0; w < WAYS; w++)
        for (size_t s = 0; s < SIZES; s++) {
            size_t size = sizes[s];
            void *p = opaque(ways[w].make(size));
            NEED(p != NULL);
            CHECK((uintptr_t)p % ways[w].align == 0);
            if (ways[w].of_malloc)
                CHECK(malloc_usable_size(p) >= size);
            if (ways[w].zero)
                CHECK(is_zero(p, size));
            write_marks(p, size, (unsigned)(w + s));
            CHECK(marks_are_there(p, size, size, (unsigned)(w + s)));
            ways[w].drop(p, size);
        }
}

/* Zeroes are promised of memory that was used before, too. */
static void
zeroes_after_use(void)
{
    for (size_t s = 0; s < SIZES; s++) {
        void *p = opaque(malloc(sizes[s]));
        NEED(p != NULL);
        write_marks(p, sizes[s], 1);
        free(p);
        NEED((p = opaque(calloc(sizes[s], 1))) != NULL);
        CHECK(is_zero(p, sizes[s]));
        write_marks(p, sizes[s], 2);
        free(p);
        NEED((p = opaque(umem_zalloc(sizes[s], UMEM_DEFAULT))) != NULL);
        CHECK(is_zero(p, sizes[s]));
        umem_free(p, sizes[s]);
    }
}

/* From below 4 GB to above and back, as far as a small block. */
static void
resize(void)
{
    static const size_t steps[] = {3900 * (GB / 1000), 5 * GB, FOUR_GB + 1, GB + 8, 100};
    size_t written = steps[0];
    unsigned char *p = opaque(malloc(steps[0]));
    NEED(p != NULL);
    write_marks(p, steps[0], 3);
    for (size_t i = 1; i < sizeof(steps) / sizeof(steps[0]); i++) {
        unsigned char *q = opaque(realloc(p, steps[i]));
        NEED(q != NULL);
        p = q;
        CHECK(malloc_usable_size(p) >= steps[i]);
        CHECK(marks_are_there(p, written, steps[i], 3));
        write_marks(p, steps[i], 3);
        written = steps[i];
    }
    free(p);
}

/* More in sum than the machine has memory; none overlaps another. */
static void
several(void)
{
    enum { BLOCKS = 8 };
    unsigned char *p[BLOCKS];
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = round; i < BLOCKS; i += round + 1) {
            p[i] = opaque(malloc(FOUR_GB + 4099 * i));
            NEED(p[i] != NULL);
            write_marks(p[i], FOUR_GB + 4099 * i, i);
        }
        for (unsigned i = 0; i < BLOCKS; i++) {
            CHECK(marks_are_there(p[i], FOUR_GB + 4099 * i, FOUR_GB + 4099 * i, i));
            for (unsigned j = 0; j < BLOCKS; j++)
                CHECK(i == j || p[j] + FOUR_GB + 4099 * j <= p[i] ||
                      p[j] >= p[i] + FOUR_GB + 4099 * i);
        }
        for (unsigned i = 1; round == 0 && i < BLOCKS; i += 2)
            free(p[i]);
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        free(p[i]);
}

static const size_t absurd[] = {PTRDIFF_MAX,
                                (size_t)PTRDIFF_MAX - 1,
                                (size_t)PTRDIFF_MAX - 4096,
                                (size_t)PTRDIFF_MAX - 65536,
                                (size_t)PTRDIFF_MAX + 1,
                                SIZE_MAX / 2 + 4096,
                                SIZE_MAX - 65536,
                                SIZE_MAX - 65535,
                                SIZE_MAX - 4096,
                                SIZE_MAX - 4095,
                                SIZE_MAX - 64,
                                SIZE_MAX - 16,
                                SIZE_MAX - 15,
                                SIZE_MAX - 7,
                                SIZE_MAX - 1,
                                SIZE_MAX};
enum { ABSURD = sizeof(absurd) / sizeof(absurd[0]) };

static void
refused_sizes(void)
{
    char *kept = opaque(malloc(100));
    NEED(kept != NULL);
    strcpy(kept, "kept");
    for (size_t i = 0; i < ABSURD; i++) {
        size_t size = opaque_size(absurd[i]);
        for (size_t w = 0; w < WAYS; w++) {
            errno = 0;
            CHECK(opaque(ways[w].make(size)) == NULL);
            CHECK(errno == ENOMEM);
        }
        errno = 0;
        CHECK(opaque(realloc(kept, size)) == NULL);
        CHECK(errno == ENOMEM);
        CHECK(strcmp(kept, "kept") == 0);
        /* An alignment on top of the size. */
        errno = 0;
        CHECK(opaque(memalign((size_t)1 << 40, size)) == NULL);
        CHECK(errno == ENOMEM);
        errno = 0;
        CHECK(opaque(pvalloc(size)) == NULL);
        CHECK(errno == ENOMEM);
    }
    free(kept);
    char *p = opaque(malloc(1000));
    CHECK(p != NULL);
    free(p);
}

static void
refused_alignments(void)
{
    for (unsigned bit = 48; bit < 64; bit++) {
        size_t align = opaque_size((size_t)1 << bit);
        void *p = (void *)&places;
        errno = 0;
        CHECK(opaque(umem_alloc_align(100, align, UMEM_DEFAULT)) == NULL);
        CHECK(errno == ENOMEM);
        int error = posix_memalign(&p, align, 100);
        CHECK(error == ENOMEM);
        CHECK(p == (void *)&places);
    }
}

static void
refused_products(void)
{
    static const size_t products[][2] = {{SIZE_MAX, 2},
                                         {SIZE_MAX / 2 + 1, 2},
                                         {SIZE_MAX / 3 + 1, 3},
                                         {FOUR_GB, FOUR_GB},
                                         {FOUR_GB + 1, FOUR_GB - 1},
                                         {FOUR_GB * 2, FOUR_GB / 2},
                                         {SIZE_MAX, SIZE_MAX},
                                         {SIZE_MAX, 1},
                                         {PTRDIFF_MAX, 2},
                                         {SIZE_MAX / 16 + 1, 16}};
    char *kept = opaque(malloc(100));
    NEED(kept != NULL);
    for (size_t i = 0; i < sizeof(products) / sizeof(products[0]); i++)
        for (int swap = 0; swap < 2; swap++) {
            size_t n = opaque_size(products[i][swap]), size = opaque_size(products[i][!swap]);
            errno = 0;
            CHECK(opaque(calloc(n, size)) == NULL);
            CHECK(errno == ENOMEM);
            errno = 0;
            CHECK(opaque(reallocarray(NULL, n, size)) == NULL);
            CHECK(errno == ENOMEM);
            errno = 0;
            CHECK(opaque(reallocarray(kept, n, size)) == NULL);
            CHECK(errno == ENOMEM);
        }
    free(kept);
}

static const struct section sections[] = {
    {"one_at_a_time", one_at_a_time},
    {"zeroes_after_use", zeroes_after_use},
    {"resize", resize},
    {"several", several},
    {"refused_sizes", refused_sizes},
    {"refused_alignments", refused_alignments},
    {"refused_products", refused_products},
};

int
main(int argc, char **argv)
{
    return check_main(argc, argv, sections, sizeof(sections) / sizeof(sections[0]));
}
