/* SPDX-License-Identifier: MIT */
/*
 * events.c - the library's logs of transactions, failures and slabs, read from
 * the target and put in order of time.
 *
 * A record that was being written just then is left out.  A library that has
 * no such logs reads as one where they are off.
 */
#include "heap/heap.h"

#include <stdlib.h>

/* Records read at a time: 40 KiB of today's. */
#define EVENTS_AT_A_TIME ((uint64_t)1024)

static addr_t
log_address(const struct offsets *off, enum event_log log)
{
    switch (log) {
    case LOG_TRANSACTION:
        return off->at_umem_transaction_log;
    case LOG_FAIL:
        return off->at_umem_fail_log;
    default:
        return off->at_umem_slab_log;
    }
}

uint64_t
heap_log_size(struct heap *h, enum event_log log)
{
    const struct offsets *off = &h->heap_offsets;
    const struct field size[LOG_COUNT] = {[LOG_TRANSACTION] = off->opt_transaction_log,
                                          [LOG_FAIL] = off->opt_fail_log,
                                          [LOG_SLAB] = off->opt_slab_log};
    struct record rec =
        reader_record(&h->heap_reader, off->at_umem_options, off->size_umem_options);

    return record_get(&rec, 0, size[log]);
}

static enum event_kind
kind_of(const struct offsets *off, uint64_t kind)
{
    const uint64_t known[] = {[EVENT_ALLOC] = off->const_UMEM_EVENT_ALLOC,
                              [EVENT_FREE] = off->const_UMEM_EVENT_FREE,
                              [EVENT_RESIZE] = off->const_UMEM_EVENT_RESIZE,
                              [EVENT_FAIL] = off->const_UMEM_EVENT_FAIL,
                              [EVENT_SLAB_MADE] = off->const_UMEM_EVENT_SLAB_MADE,
                              [EVENT_SLAB_DESTROYED] = off->const_UMEM_EVENT_SLAB_DESTROYED};

    for (int i = EVENT_ALLOC; i <= EVENT_SLAB_DESTROYED; i++)
        if (known[i] == kind)
            return (enum event_kind)i;
    return EVENT_UNKNOWN;
}

static struct event
decode(const struct offsets *off, const struct record *rec, uint64_t base)
{
    uint64_t size = record_get(rec, base, off->event_size);
    unsigned shift = (unsigned)off->const_UMEM_EVENT_KIND_BITS & 63;

    return (struct event){
        .event_kind = kind_of(off, size & (((uint64_t)1 << shift) - 1)),
        .event_time = record_get(rec, base, off->event_time),
        .event_addr = record_get(rec, base, off->event_addr),
        .event_cache = record_get(rec, base, off->event_cache),
        .event_size = size >> shift,
        .event_stack = (uint32_t)record_get(rec, base, off->event_stack),
        .event_thread = (uint32_t)record_get(rec, base, off->event_thread),
    };
}

static int
newer_first(const void *a, const void *b)
{
    uint64_t ta = ((const struct event *)a)->event_time;
    uint64_t tb = ((const struct event *)b)->event_time;

    if (ta == tb) {
        ta = ((const struct event *)a)->event_place;
        tb = ((const struct event *)b)->event_place;
    }
    return ta < tb ? 1 : ta > tb ? -1 : 0;
}

/* Adds what is whole of n records from number first on; false where they cannot be read or kept. */
static bool
add_events(struct heap *h, addr_t events, uint64_t first, uint64_t n, struct event_list *list)
{
    const struct offsets *off = &h->heap_offsets;
    addr_t at = events + first * off->size_umem_event;
    struct record rec = reader_record(&h->heap_reader, at, (size_t)(n * off->size_umem_event));
    struct event *grown = realloc(list->list, (list->count + n) * sizeof(*grown));

    if (grown != NULL)
        list->list = grown;
    if (grown == NULL || rec.rec_data == NULL)
        return false;
    for (uint64_t i = 0; i < n; i++) {
        struct event event = decode(off, &rec, i * off->size_umem_event);
        event.event_place = first + i;
        event.event_record = at + i * off->size_umem_event;
        if (event.event_time != 0 && event.event_time != off->const_UMEM_EVENT_BUSY)
            list->list[list->count++] = event;
    }
    return true;
}

void
heap_read_log(struct heap *h, enum event_log log, struct event_list *list)
{
    const struct offsets *off = &h->heap_offsets;

    *list = (struct event_list){0};
    if (log_address(off, log) == 0 || off->size_umem_event == 0)
        return;
    struct record rec =
        reader_record(&h->heap_reader, log_address(off, log), off->size_umem_event_log);
    addr_t events = record_get(&rec, 0, off->log_events);
    uint64_t slots = record_get(&rec, 0, off->log_slots);
    uint64_t head = record_get(&rec, 0, off->log_head);

    for (uint64_t i = 0; events != 0 && i < slots; i += EVENTS_AT_A_TIME) {
        uint64_t n = slots - i < EVENTS_AT_A_TIME ? slots - i : EVENTS_AT_A_TIME;
        if (!add_events(h, events, i, n, list)) {
            heap_problem(h, "a log of the library cannot be read whole");
            break;
        }
    }
    if (list->count == 0 || slots == 0)
        return;
    /* The slot that is given out next is the oldest. */
    for (size_t i = 0; i < list->count; i++)
        list->list[i].event_place = (list->list[i].event_place + slots - head % slots) % slots;
    qsort(list->list, list->count, sizeof(*list->list), newer_first);
    /* A core's clock is the newest of what happened in it. */
    if (list->list[0].event_time > heap_now(h))
        h->heap_newest = list->list[0].event_time;
}

void
event_list_fini(struct event_list *list)
{
    free(list->list);
    *list = (struct event_list){0};
}

uint64_t
heap_event_age(struct heap *h, const struct event *event)
{
    uint64_t now = heap_now(h);
    return now > event->event_time ? now - event->event_time : 0;
}

const char *
heap_cache_name(const struct heap *h, addr_t cache)
{
    for (size_t i = 0; i < h->heap_cache_count; i++)
        if (h->heap_caches[i].cache_addr == cache)
            return h->heap_caches[i].cache_name;
    return cache == 0 ? "oversize" : "a cache destroyed since";
}
