/* SPDX-License-Identifier: MIT */
/*
 * dlopen.c - libc's dlopen(), and before that, for modules that are to look
 * for symbols in their own libraries first (RTLD_DEEPBIND), among which is
 * libc: has libc's malloc family be ours.  Else such a module, as each of
 * PHP's and of Apache's, would give libc's free() what the program got from us.
 *
 * No state but where libc's function is, and whether that has been done.
 */
#include <pthread.h>

#include "os/dynamic.h"
#include "os/os.h"

typedef void *dlopen_fn(const char *file, int mode);
dlopen_fn dlopen; /* of libc's dlfcn.h */

/* As in glibc's dlfcn.h. */
#define DEEPBIND 0x8

/*
 * libc's dlopen() looks for a library where its caller's RUNPATH says: it must
 * find the program's return address, so this one jumps to it.
 */
#if defined(__clang__)
#define JUMPS
#define JUMP __attribute__((musttail)) return
#else
#define JUMPS __attribute__((optimize("O2"))) /* in debug builds, too */
#define JUMP return
#endif

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool libc_follows;

/* Not dlopen() and dlclose(): who wraps these, behind us, would be led back to us. */
static UMEM_COLD void
make_libc_follow(void)
{
    static const char *const names[] = {
        "malloc",
        "calloc",
        "realloc",
        "reallocarray",
        "free",
        "memalign",
        "aligned_alloc",
        "posix_memalign",
        "valloc",
        "pvalloc",
        "malloc_usable_size",
        "malloc_trim",
        "mallinfo2",
        "mallinfo",
        "malloc_info",
        "mallopt",
        "malloc_stats",
        "free_sized",
        "free_aligned_sized",
    };

    libc_follows = os_libc_follows(names, UMEM_ARRAY_SIZE(names));
}

UMEM_EXPORT JUMPS void *
dlopen(const char *file, int mode)
{
    static _Atomic(dlopen_fn *) next;
    dlopen_fn *libc = atomic_load_explicit(&next, memory_order_relaxed);

    if (libc == NULL) {
        libc = (dlopen_fn *)(uintptr_t)os_next_function("dlopen");
        if (libc == NULL)
            return NULL; /* dlerror() says so */
        atomic_store_explicit(&next, libc, memory_order_relaxed);
    }
    if (UMEM_UNLIKELY((mode & DEEPBIND) != 0)) {
        (void)pthread_once(&once, make_libc_follow);
        if (!libc_follows)
            mode &= ~DEEPBIND; /* two mallocs in one program would be worse */
    }
    JUMP libc(file, mode);
}
