/* SPDX-License-Identifier: MIT */
/*
 * unwind_compare.c - a preload for real programs: at one allocation in
 * UNWIND_COMPARE it takes the stack by os_unwind(), by os_unwind_trail() and by
 * libgcc's _Unwind_Backtrace(), and compares.
 *
 * What differs is written to the file UNWIND_COMPARE_LOG, and at exit one line
 * "stacks N differ N shorter N longer N trail N" a process.  "longer" is where
 * ours went on behind the frame that libgcc ended at: code without tables,
 * mostly, through which only frame pointers lead.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <unwind.h>

#include "os/unwind.h"

#define FRAMES_MAX 200
#define TOLD_MAX 5 /* differences written out a process */

static _Atomic unsigned long stacks, differ, shorter, longer, trails;
static _Atomic unsigned told;
static unsigned long period;
static const char *log_path;

static __thread unsigned long countdown __attribute__((tls_model("initial-exec")));
static __thread int busy __attribute__((tls_model("initial-exec")));
static __thread struct os_trail *trail __attribute__((tls_model("initial-exec")));

__attribute__((format(printf, 1, 2))) static void
say(const char *fmt, ...)
{
    char line[1024];
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    int fd = open(log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (fd >= 0 && n > 0 && write(fd, line, (size_t)n) < 0)
        n = 0;
    if (fd >= 0)
        close(fd);
}

struct walk {
    uintptr_t frame[FRAMES_MAX];
    uint32_t count;
    uintptr_t first; /* where to begin: the caller of the allocator */
};

static _Unwind_Reason_Code
add(struct _Unwind_Context *context, void *arg)
{
    struct walk *walk = arg;
    uintptr_t pc = _Unwind_GetIP(context);

    if (walk->count == 0 && pc != walk->first)
        return _URC_NO_REASON;
    if (pc == 0 || walk->count == FRAMES_MAX)
        return _URC_END_OF_STACK;
    walk->frame[walk->count++] = pc;
    return _URC_NO_REASON;
}

static void
tell_frame(const char *who, uint32_t i, uintptr_t pc)
{
    Dl_info info;

    if (pc != 0 && dladdr((void *)(pc - 1), &info) != 0 && info.dli_fname != NULL)
        say("  %s %u %#lx %s+%#lx %s\n", who, i, pc, info.dli_fname, pc - (uintptr_t)info.dli_fbase,
            info.dli_sname != NULL ? info.dli_sname : "?");
    else
        say("  %s %u %#lx ?\n", who, i, pc);
}

static void
tell(const char *what, const struct walk *ours, const struct walk *theirs, uint32_t at)
{
    if (told++ >= TOLD_MAX)
        return;
    char name[64] = "?";
    int fd = open("/proc/self/comm", O_RDONLY);
    if (fd >= 0) {
        ssize_t n = read(fd, name, sizeof(name) - 1);
        name[n > 0 ? n - 1 : 0] = '\0';
        close(fd);
    }
    say("%s %d %s at %u of %u, %u\n", name, (int)getpid(), what, at, ours->count, theirs->count);
    for (uint32_t i = at > 2 ? at - 2 : 0; i < at + 3; i++) {
        if (i < ours->count)
            tell_frame("ours  ", i, ours->frame[i]);
        if (i < theirs->count)
            tell_frame("theirs", i, theirs->frame[i]);
    }
}

static void
compare_trail(const struct walk *ours, const void *frame)
{
    if (trail == NULL) {
        trail =
            mmap(NULL, sizeof(*trail), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (trail == MAP_FAILED)
            abort();
    }
    struct walk by_trail;
    uint32_t node = os_unwind_trail(trail, FRAMES_MAX, frame), n, at = 0;
    if (node == 0)
        return; /* not here: another stack, another walker */
    n = by_trail.count = os_trail_frames(trail, node, by_trail.frame);
    if (n != ours->count || memcmp(by_trail.frame, ours->frame, n * sizeof(uintptr_t)) != 0) {
        while (at < n && at < ours->count && by_trail.frame[at] == ours->frame[at])
            at++;
        trails++;
        tell("trail", &by_trail, ours, at);
    }
}

static __attribute__((noinline)) void
compare(uintptr_t caller, const void *frame)
{
    static __thread struct walk ours, theirs;
    uintptr_t all[FRAMES_MAX + 4];
    uint32_t at = 0;

    uint32_t n = os_unwind(all, FRAMES_MAX + 4, 0);
    uint32_t inner = 0;
    while (inner < n && inner < 4 && all[inner] != caller)
        inner++;
    ours.count = n - inner > FRAMES_MAX ? FRAMES_MAX : n - inner;
    memcpy(ours.frame, all + inner, ours.count * sizeof(uintptr_t));
    theirs.count = 0;
    theirs.first = caller;
    _Unwind_Backtrace(add, &theirs);
    stacks++;
    while (at < ours.count && at < theirs.count && ours.frame[at] == theirs.frame[at])
        at++;
    if (at < ours.count && at < theirs.count) {
        differ++;
        tell("differ", &ours, &theirs, at);
    } else if (at < theirs.count) {
        shorter++;
        tell("shorter", &ours, &theirs, at);
    } else if (at < ours.count) {
        longer++;
    }
    compare_trail(&ours, frame);
}

static __attribute__((constructor)) void
begin(void)
{
    const char *text = getenv("UNWIND_COMPARE");

    log_path = getenv("UNWIND_COMPARE_LOG");
    if (text != NULL && log_path != NULL)
        period = strtoul(text, NULL, 10);
}

static __attribute__((destructor)) void
end(void)
{
    period = 0;
    if (stacks != 0)
        say("stacks %lu differ %lu shorter %lu longer %lu trail %lu\n", stacks, differ, shorter,
            longer, trails);
}

#define SAMPLE()                                                                                   \
    do {                                                                                           \
        if (period != 0 && ++countdown >= period && !busy) {                                       \
            int saved = errno;                                                                     \
            busy = 1;                                                                              \
            countdown = 0;                                                                         \
            compare((uintptr_t)__builtin_return_address(0), __builtin_frame_address(0));           \
            busy = 0;                                                                              \
            errno = saved;                                                                         \
        }                                                                                          \
    } while (0)

/* The allocator behind: libc's, or that of a library that the program brings. */
#define NEXT(name) ((__typeof__(name) *)(uintptr_t)next_of(&next_##name, #name))
static void *next_malloc, *next_calloc, *next_realloc, *next_memalign;

/* Asked once: it allocates nothing where it finds what it looks for. */
static void *
next_of(void **next, const char *name)
{
    if (*next == NULL)
        *next = dlsym(RTLD_NEXT, name);
    return *next;
}

UMEM_EXPORT void *
malloc(size_t size)
{
    SAMPLE();
    return NEXT(malloc)(size);
}

UMEM_EXPORT void *
calloc(size_t count, size_t size)
{
    SAMPLE();
    return NEXT(calloc)(count, size);
}

UMEM_EXPORT void *
realloc(void *p, size_t size)
{
    SAMPLE();
    return NEXT(realloc)(p, size);
}

UMEM_EXPORT void *
memalign(size_t align, size_t size)
{
    SAMPLE();
    return NEXT(memalign)(align, size);
}
