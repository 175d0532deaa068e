/* SPDX-License-Identifier: MIT */
/*
 * verify.c - umem_verify(): every buffer that debugging knows of is looked at,
 * while other threads go on; and at exit, with UMEM_DEBUG=verify.
 *
 * A cache is walked under the lock of its slabs, so that none goes: threads
 * that want a slab of it wait, those that find what they want in magazines do
 * not.  What a buffer should look like follows from its bufctl, which tells as
 * well whether it has changed hands meanwhile (debug/check.c).  Reports are
 * made under that lock: they take none but the log's.
 *
 * reap_lock keeps the caches in being.
 */
#include "cache/cache.h"
#include "debug/debug.h"

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

UMEM_EXPORT size_t
umem_verify(void)
{
    struct verification ver = {.ver_corrupt = 0};

    (void)umem_ready();
    bool excluded = umem_reap_exclude();
    for (struct umem_list *at = &umem_caches; (at = umem_cache_next(at)) != NULL;) {
        ver.ver_cache = UMEM_CONTAINER_OF(at, struct umem_cache, cache_link);
        if ((ver.ver_cache->cache_flags & UMF_BUFTAG) != 0)
            slab_pool_visit(&ver.ver_cache->cache_slabs, verify_slab, &ver);
    }
    umem_reap_admit(excluded);
    return ver.ver_corrupt + umem_large_verify();
}

/*
 * Behind the program's exit handlers and the destructors of all that uses this
 * library.  Not where _exit() or a signal ends the process.
 */
__attribute__((destructor)) static void
verify_at_exit(void)
{
    if (umem_options.opt_verify &&
        atomic_load_explicit(&umem_state, memory_order_acquire) == UMEM_STATE_READY)
        (void)umem_verify();
}
