/* SPDX-License-Identifier: MIT */
/*
 * pages.c - which pages of a live process exist, are guards, or are a file's,
 * by /proc/PID/pagemap; so that nothing is read that need not be.  And how many
 * page faults the process took.
 */
#include "target/target_impl.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
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

static void
note_first(void *arg, addr_t start, addr_t end, enum page kind)
{
    addr_t *first = arg;
    (void)end;
    if (kind == PAGE_READ && start < *first)
        *first = start;
}

addr_t
target_first_page(struct target *t, addr_t start, addr_t end)
{
    addr_t first = end;
    if (!t->t_live)
        return start;
    pages_walk(t, start, end, PAGES_SPARSE, note_first, &first);
    return first;
}

/* In /proc/PID/stat, behind the command's name, which may hold anything. */
#define STAT_FAULTS " %*c %*d %*d %*d %*d %*d %*u %" SCNu64 " %*u %" SCNu64

bool
target_faults(const struct target *t, uint64_t *faults)
{
    char path[64], line[1024];
    uint64_t minor = 0, major = 0;
    bool found = false;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)t->t_pid);
    FILE *f = t->t_live ? fopen(path, "re") : NULL;
    if (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        const char *end = strrchr(line, ')');
        found = end != NULL && sscanf(end + 1, STAT_FAULTS, &minor, &major) == 2;
    }
    if (f != NULL)
        fclose(f);
    *faults = minor + major;
    return found;
}
