/* SPDX-License-Identifier: MIT */
/*
 * page.c - the system calls of the stack library: see page.h.
 *
 * The delicate part is mlockall(MCL_FUTURE).  A mapping made under it is
 * locked, populated and charged against RLIMIT_MEMLOCK at once, guards and
 * all, and one made before it is not locked when it is opened later.  So:
 * address space is reserved past that rule (page_reserve), and whether the
 * rule is in force is asked when a stack is built (page_locking).
 * Owns the cached page size, and what was last seen of that rule, by anybody and by
 * each thread.  No locks.
 */
#include "page.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <unistd.h>

#include "look.h"
#include "stack.h"

/* The values are ABI; the names are younger than the oldest headers we build with. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
/* PIDFD_SELF_THREAD_GROUP of <linux/pidfd.h>: in place of a descriptor, the process itself. */
#define PIDFD_SELF_PROCESS (-10001)

#define RESERVE_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

size_t
page_size(void)
{
    static _Atomic size_t cached;
    size_t size = atomic_load_explicit(&cached, memory_order_relaxed);
    if (size == 0) {
        size = (size_t)sysconf(_SC_PAGESIZE);
        atomic_store_explicit(&cached, size, memory_order_relaxed);
    }
    return size;
}

/* Only two errors leave this file. */
static void
map_errno(void)
{
    if (errno != EAGAIN)
        errno = ENOMEM;
}

/*
 * Whether MCL_FUTURE was in force when last looked at.  No answer, only which of
 * two ways to go first.
 */
static _Atomic bool locking_seen;

static bool
is_locked(void *page)
{
    bool locked = look_locked(page, page_size());
    atomic_store_explicit(&locking_seen, locked, memory_order_relaxed);
    return locked;
}

/*
 * It was found not to be in force by the allocation that the thread is at.  So the stack for which
 * a span was reserved need not ask again.
 */
static STACK_TLS bool unlocked_now;

void
page_locking_forget(void)
{
    unlocked_now = false;
}

/* One call, where MCL_FUTURE is not in force.  NULL: it is, or there is no room. */
static void *
reserve_plain(size_t size)
{
    if (atomic_load_explicit(&locking_seen, memory_order_relaxed))
        return NULL;
    void *addr = mmap(NULL, size, PROT_NONE, RESERVE_FLAGS, -1, 0);
    if (addr == MAP_FAILED)
        return NULL;
    unlocked_now = !is_locked(addr);
    if (unlocked_now)
        return addr;
    munmap(addr, size);
    return NULL;
}

/*
 * Under MCL_FUTURE mmap() charges all of size as locked, guards and
 * unused parts too, and fails beyond RLIMIT_MEMLOCK.  But mremap() grows a
 * mapping with the flags it has: one page, unlocked, then grown, is free of
 * that charge at any size.
 */
void *
page_reserve(size_t size)
{
    void *addr = reserve_plain(size);
    if (addr != NULL)
        return addr;
    size_t page = page_size();
    void *seed = mmap(NULL, page, PROT_NONE, RESERVE_FLAGS, -1, 0);
    if (seed == MAP_FAILED) {
        map_errno();
        return NULL;
    }
    addr = MAP_FAILED;
    if (munlock(seed, page) == 0)
        addr = mremap(seed, page, size, MREMAP_MAYMOVE);
    if (addr != MAP_FAILED)
        return addr;
    /* Close to vm.max_map_count mremap() moves nothing, and mmap() maps. */
    int error = errno;
    munmap(seed, page);
    addr = mmap(NULL, size, PROT_NONE, RESERVE_FLAGS, -1, 0);
    if (addr == MAP_FAILED) {
        errno = error;
        map_errno();
        return NULL;
    }
    munlock(addr, size);
    return addr;
}

int
page_guard(void *addr, size_t size)
{
    if (madvise(addr, size, MADV_GUARD_INSTALL) != 0) {
        errno = ENOMEM;
        return -1;
    }
    return 0;
}

/* Ranges told in one call: 1 KiB of the caller's stack, and 16 bytes of 1 us of work each. */
#define GUARDS_AT_ONCE 64

/* Marks what it can, ranges from the front, by calls for many: the number of ranges done. */
static size_t
guard_batches(char *first, size_t size, size_t stride, size_t count)
{
    size_t done = 0;
#ifdef SYS_process_madvise
    struct iovec range[GUARDS_AT_ONCE];
    while (done < count) {
        size_t n = count - done < GUARDS_AT_ONCE ? count - done : GUARDS_AT_ONCE;
        for (size_t i = 0; i < n; i++)
            range[i] = (struct iovec){first + (done + i) * stride, size};
        long bytes =
            syscall(SYS_process_madvise, PIDFD_SELF_PROCESS, range, n, MADV_GUARD_INSTALL, 0);
        if (bytes != (long)(n * size))
            break;
        done += n;
    }
#else
    (void)first, (void)size, (void)stride, (void)count;
#endif
    return done;
}

