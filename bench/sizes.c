/* SPDX-License-Identifier: MIT */
/*
 * sizes.c - a preload that counts which sizes a program asks of malloc.
 *
 * For each size: how often it was asked for, and how many such blocks were live
 * when the bytes of all live blocks were at their peak.  A process that ends by
 * exit() or _exit() appends its record to the file that BENCH_SIZES names:
 *
 *   process BYTES_AT_PEAK NAME
 *   SIZE REQUESTS LIVE        (SIZE: the largest of its bin)
 *   end
 *
 * The requested size is kept in a trailer at the end of the block, so that free
 * knows it; malloc_usable_size() hides the trailer.  Tables are static, counters
 * relaxed atomics, and no lock is ever waited for.  A child of fork that does not
 * exec writes nothing: its counts would be its parent's once more.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Sizes are exact to here; beyond, each doubling has so many bins, which errs by 1/256 at most. */
#define EXACT_LOG2 14
#define EXACT_MAX ((size_t)1 << EXACT_LOG2)
#define STEPS_LOG2 8
#define STEPS (1u << STEPS_LOG2)
#define LARGEST_LOG2 30 /* larger ones share the last bin */
#define BINS (EXACT_MAX + 1 + (LARGEST_LOG2 - EXACT_LOG2) * STEPS + 1)
/* A new peak is noted once it exceeds the last one by a thirty-second, and by so many bytes. */
#define PEAK_STEP 32
#define PEAK_LEAST 16384
/* dlsym() may allocate before it has found malloc: glibc's takes some hundred bytes. */
#define EARLY_BYTES 16384
#define MALLOC_ALIGN 16
/* A line is three numbers of up to 20 digits. */
#define LINE_MAX_BYTES 64
#define NAME_SHOWN 32

struct trailer {
    size_t trailer_size;
    uintptr_t trailer_check; /* of size and address: a block without trailer has none that fits */
};
#define CHECK 0x5ca1ab1e0ddba115u

static struct {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*memalign)(size_t, size_t);
    void (*free)(void *);
    size_t (*usable)(void *);
    void (*exit)(int) __attribute__((noreturn));
} real;
static _Atomic bool resolved;
static bool resolving;
static _Alignas(MALLOC_ALIGN) char early[EARLY_BYTES];
static size_t early_used;

static _Atomic uint64_t requests[BINS];
static _Atomic int64_t live[BINS];
static int64_t live_at_peak[BINS]; /* under peak_busy */
static _Atomic int64_t live_bytes;
static _Atomic int64_t peak_bytes;
static atomic_flag peak_busy = ATOMIC_FLAG_INIT;

static pid_t owner;
/* Copies: a program that sets its title overwrites its environment and arguments. */
static char output[PATH_MAX];
static char program[NAME_SHOWN + 1];
static char text[BINS * LINE_MAX_BYTES];

static unsigned
bin_of(size_t size)
{
    if (size <= EXACT_MAX)
        return (unsigned)size;
    if (size > (size_t)1 << LARGEST_LOG2)
        return BINS - 1;
    unsigned log2 = 63 - (unsigned)__builtin_clzll(size - 1);
    unsigned step = (unsigned)((size - 1) >> (log2 - STEPS_LOG2)) - STEPS;
    return (unsigned)EXACT_MAX + 1 + (log2 - EXACT_LOG2) * STEPS + step;
}

/* The largest size of a bin. */
static size_t
bin_top(size_t bin)
{
    if (bin <= EXACT_MAX)
        return bin;
    size_t index = bin - EXACT_MAX - 1;
    return (index % STEPS + STEPS + 1) << (index / STEPS + EXACT_LOG2 - STEPS_LOG2);
}

/* --- counting */

static void
note_peak(int64_t bytes)
{
    int64_t peak = atomic_load_explicit(&peak_bytes, memory_order_relaxed);

    if (bytes < peak + peak / PEAK_STEP + PEAK_LEAST ||
        atomic_flag_test_and_set_explicit(&peak_busy, memory_order_acquire))
        return;
    atomic_store_explicit(&peak_bytes, bytes, memory_order_relaxed);
    for (size_t i = 0; i < BINS; i++)
        live_at_peak[i] = atomic_load_explicit(&live[i], memory_order_relaxed);
    atomic_flag_clear_explicit(&peak_busy, memory_order_release);
}

/* Where a block's trailer lies: at the end of what the allocator gave. */
static char *
trailer_of(void *block)
{
    return (char *)block + real.usable(block) - sizeof(struct trailer);
}

static uintptr_t
check_of(const void *block, size_t size)
{
    return (uintptr_t)block ^ size ^ CHECK;
}

static void *
note_alloc(void *block, size_t size)
{
    if (block == NULL)
        return NULL;
    struct trailer trailer = {size, check_of(block, size)};
    memcpy(trailer_of(block), &trailer, sizeof(trailer));
    unsigned bin = bin_of(size);
    atomic_fetch_add_explicit(&requests[bin], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&live[bin], 1, memory_order_relaxed);
    note_peak((int64_t)size +
              atomic_fetch_add_explicit(&live_bytes, (int64_t)size, memory_order_relaxed));
    return block;
}

/* The requested size of a block of ours; false for one that came about without us. */
static bool
find_size(void *block, size_t *size)
{
    struct trailer trailer;

    if (real.usable(block) < sizeof(trailer))
        return false;
    memcpy(&trailer, trailer_of(block), sizeof(trailer));
    *size = trailer.trailer_size;
    return trailer.trailer_check == check_of(block, trailer.trailer_size);
}

static void
note_free(size_t size)
{
    atomic_fetch_sub_explicit(&live[bin_of(size)], 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&live_bytes, (int64_t)size, memory_order_relaxed);
}

