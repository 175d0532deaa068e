/* SPDX-License-Identifier: MIT */
/*
 * verify.c - umem_verify(): every buffer that debugging knows of is looked at,
 * while other threads go on; with UMEM_DEBUG=verify at exit, and with
 * verify=SIGNAL whenever that signal comes.
 *
 * A cache is walked under the lock of its slabs, so that none goes: threads
 * that want a slab of it wait, those that find what they want in magazines do
 * not.  What a buffer should look like follows from its bufctl, which tells as
 * well whether it has changed hands meanwhile (debug/check.c).  Reports are
 * made under that lock: they take none but the log's.
 *
 * The signal may strike a thread anywhere, so its handler only sets a flag.  The
 * next allocation that comes to a slow path, where no lock of ours is held, looks
 * at everything before it is served; under debugging every one does.  Or a
 * thread of the library's own, where there is one.
 *
 * reap_lock keeps the caches in being.
 */
#include "cache/cache.h"
#include "cache/firewall.h"
#include "cache/reserve.h"
#include "debug/debug.h"
#include "os/signal.h"
#include "os/watch.h"

struct verification {
    struct umem_cache *ver_cache;
    size_t ver_corrupt;
};

static void
verify_slab(void *arg, struct slab *slab)
{
    struct verification *ver = arg;
    struct umem_buffer buf;

    for (uint32_t i = 0; i < slab->slab_chunks; i++) {
        umem_cache_describe_chunk(ver->ver_cache, slab, i, &buf);
        ver->ver_corrupt += !umem_debug_verify(&buf);
    }
}

_Atomic bool umem_verify_asked;

/* reap_lock is held. */
static size_t
verify_all(void)
{
    struct verification ver = {.ver_corrupt = 0};

    for (struct umem_list *at = &umem_caches; (at = umem_cache_next(at)) != NULL;) {
        ver.ver_cache = UMEM_CONTAINER_OF(at, struct umem_cache, cache_link);
        if ((ver.ver_cache->cache_flags & UMF_BUFTAG) != 0)
            slab_pool_visit(&ver.ver_cache->cache_slabs, verify_slab, &ver);
    }
    return ver.ver_corrupt + umem_large_verify() + umem_firewall_check();
}

UMEM_EXPORT size_t
umem_verify(void)
{
    (void)umem_ready();
    bool excluded = umem_reap_exclude();
    size_t corrupt = verify_all();
    umem_reap_admit(excluded);
    return corrupt;
}

UMEM_USUAL void
umem_verify_init(void)
{
    if (umem_options.opt_verify_signal != 0 &&
        os_signal_flag((int)umem_options.opt_verify_signal, &umem_verify_asked) != 0)
        umem_message(true, "verify: the program handles or ignores that signal, it is left alone");
}

/*
 * Not by a thread that may not wait: one that holds what a destructor wants which
 * a reap is calling, one that works with a sealed cache, one that is watched.
 */
UMEM_COLD void
umem_verify_answer(const struct umem_cache *cp)
{
    bool sealed =
        cp != NULL && atomic_load_explicit(&cp->cache_reserve, memory_order_relaxed) != NULL;

    if (sealed || os_watched() || !umem_reap_try_exclude())
        return;
    if (atomic_exchange_explicit(&umem_verify_asked, false, memory_order_relaxed))
        umem_message(true, "verify: corrupt buffers: %zu", verify_all());
    umem_reap_admit(true);
}

/*
 * Behind the program's exit handlers and the destructors of all that uses this
 * library.  Not where _exit() or a signal ends the process.
 */
UMEM_USUAL __attribute__((destructor)) static void
verify_at_exit(void)
{
    if (umem_options.opt_verify &&
        atomic_load_explicit(&umem_state, memory_order_acquire) == UMEM_STATE_READY)
        (void)umem_verify();
}
