/* SPDX-License-Identifier: MIT */
/*
 * cmd_bufctls.c - dcmds about what is recorded of buffers: ::bufctl,
 * ::bufctl_audit, ::allocdby, ::freedby.
 *
 * A bufctl is the record beside a buffer, of its last two transactions; a
 * record of the transaction log reads the same way.
 */
#include "shell/bufctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heap/memory.h"

/* --- Reading --- */

static struct event_list *
transactions(struct shell *sh)
{
    if (!sh->sh_log_read) {
        sh->sh_log_read = true;
        heap_read_log(&sh->sh_heap, LOG_TRANSACTION, &sh->sh_log);
    }
    return &sh->sh_log;
}

const struct event_list *
shell_transactions(struct shell *sh)
{
    return transactions(sh);
}

static const struct event *
newest_event(struct shell *sh, addr_t buffer)
{
    const struct event_list *log = transactions(sh);
    for (size_t i = 0; i < log->count; i++)
        if (log->list[i].event_addr == buffer)
            return &log->list[i];
    return NULL;
}

static void
from_event(const struct event *event, struct bufctl *bc)
{
    *bc = (struct bufctl){.bc_addr = event->event_record,
                          .bc_buffer = event->event_addr,
                          .bc_cache = event->event_cache,
                          .bc_audited = true,
                          .bc_is_event = true,
                          .bc_time = event->event_time,
                          .bc_thread = event->event_thread,
                          .bc_stack = event->event_stack,
                          .bc_allocated = event->event_kind != EVENT_FREE};
}

static bool
find_block(struct shell *sh, addr_t addr, struct block *b)
{
    if (sh->sh_bufctls == NULL)
        sh->sh_bufctls = bufctl_table_create(&sh->sh_heap);
    return sh->sh_bufctls != NULL && bufctl_table_find(sh->sh_bufctls, addr, b);
}

static void
from_block(struct shell *sh, addr_t addr, struct block b, struct bufctl *bc)
{
    const struct region *region = &sh->sh_heap.heap_regions[b.block_region];
    struct block_info info;

    heap_block_info(&sh->sh_heap, b, &info);
    *bc = (struct bufctl){.bc_addr = addr,
                          .bc_buffer = info.blk_addr,
                          .bc_audited = info.blk_audited,
                          .bc_time = info.blk_time,
                          .bc_thread = info.blk_thread,
                          .bc_stack = info.blk_stack,
                          .bc_prev_time = info.blk_prev_time,
                          .bc_prev_thread = info.blk_prev_thread,
                          .bc_prev_stack = info.blk_prev_stack,
                          .bc_allocated = info.blk_live};
    if (region->region_cache != NO_CACHE)
        bc->bc_cache = sh->sh_heap.heap_caches[region->region_cache].cache_addr;
}

bool
shell_bufctl(struct shell *sh, addr_t addr, struct bufctl *bc)
{
    const struct event_list *log;
    struct block b;

    if (find_block(sh, addr, &b) && heap_bufctl(&sh->sh_heap, b, NULL) == addr) {
        from_block(sh, addr, b, bc);
        return true;
    }
    log = transactions(sh);
    for (size_t i = 0; i < log->count; i++)
        if (log->list[i].event_record == addr) {
            from_event(&log->list[i], bc);
            return true;
        }
    return shell_error(sh, "0x%" PRIx64 " is no bufctl; ADDR::whatis tells the one of a buffer",
                       addr);
}

addr_t
shell_bufctl_of(struct shell *sh, addr_t buffer)
{
    struct block b;
    bool audited;
    if (!heap_find(&sh->sh_heap, buffer, &b))
        return 0;
    addr_t bufctl = heap_bufctl(&sh->sh_heap, b, &audited);
    return audited ? bufctl : 0;
}

addr_t
shell_bufctl_around(struct shell *sh, addr_t addr, addr_t *buffer)
{
    struct block b;
    if (!find_block(sh, addr, &b))
        return 0;
    *buffer = heap_block_addr(&sh->sh_heap, b);
    return heap_bufctl(&sh->sh_heap, b, NULL);
}

/* --- Printing --- */

static void
print_title(bool verbose)
{
    if (verbose)
        printf("%16s %16s %16s %16s\n%16s %16s %16s %16s\n", "ADDR", "BUFADDR", "TIMESTAMP",
               "THREAD", "", "CACHE", "LASTLOG", "CONTENTS");
    else
        printf("%-16s %-16s %-12s %7s %s\n", "ADDR", "BUFADDR", "TIMESTAMP", "THREAD", "CALLER");
}