int
page_guard_each(char *first, size_t size, size_t stride, size_t count)
{
    /* Whatever the reason of a call that did less, one by one is as good, and tells of failure. */
    for (size_t i = guard_batches(first, size, stride, count); i < count; i++)
        if (page_guard(first + i * stride, size) != 0)
            return -1;
    return 0;
}

/* An empty range asks of the call alone: the answer is right on locked memory, too. */
bool
page_guard_known(void)
{
    int error = errno;
    bool known = madvise((void *)(uintptr_t)page_size(), 0, MADV_GUARD_INSTALL) == 0;
    errno = error;
    return known;
}

void
page_keep_small(void *addr, size_t size)
{
    madvise(addr, size, MADV_NOHUGEPAGE);
}

void
page_want_huge(void *addr, size_t size)
{
    madvise(addr, size, MADV_HUGEPAGE);
}

/*
 * Neighbouring reservations are one mapping to the kernel; cutting one out at
 * vm.max_map_count fails, and nobody can be told.
 */
void
page_release(void *addr, size_t size)
{
    munmap(addr, size);
}

int
page_close(void *addr, size_t size)
{
    if (mprotect(addr, size, PROT_NONE) != 0) {
        map_errno();
        return -1;
    }
    return 0;
}

int
page_open(void *addr, size_t size)
{
    if (mprotect(addr, size, PROT_READ | PROT_WRITE) != 0) {
        map_errno();
        return -1;
    }
    return 0;
}

/*
 * A fresh page shows.  No answer can be kept longer than for the call that it was asked for, since
 * any thread may call mlockall() or munlockall() at any time.
 */
int
page_locking(void)
{
    if (unlocked_now) {
        unlocked_now = false;
        return 0;
    }
    size_t page = page_size();
    void *probe = mmap(NULL, page, PROT_NONE, RESERVE_FLAGS, -1, 0);
    if (probe == MAP_FAILED) {
        map_errno();
        return -1;
    }
    bool locked = is_locked(probe);
    munmap(probe, page);
    return locked;
}

/*
 * MLOCK_ONFAULT leaves the faulting to page_populate(), so that an error here
 * means the limit: mlock() gives ENOMEM past RLIMIT_MEMLOCK, EPERM where that
 * is 0, and EAGAIN where memory itself is short.
 */
int
page_lock(void *addr, size_t size)
{
    if (mlock2(addr, size, MLOCK_ONFAULT) != 0) {
        errno = EAGAIN;
        return -1;
    }
    return 0;
}

void
page_unlock(void *addr, size_t size)
{
    munlock(addr, size);
}

/* What MADV_POPULATE_WRITE does, page by page, for kernels before 5.14. */
static void
touch(char *addr, size_t size)
{
    size_t page = page_size();
    for (size_t offset = 0; offset < size; offset += page) {
        volatile char *p = addr + offset;
        /* cppcheck-suppress selfAssignment */
        *p = *p;
    }
}

int
page_populate(void *addr, size_t size)
{
    int result;
    do
        result = madvise(addr, size, MADV_POPULATE_WRITE);
    while (result != 0 && (errno == EINTR || errno == EAGAIN));
    if (result == 0)
        return 0;
    /* EINVAL, or what a seccomp filter chose: no such call here.  Never kept as an answer. */
    if (errno == EINVAL || errno == ENOSYS || errno == EPERM) {
        touch(addr, size);
        return 0;
    }
    errno = ENOMEM;
    return -1;
}

/*
 * MADV_DONTNEED refuses locked memory.  Unlocking it serves every kernel; where
 * another thread's mlockall() comes in between, MADV_DONTNEED_LOCKED.
 */
void
page_discard(void *addr, size_t size)
{
    if (madvise(addr, size, MADV_DONTNEED) == 0)
        return;
    munlock(addr, size);
    if (madvise(addr, size, MADV_DONTNEED) != 0)
        madvise(addr, size, MADV_DONTNEED_LOCKED);
}

void *
page_table_alloc(size_t size)
{
    void *addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (addr == MAP_FAILED) {
        map_errno();
        return NULL;
    }
    return addr;
}

void
page_table_free(void *addr, size_t size)
{
    munmap(addr, size);
}

uint64_t
page_memory(void)
{
    struct sysinfo system;
    if (sysinfo(&system) != 0)
        return UINT64_MAX;
    return ((uint64_t)system.totalram + system.totalswap) * system.mem_unit;
}
