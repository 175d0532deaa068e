/* SPDX-License-Identifier: MIT */
/*
 * cmd_logs.c - ::umem_log and ::umalog: the logs of UMEM_LOGGING.
 */
#include "shell/bufctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_S ((uint64_t)1000000000)
/* Where frames stand in ::umalog. */
#define UMALOG_COLUMN 9

static bool
needs_log(struct shell *sh, const char *name, enum event_log log)
{
    static const char *const how[LOG_COUNT] = {[LOG_TRANSACTION] =
                                                   "UMEM_DEBUG=audit UMEM_LOGGING=transaction",
                                               [LOG_FAIL] = "UMEM_LOGGING=fail",
                                               [LOG_SLAB] = "UMEM_LOGGING=slab"};

    if (heap_log_size(&sh->sh_heap, log) != 0)
        return true;
    return shell_error(sh, "%s: %s keeps no such log; start the program with %s", name, sh->sh_name,
                       how[log]);
}

static bool
dcmd_umem_log(struct shell *sh, const struct call *call)
{
    bool by_buffer = false;
    uint64_t buffer = 0;
    const struct dcmd_option options[] = {{'b', DCMD_VALUE, &buffer, &by_buffer}, {0}};

    if (!dcmd_options(sh, call, options, 0, NULL) || !needs_log(sh, "umem_log", LOG_TRANSACTION))
        return false;
    const struct event_list *log = shell_transactions(sh);
    if (call_is_first(call) && !call_feeds(call))
        printf("%3s %-16s %-16s %16s %10s\n", "CPU", "ADDR", "BUFADDR", "TIMESTAMP", "THREAD");
    for (size_t i = 0; i < log->count; i++) {
        const struct event *event = &log->list[i];
        if ((by_buffer && event->event_addr != buffer) ||
            (call_has_address(call) && event->event_record != call->call_addr))
            continue;
        if (call_feeds(call)) {
            if (!shell_say_address(sh, event->event_record))
                return false;
            continue;
        }
        printf("%3s %016" PRIx64 " %016" PRIx64 " %16" PRIx64 " %10" PRIu32 "\n", "-",
               event->event_record, event->event_addr, event->event_time, event->event_thread);
    }
    return true;
}

static void
print_event(struct shell *sh, const struct event *event, uint64_t newest)
{
    addr_t frames[HEAP_STACK_MAX];
    char name[SHELL_NAME_MAX];
    uint64_t age = newest > event->event_time ? newest - event->event_time : 0;
    size_t n = heap_stack(&sh->sh_heap, event->event_stack, frames, HEAP_STACK_MAX);

    printf("\nT-%" PRIu64 ".%09" PRIu64, age / NS_PER_S, age % NS_PER_S);
    if (event->event_kind == EVENT_FAIL)
        printf("  size=%" PRIu64, event->event_size);
    else
        printf("  addr=%" PRIx64, event->event_addr);
    printf("  %s", heap_cache_name(&sh->sh_heap, event->event_cache));
    if (event->event_kind == EVENT_FAIL)
        printf("  %s", strerror((int)event->event_addr));
    if (event->event_kind == EVENT_SLAB_DESTROYED)
        printf("  destroyed");
    putchar('\n');
    for (size_t i = 0; i < n; i++)
        printf("%*s%s\n", UMALOG_COLUMN, "", shell_name(sh, frames[i], true, name));
}

static bool
dcmd_umalog(struct shell *sh, const struct call *call)
{
    enum event_log log = LOG_TRANSACTION;
    struct event_list events;
    int rest;

    if (!dcmd_options(sh, call, NULL, 1, &rest))
        return false;
    const char *which = rest < call->call_argc ? call->call_argv[rest] : "";
    if (strcmp(which, "fail") == 0)
        log = LOG_FAIL;
    else if (strcmp(which, "slab") == 0)
        log = LOG_SLAB;
    else if (which[0] != '\0')
        return shell_error(sh, "umalog: %s: fail or slab, or nothing for transactions", which);
    if (!needs_log(sh, "umalog", log))
        return false;
    heap_read_log(&sh->sh_heap, log, &events);
    uint64_t newest = events.count > 0 ? events.list[0].event_time : 0;
    bool ok = true;
    for (size_t i = 0; ok && i < events.count; i++) {
        const struct event *event = &events.list[i];
        ok = !shell_interrupted || shell_error(sh, "interrupted");
        if (ok && (!call_has_address(call) || event->event_addr == call->call_addr))
            print_event(sh, event, newest);
    }
    event_list_fini(&events);
    return ok;
}

const struct dcmd dcmds_logs[] = {
    {"umem_log", "[-b addr]", "list the transaction log, newest first",
     "  An address before it is that of one record. There is one log for all CPUs, so CPU is\n"
     "  always \"-\".\n"
     "    -b addr   only records of this buffer\n",
     "::umem_log ! head\n::umem_log | ::bufctl -c main", dcmd_umem_log, DCMD_HEAP | DCMD_FEEDS},
    {"umalog", "[fail|slab]", "print a log with stacks, newest first",
     "  Without a word: transactions, of the buffer at an address where one is given. T is the\n"
     "  time before the newest record.\n",
     "::umalog\n::umalog fail\n::umalog slab", dcmd_umalog, DCMD_HEAP},
    {0}};
