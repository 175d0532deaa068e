/* SPDX-License-Identifier: MIT */
/*
 * events.h - the logs of UMEM_LOGGING but the contents log: what happened last,
 * in the process for an analyser to read from a core or a live process.
 *
 *   transaction  allocations and frees under audit
 *   fail         allocations that failed
 *   slab         slabs made and destroyed
 *
 * Each is a ring of records of 40 bytes: a stack is a number in the stack
 * depot, so that a log reaches far back.  Writers never wait, neither for each
 * other nor for a reader.
 */
#ifndef UMEM_EVENTS_H
#define UMEM_EVENTS_H

#include "base/base.h"

struct slab;
struct umem_bufctl;
struct umem_cache;

enum umem_event_kind {
    UMEM_EVENT_ALLOC = 1,
    UMEM_EVENT_FREE,
    UMEM_EVENT_RESIZE, /* realloc() in place */
    UMEM_EVENT_FAIL,
    UMEM_EVENT_SLAB_MADE,
    UMEM_EVENT_SLAB_DESTROYED
};

struct umem_event {
    _Atomic uint64_t event_time; /* CLOCK_MONOTONIC, nanoseconds; 0 unused, or UMEM_EVENT_BUSY */
    uint64_t event_addr;         /* of the buffer or slab; of a failure, its errno */
    uint64_t event_cache;        /* struct umem_cache *, 0 none (oversize) */
    uint64_t event_size;         /* bytes << UMEM_EVENT_KIND_BITS | enum umem_event_kind */
    uint32_t event_stack;        /* in the stack depot, 0 none */
    uint32_t event_thread;       /* kernel id */
};
_Static_assert(sizeof(struct umem_event) == 40, "what the manual says that a record takes");
#define UMEM_EVENT_KIND_BITS 8
/* A time that does not come: the record is being written. */
#define UMEM_EVENT_BUSY UINT64_MAX
/*
 * Records that a thread takes at a time where all threads write all the time:
 * the head's cache line is passed on once in eight records, and a run is five
 * cache lines of its own.
 */
#define UMEM_EVENT_RUN 8

struct umem_event_log {
    struct umem_event *_Atomic log_events; /* NULL until the first event */
    uint64_t log_slots;                    /* a multiple of UMEM_EVENT_RUN */
    _Atomic uint64_t log_head;             /* slots given out since the start */
    const char *log_name;
    _Atomic uint32_t log_starting;
};
extern struct umem_event_log umem_transaction_log, umem_fail_log, umem_slab_log;

/* The last transaction of a buffer's bufctl; opt_transaction_log is not 0.  Keeps errno. */
void umem_event_transaction(const struct umem_bufctl *bc, const void *addr,
                            const struct umem_cache *cache, enum umem_event_kind kind);
/* An allocation failed with that errno; opt_fail_log is not 0.  cache may be NULL.  Keeps errno. */
void umem_event_fail(const struct umem_cache *cache, size_t size, int error);
/* For slab_watcher (slab.h), where opt_slab_log is not 0.  Keeps errno. */
void umem_event_slab(const struct slab *slab, bool made);
/* In the child of a fork: records that another thread was busy with are unused. */
void umem_events_fork_child(void);

#endif
