/* SPDX-License-Identifier: MIT */
/*
 * copy.c - target_copy: takes a range of a live process into our memory, so
 * that it can run on while we look.
 *
 * Of anonymous and of shared memory only pages that exist are read (pages.c): the
 * others are zero, and reading them would make them exist in the process.  Copies
 * become segments, as a core has them; what cannot be read (guard regions) stays a
 * hole.
 */
#include "target/target_impl.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
/* Runs from here on get their pages at once; the size of a huge page, where there are any. */
#define POPULATE_MIN 65536
#define HUGE_PAGE ((uintptr_t)2 << 20)

struct copier {
    struct target *c_target;
    addr_t c_start; /* of the range */
    unsigned char *c_data;
    size_t c_page;
    addr_t c_run;    /* start of the segment that is being built */
    size_t c_copied; /* bytes held */
};

/* Ends the segment before a hole that reaches to next. */
static void
end_run(struct copier *c, addr_t hole, addr_t next)
{
    target_add_segment(c->c_target, c->c_run, hole, c->c_data + (c->c_run - c->c_start));
    c->c_run = next;
}

/*
 * Makes our pages for a run that exists in the process: one fault a page would
 * cost more than the copying.
 */
static void
make_pages(const struct copier *c, addr_t start, addr_t end)
{
    uintptr_t low = (uintptr_t)(c->c_data + (start - c->c_start));
    uintptr_t high = low + (uintptr_t)(end - start);
    uintptr_t huge_low = (low + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1);
    uintptr_t huge_high = high & ~(uintptr_t)(HUGE_PAGE - 1);
    if (end - start < POPULATE_MIN)
        return;
    /* Both are advice: where the kernel does not know them, pages come by faults. */
    if (huge_low < huge_high)
        madvise((void *)huge_low, huge_high - huge_low, MADV_HUGEPAGE);
    madvise((void *)low, high - low, MADV_POPULATE_WRITE);
}

static void
copy_pages(struct copier *c, addr_t start, addr_t end)
{
    make_pages(c, start, end);
    while (start < end) {
        size_t n =
            live_read(c->c_target, start, c->c_data + (start - c->c_start), (size_t)(end - start));
        c->c_copied += n;
        start += n;
        if (start == end)
            break;
        /* A hole: its page, whole, for a partial page is none that we know. */
        addr_t hole = start & ~(addr_t)(c->c_page - 1);
        end_run(c, hole, hole + c->c_page);
        start = hole + c->c_page;
    }
}

static void
copy_run(void *arg, addr_t start, addr_t end, enum page kind)
{
    struct copier *c = arg;

    if (kind == PAGE_READ)
        copy_pages(c, start, end);
    else if (kind == PAGE_HOLE)
        end_run(c, start, end);
    else if (kind == PAGE_ZERO)
        zeroes_add(c->c_target, start, end);
}

size_t
target_copy(struct target *t, addr_t start, addr_t end)
{
    struct copier c = {.c_target = t, .c_page = (size_t)sysconf(_SC_PAGESIZE)};
    start &= ~(addr_t)(c.c_page - 1);
    end = (end + c.c_page - 1) & ~(addr_t)(c.c_page - 1);
    if (!t->t_live || start >= end || target_peek(t, start, 1) != NULL)
        return 0;
    void *data = mmap(NULL, (size_t)(end - start), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED)
        return 0;
    t->t_copies = target_grow(t->t_copies, t->t_copy_count, sizeof(struct copy));
    t->t_copies[t->t_copy_count++] = (struct copy){data, (size_t)(end - start)};
    /* A page of a private file mapping that was not touched yet holds what the file does. */
    const struct mapping *map = target_mapping_of(t, start);
    enum page_rule rule = map != NULL && map->map_end >= end ? pages_rule(map) : PAGES_MODIFIED;
    c.c_start = c.c_run = start;
    c.c_data = data;
    /* Ranges mostly come by address; then nothing has to be sorted. */
    size_t before = t->t_segment_count;
    bool sorted = before == 0 || t->t_segments[before - 1].seg_end <= start;
    if (rule != PAGES_MODIFIED)
        pages_walk(t, start, end, rule, copy_run, &c);
    else
        copy_pages(&c, start, end);
    end_run(&c, end, end);
    if (!sorted) {
        target_sort_segments(t);
        zeroes_sort(t);
    }
    return c.c_copied;
}
