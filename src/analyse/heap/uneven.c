/* SPDX-License-Identifier: MIT */
/*
 * uneven.c - rows of blocks of different sizes: four bytes a block, and for
 * each page the block that it begins with, so that an address finds its block
 * among those of one page.
 */
#include <stdlib.h>

#include "heap/heap.h"
#include "heap/memory.h"

void
uneven_free(struct uneven *uneven)
{
    if (uneven == NULL)
        return;
    free(uneven->une_starts);
    free(uneven->une_pages);
    free(uneven);
}

static struct uneven *
make_uneven(const addr_t *starts, size_t count, addr_t end, uint32_t tail)
{
    size_t pages = (size_t)((end - starts[0]) >> UNEVEN_PAGE_SHIFT) + 2;
    struct uneven *uneven = calloc(1, sizeof(*uneven));
    if (uneven == NULL)
        return NULL;
    uneven->une_tail = tail;
    uneven->une_starts = malloc((count + 1) * sizeof(*uneven->une_starts));
    uneven->une_pages = malloc((pages + 1) * sizeof(*uneven->une_pages));
    if (uneven->une_starts == NULL || uneven->une_pages == NULL) {
        uneven_free(uneven);
        return NULL;
    }
    size_t page = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t offset = starts[i] - starts[0];
        uneven->une_starts[i] = (uint32_t)(offset >> UNEVEN_UNIT_SHIFT);
        for (; page <= offset >> UNEVEN_PAGE_SHIFT; page++)
            uneven->une_pages[page] = (uint32_t)i;
    }
    uneven->une_starts[count] = (uint32_t)((end - starts[0]) >> UNEVEN_UNIT_SHIFT);
    for (; page <= pages; page++)
        uneven->une_pages[page] = (uint32_t)count;
    return uneven;
}

struct region *
heap_add_uneven(struct heap *h, const addr_t *starts, size_t count, addr_t end, uint32_t tail)
{
    if (count == 0 || count >= UINT32_MAX || end <= starts[count - 1] ||
        (end - starts[0]) >> UNEVEN_UNIT_SHIFT > UINT32_MAX ||
        !memory_grow(&h->heap_unevens, &h->heap_uneven_room, h->heap_uneven_count,
                     sizeof(struct uneven *)))
        return NULL;
    struct uneven *uneven = make_uneven(starts, count, end, tail);
    if (uneven == NULL)
        return NULL;
    h->heap_unevens[h->heap_uneven_count++] = uneven;
    const struct region geometry = {.region_base = starts[0],
                                    .region_chunk = end - starts[0],
                                    .region_blocks = (uint32_t)count,
                                    .region_cache = NO_CACHE,
                                    .region_kind = REGION_CHUNKS,
                                    .region_uneven = uneven};
    return heap_add_region(h, &geometry);
}
