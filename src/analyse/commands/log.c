/* SPDX-License-Identifier: MIT */
/*
 * log.c - umem log: what a log of UMEM_LOGGING holds, newest first, with
 * stacks.
 */
#include "commands/commands.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "report/block_report.h"
#include "report/format.h"
#include "report/open.h"

/* A size that the library could not keep: what overflowed, for one. */
#define SIZE_TOO_LARGE (UINT64_MAX >> 8)

static const struct {
    const char *name;
    const char *option; /* what switches it on */
} logs[LOG_COUNT] = {
    [LOG_TRANSACTION] = {"transaction", "UMEM_DEBUG=audit UMEM_LOGGING=transaction"},
    [LOG_FAIL] = {"fail", "UMEM_LOGGING=fail"},
    [LOG_SLAB] = {"slab", "UMEM_LOGGING=slab"},
};

static const char *const kind_name[] = {[EVENT_UNKNOWN] = "unknown",
                                        [EVENT_ALLOC] = "allocated",
                                        [EVENT_FREE] = "freed",
                                        [EVENT_RESIZE] = "resized",
                                        [EVENT_FAIL] = "failed",
                                        [EVENT_SLAB_MADE] = "slab made",
                                        [EVENT_SLAB_DESTROYED] = "slab destroyed"};

struct teller {
    struct heap *heap;
    struct symboliser *symbols;
    enum event_log log;
    struct event_list events;
    size_t shown;
    bool color;
};

static void
tell_event(const struct teller *t, const struct event *event)
{
    addr_t frames[HEAP_STACK_MAX];
    size_t n = heap_stack(t->heap, event->event_stack, frames, HEAP_STACK_MAX);

    printf("%s%s%s: %s", style_bold(t->color), format_age(heap_event_age(t->heap, event)).s,
           style_end(t->color), kind_name[event->event_kind]);
    if (event->event_kind != EVENT_FAIL)
        printf(" 0x%" PRIx64, event->event_addr);
    if (event->event_size >= SIZE_TOO_LARGE)
        printf(", more bytes than there are");
    else
        printf(", %s", format_plural(event->event_size, "byte", "bytes").s);
    printf(", %s", heap_cache_name(t->heap, event->event_cache));
    if (event->event_kind == EVENT_FAIL)
        printf(": %s", strerror((int)event->event_addr));
    printf(", by thread %" PRIu32 "\n", event->event_thread);
    stack_print(t->symbols, frames, n, false, 6, t->color);
}

static void
tell_text(const struct teller *t)
{
    incomplete_print(t->heap, t->color);
    printf("%s log: %s", logs[t->log].name, format_plural(t->events.count, "record", "records").s);
    if (t->events.count > 0)
        printf(", the oldest %s %s",
               format_age(heap_event_age(t->heap, &t->events.list[t->events.count - 1])).s,
               age_suffix(t->heap->heap_target));
    printf("\n");
    for (size_t i = 0; i < t->shown; i++)
        tell_event(t, &t->events.list[i]);
    if (t->events.count == 0 && t->log == LOG_TRANSACTION)
        printf("transactions are recorded under audit only: UMEM_DEBUG=audit\n");
    if (t->shown < t->events.count)
        printf("%s%s older; -n 0 lists them%s\n", style_dim(t->color),
               format_plural(t->events.count - t->shown, "record is", "records are").s,
               style_end(t->color));
}

static json_t *
event_json(const struct teller *t, const struct event *event)
{
    addr_t frames[HEAP_STACK_MAX];
    size_t n = heap_stack(t->heap, event->event_stack, frames, HEAP_STACK_MAX);
    bool failed = event->event_kind == EVENT_FAIL;
    char hex[24];
    json_t *out = json_object();

    snprintf(hex, sizeof(hex), "0x%" PRIx64, event->event_addr);
    json_object_set_new(out, "kind", json_string(kind_name[event->event_kind]));
    json_object_set_new(out, "age_s", json_real(format_seconds(heap_event_age(t->heap, event))));
    json_object_set_new(out, "address", failed ? json_null() : json_string(hex));
    json_object_set_new(out, "errno",
                        failed ? json_integer((json_int_t)event->event_addr) : json_null());
    json_object_set_new(out, "size",
                        event->event_size >= SIZE_TOO_LARGE
                            ? json_null()
                            : json_integer((json_int_t)event->event_size));
    json_object_set_new(out, "cache", json_string(heap_cache_name(t->heap, event->event_cache)));
    json_object_set_new(out, "thread", json_integer(event->event_thread));
    json_object_set_new(out, "stack", stack_json(t->symbols, frames, n, false));
    return out;
}

static void
tell_json(const struct teller *t)
{
    json_t *events = json_array();
    json_t *out = json_object();

    for (size_t i = 0; i < t->shown; i++)
        json_array_append_new(events, event_json(t, &t->events.list[i]));
    json_object_set_new(out, "target", json_string(target_name(t->heap->heap_target)));
    json_object_set_new(out, "complete", json_boolean(heap_is_complete(t->heap)));
    if (!heap_is_complete(t->heap))
        json_object_set_new(out, "incomplete", incomplete_json(t->heap));
    json_object_set_new(out, "log", json_string(logs[t->log].name));
    json_object_set_new(out, "records", json_integer((json_int_t)t->events.count));
    json_object_set_new(out, "events", events);
    json_dumpf(out, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    putchar('\n');
    json_decref(out);
}

/* The log that the second operand names, the first one by default. */
static int
choose_log(const struct command_options *options, enum event_log *log)
{
    const char *name = options->opt_argc > 1 ? options->opt_argv[1] : logs[LOG_TRANSACTION].name;

    for (int i = 0; i < LOG_COUNT; i++)
        if (strcmp(name, logs[i].name) == 0) {
            *log = (enum event_log)i;
            return COMMAND_CLEAN;
        }
    return command_error("log: %s: give transaction, fail or slab", name);
}

static int
tell(struct heap *h, enum event_log log, const struct command_options *options)
{
    struct teller t = {.heap = h, .log = log, .color = options->opt_color};

    if (heap_log_size(h, log) == 0)
        return command_error("log: %s keeps no %s log; start the program with %s",
                             target_name(h->heap_target), logs[log].name, logs[log].option);
    t.symbols = symboliser_create(h->heap_target);
    if (t.symbols == NULL)
        return command_error("log: no memory");
    heap_read_log(h, log, &t.events);
    t.shown = t.events.count < options->opt_max ? t.events.count : options->opt_max;
    if (options->opt_format == FORMAT_JSON)
        tell_json(&t);
    else
        tell_text(&t);
    event_list_fini(&t.events);
    symboliser_destroy(t.symbols);
    return COMMAND_CLEAN;
}

int
command_log(int argc, char **argv)
{
    const struct command_spec spec = {
        .cmd_name = "log",
        .cmd_usage = "TARGET [transaction|fail|slab]",
        .cmd_summary = "Print the last allocations and frees, failures, or slabs, newest first",
        .cmd_shared = SHARED_TARGET,
        .cmd_min_args = 1,
        .cmd_max_args = 2};
    struct command_options options;
    enum event_log log = LOG_TRANSACTION;
    struct heap h;
    const char *why;
    int code = options_parse(&spec, argc, argv, &options);

    if (code != OPTIONS_GO)
        return code;
    code = choose_log(&options, &log);
    if (code != COMMAND_CLEAN)
        return code;
    if (report_open("log", options.opt_argv[0], &options, OPEN_STOPPED, &h, &why) == HEAP_FAILED)
        return COMMAND_TROUBLE;
    code = tell(&h, log, &options);
    report_close(&h);
    return code;
}
