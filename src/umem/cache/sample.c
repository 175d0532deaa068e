/* SPDX-License-Identifier: MIT */
/*
 * sample.c - UMEM_DEBUG=sample=N: about one allocation in N goes behind a
 * firewall, so that a program that runs at full speed for long enough shows its
 * overruns and its uses of freed memory.
 *
 * Blocks of size classes and oversize ones: these are freed by the page map,
 * which leads a sampled one to its record.  umem_cache_free() asks for no more
 * than a window, so object caches are left out.
 *
 * A tracer that looks at the probes otel_memory:alloc and otel_memory:free (as
 * the OpenTelemetry eBPF profiler defines them) is told of each sampled block
 * and of its free.
 *
 * State: how many sampled blocks live; whether somebody looks at the probes.
 */
#include <errno.h>

#include "base/probe.h"
#include "cache/cache.h"
#include "cache/firewall.h"
#include "debug/debug.h"
#include "os/os.h"

/*
 * Sampled blocks that may live at once, 16 MiB of pages where they are small.
 * Where so many live, none is sampled: of a program that keeps all it allocates
 * the first were.
 */
#define SAMPLED_MAX 4096

static _Atomic size_t sampled;

UMEM_PROBE_SEMAPHORE(otel_memory_alloc);
UMEM_PROBE_SEMAPHORE(otel_memory_free);

/*
 * The weight is what the sum over all samples is an unbiased estimate of the
 * allocated bytes by: one allocation in opt_sample is drawn, whatever its size.
 */
static void
probe_alloc(const void *obj, size_t size)
{
    if (UMEM_PROBE_ON(otel_memory_alloc)) {
        uint64_t weight = (uint64_t)size * umem_options.opt_sample;
        UMEM_PROBE3(otel_memory, alloc, obj, size, weight);
    }
}

static void
uncount(void)
{
    atomic_fetch_sub_explicit(&sampled, 1, memory_order_relaxed);
}

/* Whether this allocation is the one; cp is NULL for an oversize block. */
static bool
is_due(struct umem_cache *cp)
{
    /* A cache without magazines has no visits: each allocation is counted. */
    bool counted = cp != NULL && cp->cache_slow_bin != 0 &&
                   atomic_load_explicit(&umem_mtbf, memory_order_relaxed) == 0;
    struct tcache *tc = tcache_get(counted ? cp->cache_slow_bin : 1);

    return counted && tc != NULL
               ? tcache_sample_due(tc, cp->cache_slow_bin, (uint32_t)os_clock_coarse_ms())
               : tcache_sample_other(tc);
}

bool
umem_sample_alloc(const struct umem_request *req, void **obj)
{
    struct umem_cache *cp = req->req_cache;
    struct umem_firewall_slot slot;
    int saved = errno;

    if ((cp != NULL && !umem_is_class_cache(cp)) || !is_due(cp))
        return false;
    bool room = atomic_fetch_add_explicit(&sampled, 1, memory_order_relaxed) < SAMPLED_MAX;
    if (room && umem_firewall_alloc(req, obj)) {
        UMEM_VERIFY(umem_firewall_find(*obj, pagemap_get(*obj), &slot));
        __atomic_fetch_or(&slot.slot_block->fwb_bufctl.bc_turns, UMEM_BC_SAMPLED, __ATOMIC_RELAXED);
        probe_alloc(*obj, req->req_size);
        return true;
    }
    uncount();
    errno = saved;
    return false;
}

void
umem_sample_free(const void *obj)
{
    uncount();
    if (UMEM_PROBE_ON(otel_memory_free))
        UMEM_PROBE1(otel_memory, free, obj);
}
