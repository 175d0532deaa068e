/* SPDX-License-Identifier: MIT */
/*
 * history.c - see history.h.
 */
#include "look/history.h"

#include <stdlib.h>

#include "heap/memory.h"

/* The log has what the record has, and more: a transaction is one, whoever tells of it. */
static bool
is_known(const struct history *history, const struct event *event)
{
    for (size_t i = 0; i < history->his_count; i++) {
        const struct event *other = &history->his_events[i];
        if (other->event_time == event->event_time && other->event_thread == event->event_thread &&
            other->event_stack == event->event_stack && other->event_kind == event->event_kind)
            return true;
    }
    return false;
}

static bool
add(struct history *history, const struct event *event)
{
    if (!memory_grow(&history->his_events, &history->his_room, history->his_count,
                     sizeof(*history->his_events)))
        return false;
    history->his_events[history->his_count++] = *event;
    return true;
}

/* From the record; what is not in the log already. */
static bool
add_recorded(struct history *history, const struct block_info *info)
{
    const struct event last = {.event_kind = info->blk_live ? EVENT_ALLOC : EVENT_FREE,
                               .event_time = info->blk_time,
                               .event_addr = info->blk_addr,
                               .event_size =
                                   info->blk_live ? info->blk_requested : HISTORY_SIZE_UNKNOWN,
                               .event_stack = info->blk_stack,
                               .event_thread = info->blk_thread,
                               .event_place = UINT64_MAX};
    const struct event before = {.event_kind = info->blk_live ? EVENT_FREE : EVENT_ALLOC,
                                 .event_time = info->blk_prev_time,
                                 .event_addr = info->blk_addr,
                                 .event_size = HISTORY_SIZE_UNKNOWN,
                                 .event_stack = info->blk_prev_stack,
                                 .event_thread = info->blk_prev_thread,
                                 .event_place = UINT64_MAX - 1};

    if (!info->blk_audited)
        return true;
    return (is_known(history, &last) || add(history, &last)) &&
           (before.event_time == 0 || is_known(history, &before) || add(history, &before));
}

static int
newer_first(const void *a, const void *b)
{
    const struct event *x = a;
    const struct event *y = b;

    if (x->event_time != y->event_time)
        return x->event_time < y->event_time ? 1 : -1;
    return (x->event_place < y->event_place) - (x->event_place > y->event_place);
}

int
history_find(struct heap *h, addr_t addr, struct history *history)
{
    struct event_list log;
    struct block_info info;
    bool ok = true;

    *history = (struct history){.his_base = addr};
    if (heap_find(h, addr, &history->his_block)) {
        history->his_has_block = true;
        history->his_base = heap_block_addr(h, history->his_block);
    }
    heap_read_log(h, LOG_TRANSACTION, &log);
    for (size_t i = 0; ok && i < log.count; i++)
        if (log.list[i].event_addr == history->his_base)
            ok = add(history, &log.list[i]);
    event_list_fini(&log);
    if (ok && history->his_has_block) {
        heap_block_info(h, history->his_block, &info);
        ok = add_recorded(history, &info);
    }
    if (history->his_count > 1)
        qsort(history->his_events, history->his_count, sizeof(*history->his_events), newer_first);
    return ok ? 0 : -1;
}

void
history_fini(struct history *history)
{
    free(history->his_events);
    *history = (struct history){0};
}
