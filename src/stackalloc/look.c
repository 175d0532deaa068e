/* SPDX-License-Identifier: MIT */
/*
 * look.c - what the kernel knows of pages: see look.h.
 *
 * Makes system calls.  Owns what was read once of the system.  No locks.
 */
#include "look.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "page.h"
#include "tools.h"

/* The values are ABI; the names are younger than the oldest headers we build with. */
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
#ifndef PR_SET_VMA_ANON_NAME
#define PR_SET_VMA_ANON_NAME 0
#endif

void
look_name(void *addr, size_t size, const char *name)
{
    int error = errno;
    /* Not known before 5.17, nor without CONFIG_ANON_VMA_NAME: then there is no name. */
    (void)prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, addr, size, name);
    errno = error;
}

#define PAGEMAP_TOUCHED ((uint64_t)3 << 62) /* present, or swapped out */
/* Entries, or bytes of mincore(), read at once: little, as this runs on alternate stacks. */
#define LOOK_CHUNK 64

/* How many of the pages from addr on are untouched; -1 where /proc has no answer. */
static ssize_t
pagemap_untouched(int fd, const char *addr, size_t pages)
{
    uint64_t entries[LOOK_CHUNK];
    size_t n = 0;
    while (n < pages) {
        size_t want = pages - n < LOOK_CHUNK ? pages - n : LOOK_CHUNK;
        off_t offset = (off_t)(((uintptr_t)addr / page_size() + n) * sizeof(entries[0]));
        if (pread(fd, entries, want * sizeof(entries[0]), offset) !=
            (ssize_t)(want * sizeof(entries[0])))
            return -1;
        for (size_t i = 0; i < want; i++, n++)
            if (entries[i] & PAGEMAP_TOUCHED)
                return (ssize_t)n;
    }
    return (ssize_t)n;
}

size_t
look_untouched(const void *addr, size_t size)
{
    int error = errno;
    ssize_t pages = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        pages = pagemap_untouched(fd, addr, size / page_size());
        close(fd);
    }
    errno = error;
    return pages > 0 ? (size_t)pages * page_size() : 0;
}

size_t
look_resident(const void *addr, size_t size)
{
    unsigned char there[LOOK_CHUNK];
    size_t page = page_size(), resident = 0;
    for (size_t offset = 0; offset < size; offset += LOOK_CHUNK * page) {
        size_t pages = (size - offset) / page < LOOK_CHUNK ? (size - offset) / page : LOOK_CHUNK;
        if (mincore((char *)(uintptr_t)addr + offset, pages * page, there) != 0)
            continue; /* Unmapped meanwhile. */
        for (size_t i = 0; i < pages; i++)
            resident += (there[i] & 1) * page;
    }
    return resident;
}

/* By POSIX: MS_INVALIDATE fails with EBUSY on locked memory.  Nothing else happens to ours. */
bool
look_locked(const void *addr, size_t size)
{
    tools_quiet(); /* it may be closed */
    bool locked =
        msync((void *)(uintptr_t)addr, size, MS_ASYNC | MS_INVALIDATE) != 0 && errno == EBUSY;
    tools_heed();
    return locked;
}

/* The start of each mapping is the hexadecimal number that a line begins with. */
size_t
look_mappings(bool (*ours)(uintptr_t start))
{
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    char text[1024];
    size_t count = 0;
    uintptr_t start = 0;
    bool in_start = true;
    for (ssize_t n; (n = read(fd, text, sizeof(text))) > 0;)
        for (ssize_t i = 0; i < n; i++) {
            char c = text[i];
            if (c == '\n') {
                start = 0;
                in_start = true;
            } else if (in_start && c == '-') {
                count += ours(start);
                in_start = false;
            } else if (in_start)
                start = start << 4 | (uintptr_t)(c <= '9' ? c - '0' : c - 'a' + 10);
        }
    close(fd);
    return count;
}

/* What a small file of the system's holds, as a string; empty where it cannot be read. */
static void
read_file(const char *path, char *text, size_t size)
{
    ssize_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        n = read(fd, text, size - 1);
        close(fd);
    }
    text[n > 0 ? n : 0] = 0;
}

static size_t
read_number(const char *path)
{
    char text[24];
    size_t number = 0;
    read_file(path, text, sizeof(text));
    for (const char *c = text; *c >= '0' && *c <= '9'; c++)
        number = number * 10 + (size_t)(*c - '0');
    return number;
}

/* How a value that is looked for once is kept: so that 0 can be one, too. */
static size_t
kept(_Atomic size_t *cached, size_t (*read_it)(void))
{
    size_t known = atomic_load_explicit(cached, memory_order_relaxed);
    if (known == 0) {
        int error = errno;
        size_t found = read_it() + 1;
        errno = error;
        /* Of several threads all get what the first one found. */
        if (atomic_compare_exchange_strong(cached, &known, found))
            known = found;
    }
    return known - 1;
}

#define MAPPINGS_LIMIT_USUAL 65530

static size_t
read_mappings_limit(void)
{
    size_t limit = read_number("/proc/sys/vm/max_map_count");
    return limit != 0 ? limit : MAPPINGS_LIMIT_USUAL;
}

size_t
look_mappings_limit(void)
{
    static _Atomic size_t cached;
    return kept(&cached, read_mappings_limit);
}

#define HUGE_PAGES "/sys/kernel/mm/transparent_hugepage/"

static size_t
read_huge_page(void)
{
    char text[64];
    read_file(HUGE_PAGES "enabled", text, sizeof(text));
    if (strstr(text, "[always]") == NULL && strstr(text, "[madvise]") == NULL)
        return 0;
    return prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 0 ? read_number(HUGE_PAGES "hpage_pmd_size")
                                                      : 0;
}

size_t
look_huge_page(void)
{
    static _Atomic size_t cached;
    return kept(&cached, read_huge_page);
}
