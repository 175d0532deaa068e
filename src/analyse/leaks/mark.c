/* SPDX-License-Identifier: MIT */
/*
 * mark.c - see mark.h.
 */
#include "leaks/mark.h"

#include <stdlib.h>
#include <string.h>

#include "heap/memory.h"

#define CACHE_LINE 64
#define TELL_EVERY ((uint64_t)16 << 20) /* bytes: some hundredths of a second */
/* Blocks fetched ahead: 16 * 4 lines are about what a core can have under way. */
#define AHEAD 16
#define AHEAD_SIZE_MAX 256

int
marker_init(struct marker *m, struct heap *h, bool start_only)
{
    *m = (struct marker){.m_heap = h, .m_start_only = start_only};
    size_t words = h->heap_blocks / 64;
    m->m_unreached = calloc(words + 1, sizeof(*m->m_unreached));
    if (m->m_unreached == NULL)
        return -1;
    if (words > 0)
        memcpy(m->m_unreached, h->heap_live, words * sizeof(*m->m_unreached));
    return 0;
}

void
marker_fini(struct marker *m)
{
    free(m->m_unreached);
    free(m->m_stack);
    m->m_unreached = NULL;
    m->m_stack = NULL;
}

static void
push(struct marker *m, struct block b)
{
    if (!memory_grow(&m->m_stack, &m->m_room, m->m_depth, sizeof(*m->m_stack))) {
        m->m_failed = true;
        return;
    }
    m->m_stack[m->m_depth++] = b;
}

static inline void
mark_value(struct marker *m, addr_t value)
{
    struct block b;
    if (!heap_find(m->m_heap, value, &b))
        return;
    uint64_t n = heap_block_number(m->m_heap, b);
    if (!bit_get(m->m_unreached, n))
        return;
    if (m->m_start_only && heap_block_addr(m->m_heap, b) != value)
        return;
    bit_clear(m->m_unreached, n);
    push(m, b);
}

/* Words that were read; size is cut to whole ones. */
static void
mark_words8(struct marker *m, const unsigned char *data, size_t size)
{
    const addr_t low = m->m_heap->heap_lowest;
    const addr_t extent = m->m_heap->heap_highest - low;
    for (const unsigned char *end = data + (size & ~(size_t)7); data < end; data += 8) {
        uint64_t value;
        memcpy(&value, data, sizeof(value));
        if (value - low < extent)
            mark_value(m, value);
    }
}

static void
mark_words4(struct marker *m, const unsigned char *data, size_t size)
{
    for (const unsigned char *end = data + (size & ~(size_t)3); data < end; data += 4) {
        uint32_t value;
        memcpy(&value, data, sizeof(value));
        mark_value(m, value);
    }
}

/* A range that begins with a whole word. */
static void
mark_data(struct marker *m, addr_t start, addr_t end)
{
    struct heap *h = m->m_heap;
    unsigned word = h->heap_offsets.off_word;

    while (start < end && end - start >= word) {
        size_t got;
        const void *data = reader_some(&h->heap_reader, start, (size_t)(end - start), &got);
        if (data == NULL || got < word) { /* a guard, or not in the core */
            start = reader_skip(&h->heap_reader, start);
            continue;
        }
        if (word == 8)
            mark_words8(m, data, got);
        else
            mark_words4(m, data, got);
        m->m_scanned += got;
        start += got & ~(size_t)(word - 1);
    }
}

static void
mark_range(struct marker *m, addr_t start, addr_t end)
{
    const struct heap *h = m->m_heap;
    const addr_t word = h->heap_offsets.off_word;
    addr_t stop;

    start = (start + word - 1) & ~(word - 1);
    for (; target_data(h->heap_target, start, end, &start, &stop); start = stop)
        mark_data(m, start, stop);
}

/* A block about to be scanned; its data is on the way to the processor's cache. */
struct ahead {
    addr_t ahd_start;
    size_t ahd_size;
    const unsigned char *ahd_data; /* NULL: large, or not in one piece */
};

