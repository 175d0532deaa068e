/* SPDX-License-Identifier: MIT */
/*
 * Ten times 200 MB, small blocks and large ones by turns, each turn freed
 * before the next: what one kind gives back has to serve the other at once, for
 * a container that has 256 MB.  Prints the largest resident size of the process
 * as the kernel saw it, in KB.
 *
 * Blocks are linked through their first word; every page is written.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TURNS = 10, PAGE = 4096 };
static const size_t turn_bytes = 200 << 20;

static uint64_t state = 1;

/* In [low, high], small sizes more often than large. */
static size_t
size_between(size_t low, size_t high)
{
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    size_t span = high - low, r = (size_t)(state >> 33) % (span + 1);
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    size_t q = (size_t)(state >> 33) % (span + 1);
    return low + (r < q ? r : q);
}

/* Two lists, freed one after the other: every other block first. */
static void **lists[2];

static void
allocate(size_t low, size_t high)
{
    size_t bytes = 0;
    for (unsigned i = 0; bytes < turn_bytes; i++) {
        size_t size = size_between(low, high);
        void **p = malloc(size);
        if (p == NULL) {
            fprintf(stderr, "no memory after %zu bytes\n", bytes);
            exit(1);
        }
        for (size_t at = 0; at < size; at += PAGE)
            ((char *)p)[at] = 1;
        ((char *)p)[size - 1] = 1;
        *p = lists[i % 2];
        lists[i % 2] = p;
        bytes += size;
    }
}

static void
release(void)
{
    for (unsigned i = 0; i < 2; i++)
        while (lists[i] != NULL) {
            void **p = lists[i];
            lists[i] = *p;
            free(p);
        }
}

static long
peak_kb(void)
{
    char line[256];
    long peak = -1;
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL)
        if (strncmp(line, "VmHWM:", 6) == 0)
            peak = strtol(line + 6, NULL, 10);
    if (f != NULL)
        fclose(f);
    return peak;
}

int
main(void)
{
    for (unsigned turn = 0; turn < TURNS; turn++) {
        if (turn % 2 == 0)
            allocate(16, 4096);
        else
            allocate(100 << 10, 20 << 20);
        release();
    }
    printf("%ld\n", peak_kb());
    return 0;
}