/* --- early start-up */

static bool
is_early(const void *block)
{
    return (const char *)block >= early && (const char *)block < early + EARLY_BYTES;
}

/* Zeroed, since used once; never freed. */
static void *
early_alloc(size_t size)
{
    size_t bytes = (size + MALLOC_ALIGN - 1) & ~(size_t)(MALLOC_ALIGN - 1);

    if (bytes < size || bytes > EARLY_BYTES - early_used) {
        errno = ENOMEM;
        return NULL;
    }
    void *block = early + early_used;
    early_used += bytes;
    return block;
}

static void
find(void *pointer, const char *name)
{
    void *symbol = dlsym(RTLD_NEXT, name);

    if (symbol == NULL)
        abort();
    memcpy(pointer, &symbol, sizeof(symbol));
}

/* False while the real functions are being looked for: the first call comes before any thread. */
static bool
ready(void)
{
    if (atomic_load_explicit(&resolved, memory_order_acquire))
        return true;
    if (resolving)
        return false;
    resolving = true;
    find(&real.malloc, "malloc");
    find(&real.calloc, "calloc");
    find(&real.realloc, "realloc");
    find(&real.memalign, "memalign");
    find(&real.free, "free");
    find(&real.usable, "malloc_usable_size");
    find(&real.exit, "_exit");
    atomic_store_explicit(&resolved, true, memory_order_release);
    return true;
}

/* --- the malloc family */

static bool
is_too_large(size_t size)
{
    if (size <= (size_t)PTRDIFF_MAX - sizeof(struct trailer))
        return false;
    errno = ENOMEM;
    return true;
}

void *
malloc(size_t size)
{
    if (!ready())
        return early_alloc(size);
    if (is_too_large(size))
        return NULL;
    return note_alloc(real.malloc(size + sizeof(struct trailer)), size);
}

void *
calloc(size_t count, size_t each)
{
    size_t size;

    if (__builtin_mul_overflow(count, each, &size))
        size = SIZE_MAX;
    if (!ready())
        return early_alloc(size);
    if (is_too_large(size))
        return NULL;
    return note_alloc(real.calloc(1, size + sizeof(struct trailer)), size);
}

void
free(void *block)
{
    size_t size;

    if (block == NULL || is_early(block))
        return;
    if (find_size(block, &size))
        note_free(size);
    real.free(block);
}

void *
realloc(void *old, size_t size)
{
    if (old == NULL || is_early(old)) {
        void *block = malloc(size);
        if (block != NULL && old != NULL) {
            size_t rest = (size_t)(early + EARLY_BYTES - (char *)old);
            memcpy(block, old, size < rest ? size : rest);
        }
        return block;
    }
    if (size == 0) {
        free(old);
        return NULL;
    }
    if (is_too_large(size))
        return NULL;
    size_t old_size;
    bool known = find_size(old, &old_size);
    void *block = real.realloc(old, size + sizeof(struct trailer));
    if (block != NULL && known)
        note_free(old_size);
    return note_alloc(block, size);
}

void *
reallocarray(void *old, size_t count, size_t each)
{
    size_t size;

    return realloc(old, __builtin_mul_overflow(count, each, &size) ? SIZE_MAX : size);
}

void *
memalign(size_t align, size_t size)
{
    if (!ready() || is_too_large(size))
        return NULL;
    return note_alloc(real.memalign(align, size + sizeof(struct trailer)), size);
}

void *
aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}

int
posix_memalign(void **result, size_t align, size_t size)
{
    if (align < sizeof(void *) || (align & (align - 1)) != 0)
        return EINVAL;
    int saved = errno;
    void *block = memalign(align, size);
    errno = saved;
    if (block == NULL)
        return ENOMEM;
    *result = block;
    return 0;
}

void *
valloc(size_t size)
{
    return memalign((size_t)getpagesize(), size);
}

void *
pvalloc(size_t size)
{
    size_t page = (size_t)getpagesize();

    return memalign(page, is_too_large(size) ? SIZE_MAX : (size + page - 1) / page * page);
}

size_t
malloc_usable_size(void *block)
{
    size_t size;

    if (block == NULL || is_early(block))
        return 0;
    return find_size(block, &size) ? size : real.usable(block);
}

/* --- the record */

static size_t
format(void)
{
    size_t length = (size_t)sprintf(text, "process %lld %s\n", (long long)peak_bytes, program);

    for (size_t i = 0; i < BINS; i++) {
        unsigned long long count = requests[i];
        long long at_peak = live_at_peak[i] > 0 ? live_at_peak[i] : 0;
        if (count != 0)
            length += (size_t)sprintf(text + length, "%zu %llu %lld\n", bin_top(i), count, at_peak);
    }
    return length + (size_t)sprintf(text + length, "end\n");
}

/* One write to a file opened for appending: records of several processes do not mix. */
static void
write_record(void)
{
    if (output[0] == '\0' || getpid() != owner)
        return;
    int file = open(output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (file < 0)
        return;
    size_t length = format();
    if (write(file, text, length) != (ssize_t)length)
        fprintf(stderr, "sizes: the record is incomplete\n");
    (void)close(file);
    output[0] = '\0';
}

__attribute__((constructor)) static void
begin(void)
{
    (void)ready();
    owner = getpid();
    const char *file = getenv("BENCH_SIZES");
    if (file != NULL)
        snprintf(output, sizeof(output), "%s", file);
    snprintf(program, sizeof(program), "%.*s", NAME_SHOWN, program_invocation_short_name);
}

__attribute__((destructor)) static void
end(void)
{
    write_record();
}

void
_exit(int code)
{
    (void)ready();
    write_record();
    real.exit(code);
}

void
_Exit(int code)
{
    _exit(code);
}
