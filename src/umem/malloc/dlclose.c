/* SPDX-License-Identifier: MIT */
/*
 * dlclose.c - libc's dlclose(), and then a word to the unwinder, which keeps
 * rules for addresses where other code may lie soon (os/unwind.h).
 *
 * Not of the malloc family, but here for the same reason: only the library that
 * is preloaded or linked may stand before libc's names.  Carries no version, as
 * they do.  No state but where libc's function is.
 */
#include "os/os.h"
#include "os/unwind.h"

typedef int dlclose_fn(void *handle);
dlclose_fn dlclose; /* of libc's dlfcn.h */

UMEM_EXPORT int
dlclose(void *handle)
{
    static _Atomic(dlclose_fn *) next;
    dlclose_fn *libc = atomic_load_explicit(&next, memory_order_relaxed);

    if (libc == NULL) {
        libc = (dlclose_fn *)(uintptr_t)os_next_function("dlclose");
        if (libc == NULL)
            return -1; /* dlerror() says so */
        atomic_store_explicit(&next, libc, memory_order_relaxed);
    }
    int status = libc(handle);
    os_unwind_unloaded();
    return status;
}
