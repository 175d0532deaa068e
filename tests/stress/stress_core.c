/* SPDX-License-Identifier: MIT */
/*
 * stress_core.c - the stress programs over the umem interface: umem_alloc and
 * its aligned and zeroed kin, and object caches with and without constructors.
 *
 * A constructed object carries a mark at both ends, which has to be there
 * whenever it is handed out, and is put back before it is freed.
 */
#include "stress.h"

#include <stdio.h>
#include <string.h>
#include <umem.h>

enum { BY_ALLOC, BY_ZALLOC, BY_ALIGN, BY_CACHE }; /* BY_CACHE + i: cache i */
enum { CACHES = 6 };

static const struct {
    const char *name;
    size_t size, align;
    int constructed, flags;
} shapes[CACHES] = {
    {"stress_24", 24, 0, 1, 0},
    {"stress_200", 200, 64, 1, 0},
    {"stress_3000", 3000, 0, 1, 0},
    {"stress_40000", 40000, 4096, 1, 0},
    {"stress_notouch", 96, 0, 1, UMC_NOTOUCH},
    {"stress_nomagazine", 500, 0, 0, UMC_NOMAGAZINE | UMC_NODEBUG},
};
static umem_cache_t *caches[CACHES];
static const uint64_t mark = 0x6d61726b6d61726bULL;

static void
put_marks(unsigned char *p, size_t size)
{
    memcpy(p, &mark, sizeof(mark));
    memcpy(p + size - sizeof(mark), &mark, sizeof(mark));
}

static int
construct(void *buf, void *private_data, int flags)
{
    (void)flags;
    put_marks(buf, *(size_t *)private_data);
    return 0;
}

static void
destruct(void *buf, void *private_data)
{
    struct block b = {.ptr = buf, .size = *(size_t *)private_data};
    if (memcmp(buf, &mark, sizeof(mark)) != 0 ||
        memcmp(b.ptr + b.size - sizeof(mark), &mark, sizeof(mark)) != 0)
        stress_fail(&b, "destructor got an object that is not constructed", 0);
}

static bool
set_up(void)
{
    for (size_t i = 0; i < CACHES; i++) {
        caches[i] = umem_cache_create(shapes[i].name, shapes[i].size, shapes[i].align,
                                      shapes[i].constructed ? construct : NULL,
                                      shapes[i].constructed ? destruct : NULL, NULL,
                                      (void *)(uintptr_t)&shapes[i].size, NULL, shapes[i].flags);
        if (caches[i] == NULL) {
            fprintf(stderr, "stress: no cache %s\n", shapes[i].name);
            return false;
        }
    }
    return true;
}

static bool
make_object(struct block *b, size_t i)
{
    b->size = shapes[i].size;
    b->kind = (unsigned)(BY_CACHE + i);
    b->ptr = umem_cache_alloc(caches[i], UMEM_DEFAULT);
    if (b->ptr == NULL)
        return false;
    if (((uintptr_t)b->ptr & (shapes[i].align != 0 ? shapes[i].align - 1 : 15)) != 0)
        stress_fail(b, "misaligned object", 0);
    if (shapes[i].constructed &&
        (memcmp(b->ptr, &mark, sizeof(mark)) != 0 ||
         memcmp(b->ptr + b->size - sizeof(mark), &mark, sizeof(mark)) != 0))
        stress_fail(b, "object is not constructed", 0);
    return true;
}

static bool
make(struct block *b, struct rng *r)
{
    uint64_t what = rng_below(r, 100);
    size_t align = (size_t)8 << rng_below(r, 12);

    if (what < 50)
        return make_object(b, (size_t)rng_below(r, CACHES));
    b->size = rng_size(r);
    b->kind = what < 80 ? BY_ALLOC : what < 90 ? BY_ZALLOC : BY_ALIGN;
    b->ptr = b->kind == BY_ALLOC    ? umem_alloc(b->size, UMEM_DEFAULT)
             : b->kind == BY_ZALLOC ? umem_zalloc(b->size, UMEM_DEFAULT)
                                    : umem_alloc_align(b->size, align, UMEM_DEFAULT);
    if (b->ptr == NULL)
        return false;
    if (b->kind != BY_ALIGN)
        align = b->size >= 16 ? 16 : 8;
    if (((uintptr_t)b->ptr & (align - 1)) != 0)
        stress_fail(b, "misaligned", 0);
    if (b->kind == BY_ZALLOC)
        for (size_t i = 0; i < b->size; i++)
            if (b->ptr[i] != 0)
                stress_fail(b, "umem_zalloc is not zero", i);
    return true;
}

static void
drop(struct block *b)
{
    if (b->kind >= BY_CACHE) {
        put_marks(b->ptr, b->size);
        umem_cache_free(caches[b->kind - BY_CACHE], b->ptr);
    } else if (b->kind == BY_ALIGN) {
        umem_free_align(b->ptr, b->size);
    } else {
        umem_free(b->ptr, b->size);
    }
}

static void
tear_down(void)
{
    for (size_t i = 0; i < CACHES; i++)
        umem_cache_destroy(caches[i]);
}

int
main(int argc, char **argv)
{
    static const struct stress_ops ops = {.name = "core",
                                          .set_up = set_up,
                                          .make = make,
                                          .drop = drop,
                                          .tend = umem_reap,
                                          .tear_down = tear_down};
    return stress_main(&ops, argc, argv);
}
