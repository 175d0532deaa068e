/* SPDX-License-Identifier: MIT */
/*
 * Writes outside of the middle one of three blocks, frees some of them.
 *
 *   out_of_bounds KIND OFFSET SIZE VALUE FREES
 *
 * OFFSET counts from the end of what was asked for, or, where negative, from
 * the start.  VALUE is a run of bytes in hexadecimal digits, or "flip", what is
 * there with all bits changed.  FREES: "it", "forward" (all three), "backward",
 * or "thread", where another thread writes, and then it is freed.
 */
#include "object.h"

#include <malloc.h>

#define BLOCKS 3

static umem_cache_t *cache;
static char *block[BLOCKS];
static size_t size;

static int
make(void *buf, void *private, int flags)
{
    (void)private;
    (void)flags;
    memset(buf, 'c', size);
    return 0;
}

static void
unmake(void *buf, void *private)
{
    (void)buf;
    (void)private;
}

KEEP char *
make_block(const char *kind)
{
    if (strcmp(kind, "malloc") == 0)
        return malloc(size = 48);
    if (strcmp(kind, "slack") == 0)
        return malloc(size = 41);
    if (strcmp(kind, "calloc") == 0)
        return calloc(size = 35, 1);
    if (strcmp(kind, "realloc") == 0)
        return realloc(malloc(20), size = 300);
    if (strcmp(kind, "memalign") == 0)
        return memalign(256, size = 100);
    if (strcmp(kind, "pages") == 0)
        return memalign(4096, size = 4096);
    if (strcmp(kind, "wide") == 0)
        return memalign(1 << 18, size = 5000);
    if (strcmp(kind, "large") == 0)
        return malloc(size = 200001);
    if (strcmp(kind, "huge") == 0)
        return malloc(size = 5000003);
    if (strcmp(kind, "umem") == 0)
        return umem_alloc(size = 75, UMEM_DEFAULT);
    if (cache == NULL) {
        size = 40;
        cache = strcmp(kind, "cache") == 0
                    ? new_cache("anvil_cache", size)
                    : umem_cache_create("anvil_cache", size, 0, make, unmake, NULL, NULL, NULL, 0);
    }
    return umem_cache_alloc(cache, UMEM_DEFAULT);
}

KEEP void
drop_block(const char *kind, char *p)
{
    if (cache != NULL)
        umem_cache_free(cache, opaque(p));
    else if (strcmp(kind, "umem") == 0)
        umem_free(opaque(p), size);
    else
        free(opaque(p));
    __asm__ volatile("" : : : "memory");
}

static char **args;

static void *
stray(void *arg)
{
    long offset = strtol(args[2], NULL, 10);
    char *p = (char *)opaque(block[1]) + offset + (offset < 0 ? 0 : (long)size);
    size_t digits = strlen(args[4]) / 2;

    for (size_t i = 0; i < strtoul(args[3], NULL, 10); i++) {
        char two[3] = {args[4][i % digits * 2], args[4][i % digits * 2 + 1], 0};
        p[i] = strcmp(args[4], "flip") == 0 ? (char)~p[i] : (char)strtoul(two, NULL, 16);
    }
    __asm__ volatile("" : : : "memory");
    return arg;
}

int
main(int argc, char **argv)
{
    pthread_t thread;

    if (argc != 6)
        return 2;
    args = argv;
    for (int i = 0; i < BLOCKS; i++)
        block[i] = make_block(argv[1]);
    printf("%p\n", (void *)block[1]);
    fflush(stdout);
    if (strcmp(argv[5], "thread") == 0) {
        pthread_create(&thread, NULL, stray, NULL);
        pthread_join(thread, NULL);
    } else {
        stray(NULL);
    }
    for (int i = 0; i < BLOCKS; i++) {
        if (strcmp(argv[5], "forward") == 0)
            drop_block(argv[1], block[i]);
        else if (strcmp(argv[5], "backward") == 0)
            drop_block(argv[1], block[BLOCKS - 1 - i]);
    }
    drop_block(argv[1], block[1]);
    return survived();
}
