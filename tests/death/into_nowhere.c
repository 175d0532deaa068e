/* SPDX-License-Identifier: MIT */
/*
 * Runs off a block into memory that is not there, or touches what has been none
 * for long.
 *
 *   into_nowhere PLACE read|write main|thread
 *
 *   up, down     byte by byte from the end of a block of 5 MB, or from its start
 *   copy         from the end up, by memset() or memchr()
 *   protected    as up, into an inaccessible mapping of somebody else's
 *   far, near    a megabyte, or the last byte of 64 KiB, past the end of its memory
 *   forgotten    a block of SIZE bytes behind a firewall whose address has been
 *                given up since: after that many others were freed
 *
 * Prints the block, and the address that is touched where that is known.
 */
#include "death.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>

#define SIZE 5000003
#define MIB ((size_t)1 << 20)
#define GRANULE 65536 /* the heap's memory is a multiple of it */
#define PAGE 4096

/* Between them a hole that the block fits into, and nothing else. */
#define FLANK (28 * MIB)
#define HOLE (8 * MIB)

static bool writes;
static char *block;
static volatile char *target;

KEEP void
touch(volatile char *p)
{
    if (writes)
        *p = 'A';
    else
        (void)*p;
}

static bool
is_mapped(const char *p)
{
    char *page = (char *)((uintptr_t)p / PAGE * PAGE);

    return msync(page, PAGE, MS_ASYNC) == 0 || errno != ENOMEM;
}

static char *
end_of_memory(void)
{
    char *end = (char *)((uintptr_t)(block + SIZE) / PAGE * PAGE);

    while (is_mapped(end))
        end += PAGE;
    return end;
}

/* A block with nothing on either side. */
static bool
make_alone(void)
{
    char *left = mmap(NULL, 2 * FLANK + HOLE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (left == MAP_FAILED || munmap(left + FLANK, HOLE) != 0)
        return false;
    block = make_buffer(SIZE);
    return block > left + FLANK && block + SIZE < left + FLANK + HOLE && munmap(left, FLANK) == 0 &&
           munmap(left + FLANK + HOLE, FLANK) == 0;
}

/* Where the block's memory ends. */
static bool
map_beside(void)
{
    char *end = end_of_memory();

    return mmap(end, MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
           end;
}

/* Frees blocks behind the firewall until the first one's address is nobody's. */
static bool
make_forgotten(size_t size)
{
    block = make_buffer(size);
    drop_buffer(block);
    for (int i = 0; i < 200000; i++) {
        drop_buffer(make_buffer(size));
        if (!is_mapped(block))
            return true;
    }
    return false;
}

KEEP void
walk(void)
{
    if (target != NULL)
        touch(target);
    else
        for (volatile char *p = block + SIZE;; p++)
            touch(p);
}

KEEP void
walk_down(void)
{
    for (volatile char *p = block - 1;; p--)
        touch(p);
}

KEEP void
copy(void)
{
    const char *p = block + SIZE;

    if (writes)
        memset(opaque(block + SIZE), 'A', 16 * MIB);
    else /* the bytes behind the block may be any: none of them ends it */
        while ((p = memchr(opaque((void *)p), 0x5a, 16 * MIB)) != NULL)
            p++;
}

static void (*way)(void) = walk;

static void *
thread_main(void *arg)
{
    way();
    return arg;
}

static bool
prepare(const char *place, size_t size)
{
    if (strcmp(place, "forgotten") == 0) {
        bool made = make_forgotten(size);
        target = block;
        return made;
    }
    if (!make_alone())
        return false;
    if (strcmp(place, "far") == 0)
        target = end_of_memory() + MIB;
    else if (strcmp(place, "near") == 0)
        target = end_of_memory() + GRANULE - 1;
    else if (strcmp(place, "down") == 0)
        way = walk_down;
    else if (strcmp(place, "copy") == 0)
        way = copy;
    return strcmp(place, "protected") != 0 || map_beside();
}

int
main(int argc, char **argv)
{
    pthread_t thread;

    if (argc < 4)
        return 2;
    writes = strcmp(argv[2], "write") == 0;
    other_work();
    if (!prepare(argv[1], argc > 4 ? strtoul(argv[4], NULL, 10) : 0))
        return 3;
    printf("%p\n", (void *)block);
    if (target != NULL)
        printf("%p\n", (void *)target);
    fflush(stdout);
    if (strcmp(argv[3], "thread") == 0) {
        pthread_create(&thread, NULL, thread_main, NULL);
        pthread_join(thread, NULL);
    } else {
        way();
    }
    return survived();
}