/* The function that allocated or freed: the innermost of the program's. */
static const char *
caller_name(struct shell *sh, uint32_t stack, char *name)
{
    addr_t frame;
    if (heap_stack(&sh->sh_heap, stack, &frame, 1) == 0)
        return "";
    return shell_name(sh, frame, true, name);
}

static void
print_row(struct shell *sh, const struct bufctl *bc, bool verbose)
{
    char name[SHELL_NAME_MAX];

    if (!verbose) {
        printf("%016" PRIx64 " %016" PRIx64 " %12" PRIx64 " %7" PRIu32 " %s\n", bc->bc_addr,
               bc->bc_buffer, bc->bc_time, bc->bc_thread, caller_name(sh, bc->bc_stack, name));
        return;
    }
    const struct event *last = bc->bc_is_event ? NULL : newest_event(sh, bc->bc_buffer);
    printf("%16" PRIx64 " %16" PRIx64 " %16" PRIx64 " %16" PRIu32 "\n%16s %16" PRIx64 " %16" PRIx64
           " %16x\n",
           bc->bc_addr, bc->bc_buffer, bc->bc_time, bc->bc_thread, "", bc->bc_cache,
           last != NULL ? last->event_record : 0, 0);
    shell_print_stack(sh, bc->bc_stack);
    putchar('\n');
}

bool
shell_print_bufctl(struct shell *sh, addr_t addr, bool heading)
{
    struct bufctl bc;

    if (!shell_bufctl(sh, addr, &bc))
        return false;
    if (heading)
        print_title(true);
    print_row(sh, &bc, true);
    return true;
}

/* --- ::bufctl --- */

struct filter {
    bool has_buffer, has_caller, has_earliest, has_latest, has_thread;
    uint64_t buffer, caller, earliest, latest, thread;
};

/* Whether a stack has a frame at this address, or in the function that begins there. */
bool
shell_stack_has(struct shell *sh, uint32_t stack, addr_t caller)
{
    addr_t frames[HEAP_STACK_MAX];
    size_t n = heap_stack(&sh->sh_heap, stack, frames, HEAP_STACK_MAX);

    for (size_t i = 0; i < n; i++) {
        const struct symbol *sym = symboliser_symbol(sh->sh_symbols, frames[i], true);
        if (frames[i] == caller ||
            (sym != NULL && sym->sym_function[0] != '\0' && frames[i] - sym->sym_offset == caller))
            return true;
    }
    return false;
}

static bool
passes(struct shell *sh, const struct filter *f, const struct bufctl *bc)
{
    return (!f->has_buffer || bc->bc_buffer == f->buffer) &&
           (!f->has_earliest || bc->bc_time >= f->earliest) &&
           (!f->has_latest || bc->bc_time <= f->latest) &&
           (!f->has_thread || bc->bc_thread == f->thread) &&
           (!f->has_caller || shell_stack_has(sh, bc->bc_stack, f->caller));
}

static bool
tell_bufctl(struct shell *sh, const struct call *call, const struct filter *filter,
            const struct bufctl *bc, bool verbose)
{
    if (!passes(sh, filter, bc))
        return true;
    if (call_feeds(call))
        return shell_say_address(sh, bc->bc_addr);
    print_row(sh, bc, verbose);
    return true;
}

/* What happened to the buffer before: its other transaction, and what the log has. */
static bool
tell_history(struct shell *sh, const struct call *call, const struct filter *filter,
             const struct bufctl *bc, bool verbose)
{
    const struct event_list *log = transactions(sh);
    struct bufctl before = *bc;
    uint64_t oldest = bc->bc_prev_time != 0 ? bc->bc_prev_time : bc->bc_time;

    before.bc_time = bc->bc_prev_time;
    before.bc_thread = bc->bc_prev_thread;
    before.bc_stack = bc->bc_prev_stack;
    if (bc->bc_prev_time != 0 && !tell_bufctl(sh, call, filter, &before, verbose))
        return false;
    for (size_t i = 0; i < log->count; i++) {
        struct bufctl event;
        if (log->list[i].event_addr != bc->bc_buffer || log->list[i].event_time >= oldest)
            continue;
        from_event(&log->list[i], &event);
        if (!tell_bufctl(sh, call, filter, &event, verbose))
            return false;
    }
    return true;
}

