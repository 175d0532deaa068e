/* SPDX-License-Identifier: MIT */
/*
 * history.c - umem history: all that is known of what happened to an address.
 */
#include "look/history.h"
#include "commands/commands.h"

#include <inttypes.h>
#include <stdio.h>

#include "report/block_report.h"
#include "report/format.h"
#include "report/json.h"
#include "report/open.h"
#include "report/place.h"

static const char description[] =
    "The last transaction of a buffer and the one before are in its record (UMEM_DEBUG=audit);\n"
    "earlier ones are in the transaction log, as far as that reaches (UMEM_LOGGING=transaction).\n"
    "The newest is listed first.\n";

static const char *
kind_name(enum event_kind kind)
{
    switch (kind) {
    case EVENT_ALLOC:
        return "allocated";
    case EVENT_FREE:
        return "freed";
    case EVENT_RESIZE:
        return "resized";
    default:
        return "unknown";
    }
}

static void
print_event(const struct look *look, const struct event *event)
{
    addr_t frames[HEAP_STACK_MAX];
    bool color = look->look_options->opt_color;
    struct heap *h = look->look_heap;
    size_t n = heap_stack(h, event->event_stack, frames, HEAP_STACK_MAX);

    printf("  %s%s%s", style_bold(color), kind_name(event->event_kind), style_end(color));
    if (event->event_kind != EVENT_FREE && event->event_size != HISTORY_SIZE_UNKNOWN)
        printf(" (%s bytes)", format_count(event->event_size).s);
    printf(" %s %s by thread %" PRIu32 "\n", format_age(heap_event_age(h, event)).s,
           age_suffix(h->heap_target), event->event_thread);
    stack_print(look->look_symbols, frames, n, false, 6, color);
}

static void
print_text(const struct look *look, addr_t addr, const struct history *history)
{
    const struct command_options *options = look->look_options;
    char place[PLACE_TEXT_MAX];
    size_t shown = history->his_count < options->opt_max ? history->his_count : options->opt_max;

    place_describe(look->look_heap, addr, place, sizeof(place));
    incomplete_print(look->look_heap, options->opt_color);
    printf("0x%" PRIx64 ": %s, %s known\n", addr, place,
           format_plural(history->his_count, "transaction", "transactions").s);
    for (size_t i = 0; i < shown; i++)
        print_event(look, &history->his_events[i]);
    if (shown < history->his_count)
        printf("  %s older; -n 0 lists them\n",
               format_plural(history->his_count - shown, "is", "are").s);
    if (history->his_count == 0)
        puts("  To have them recorded: UMEM_DEBUG=audit UMEM_LOGGING=transaction=16m");
}

static json_t *
event_json(const struct look *look, const struct event *event)
{
    addr_t frames[HEAP_STACK_MAX];
    struct heap *h = look->look_heap;
    size_t n = heap_stack(h, event->event_stack, frames, HEAP_STACK_MAX);
    json_t *out = json_object();

    json_set_text(out, "kind", kind_name(event->event_kind));
    json_object_set_new(out, "age_s", json_real(format_seconds(heap_event_age(h, event))));
    json_object_set_new(out, "size",
                        event->event_size == HISTORY_SIZE_UNKNOWN
                            ? json_null()
                            : json_integer((json_int_t)event->event_size));
    json_set_count(out, "thread", event->event_thread);
    json_object_set_new(out, "stack", stack_json(look->look_symbols, frames, n, false));
    return out;
}

static void
print_json(const struct look *look, addr_t addr, const struct history *history)
{
    json_t *out = json_begin(look->look_heap);
    json_t *events = json_array();
    struct what what;

    whatis(look->look_heap, addr, &what);
    for (size_t i = 0; i < history->his_count && i < look->look_options->opt_max; i++)
        json_array_append_new(events, event_json(look, &history->his_events[i]));
    json_set_hex(out, "address", addr);
    json_set_hex(out, "base", history->his_base);
    json_set_text(out, "kind", place_kind_name(what.what_kind));
    json_set_count(out, "transactions", history->his_count);
    json_object_set_new(out, "events", events);
    json_finish(out);
}

static int
look_at(const struct look *look, void *arg)
{
    const addr_t *addr = arg;
    struct history history;
    int code = COMMAND_CLEAN;

    if (history_find(look->look_heap, *addr, &history) != 0)
        code = command_error("history: not enough memory");
    else if (look->look_options->opt_format == FORMAT_JSON)
        print_json(look, *addr, &history);
    else
        print_text(look, *addr, &history);
    history_fini(&history);
    return code;
}

int
command_history(int argc, char **argv)
{
    const struct command_spec spec = {.cmd_name = "history",
                                      .cmd_usage = "TARGET ADDR",
                                      .cmd_summary = "List all known transactions of a buffer",
                                      .cmd_description = description,
                                      .cmd_shared = SHARED_TARGET,
                                      .cmd_min_args = 2,
                                      .cmd_max_args = 2};
    struct command_options options;
    addr_t addr;
    int code = options_parse(&spec, argc, argv, &options);

    if (code != OPTIONS_GO)
        return code;
    if (!command_address(options.opt_argv[1], &addr))
        return command_error("history: %s: not an address (give hexadecimal: 0x7f00abcd)",
                             options.opt_argv[1]);
    return report_look("history", options.opt_argv[0], &options, OPEN_STOPPED, look_at, &addr);
}
