/* SPDX-License-Identifier: MIT */
/*
 * corrupt_kinds.c - damages its heap in one way, says which block that was, and
 * waits to be looked at.
 *
 *   corrupt_kinds DAMAGE
 *
 * "busy" damages nothing: threads use the heap without end.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <umem.h>
#include <unistd.h>

#include "../../src/umem/layout.h"

#define KEEP __attribute__((noipa))
#define LARGE 300001
#define THREADS 3
#define SLOTS 64

static void *volatile kept[8];
static umem_cache_t *cache;

KEEP static char *
make_block(size_t size)
{
    char *p = malloc(size);
    __asm__ volatile("" : "+r"(p)); /* no tail call: this function is to be in the stack */
    return p;
}

KEEP static void
drop_block(char *p)
{
    free(p);
    __asm__ volatile("");
}

KEEP static void
poke(char *p, long offset, char value)
{
    ((volatile char *)p)[offset] = value;
}

/* The library's layout: an offset, or an address. */
static uint64_t
layout(const char *name)
{
    const struct umem_layout_block *block = dlsym(RTLD_DEFAULT, UMEM_LAYOUT_SYMBOL);
    for (uint32_t i = 0; block != NULL && i < block->layout_entry_count; i++)
        if (strcmp(block->layout_entry[i].entry_name, name) == 0)
            return block->layout_entry[i].entry_value;
    abort();
}

static uint64_t
word_at(const char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return word;
}

/* The slab of the object cache's only object. */
static char *
slab_of_cache(void)
{
    char *pool = (char *)cache + layout("umem_cache.cache_slabs");
    char *link = (char *)(uintptr_t)word_at(pool + layout("slab_pool.pool_partial"));
    return link - layout("slab.slab_link");
}

static void
damage_records(const char *how)
{
    char *object = umem_cache_alloc(cache, UMEM_DEFAULT);
    char *slab = slab_of_cache();

    kept[0] = object;
    if (strcmp(how, "slab") == 0)
        poke(slab, (long)layout("slab.slab_free"), 1);
    char *bufctl = (char *)(uintptr_t)word_at(slab + layout("slab.slab_sidecar"));
    if (strcmp(how, "bufctl") == 0)
        for (int i = 0; i < 4; i++) /* whichever of the first it is */
            poke(bufctl + i * 32, (long)layout("umem_bufctl.bc_state"), 0x55);
}

static int
damage(const char *how, char *p, char *large)
{
    if (strcmp(how, "overrun") == 0)
        poke(p, 103, 'A'); /* leaves three bytes out */
    else if (strcmp(how, "underrun") == 0)
        poke(p, -1, 'B');
    else if (strcmp(how, "object") == 0)
        poke(kept[0] = p = umem_cache_alloc(cache, UMEM_DEFAULT), 40, 'C');
    else if (strcmp(how, "large") == 0)
        poke(p = large, LARGE, 'D');
    else if (strcmp(how, "large-underrun") == 0)
        poke(p = large, -2, 'E');
    else if (strcmp(how, "modified") == 0)
        drop_block(p), poke(p, 9, 'F');
    else if (strcmp(how, "large-modified") == 0)
        drop_block(p = large), poke(p, LARGE / 2, 'G');
    else if (strcmp(how, "twice") == 0)
        drop_block(p), drop_block(p);
    else if (strcmp(how, "slab") == 0 || strcmp(how, "bufctl") == 0)
        damage_records(how);
    else if (strcmp(how, "clean") != 0)
        return -1;
    printf("block %p\n", (void *)p);
    return 0;
}

static void *
work(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    char *live[SLOTS] = {NULL};

    for (;;) {
        seed = seed * 1103515245 + 12345;
        unsigned slot = seed >> 16 & (SLOTS - 1);
        size_t size = seed % 50 == 0 ? 50000 + seed % 150000 : seed % 3000 + 1;
        if (seed % 3 == 0) {
            live[slot] = realloc(live[slot], size);
        } else {
            free(live[slot]);
            live[slot] = make_block(size);
        }
        memset(live[slot], 'w', size);
        void *object = umem_cache_alloc(cache, UMEM_DEFAULT);
        memset(object, 'o', 40);
        umem_cache_free(cache, object);
    }
    return NULL;
}

int
main(int argc, char **argv)
{
    pthread_t thread;
    char *p = make_block(100), *large = make_block(LARGE);

    setvbuf(stdout, NULL, _IOLBF, 0);
    cache = umem_cache_create("anvil_cache", 40, 0, NULL, NULL, NULL, NULL, NULL, 0);
    kept[1] = p;
    kept[2] = large;
    if (argc > 1 && strcmp(argv[1], "busy") == 0)
        for (uintptr_t i = 1; i <= THREADS; i++)
            pthread_create(&thread, NULL, work, (void *)i);
    else if (argc < 2 || damage(argv[1], p, large) != 0)
        return 2;
    puts("ready");
    pause();
    return 0;
}
