/* SPDX-License-Identifier: MIT */
/*
 * status.c - umem status: what the allocator in a process is set to, how much
 * it holds, and what it had to say.
 */
#include "commands/commands.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/block_report.h"
#include "report/format.h"
#include "report/open.h"

struct status {
    struct heap *heap;
    struct heap_state state;
    char *messages;
    uint64_t cached;
    uint64_t cached_bytes;
    size_t caches_used;
};

static void
gather(struct status *s, struct heap *h)
{
    *s = (struct status){.heap = h};
    if (!heap_read_state(h, &s->state))
        heap_problem(h, "the library's settings cannot be read");
    s->messages = heap_read_messages(h);
    for (size_t i = 0; i < h->heap_cache_count; i++) {
        s->cached += h->heap_caches[i].cache_cached;
        s->cached_bytes += h->heap_caches[i].cache_cached * h->heap_caches[i].cache_bufsize;
        s->caches_used += h->heap_caches[i].cache_total > 0;
    }
}

static void
print_debugging(const struct heap_state *st)
{
    const char *comma = "";
    printf("  %-13s", "debugging");
    if (!st->st_audit && !st->st_guards && !st->st_contents && !st->st_firewall &&
        st->st_sample == 0) {
        printf("off; on with UMEM_DEBUG=audit,guards or 'umem run --audit --guards'\n");
        return;
    }
    if (st->st_audit) {
        printf("audit (%u frames)", st->st_audit_frames);
        comma = ", ";
    }
    if (st->st_guards) {
        printf("%sguards", comma);
        comma = ", ";
    }
    if (st->st_firewall) {
        printf("%sfirewall (%s%s bytes and more)", comma, st->st_firewall_below ? "below, " : "",
               format_count(st->st_firewall_bytes).s);
        comma = ", ";
    }
    if (st->st_sample != 0) {
        printf("%ssample (1 of %s allocations)", comma, format_count(st->st_sample).s);
        comma = ", ";
    }
    if (st->st_contents)
        printf("%scontents (%s bytes a buffer)", comma, format_count(st->st_contents_bytes).s);
    printf("\n");
}

static const char *const log_names[LOG_COUNT] = {
    [LOG_TRANSACTION] = "transaction", [LOG_FAIL] = "fail", [LOG_SLAB] = "slab"};

/* How much the logs hold that are on, and how far they go back. */
static void
print_logs(struct heap *h)
{
    const char *heading = "logs";

    for (int i = 0; i < LOG_COUNT; i++) {
        struct event_list events;
        if (heap_log_size(h, (enum event_log)i) == 0)
            continue;
        heap_read_log(h, (enum event_log)i, &events);
        printf("  %-13s%s of %s", heading, log_names[i],
               format_plural(events.count, "record", "records").s);
        if (events.count > 0)
            printf(", the oldest %s %s",
                   format_age(heap_event_age(h, &events.list[events.count - 1])).s,
                   age_suffix(h->heap_target));
        printf("\n");
        heading = "";
        event_list_fini(&events);
    }
}

static json_t *
logs_json(struct heap *h)
{
    json_t *out = json_object();

    for (int i = 0; i < LOG_COUNT; i++) {
        struct event_list events;
        uint64_t size = heap_log_size(h, (enum event_log)i);
        json_t *log = size != 0 ? json_object() : json_null();
        if (size != 0) {
            heap_read_log(h, (enum event_log)i, &events);
            uint64_t reach =
                events.count > 0 ? heap_event_age(h, &events.list[events.count - 1]) : 0;
            json_object_set_new(log, "size", json_integer((json_int_t)size));
            json_object_set_new(log, "records", json_integer((json_int_t)events.count));
            json_object_set_new(log, "oldest_s", json_real(format_seconds(reach)));
            event_list_fini(&events);
        }
        json_object_set_new(out, log_names[i], log);
    }
    return out;
}

static void
print_messages(const struct status *s, bool color)
{
    if (s->messages == NULL || s->messages[0] == '\0') {
        printf("  %-13snone\n", "messages");
        return;
    }
    printf("\n%sMessages%s, oldest first:\n%s", style_bold(color), style_end(color), s->messages);
    if (s->messages[strlen(s->messages) - 1] != '\n')
        printf("\n");
}

