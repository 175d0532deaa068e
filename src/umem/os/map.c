/* SPDX-License-Identifier: MIT */
/*
 * map.c - pages: map, unmap, protect, purge, name.
 *
 * Owns no state but the page size.  Every call may be made by any thread, and
 * every system call is told to the thread's watcher (watch.h).
 */
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "os/os.h"
#include "os/watch.h"

/* Linux 5.14; older kernels answer EINVAL. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Linux 5.17; older headers lack them, older kernels answer EINVAL. */
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

/*
 * Up to here zeroes are written: 24 to 100 us for 1 MiB that is resident, where
 * fresh pages take 30 to give the old ones back and 290 when they are touched.
 * Larger blocks are more often used sparsely, and would stay resident whole.
 */
#define ZERO_WRITE_MAX ((size_t)16 << 20)

/* Where the auxiliary vector has no AT_PAGESZ (it always has on Linux). */
#define FALLBACK_PAGE_SIZE 4096

size_t
os_page_size(void)
{
    static _Atomic size_t page_size;
    size_t size = atomic_load_explicit(&page_size, memory_order_relaxed);

    if (UMEM_UNLIKELY(size == 0)) {
        size = getauxval(AT_PAGESZ);
        if (size == 0)
            size = FALLBACK_PAGE_SIZE;
        atomic_store_explicit(&page_size, size, memory_order_relaxed);
    }
    return size;
}

/*
 * mmap() of anonymous memory, NULL where it fails: with EAGAIN, or with ENOMEM
 * for whatever else it has against it (a filter of system calls says EPERM),
 * since that is what an allocation fails with.
 */
static void *
map_anonymous(void *addr, size_t size, int protection, int flags)
{
    os_watch_syscall();
    void *mapped = mmap(addr, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

    if (mapped != MAP_FAILED)
        return mapped;
    if (errno != EAGAIN)
        errno = ENOMEM;
    return NULL;
}

int
os_unmap(void *addr, size_t size)
{
    os_watch_syscall();
    return munmap(addr, size);
}

void *
os_reserve(size_t size, size_t align)
{
    size_t padded = size + align - os_page_size();
    if (padded < size) {
        errno = ENOMEM;
        return NULL;
    }
    /* Too large, and both ends are cut off. */
    char *addr = map_anonymous(NULL, padded, PROT_NONE, MAP_NORESERVE);
    if (addr == NULL)
        return NULL;

    char *base = (char *)umem_align_up((uintptr_t)addr, align);
    size_t before = (size_t)(base - addr);
    size_t after = padded - before - size;
    if (before > 0)
        (void)os_unmap(addr, before);
    if (after > 0)
        (void)os_unmap(base + size, after);
    return base;
}

/* Inaccessible while too large, so that a memlock limit counts only what is kept populated. */
static void *
map_trimmed(size_t size, size_t align)
{
    void *base = os_reserve(size, align);

    if (base == NULL)
        return NULL;
    /* A fixed map over it, not mprotect(): only that populates under MCL_FUTURE. */
    if (map_anonymous(base, size, PROT_READ | PROT_WRITE, MAP_FIXED) == NULL) {
        int error = errno;
        (void)os_unmap(base, size);
        errno = error;
        return NULL;
    }
    return base;
}

void *
os_map(size_t size, size_t align)
{
    void *addr = map_anonymous(NULL, size, PROT_READ | PROT_WRITE, 0);

    /* The kernel places maps downward, one under the other: mostly aligned already. */
    if (addr == NULL || ((uintptr_t)addr & (align - 1)) == 0)
        return addr;
    (void)os_unmap(addr, size);
    return map_trimmed(size, align);
}

UMEM_COLD int
os_protect(void *addr, size_t size, bool accessible)
{
    os_watch_syscall();
    return mprotect(addr, size, accessible ? PROT_READ | PROT_WRITE : PROT_NONE);
}

bool
os_move(void *from, size_t from_size, void *to, size_t to_size)
{
    int saved = errno;

    os_watch_syscall();
    void *moved = mremap(from, from_size, to_size, MREMAP_MAYMOVE | MREMAP_FIXED, to);

    errno = saved;
    return moved == to;
}

int
os_purge(void *addr, size_t size)
{
    int saved = errno;

    os_watch_syscall();
    int result = madvise(addr, size, MADV_DONTNEED); /* EINVAL on locked memory */

    errno = saved;
    return result;
}

/* What the advice does, page by page; an atomic operation, since another thread may write there. */
static void
touch(char *first, const char *last)
{
    for (char *p = first; p < last; p += os_page_size())
        (void)__atomic_fetch_or(p, 0, __ATOMIC_RELAXED);
}

UMEM_COLD int
os_populate(void *addr, size_t size, bool accessible)
{
    int saved = errno, result;
    char *first = (char *)umem_align_down((uintptr_t)addr, os_page_size());
    char *last = (char *)umem_align_up((uintptr_t)addr + size, os_page_size());

    do {
        os_watch_syscall();
        result = madvise(first, (size_t)(last - first), MADV_POPULATE_WRITE);
    } while (result != 0 && (errno == EINTR || errno == EAGAIN));
    /* EINVAL, or what a filter of system calls chose: there is no such advice here. */
    if (result != 0 && accessible && (errno == EINVAL || errno == ENOSYS || errno == EPERM)) {
        touch(first, last);
        result = 0;
    }
    errno = result == 0 ? saved : ENOMEM;
    return result;
}

void
os_zero(void *addr, size_t size)
{
    char *first = (char *)umem_align_up((uintptr_t)addr, os_page_size());
    char *last = (char *)umem_align_down((uintptr_t)addr + size, os_page_size());

    /* Refused on locked memory, where fresh pages would mean faults: write there. */
    if (size <= ZERO_WRITE_MAX || first >= last || os_purge(first, (size_t)(last - first)) != 0) {
        memset(addr, 0, size);
        return;
    }
    memset(addr, 0, (size_t)(first - (char *)addr));
    memset(last, 0, (size_t)((char *)addr + size - last));
}

void
os_name(void *addr, size_t size, const char *name)
{
    int saved = errno;

    os_watch_syscall();
    (void)prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, (unsigned long)(uintptr_t)addr, size, name);
    errno = saved;
}
