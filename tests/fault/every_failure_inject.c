/* SPDX-License-Identifier: MIT */
/*
 * Makes the n-th of a kind of thing fail.  Allocations by the option fail=;
 * mappings and records of the engine by standing before the functions that
 * make them (linked with --wrap), so that the library has no code for it.
 *
 * A mapping is a call of mmap, mremap or mprotect, or an madvise that populates.
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "every_failure.h"

#include "base/print.h"
#include "debug/debug.h"
#include "os/meta.h"
#include "os/os.h"
#include "os/unwind.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* What vmem takes for boundary tags at a time (tag.c). */
#define TAG_BLOCK_SIZE 4096

/* What never goes back: blocks of tags, and trails, of which threads share a few by their ids. */
static bool
is_kept(size_t size)
{
    return size == TAG_BLOCK_SIZE || size == sizeof(struct os_trail) ||
           size == OS_TRAIL_ROOM(OS_TRAIL_SHIFT_MIN);
}

#define MESSAGE_SIZE 400

const char *const inject_names[INJECT_KINDS] = {"alloc", "map", "meta"};
int inject_kind;
uint64_t inject_at;

static bool all; /* from that one on */
static _Atomic bool armed;
static _Atomic uint64_t count;
static _Atomic long meta_blocks;

void
inject_arm(int what, uint64_t at, bool for_good)
{
    inject_kind = what;
    inject_at = at;
    all = for_good;
    if (what == INJECT_ALLOC)
        umem_options.opt_fail = (uint32_t)at; /* before the library is first used */
    atomic_store(&armed, true);
}

bool
inject_disarm(void)
{
    atomic_store(&armed, false);
    if (inject_at == 0)
        return false;
    if (inject_kind != INJECT_ALLOC)
        return atomic_load(&count) >= inject_at;
    bool failed = umem_fault_count() >= inject_at;
    umem_options.opt_fail = UINT32_MAX; /* windows stay closed, as the caches know it */
    return failed;
}

bool
inject_is_armed(void)
{
    return atomic_load(&armed);
}

long
inject_meta_blocks(void)
{
    return atomic_load(&meta_blocks);
}

void
say(int fd, const char *fmt, ...)
{
    char text[MESSAGE_SIZE];
    va_list ap;

    va_start(ap, fmt);
    size_t length = umem_vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    os_write(fd, text, umem_min(length, sizeof(text) - 1));
}

/* Whether this one fails: with ENOMEM, as all that can fail here may. */
static bool
fails(int what)
{
    if (!atomic_load(&armed) || inject_kind != what)
        return false;
    uint64_t n = atomic_fetch_add(&count, 1) + 1;
    if (n != inject_at && !(all && n > inject_at))
        return false;
    errno = ENOMEM;
    return true;
}

void *__real_umem_meta_alloc(size_t size);
void *__wrap_umem_meta_alloc(size_t size);
void *
__wrap_umem_meta_alloc(size_t size)
{
    void *block = fails(INJECT_META) ? NULL : __real_umem_meta_alloc(size);

    if (block != NULL && !is_kept(size))
        atomic_fetch_add(&meta_blocks, 1);
    return block;
}

void __real_umem_meta_free(void *block, size_t size);
void __wrap_umem_meta_free(void *block, size_t size);
void
__wrap_umem_meta_free(void *block, size_t size)
{
    if (block != NULL && !is_kept(size))
        atomic_fetch_sub(&meta_blocks, 1);
    __real_umem_meta_free(block, size);
}

void *__real_mmap(void *addr, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *addr, size_t size, int protection, int flags, int fd, off_t offset);
void *
__wrap_mmap(void *addr, size_t size, int protection, int flags, int fd, off_t offset)
{
    return fails(INJECT_MAP) ? MAP_FAILED : __real_mmap(addr, size, protection, flags, fd, offset);
}

/* What glibc's headers call it where offsets are of 64 bits. */
void *__real_mmap64(void *addr, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *addr, size_t size, int protection, int flags, int fd, off_t offset);
void *
__wrap_mmap64(void *addr, size_t size, int protection, int flags, int fd, off_t offset)
{
    return fails(INJECT_MAP) ? MAP_FAILED
                             : __real_mmap64(addr, size, protection, flags, fd, offset);
}

void *__real_mremap(void *addr, size_t size, size_t new_size, int flags, ...);
void *__wrap_mremap(void *addr, size_t size, size_t new_size, int flags, ...);
void *
__wrap_mremap(void *addr, size_t size, size_t new_size, int flags, ...)
{
    va_list ap;

    if (fails(INJECT_MAP))
        return MAP_FAILED;
    va_start(ap, flags);
    void *to = (flags & MREMAP_FIXED) != 0 ? va_arg(ap, void *) : NULL;
    va_end(ap);
    return __real_mremap(addr, size, new_size, flags, to);
}

int __real_mprotect(void *addr, size_t size, int protection);
int __wrap_mprotect(void *addr, size_t size, int protection);
int
__wrap_mprotect(void *addr, size_t size, int protection)
{
    return fails(INJECT_MAP) ? -1 : __real_mprotect(addr, size, protection);
}

int __real_madvise(void *addr, size_t size, int advice);
int __wrap_madvise(void *addr, size_t size, int advice);
int
__wrap_madvise(void *addr, size_t size, int advice)
{
    if (advice == MADV_POPULATE_WRITE && fails(INJECT_MAP))
        return -1;
    return __real_madvise(addr, size, advice);
}
