/* SPDX-License-Identifier: MIT */
/*
 * copy.c - target_copy: takes a range of a live process into our memory, so
 * that it can run on while we look.
 *
 * Of anonymous memory only pages that exist are read (/proc/PID/pagemap): the
 * others are zero, and reading them would make them exist in the process.  Copies become segments,
 * as a core has them; what cannot be read (guard regions) stays a hole.
 */
#include "target/target_impl.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Bits of a pagemap entry (Documentation/admin-guide/mm/pagemap.rst). */
#define PAGEMAP_PRESENT (1ULL << 63)
#define PAGEMAP_SWAPPED (1ULL << 62)
#define PAGEMAP_GUARD (1ULL << 58)
/* Entries read at once: 32 KiB of them tell of 16 MiB. */
#define PAGEMAP_BATCH 4096

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
/* Runs from here on get their pages at once; the size of a huge page, where there are any. */
#define POPULATE_MIN 65536
#define HUGE_PAGE ((uintptr_t)2 << 20)

enum page { PAGE_ZERO, PAGE_READ, PAGE_HOLE };

struct copier {
    struct target *c_target;
    addr_t c_start; /* of the range */
    unsigned char *c_data;
    int c_pagemap; /* -1: not readable, every page is read */
    size_t c_page;
    addr_t c_run;    /* start of the segment that is being built */
    size_t c_copied; /* bytes held */
};

static enum page
page_kind(uint64_t entry)
{
    if ((entry & PAGEMAP_GUARD) != 0)
        return PAGE_HOLE;
    return (entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)) != 0 ? PAGE_READ : PAGE_ZERO;
}

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

/* Pages from addr on of one kind; how many of count. */
static size_t
same_kind(const uint64_t *entries, size_t count)
{
    size_t n = 1;
    while (n < count && page_kind(entries[n]) == page_kind(entries[0]))
        n++;
    return n;
}

static void
copy_batch(struct copier *c, const uint64_t *entries, size_t count, addr_t addr)
{
    for (size_t i = 0; i < count;) {
        size_t n = same_kind(entries + i, count - i);
        addr_t start = addr + i * c->c_page;
        addr_t end = start + n * c->c_page;
        if (page_kind(entries[i]) == PAGE_READ)
            copy_pages(c, start, end);
        else if (page_kind(entries[i]) == PAGE_HOLE)
            end_run(c, start, end);
        i += n;
    }
}

static void
copy_range(struct copier *c, addr_t end)
{
    uint64_t entries[PAGEMAP_BATCH];
    addr_t addr = c->c_start;
    while (addr < end) {
        size_t count = (size_t)((end - addr) / c->c_page);
        if (count > PAGEMAP_BATCH)
            count = PAGEMAP_BATCH;
        ssize_t got = c->c_pagemap < 0 ? -1
                                       : pread(c->c_pagemap, entries, count * sizeof(entries[0]),
                                               (off_t)(addr / c->c_page * sizeof(entries[0])));
        if (got < (ssize_t)sizeof(entries[0])) {
            copy_pages(c, addr, end);
            return;
        }
        count = (size_t)got / sizeof(entries[0]);
        copy_batch(c, entries, count, addr);
        addr += count * c->c_page;
    }
}

static int
pagemap_of(struct target *t)
{
    char path[64];
    if (!t->t_pagemap_tried) {
        t->t_pagemap_tried = true;
        snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)t->t_pid);
        t->t_pagemap_fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    return t->t_pagemap_fd;
}

size_t
target_copy(struct target *t, addr_t start, addr_t end)
{
    struct copier c = {.c_target = t, .c_page = (size_t)sysconf(_SC_PAGESIZE)};
    start &= ~(addr_t)(c.c_page - 1);
    end = (end + c.c_page - 1) & ~(addr_t)(c.c_page - 1);
    if (!t->t_live || start >= end)
        return 0;
    void *data = mmap(NULL, (size_t)(end - start), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED)
        return 0;
    t->t_copies = target_grow(t->t_copies, t->t_copy_count, sizeof(struct copy));
    t->t_copies[t->t_copy_count++] = (struct copy){data, (size_t)(end - start)};
    /* A page of a file that was not touched yet holds what the file does, not zeroes. */
    const unsigned zeroed = MAPPING_ANONYMOUS | MAPPING_PRIVATE;
    const struct mapping *map = target_mapping_of(t, start);
    bool sparse = map != NULL && map->map_end >= end && (map->map_flags & zeroed) == zeroed;
    c.c_pagemap = sparse ? pagemap_of(t) : -1;
    c.c_start = c.c_run = start;
    c.c_data = data;
    /* Ranges mostly come by address; then nothing has to be sorted. */
    size_t before = t->t_segment_count;
    bool sorted = before == 0 || t->t_segments[before - 1].seg_end <= start;
    copy_range(&c, end);
    end_run(&c, end, end);
    if (!sorted)
        target_sort_segments(t);
    return c.c_copied;
}
