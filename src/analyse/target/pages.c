/* SPDX-License-Identifier: MIT */
/*
 * pages.c - which pages of a live process exist, are guards, or are a file's,
 * by /proc/PID/pagemap; so that nothing is read that need not be.  And how many
 * page faults the process took.
 *
 * Of shared memory the page map says nothing: a page that this process has not
 * touched may be another's.  Its file knows, which all shared memory has; to read
 * a hole would make the page exist for good.
 */
#include "target/target_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bits of a pagemap entry (Documentation/admin-guide/mm/pagemap.rst). */
#define PAGEMAP_PRESENT (1ULL << 63)
#define PAGEMAP_SWAPPED (1ULL << 62)
#define PAGEMAP_FILE (1ULL << 61) /* or shared: not the process's own copy */
#define PAGEMAP_GUARD (1ULL << 58)
/* Entries read at once: 32 KiB of them tell of 16 MiB. */
#define PAGEMAP_BATCH 4096

enum page_rule
pages_rule(const struct mapping *map)
{
    if ((map->map_flags & MAPPING_PRIVATE) == 0)
        return PAGES_SHARED;
    return (map->map_flags & MAPPING_ANONYMOUS) != 0 ? PAGES_SPARSE : PAGES_MODIFIED;
}

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

/* --- Holes of shared memory --- */

/* A file by its name, where that is the one; not a device, which may mind being opened. */
static int
open_regular(const char *path, uint64_t inode)
{
    struct stat st;
    char again[64];
    int fd = -1;
    int place = open(path, O_PATH | O_CLOEXEC);
    if (place < 0)
        return -1;
    snprintf(again, sizeof(again), "/proc/self/fd/%d", place);
    if (fstat(place, &st) == 0 && S_ISREG(st.st_mode) && st.st_ino == inode)
        fd = open(again, O_RDONLY | O_CLOEXEC);
    close(place);
    return fd;
}

/* The file of a shared mapping; map_files takes privileges, a name does not. */
static int
open_shared(const struct target *t, const struct mapping *map)
{
    char path[64 + PATH_MAX];
    snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", (int)t->t_mem_pid,
             (unsigned long long)map->map_start, (unsigned long long)map->map_end);
    int fd = open_regular(path, map->map_inode);
    if (fd >= 0 || map->map_name[0] != '/')
        return fd;
    snprintf(path, sizeof(path), "/proc/%d/root%s", (int)t->t_mem_pid, map->map_name);
    return open_regular(path, map->map_inode);
}

static void
walk_holes(int fd, const struct mapping *map, addr_t start, addr_t end, pages_fn *fn, void *arg)
{
    const off_t shift = (off_t)(map->map_offset - map->map_start);
    while (start < end) {
        off_t data = lseek(fd, (off_t)start + shift, SEEK_DATA);
        addr_t stop = data < 0 || (addr_t)(data - shift) > end ? end : (addr_t)(data - shift);
        if (data < 0 && errno != ENXIO) { /* ENXIO: there is none behind */
            fn(arg, start, end, PAGE_READ);
            return;
        }
        if (stop > start)
            fn(arg, start, stop, PAGE_ZERO);
        if (stop == end)
            return;
        start = stop;
        off_t hole = lseek(fd, (off_t)start + shift, SEEK_HOLE);
        stop = hole <= (off_t)start + shift || (addr_t)(hole - shift) > end
                   ? end
                   : (addr_t)(hole - shift);
        fn(arg, start, stop, PAGE_READ);
        start = stop;
    }
}

static void
walk_shared(struct target *t, addr_t start, addr_t end, pages_fn *fn, void *arg)
{
    const struct mapping *map = target_mapping_of(t, start);
    int fd = map != NULL && end <= map->map_end ? open_shared(t, map) : -1;
    if (fd < 0) {
        fn(arg, start, end, PAGE_READ);
        return;
    }
    walk_holes(fd, map, start, end, fn, arg);
    close(fd);
}

void
pages_walk(struct target *t, addr_t start, addr_t end, enum page_rule rule, pages_fn *fn, void *arg)
{
    uint64_t entries[PAGEMAP_BATCH];
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int fd = pagemap_of(t);

    if (rule == PAGES_SHARED) {
        walk_shared(t, start, end, fn, arg);
        return;
    }
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
