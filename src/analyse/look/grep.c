/* SPDX-License-Identifier: MIT */
/*
 * grep.c - see grep.h.
 */
#include "look/grep.h"

#include <stdlib.h>
#include <string.h>

/* Memory is read in pieces: large enough for a system call to be no cost. */
#define PIECE ((size_t)1 << 20)

struct search {
    struct heap *h;
    const struct grep_options *options;
    grep_fn *fn;
    void *arg;
    bool done;
};

static bool
is_wanted(const struct grep_options *options, uint64_t value)
{
    if (options->grp_distance > 0)
        return value - options->grp_value < options->grp_distance;
    return ((value ^ options->grp_value) & options->grp_mask) == 0;
}

/* Inlined for each step, and free of the search's state: most values are not wanted. */
static inline __attribute__((always_inline)) void
search_steps(struct search *s, addr_t addr, const unsigned char *bytes, size_t size, unsigned step)
{
    const struct grep_options options = *s->options;

    for (size_t i = 0; i + step <= size; i += step) {
        uint64_t value = 0;
        memcpy(&value, bytes + i, step);
        if (!is_wanted(&options, value))
            continue;
        s->done = !s->fn(s->arg, &(struct grep_hit){.hit_addr = addr + i, .hit_value = value});
        if (s->done)
            return;
    }
}

static void
search_bytes(struct search *s, addr_t addr, const unsigned char *bytes, size_t size)
{
    switch (s->options->grp_size) {
    case 8:
        search_steps(s, addr, bytes, size, 8);
        break;
    case 4:
        search_steps(s, addr, bytes, size, 4);
        break;
    case 2:
        search_steps(s, addr, bytes, size, 2);
        break;
    default:
        search_steps(s, addr, bytes, size, 1);
    }
}

static void
search_range(struct search *s, addr_t start, addr_t end, unsigned char *piece)
{
    const addr_t align = s->options->grp_size - 1;
    struct target *t = s->h->heap_target;

    start = (start + align) & ~align;
    while (start < end && !s->done) {
        size_t want = end - start < PIECE ? (size_t)(end - start) : PIECE;
        const unsigned char *data = target_peek(t, start, want);
        size_t got = (data != NULL ? want : target_read(t, start, piece, want)) & ~(size_t)align;
        search_bytes(s, start, data != NULL ? data : piece, got);
        /* A hole: guards, or what is not in the core. */
        start = got > 0 ? start + got : reader_skip(&s->h->heap_reader, start);
    }
}

/* The same, without what is known to be zero, unless that is looked for. */
static void
search_sparse(struct search *s, addr_t start, addr_t end, unsigned char *piece)
{
    addr_t stop;

    if (is_wanted(s->options, 0)) {
        search_range(s, start, end, piece);
        return;
    }
    for (; target_data(s->h->heap_target, start, end, &start, &stop); start = stop)
        search_range(s, start, stop, piece);
}

static void
search_registers(struct search *s)
{
    const struct thread *threads;
    size_t n = target_threads(s->h->heap_target, &threads);
    uint64_t word = s->h->heap_offsets.off_word == 4 ? UINT32_MAX : UINT64_MAX;

    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; threads[i].thr_stopped && k < threads[i].thr_nregs && !s->done; k++) {
            uint64_t value = threads[i].thr_regs[k] & word;
            if (is_wanted(s->options, value))
                s->done = !s->fn(s->arg, &(struct grep_hit){.hit_value = value,
                                                            .hit_thread = threads[i].thr_tid});
        }
}

int
grep_target(struct heap *h, const struct grep_options *options, grep_fn *fn, void *arg)
{
    struct search s = {h, options, fn, arg, false};
    const struct mapping *maps;
    size_t n = target_mappings(h->heap_target, &maps);
    unsigned char *piece = malloc(PIECE);

    if (piece == NULL)
        return -1;
    target_find_zeroes(h->heap_target);
    if (options->grp_from == 0 && options->grp_to == UINT64_MAX)
        search_registers(&s);
    for (size_t i = 0; i < n && !s.done; i++) {
        addr_t start =
            maps[i].map_start > options->grp_from ? maps[i].map_start : options->grp_from;
        addr_t end = maps[i].map_end < options->grp_to ? maps[i].map_end : options->grp_to;
        if ((maps[i].map_flags & MAPPING_READ) != 0 && start < end)
            search_sparse(&s, start, end, piece);
    }
    free(piece);
    return 0;
}

bool
grep_into_block(struct heap *h, addr_t addr, struct grep_options *options)
{
    struct block_info info;
    struct block b;

    if (!heap_find(h, addr, &b))
        return false;
    heap_block_info(h, b, &info);
    options->grp_value = info.blk_addr;
    options->grp_distance = info.blk_size;
    return true;
}