static bool
dcmd_bufctl(struct shell *sh, const struct call *call)
{
    struct filter f = {0};
    struct bufctl bc;
    bool verbose = false;
    bool history = false;
    const struct dcmd_option options[] = {{'v', DCMD_FLAG, &verbose, NULL},
                                          {'h', DCMD_FLAG, &history, NULL},
                                          {'a', DCMD_VALUE, &f.buffer, &f.has_buffer},
                                          {'c', DCMD_VALUE, &f.caller, &f.has_caller},
                                          {'e', DCMD_VALUE, &f.earliest, &f.has_earliest},
                                          {'l', DCMD_VALUE, &f.latest, &f.has_latest},
                                          {'t', DCMD_VALUE, &f.thread, &f.has_thread},
                                          {0}};

    if (!dcmd_options(sh, call, options, 0, NULL) || !shell_bufctl(sh, call->call_addr, &bc))
        return false;
    if (call_is_first(call) && !call_feeds(call))
        print_title(verbose);
    return tell_bufctl(sh, call, &f, &bc, verbose) &&
           (!history || tell_history(sh, call, &f, &bc, verbose));
}

static bool
dcmd_bufctl_audit(struct shell *sh, const struct call *call)
{
    return dcmd_plain(sh, call) && shell_print_bufctl(sh, call->call_addr, call_is_first(call));
}

/* --- ::allocdby, ::freedby --- */

static int
newest_first(const void *a, const void *b)
{
    const struct bufctl *x = a;
    const struct bufctl *y = b;
    if (x->bc_time != y->bc_time)
        return x->bc_time < y->bc_time ? 1 : -1;
    return (x->bc_addr > y->bc_addr) - (x->bc_addr < y->bc_addr);
}

static bool
tell_by_thread(struct shell *sh, const struct call *call, const char *walker_name)
{
    const struct walk walk = {walker_find(walker_name), true, call->call_addr};
    struct addresses found = {0};
    char name[SHELL_NAME_MAX];

    if (!dcmd_plain(sh, call) || !shell_walk(sh, &walk, &found))
        return false;
    bool ok = true;
    struct bufctl *list = calloc(found.count + 1, sizeof(*list));
    for (size_t i = 0; list != NULL && ok && i < found.count; i++)
        ok = shell_bufctl(sh, found.list[i], &list[i]);
    if (list == NULL)
        ok = shell_error(sh, "no memory");
    if (ok) {
        qsort(list, found.count, sizeof(*list), newest_first);
        if (!call_feeds(call))
            printf("%-16s %-12s %s\n", "BUFCTL", "TIMESTAMP", "CALLER");
    }
    for (size_t i = 0; ok && i < found.count; i++) {
        if (call_feeds(call))
            ok = shell_say_address(sh, list[i].bc_addr);
        else
            printf("%016" PRIx64 " %12" PRIx64 " %s\n", list[i].bc_addr, list[i].bc_time,
                   caller_name(sh, list[i].bc_stack, name));
    }
    free(list);
    addresses_fini(&found);
    return ok;
}

static bool
dcmd_allocdby(struct shell *sh, const struct call *call)
{
    return tell_by_thread(sh, call, "allocdby");
}

static bool
dcmd_freedby(struct shell *sh, const struct call *call)
{
    return tell_by_thread(sh, call, "freedby");
}

const struct dcmd dcmds_bufctls[] = {
    {"bufctl", "[-vh] [-a addr] [-c caller] [-e earliest] [-l latest] [-t thread]",
     "print a bufctl, or let those pass that a filter lets",
     "    -v           with the stack, the cache and the newest record of the log\n"
     "    -h           also what happened to the buffer before\n"
     "    -a addr      only the bufctl of this buffer\n"
     "    -c caller    only where this function, or place, is in the stack\n"
     "    -e earliest  only from this TIMESTAMP on\n"
     "    -l latest    only up to this TIMESTAMP\n"
     "    -t thread    only by this thread; 0t4711 where the number is decimal\n"
     "  Values are expressions. TIMESTAMP is nanoseconds of the monotonic clock, hexadecimal.\n",
     "::walk bufctl | ::bufctl -c main\n::walk leak | ::bufctl -v\n::walk freectl | ::bufctl -h",
     dcmd_bufctl, DCMD_HEAP | DCMD_FEEDS | DCMD_ADDRESS},
    {"bufctl_audit", "", "print a bufctl with its stack", "  The same as ::bufctl -v.\n",
     "::walk leak | ::bufctl_audit", dcmd_bufctl_audit, DCMD_HEAP | DCMD_ADDRESS},
    {"allocdby", "", "buffers that the thread with this number allocated, newest first",
     "  0t4711::allocdby, since numbers are hexadecimal otherwise.\n", "::walk thread | ::allocdby",
     dcmd_allocdby, DCMD_HEAP | DCMD_FEEDS | DCMD_ADDRESS},
    {"freedby", "", "free buffers that the thread with this number freed, newest first",
     "  0t4711::freedby, since numbers are hexadecimal otherwise.\n", "::walk thread | ::freedby",
     dcmd_freedby, DCMD_HEAP | DCMD_FEEDS | DCMD_ADDRESS},
    {0}};
