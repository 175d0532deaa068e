/* SPDX-License-Identifier: MIT */
/*
 * trim.c - a cache of objects that are dear to make: what lies unused goes, what
 * is used from time to time stays.
 */
#include <stdio.h>
#include <umem.h>

#define TILES 100
#define TILE (512 * 1024)

static int made, undone;

static int
make(void *tile, void *unused, int flags)
{
    (void)unused, (void)flags;
    for (size_t i = 0; i < TILE; i++)
        ((char *)tile)[i] = (char)(i % 251);
    made++;
    return 0;
}

static void
undo(void *tile, void *unused)
{
    (void)tile, (void)unused;
    undone++;
}

int
main(void)
{
    static void *tiles[TILES];
    umem_cache_t *cache = umem_cache_create("tile", TILE, 0, make, undo, NULL, NULL, NULL, 0);

    if (cache == NULL)
        return 1;
    for (int i = 0; i < TILES; i++)
        if ((tiles[i] = umem_cache_alloc(cache, UMEM_DEFAULT)) == NULL)
            return 1;
    for (int i = 0; i < TILES; i++)
        umem_cache_free(cache, tiles[i]);
    printf("%d made, all of them free\n", made);

    /* Every minute, say: what was not wanted for a minute. */
    umem_cache_trim(cache, 0, UMEM_TRIM_IDLE);
    umem_cache_trim(cache, 0, UMEM_TRIM_IDLE);
    /* And no more than ten at any time. */
    umem_cache_trim(cache, 10, 0);
    printf("%s\n", undone >= TILES - 10 ? "few are left" : "many are left");

    umem_cache_trim(cache, 0, 0);
    printf("%d are left\n", made - undone);
    umem_cache_destroy(cache);
    return 0;
}
