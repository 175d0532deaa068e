/* SPDX-License-Identifier: MIT */
/*
 * guard.c - inaccessible pages: see guard.h.
 *
 * State: what the kernel can do, asked once; how many parts are open by
 * mprotect(), and how many may be.
 */
#include "os/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/os.h"
#include "os/watch.h"

/* Linux 6.13; older kernels answer EINVAL. */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif
/* Linux 5.14: refuses to populate a guard page with EFAULT. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

/* Where /proc is not there: the kernel's default. */
#define MAP_COUNT_DEFAULT 65530
/* An open part is two mappings (itself and what is closed behind it), and half of all is ours. */
#define MAP_COUNT_SHARE 4

enum lightness { UNKNOWN, LIGHT, HEAVY };

static _Atomic uint32_t lightness;
static _Atomic size_t heavy_open; /* parts that are open by mprotect() */
static _Atomic size_t heavy_max;  /* as many may be; 0: not asked yet */

/* madvise() until nothing interrupts it.  -1 with errno. */
static int
advise(void *addr, size_t size, int advice)
{
    int result;

    os_watch_syscall();
    do
        result = madvise(addr, size, advice);
    while (result != 0 && (errno == EINTR || errno == EAGAIN));
    return result;
}

/*
 * By the effect, not by the answer: emulators answer 0 to advice that they do
 * not know, and filters of system calls what they like.
 */
static UMEM_COLD bool
probe(void)
{
    size_t size = os_page_size();
    void *page = os_map(size, size);

    if (page == NULL)
        return false;
    bool works = advise(page, size, MADV_GUARD_INSTALL) == 0 &&
                 advise(page, size, MADV_POPULATE_READ) != 0 && errno == EFAULT &&
                 advise(page, size, MADV_GUARD_REMOVE) == 0;
    (void)os_unmap(page, size);
    return works;
}

bool
os_guard_is_light(void)
{
    uint32_t known = atomic_load_explicit(&lightness, memory_order_relaxed);

    if (UMEM_UNLIKELY(known == UNKNOWN)) {
        int saved = errno;
        known = probe() ? LIGHT : HEAVY;
        atomic_store_explicit(&lightness, known, memory_order_relaxed);
        errno = saved;
    }
    return known == LIGHT;
}

static UMEM_COLD size_t
read_map_count(void)
{
    char text[24];
    size_t count = 0;
    int fd = open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return MAP_COUNT_DEFAULT;
    ssize_t n = read(fd, text, sizeof(text));
    (void)close(fd);
    for (ssize_t i = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++)
        count = count * 10 + (size_t)(text[i] - '0');
    return count != 0 ? count : MAP_COUNT_DEFAULT;
}

/* Counts a part that is to be opened by mprotect().  False: there are too many. */
static bool
take_heavy(void)
{
    size_t max = atomic_load_explicit(&heavy_max, memory_order_relaxed);

    if (UMEM_UNLIKELY(max == 0)) {
        max = umem_max(read_map_count() / MAP_COUNT_SHARE, 1);
        atomic_store_explicit(&heavy_max, max, memory_order_relaxed);
    }
    if (atomic_fetch_add_explicit(&heavy_open, 1, memory_order_relaxed) < max)
        return true;
    atomic_fetch_sub_explicit(&heavy_open, 1, memory_order_relaxed);
    return false;
}

static void
give_heavy(void)
{
    /* Parts that were opened lightly, in memory that was locked later, were not counted. */
    size_t open = atomic_load_explicit(&heavy_open, memory_order_relaxed);

    while (open != 0 &&
           !atomic_compare_exchange_weak_explicit(&heavy_open, &open, open - 1,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

int
os_guard_init(void *addr, size_t size, _Atomic bool *heavy)
{
    int saved = errno;

    atomic_store_explicit(heavy, false, memory_order_relaxed);
    if (os_guard_is_light() && advise(addr, size, MADV_GUARD_INSTALL) == 0)
        return 0;
    atomic_store_explicit(heavy, true, memory_order_relaxed);
    if (os_protect(addr, size, false) != 0)
        return -1;
    (void)os_purge(addr, size);
    errno = saved;
    return 0;
}

void
os_guard_fini(void *addr, size_t size, _Atomic bool *heavy)
{
    int saved = errno;

    if (os_guard_is_light())
        (void)advise(addr, size, MADV_GUARD_REMOVE);
    if (atomic_load_explicit(heavy, memory_order_relaxed))
        (void)os_protect(addr, size, true);
    errno = saved;
}

int
os_guard_open(void *addr, size_t size, _Atomic bool *heavy)
{
    int saved = errno;

    /* A range that became heavy has parts that were closed lightly. */
    if (os_guard_is_light() && advise(addr, size, MADV_GUARD_REMOVE) != 0) {
        errno = EPERM; /* whatever a filter of system calls answers by now */
        return -1;
    }
    if (atomic_load_explicit(heavy, memory_order_relaxed)) {
        bool counted = take_heavy();
        if (!counted || os_protect(addr, size, true) != 0) {
            if (counted)
                give_heavy();
            errno = ENOMEM;
            return -1;
        }
    }
    errno = saved;
    return 0;
}

void
os_guard_close(void *addr, size_t size, _Atomic bool *heavy)
{
    int saved = errno;
    bool was_heavy = atomic_load_explicit(heavy, memory_order_relaxed);

    if (was_heavy || advise(addr, size, MADV_GUARD_INSTALL) != 0) {
        /* Locked meanwhile, perhaps: from here on the range is heavy. */
        atomic_store_explicit(heavy, true, memory_order_relaxed);
        (void)os_protect(addr, size, false);
        (void)os_purge(addr, size);
        give_heavy();
    }
    errno = saved;
}
