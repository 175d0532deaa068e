/* SPDX-License-Identifier: MIT */
/*
 * reaper.c - UMEM_OPTIONS=reap_thread: a thread of the library's own does the
 * updates of reap.c, so that no allocation has a step of one on its way.
 *
 * It sleeps until a step is due, makes it and sleeps again, with all signals
 * blocked.  It allocates nothing and runs nothing of the program's: caches with
 * destructors catch up on their own operations, as ever.  A fork's child has
 * no such thread, and steps on its operations' way (umem_reap_fork_child()).
 *
 * A process whose first thread left by pthread_exit() ends with its last
 * thread, which must not be this one: it looks now and then whether it is
 * alone, and ends.
 *
 * Owns no lock; the steps take reap.c's.
 */
#include "cache/cache.h"
#include "debug/debug.h"
#include "os/os.h"

/* Between two looks at whether others are left: a file of /proc is read, some 20 us. */
#define LOOK_INTERVAL_MS 1000u

static UMEM_COLD void *
reap_for_ever(void *arg)
{
    uint64_t left_ms = umem_update_take_over(), unlooked_ms = 0;

    os_thread_name("umem_reap");
    for (;;) {
        uint64_t part_ms = left_ms < LOOK_INTERVAL_MS ? left_ms : LOOK_INTERVAL_MS;
        os_sleep_ms(part_ms);
        umem_verify_if_asked(NULL);
        left_ms -= part_ms;
        unlooked_ms += part_ms;
        if (unlooked_ms >= LOOK_INTERVAL_MS) {
            if (os_thread_is_last())
                return arg;
            unlooked_ms = 0;
        }
        if (left_ms == 0)
            left_ms = umem_update_step();
    }
}

static UMEM_COLD void
start(void)
{
    static _Atomic bool started;

    if (atomic_exchange(&started, true))
        return;
    if (os_thread_start(reap_for_ever) != 0)
        umem_message(true, "reap_thread: there can be no thread, allocations do its work");
}

void
umem_reaper_start(void)
{
    if (UMEM_UNLIKELY(umem_options.opt_reap_thread))
        start();
}
