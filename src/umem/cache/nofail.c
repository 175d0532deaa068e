/* SPDX-License-Identifier: MIT */
/*
 * nofail.c - what becomes of an UMEM_NOFAIL allocation that failed.
 *
 * No lock is held here.  State: the callback, and the thread that exits.
 */
#include <stdlib.h>

#include "cache/cache.h"
#include "debug/debug.h"
#include "os/os.h"

#define EXIT_FLAG 0x100
#define EXIT_STATUS_MASK 0xff
#define EXIT_STATUS_DEFAULT 255

static _Atomic(umem_nofail_callback_t *) nofail_callback;
static _Atomic uint32_t exiting_thread;

UMEM_EXPORT void
umem_nofail_callback(umem_nofail_callback_t *cb)
{
    atomic_store(&nofail_callback, cb);
}

/* One thread exits; the others wait for the end of the process. */
static _Noreturn void
exit_once(int status)
{
    uint32_t nobody = 0;
    uint32_t self = os_thread_id();

    if (atomic_compare_exchange_strong(&exiting_thread, &nobody, self))
        exit(status);
    /* An atexit handler that cannot get memory either: there is no way on. */
    if (nobody == self)
        umem_panic(__FILE__, __LINE__, "UMEM_NOFAIL allocation failed again during exit");
    for (;;)
        os_futex_wait(&exiting_thread, nobody);
}

bool
umem_nofail_retry(const struct umem_cache *cache, size_t size, int error)
{
    umem_debug_failed(cache, size, error);
    umem_nofail_callback_t *cb = atomic_load(&nofail_callback);
    int result = cb != NULL ? cb() : UMEM_CALLBACK_EXIT(EXIT_STATUS_DEFAULT);

    if (result == UMEM_CALLBACK_RETRY)
        return true;
    if ((result & ~EXIT_STATUS_MASK) != EXIT_FLAG)
        result = UMEM_CALLBACK_EXIT(EXIT_STATUS_DEFAULT);
    exit_once(result & EXIT_STATUS_MASK);
}
