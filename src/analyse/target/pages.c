/* SPDX-License-Identifier: MIT */
/*
 * pages.c - which pages of a live process exist, are guards, or are a file's,
 * by /proc/PID/pagemap; so that nothing is read that need not be.
 */
#include "target/target_impl.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* Bits of a pagemap entry (Documentation/admin-guide/mm/pagemap.rst). */
#define PAGEMAP_PRESENT (1ULL << 63)
#define PAGEMAP_SWAPPED (1ULL << 62)
#define PAGEMAP_FILE (1ULL << 61) /* or shared: not the process's own copy */
#define PAGEMAP_GUARD (1ULL << 58)
/* Entries read at once: 32 KiB of them tell of 16 MiB. */
#define PAGEMAP_BATCH 4096

static enum page
page_kind(uint64_t entry, enum page_rule rule)
{
    bool exists = (entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)) != 0;

    if ((entry & PAGEMAP_GUARD) != 0)
        return PAGE_HOLE;
    switch (rule) {
    case PAGES_SPARSE:
        return exists ? PAGE_READ : PAGE_ZERO;
    case PAGES_MODIFIED:
        return exists && (entry & PAGEMAP_FILE) == 0 ? PAGE_READ : PAGE_FILE;
    default:
        return PAGE_READ;
    }
}

static int
pagemap_of(struct target *t)
{
    char path[64];
    if (!t->t_pagemap_tried) {
        t->t_pagemap_tried = true;
        snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)t->t_mem_pid);
        t->t_pagemap_fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    return t->t_pagemap_fd;
}

/* Entries from addr on, as many as can be had; 0: none. */
static size_t
read_entries(int fd, addr_t addr, size_t count, size_t page, uint64_t *entries)
{
    if (count > PAGEMAP_BATCH)
        count = PAGEMAP_BATCH;
    ssize_t got = fd < 0 ? -1
                         : pread(fd, entries, count * sizeof(entries[0]),
                                 (off_t)(addr / page * sizeof(entries[0])));
    return got < 0 ? 0 : (size_t)got / sizeof(entries[0]);
}

void
pages_walk(struct target *t, addr_t start, addr_t end, enum page_rule rule, pages_fn *fn, void *arg)
{
    uint64_t entries[PAGEMAP_BATCH];
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int fd = pagemap_of(t);

    while (start < end) {
        size_t count = read_entries(fd, start, (size_t)((end - start) / page), page, entries);
        if (count == 0) { /* nobody says */
            fn(arg, start, end, rule == PAGES_MODIFIED ? PAGE_FILE : PAGE_READ);
            return;
        }
        for (size_t i = 0, n; i < count; i += n) {
            enum page kind = page_kind(entries[i], rule);
            for (n = 1; i + n < count && page_kind(entries[i + n], rule) == kind;)
                n++;
            fn(arg, start + i * page, start + (i + n) * page, kind);
        }
        start += count * page;
    }
}