static struct ahead
look_ahead(struct marker *m)
{
    struct block b = m->m_stack[--m->m_depth];
    struct ahead a = {.ahd_start = heap_block_addr(m->m_heap, b),
                      .ahd_size = heap_block_scan(m->m_heap, b)};
    if (a.ahd_size <= AHEAD_SIZE_MAX && a.ahd_start % sizeof(uint64_t) == 0)
        a.ahd_data = target_peek(m->m_heap->heap_target, a.ahd_start, a.ahd_size);
    for (size_t i = 0; a.ahd_data != NULL && i < a.ahd_size; i += CACHE_LINE)
        __builtin_prefetch(a.ahd_data + i);
    return a;
}

static void
scan_ahead(struct marker *m, const struct ahead *a)
{
    if (a->ahd_data == NULL) {
        mark_range(m, a->ahd_start, a->ahd_start + a->ahd_size);
        return;
    }
    if (m->m_heap->heap_offsets.off_word == 8)
        mark_words8(m, a->ahd_data, a->ahd_size);
    else
        mark_words4(m, a->ahd_data, a->ahd_size);
    m->m_scanned += a->ahd_size;
}

static void
tell_progress(struct marker *m)
{
    if (m->m_progress == NULL || m->m_scanned - m->m_told < TELL_EVERY)
        return;
    m->m_told = m->m_scanned;
    m->m_progress(m->m_progress_arg, m->m_scanned);
}

/* Blocks lie all over memory: some are fetched while others are scanned. */
static void
drain(struct marker *m)
{
    struct ahead ring[AHEAD];
    unsigned first = 0;
    unsigned count = 0;

    while (count > 0 || m->m_depth > 0) {
        while (count < AHEAD && m->m_depth > 0)
            ring[(first + count++) % AHEAD] = look_ahead(m);
        struct ahead a = ring[first];
        first = (first + 1) % AHEAD;
        count--;
        scan_ahead(m, &a);
        tell_progress(m);
    }
}

static void
mark_registers(struct marker *m)
{
    const struct thread *threads;
    size_t n = target_threads(m->m_heap->heap_target, &threads);
    for (size_t i = 0; i < n; i++) {
        if (!threads[i].thr_stopped)
            continue;
        const unsigned char *regs = (const unsigned char *)threads[i].thr_regs;
        size_t size = threads[i].thr_nregs * sizeof(threads[i].thr_regs[0]);
        if (m->m_heap->heap_offsets.off_word == 8)
            mark_words8(m, regs, size);
        else
            mark_words4(m, regs, size);
    }
}

void
marker_run(struct marker *m, const struct roots *roots)
{
    struct block b;
    target_find_zeroes(m->m_heap->heap_target);
    for (size_t i = 0; i < roots->stack_count; i++) /* held, but not scanned as a block */
        if (heap_find(m->m_heap, roots->stacks[i], &b))
            bit_clear(m->m_unreached, heap_block_number(m->m_heap, b));
    mark_registers(m);
    drain(m);
    for (size_t i = 0; i < roots->count; i++) {
        mark_range(m, roots->list[i].root_start, roots->list[i].root_end);
        drain(m);
    }
}

/* A range that begins with a whole word.  False: fn has had enough. */
static bool
scan_data(struct heap *h, addr_t start, addr_t end, scan_fn *fn, void *arg)
{
    unsigned word = h->heap_offsets.off_word;

    while (start < end && end - start >= word) {
        size_t got;
        const unsigned char *data =
            reader_some(&h->heap_reader, start, (size_t)(end - start), &got);
        if (data == NULL || got < word) {
            start = reader_skip(&h->heap_reader, start);
            continue;
        }
        for (size_t i = 0; i + word <= got; i += word) {
            uint64_t value = word_get(data + i, word);
            if (value - h->heap_lowest < h->heap_highest - h->heap_lowest &&
                !fn(arg, start + i, value))
                return false;
        }
        start += got & ~(size_t)(word - 1);
    }
    return true;
}

void
scan_words(struct heap *h, addr_t start, addr_t end, scan_fn *fn, void *arg)
{
    const addr_t word = h->heap_offsets.off_word;
    addr_t stop;

    start = (start + word - 1) & ~(word - 1);
    while (target_data(h->heap_target, start, end, &start, &stop) &&
           scan_data(h, start, stop, fn, arg))
        start = stop;
}
