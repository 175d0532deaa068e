/* SPDX-License-Identifier: MIT */
/*
 * events.c - see events.h.
 *
 * A log lies in the metadata pool, made at the first event.  A writer takes a
 * slot by an atomic add to the head, or, of the transaction log, a run of
 * UMEM_EVENT_RUN of them, which it fills as events come; a run that the others
 * have gone all the way round to meanwhile is given up.  So the records of
 * different threads are not in order: readers sort by time.  What a run has not
 * been filled with yet are older records.
 *
 * event_time is also the record's lock, as slot_busy is in the contents log: a
 * writer that finds its slot taken drops the event, a reader skips it.
 */
#include "debug/events.h"

#include <errno.h>

#include "cache/cache.h"
#include "debug/audit.h"
#include "debug/debug.h"
#include "debug/log.h"
#include "debug/stacks.h"
#include "os/meta.h"
#include "os/os.h"

struct umem_event_log umem_transaction_log = {.log_name = "transaction"};
struct umem_event_log umem_fail_log = {.log_name = "fail"};
struct umem_event_log umem_slab_log = {.log_name = "slab"};

/* This thread's next slot of the transaction log, counted as log_head; at a run's end, none. */
static UMEM_TLS uint64_t next_transaction;

/* NULL: no memory, or another thread is at it; this event is then dropped. */
static UMEM_COLD struct umem_event *
start(struct umem_event_log *log, size_t size)
{
    if (atomic_exchange_explicit(&log->log_starting, 1, memory_order_acquire) != 0)
        return atomic_load_explicit(&log->log_events, memory_order_acquire);
    int saved = errno;
    size_t run = UMEM_EVENT_RUN * sizeof(struct umem_event);

    size = umem_align_up(umem_max(size, run), os_page_size());
    struct umem_event *events = umem_meta_alloc(size);
    if (events == NULL) {
        umem_message(true, "no memory for a %s log of %zu bytes, none is kept", log->log_name,
                     size);
    } else {
        log->log_slots = size / run * UMEM_EVENT_RUN;
        atomic_store_explicit(&log->log_events, events, memory_order_release);
    }
    errno = saved;
    return events;
}

static inline struct umem_event *
log_start(struct umem_event_log *log, size_t size)
{
    struct umem_event *events = atomic_load_explicit(&log->log_events, memory_order_acquire);

    return UMEM_LIKELY(events != NULL) ? events : start(log, size);
}

static inline uint64_t
take_slots(struct umem_event_log *log, uint64_t n)
{
    return atomic_fetch_add_explicit(&log->log_head, n, memory_order_relaxed);
}

static inline void
put(struct umem_event *slot, uint64_t time, const struct umem_event *event)
{
    if (UMEM_UNLIKELY(atomic_exchange_explicit(&slot->event_time, UMEM_EVENT_BUSY,
                                               memory_order_acquire) == UMEM_EVENT_BUSY))
        return;
    slot->event_addr = event->event_addr;
    slot->event_cache = event->event_cache;
    slot->event_size = event->event_size;
    slot->event_stack = event->event_stack;
    slot->event_thread = event->event_thread;
    atomic_store_explicit(&slot->event_time, time, memory_order_release);
}

static inline uint64_t
size_and_kind(size_t size, enum umem_event_kind kind)
{
    uint64_t most = UINT64_MAX >> UMEM_EVENT_KIND_BITS;

    return (size < most ? size : most) << UMEM_EVENT_KIND_BITS | kind;
}

void
umem_event_transaction(const struct umem_bufctl *bc, const void *addr,
                       const struct umem_cache *cache, enum umem_event_kind kind)
{
    struct umem_event_log *log = &umem_transaction_log;
    struct umem_event *events = log_start(log, umem_options.opt_transaction_log);
    uint64_t next = next_transaction;

    if (UMEM_UNLIKELY(events == NULL))
        return;
    if (next % UMEM_EVENT_RUN == 0 ||
        atomic_load_explicit(&log->log_head, memory_order_relaxed) - next > log->log_slots)
        next = take_slots(log, UMEM_EVENT_RUN);
    next_transaction = next + 1;
    put(&events[next % log->log_slots], umem_transaction_ns(&bc->bc_last),
        &(struct umem_event){.event_addr = (uintptr_t)addr,
                             .event_cache = (uintptr_t)cache,
                             .event_size = size_and_kind((size_t)bc->bc_size, kind),
                             .event_stack = bc->bc_last.txn_stack,
                             .event_thread = umem_transaction_thread(&bc->bc_last)});
}

/* An event of this thread, with its stack. */
static UMEM_COLD void
put_with_stack(struct umem_event_log *log, size_t log_size, struct umem_event *event)
{
    uintptr_t frames[UMEM_AUDIT_FRAMES_MAX + UMEM_OWN_FRAMES_MAX];
    uint32_t max = umem_options.opt_audit_frames;
    int saved = errno;
    struct umem_event *events = log_start(log, log_size);

    if (events != NULL) {
        event->event_stack =
            umem_stacks_intern(frames, max > 0 ? umem_audit_stack(frames, max) : 0);
        event->event_thread = umem_thread_self();
        put(&events[take_slots(log, 1) % log->log_slots], os_clock_ns(), event);
    }
    errno = saved;
}

UMEM_COLD void
umem_event_fail(const struct umem_cache *cache, size_t size, int error)
{
    put_with_stack(&umem_fail_log, umem_options.opt_fail_log,
                   &(struct umem_event){.event_addr = (uint64_t)error,
                                        .event_cache = (uintptr_t)cache,
                                        .event_size = size_and_kind(size, UMEM_EVENT_FAIL)});
}

UMEM_COLD void
umem_event_slab(const struct slab *slab, bool made)
{
    enum umem_event_kind kind = made ? UMEM_EVENT_SLAB_MADE : UMEM_EVENT_SLAB_DESTROYED;

    put_with_stack(
        &umem_slab_log, umem_options.opt_slab_log,
        &(struct umem_event){.event_addr = (uintptr_t)slab->slab_span,
                             .event_cache = (uintptr_t)umem_cache_of_slab(slab),
                             .event_size = size_and_kind(slab->slab_pool->pool_slab_size, kind)});
}

static void
fork_child(struct umem_event_log *log)
{
    struct umem_event *events = atomic_load_explicit(&log->log_events, memory_order_relaxed);

    atomic_store_explicit(&log->log_starting, events != NULL, memory_order_relaxed);
    for (uint64_t i = 0; events != NULL && i < log->log_slots; i++)
        if (atomic_load_explicit(&events[i].event_time, memory_order_relaxed) == UMEM_EVENT_BUSY)
            atomic_store_explicit(&events[i].event_time, 0, memory_order_relaxed);
}

void
umem_events_fork_child(void)
{
    fork_child(&umem_transaction_log);
    fork_child(&umem_fail_log);
    fork_child(&umem_slab_log);
}
