/* SPDX-License-Identifier: MIT */
/*
 * stress_malloc.c - the stress programs over the malloc family, whichever
 * malloc the process has: ours by preload or by linking.
 */
#include "stress.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

enum { BY_MALLOC, BY_CALLOC, BY_MEMALIGN, BY_REALLOC, KINDS };

static bool
make(struct block *b, struct rng *r)
{
    size_t align = (size_t)16 << rng_below(r, 9);
    void *p = NULL;

    b->size = rng_size(r);
    b->kind = (unsigned)(rng_below(r, 100) < 70 ? BY_MALLOC : rng_below(r, KINDS));
    switch (b->kind) {
    case BY_CALLOC:
        p = calloc(b->size, 1);
        break;
    case BY_MEMALIGN:
        if (posix_memalign(&p, align, b->size) != 0)
            p = NULL;
        break;
    case BY_REALLOC:
        p = realloc(NULL, b->size);
        break;
    default:
        p = malloc(b->size);
        break;
    }
    b->ptr = p;
    if (p == NULL)
        return false;
    if (((uintptr_t)p & (b->kind == BY_MEMALIGN ? align - 1 : 15)) != 0)
        stress_fail(b, "misaligned", 0);
    if (b->kind == BY_CALLOC)
        for (size_t i = 0; i < b->size; i++)
            if (b->ptr[i] != 0)
                stress_fail(b, "calloc is not zero", i);
    if (malloc_usable_size(p) < b->size)
        stress_fail(b, "less usable than asked for", 0);
    return true;
}

static bool
resize(struct block *b, size_t size)
{
    unsigned char *p = realloc(b->ptr, size);
    if (p == NULL)
        return false;
    b->ptr = p;
    b->size = size;
    return true;
}

static void
drop(struct block *b)
{
    free(b->ptr);
}

static void
tend(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

int
main(int argc, char **argv)
{
    static const struct stress_ops ops = {
        .name = "malloc", .make = make, .resize = resize, .drop = drop, .tend = tend};
    return stress_main(&ops, argc, argv);
}
