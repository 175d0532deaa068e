/* SPDX-License-Identifier: MIT */
/*
 * scale.c - whether an operation's time depends on what else is in the heap.
 *
 *   scale blocks COUNT MILLISECONDS   COUNT live blocks of 16 to 127 bytes;
 *       ns a pair of a FIFO of 1,000 blocks of 64 bytes, and of replacing one
 *       of the COUNT blocks at random
 *   scale sparse COUNT MILLISECONDS   COUNT live blocks of 64 MiB, one page of
 *       each touched; ns a pair of the FIFO, us of a block of 1 to 64 MiB
 */
#include "common.h"

#define FIFO 1000
#define FIFO_SIZE 64
#define SMALL_LOW 4
#define SMALL_HIGH 7
#define SPARSE_SIZE (64 * MIB)
#define LARGE_LOW 20
#define LARGE_HIGH 26
#define BATCH 1024 /* pairs between two looks at the clock */
#define LARGE_BATCH 4

static uint64_t state = SEED, run_ns;
static void **blocks;
static size_t count;

static void
fifo(size_t pairs)
{
    static void *slots[FIFO];
    static size_t at;
    for (size_t i = 0; i < pairs; i++) {
        free(slots[at]);
        slots[at] = must_malloc(FIFO_SIZE);
        at = (at + 1) % FIFO;
    }
}

static void
replace(size_t pairs)
{
    for (size_t i = 0; i < pairs; i++) {
        size_t at = random_below(&state, count);
        free(blocks[at]);
        blocks[at] = must_malloc(random_size(&state, SMALL_LOW, SMALL_HIGH));
    }
}

static void
large(size_t pairs)
{
    for (size_t i = 0; i < pairs; i++)
        free(must_malloc(random_size(&state, LARGE_LOW, LARGE_HIGH)));
}

static double
ns_per_pair(void (*pattern)(size_t), size_t batch)
{
    uint64_t pairs = 0;
    pattern(batch); /* warm */
    uint64_t start = now_ns(), elapsed;
    do {
        pattern(batch);
        pairs += batch;
        elapsed = now_ns() - start;
    } while (elapsed < run_ns);
    return (double)elapsed / (double)pairs;
}

int
main(int argc, char **argv)
{
    int sparse = argc == 4 && strcmp(argv[1], "sparse") == 0;
    if (argc != 4 || (!sparse && strcmp(argv[1], "blocks") != 0)) {
        fprintf(stderr, "usage: scale blocks|sparse COUNT MILLISECONDS\n");
        return 2;
    }
    count = strtoull(argv[2], NULL, 10);
    run_ns = strtoull(argv[3], NULL, 10) * NS_PER_MS;
    blocks = must_map((count + 1) * sizeof(*blocks));
    for (size_t i = 0; i < count; i++)
        blocks[i] = must_malloc(sparse ? SPARSE_SIZE : random_size(&state, SMALL_LOW, SMALL_HIGH));
    printf("fifo %.3f\n", ns_per_pair(fifo, BATCH));
    if (sparse)
        printf("large %.3f\n", ns_per_pair(large, LARGE_BATCH));
    else
        printf("random %.3f\n", ns_per_pair(replace, BATCH));
    return 0;
}
