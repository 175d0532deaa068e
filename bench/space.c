/* SPDX-License-Identifier: MIT */
/*
 * space.c - resident memory after a peak: what an allocator keeps, and for how
 * long, while the program does nothing or next to nothing.
 *
 *   space MEBIBYTES KEPT_PERCENT sleep|trickle SECONDS...
 *
 * Allocates and writes blocks up to that many MiB, half of the bytes in blocks
 * of 16 bytes to 1 KiB, half in blocks up to 1 MiB; frees all but a random
 * share of them in random order; then prints resident bytes at the given times
 * since the last free.
 */
#include <stdbool.h>

#include "common.h"

/* Every doubling of a size is as likely as another, by number of blocks. */
#define SMALL_LOW 4
#define SMALL_HIGH 10
#define LARGE_LOW 10
#define LARGE_HIGH 20
/* Half the bytes in blocks of 252 on average: 500 bytes a block, some fewer by chance. */
#define BLOCK_MEAN_MIN 400
/* "trickle": ten small blocks a second are allocated and freed. */
#define TRICKLE_NS (100 * (uint64_t)NS_PER_MS)
#define TRICKLE_LOW 4
#define TRICKLE_HIGH 12

static struct block {
    void *address;
    uint32_t size;
} * blocks;
static size_t blocks_count, blocks_capacity;
static uint64_t state = SEED;

/* Small and large in turn, whichever has fewer bytes. */
static size_t
fill(size_t bytes)
{
    size_t small = 0, large = 0;
    while (small + large < bytes && blocks_count < blocks_capacity) {
        size_t *sum = small <= large ? &small : &large;
        size_t size = sum == &small ? random_size(&state, SMALL_LOW, SMALL_HIGH)
                                    : random_size(&state, LARGE_LOW, LARGE_HIGH);
        void *address = must_malloc(size);
        memset(address, 1, size);
        blocks[blocks_count++] = (struct block){address, (uint32_t)size};
        *sum += size;
    }
    return small + large;
}

static void
shuffle(void)
{
    for (size_t i = blocks_count; i > 1; i--) {
        size_t j = random_below(&state, i);
        struct block swap = blocks[i - 1];
        blocks[i - 1] = blocks[j];
        blocks[j] = swap;
    }
}

/* Waits until then, making no call, or a few. */
static void
wait_until(uint64_t then, bool trickle)
{
    void *block = NULL;
    for (uint64_t now = now_ns(); now < then; now = now_ns()) {
        if (!trickle) {
            sleep_ns(then - now);
            continue;
        }
        free(block);
        block = must_malloc(random_size(&state, TRICKLE_LOW, TRICKLE_HIGH));
        sleep_ns(then - now < TRICKLE_NS ? then - now : TRICKLE_NS);
    }
    free(block);
}

int
main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: space MEBIBYTES KEPT_PERCENT sleep|trickle SECONDS...\n");
        return 2;
    }
    size_t bytes = strtoull(argv[1], NULL, 10) * MIB;
    size_t kept_percent = strtoull(argv[2], NULL, 10);
    bool trickle = strcmp(argv[3], "trickle") == 0;
    static size_t resident[64];
    int points = argc - 4 < 64 ? argc - 4 : 64;

    blocks_capacity = bytes / BLOCK_MEAN_MIN;
    size_t own = blocks_capacity * sizeof(*blocks);
    blocks = must_map(own);
    size_t live = fill(bytes);
    size_t peak = resident_bytes() - own;
    printf("peak.live %zu\npeak.rss %zu\n", live, peak);
    fflush(stdout); /* its buffer is there before the frees begin */

    shuffle();
    size_t kept = blocks_count * kept_percent / 100;
    for (size_t i = kept; i < blocks_count; i++) {
        free(blocks[i].address);
        live -= blocks[i].size;
    }
    munmap(blocks, own);
    uint64_t start = now_ns();
    for (int i = 0; i < points; i++) {
        wait_until(start + strtoull(argv[i + 4], NULL, 10) * NS_PER_S, trickle);
        resident[i] = resident_bytes();
    }
    printf("live %zu\n", live);
    for (int i = 0; i < points; i++)
        printf("rss.%s %zu\n", argv[i + 4], resident[i]);
    return 0;
}