static void
print_text(const struct status *s, const char *unused, bool color)
{
    struct heap *h = s->heap;
    char name[512];

    target_describe(h->heap_target, name, sizeof(name));
    incomplete_print(h, color);
    printf("%s%s%s\n", style_bold(color), name, style_end(color));
    printf("  %-13s%s, %s\n", "library", h->heap_offsets.off_module,
           unused == NULL ? "ready" : "loaded but not used yet");
    print_debugging(&s->state);
    printf("  %-13s%s\n", "magazines", s->state.st_magazines ? "on" : "off");
    if (unused == NULL) {
        printf("  %-13s%s in %s\n", "in use", format_size(h->heap_live_bytes).s,
               format_plural(h->heap_live_buffers, "buffer", "buffers").s);
        printf("  %-13s%s in %s, free in magazines\n", "cached", format_size(s->cached_bytes).s,
               format_plural(s->cached, "buffer", "buffers").s);
        printf("  %-13s%s in %s, and %s of records\n", "mapped",
               format_size(s->state.st_heap_bytes).s,
               format_plural(s->state.st_heap_spans, "span", "spans").s,
               format_size(s->state.st_own_bytes).s);
        printf("  %-13s%zu, of them %zu in use\n", "caches", h->heap_cache_count, s->caches_used);
        printf("  %-13s%zu with a cache of their own\n", "threads", h->heap_thread_count);
    }
    print_logs(h);
    print_messages(s, color);
}

static json_t *
amount(uint64_t buffers, uint64_t bytes)
{
    return json_pack("{sIsI}", "buffers", (json_int_t)buffers, "bytes", (json_int_t)bytes);
}

static void
print_json(const struct status *s)
{
    const struct heap_state *st = &s->state;
    struct heap *h = s->heap;
    json_t *out = json_object();
    json_t *debug =
        json_pack("{sbsIsbsbsI}", "audit", st->st_audit, "audit_frames",
                  (json_int_t)(st->st_audit ? st->st_audit_frames : 0), "guards", st->st_guards,
                  "contents", st->st_contents, "contents_bytes", (json_int_t)st->st_contents_bytes);
    json_object_set_new(debug, "sample", json_integer(st->st_sample));
    json_object_set_new(debug, "firewall", json_boolean(st->st_firewall));
    json_object_set_new(debug, "firewall_bytes", json_integer((json_int_t)st->st_firewall_bytes));

    json_object_set_new(out, "target", json_string(target_name(h->heap_target)));
    json_object_set_new(out, "complete", json_boolean(heap_is_complete(h)));
    if (!heap_is_complete(h))
        json_object_set_new(out, "incomplete", incomplete_json(h));
    json_object_set_new(out, "library", json_string(h->heap_offsets.off_module));
    json_object_set_new(out, "state", json_string(st->st_ready ? "ready" : "unused"));
    json_object_set_new(out, "debug", debug);
    json_object_set_new(out, "magazines", json_boolean(st->st_magazines));
    json_object_set_new(out, "reap_interval_s", json_integer(st->st_reap_interval_s));
    json_object_set_new(out, "live", amount(h->heap_live_buffers, h->heap_live_bytes));
    json_object_set_new(out, "cached", amount(s->cached, s->cached_bytes));
    json_object_set_new(out, "heap_bytes", json_integer((json_int_t)st->st_heap_bytes));
    json_object_set_new(out, "records_bytes", json_integer((json_int_t)st->st_own_bytes));
    json_object_set_new(out, "caches", json_integer((json_int_t)h->heap_cache_count));
    json_object_set_new(out, "threads", json_integer((json_int_t)h->heap_thread_count));
    json_object_set_new(out, "logs", logs_json(h));
    json_t *messages = s->messages != NULL ? json_string(s->messages) : NULL;
    json_object_set_new(out, "messages", messages != NULL ? messages : json_null());
    json_dumpf(out, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(out);
}

int
command_status(int argc, char **argv)
{
    const struct command_spec spec = {
        .cmd_name = "status",
        .cmd_usage = "TARGET",
        .cmd_summary = "Show version, settings, usage and messages of the allocator in a process",
        .cmd_shared = SHARED_FORMAT | SHARED_EXE | SHARED_COLOR | SHARED_SELF,
        .cmd_min_args = 1,
        .cmd_max_args = 1};
    struct command_options options;
    struct heap h;
    struct status s;
    const char *why;
    int code = options_parse(&spec, argc, argv, &options);

    if (code != OPTIONS_GO)
        return code;
    enum heap_read status =
        report_open("status", options.opt_argv[0], &options, OPEN_STOPPED, &h, &why);
    if (status == HEAP_FAILED)
        return COMMAND_TROUBLE;
    gather(&s, &h);
    if (options.opt_format == FORMAT_JSON)
        print_json(&s);
    else
        print_text(&s, status == HEAP_NONE ? why : NULL, options.opt_color);
    free(s.messages);
    report_close(&h);
    return COMMAND_CLEAN;
}
