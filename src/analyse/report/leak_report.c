/* SPDX-License-Identifier: MIT */
/*
 * leak_report.c - see leak_report.h.
 */
#include "report/leak_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "report/block_report.h"
#include "report/format.h"

/* Addresses shown of a group with a known stack, and blocks described of one without. */
#define TEXT_ADDRESSES 4
#define TEXT_CONTENTS 3

struct amount {
    uint64_t count;
    uint64_t bytes;
};

static const char *const kind_name[] = {
    [LEAK_DIRECT] = "direct", [LEAK_INDIRECT] = "indirect", [LEAK_POSSIBLE] = "possible"};
static const char *const kind_title[] = {
    [LEAK_DIRECT] = "Direct leaks: nothing points to these",
    [LEAK_INDIRECT] = "Indirect leaks: only leaked blocks point to these",
    [LEAK_POSSIBLE] = "Possible leaks: only addresses in their middle are held"};

/* What all lines of the suppressions took; s may be NULL. */
static struct amount
suppressed(const struct suppressions *s)
{
    struct amount sum = {0, 0};
    for (size_t i = 0; s != NULL && i < s->count; i++) {
        sum.count += s->list[i].sup_count;
        sum.bytes += s->list[i].sup_bytes;
    }
    return sum;
}

/* --- Text --- */

/* Where all could be read, blocks that inner pointers hold are not leaks, only worth a look. */
static uint64_t
leak_count(const struct leak_report *rep)
{
    uint64_t possible = rep->rep_leaks->lks_kind_count[LEAK_POSSIBLE];
    return rep->rep_leaks->lks_count - (heap_is_complete(rep->rep_heap) ? possible : 0);
}

static void
print_head(const struct leak_report *rep)
{
    const struct heap *h = rep->rep_heap;
    const struct leaks *leaks = rep->rep_leaks;
    bool color = rep->rep_options->opt_color;
    uint64_t bytes = leaks->lks_bytes;
    char name[512];

    target_describe(h->heap_target, name, sizeof(name));
    incomplete_print(h, color);
    if (leak_count(rep) == 0 && leaks->lks_hidden > 0) {
        printf("%sno leaks of that kind%s in %s; %s of others\n", style_bold(color),
               style_end(color), name,
               format_plural(leaks->lks_hidden, "leaked buffer", "leaked buffers").s);
        return;
    }
    if (leak_count(rep) == 0 && suppressed(leaks->lks_suppressions).count > 0) {
        printf("%sno leaks%s in %s but those suppressed\n", style_bold(color), style_end(color),
               name);
        return;
    }
    if (leak_count(rep) == 0) {
        printf("%sno leaks%s in %s: all of %s, %s bytes, can be reached\n", style_bold(color),
               style_end(color), name,
               format_plural(h->heap_live_buffers, "live buffer", "live buffers").s,
               format_count(h->heap_live_bytes).s);
        return;
    }
    if (heap_is_complete(h))
        bytes -= leaks->lks_kind_bytes[LEAK_POSSIBLE];
    printf("%s%s%s in %s: %s bytes", style_alert(color),
           format_plural(leak_count(rep), "leaked buffer", "leaked buffers").s, style_end(color),
           name, format_count(bytes).s);
    if (bytes <= h->heap_live_bytes) /* mappings, which are no buffers, may make it more */
        printf(", %s of %s bytes in %s", format_percent(bytes, h->heap_live_bytes).s,
               format_count(h->heap_live_bytes).s,
               format_plural(h->heap_live_buffers, "live buffer", "live buffers").s);
    printf("\n");
}

static void
print_summary(const struct leaks *leaks)
{
    size_t width = 0;
    for (unsigned k = 0; k <= LEAK_POSSIBLE; k++) {
        size_t n = strlen(format_count(leaks->lks_kind_count[k]).s);
        width = n > width ? n : width;
    }
    for (unsigned k = 0; k <= LEAK_POSSIBLE; k++) {
        if (leaks->lks_kind_count[k] == 0)
            continue;
        size_t groups = 0;
        for (size_t i = 0; i < leaks->lks_group_count; i++)
            groups += leaks->lks_groups[i].grp_kind == k;
        printf("  %-9s %*s  %s bytes from %s\n", kind_name[k], (int)width,
               format_count(leaks->lks_kind_count[k]).s, format_count(leaks->lks_kind_bytes[k]).s,
               format_plural(groups, "place", "places").s);
    }
}

static void
print_suppressed(const struct suppressions *s)
{
    struct amount sum = suppressed(s);
    if (sum.count == 0)
        return;
    printf("\nSuppressed: %s, %s bytes\n", format_plural(sum.count, "buffer", "buffers").s,
           format_count(sum.bytes).s);
    for (size_t i = 0; i < s->count; i++)
        if (s->list[i].sup_count > 0)
            printf("  %s, %s bytes  leak:%s  (%s:%u)\n",
                   format_plural(s->list[i].sup_count, "buffer", "buffers").s,
                   format_count(s->list[i].sup_bytes).s, s->list[i].sup_pattern,
                   s->list[i].sup_file, s->list[i].sup_line);
}

/* Some buffers' contents: where there is no stack, they are all there is to go by. */
static void
print_contents(const struct leak_report *rep, const struct leak_group *group)
{
    size_t n = group->grp_address_count < TEXT_CONTENTS ? group->grp_address_count : TEXT_CONTENTS;
    for (size_t i = 0; i < n; i++) {
        char text[CONTENTS_TEXT_MAX];
        contents_describe(rep->rep_heap, rep->rep_symbols, group->grp_addresses[i],
                          group->grp_bytes / group->grp_count, text, sizeof(text));
        printf("      0x%" PRIx64 "  %s\n", group->grp_addresses[i], text);
    }
    if (group->grp_count > n)
        printf("      and %s more\n", format_count(group->grp_count - n).s);
}

static void
print_addresses(const struct leak_report *rep, const struct leak_group *group)
{
    size_t n =
        group->grp_address_count < TEXT_ADDRESSES ? group->grp_address_count : TEXT_ADDRESSES;
    printf("      %s", style_dim(rep->rep_options->opt_color));
    for (size_t i = 0; i < n; i++)
        printf("%s0x%" PRIx64, i == 0 ? "" : ", ", group->grp_addresses[i]);
    if (group->grp_count > n)
        printf(" and %s more", format_count(group->grp_count - n).s);
    printf("%s\n", style_end(rep->rep_options->opt_color));
}

static void
print_origin(const struct leak_report *rep, const struct leak_group *group)
{
    uint64_t now = heap_now(rep->rep_heap);
    struct text oldest = format_age(now > group->grp_oldest ? now - group->grp_oldest : 0);
    struct text newest = format_age(now > group->grp_newest ? now - group->grp_newest : 0);

    printf("    allocated %s", newest.s);
    if (strcmp(newest.s, oldest.s) != 0)
        printf(" to %s", oldest.s);
    printf(" %s, by ", age_suffix(rep->rep_heap->heap_target));
    if (group->grp_threads_differ)
        printf("several threads\n");
    else
        printf("thread %u\n", group->grp_thread);
}

static void
print_group(const struct leak_report *rep, const struct leak_group *group)
{
    addr_t frames[HEAP_STACK_MAX];
    bool color = rep->rep_options->opt_color;

    printf("\n  %s%s, %s bytes%s", style_bold(color),
           format_plural(group->grp_count, "buffer", "buffers").s, format_count(group->grp_bytes).s,
           style_end(color));
    if (group->grp_requested_known && group->grp_requested != group->grp_bytes)
        printf(" (%s requested)", format_count(group->grp_requested).s);
    printf(", %s", group->grp_cache);
    if (rep->rep_leaks->lks_group_count > 1)
        printf(", %s of the leaks", format_percent(group->grp_bytes, rep->rep_leaks->lks_bytes).s);
    printf("\n");
    if (group->grp_held_count > 0)
        printf("    hold another %s, %s bytes (below, as indirect)\n",
               format_plural(group->grp_held_count, "buffer", "buffers").s,
               format_count(group->grp_held_bytes).s);
    size_t depth = heap_stack(rep->rep_heap, group->grp_stack, frames, HEAP_STACK_MAX);
    if (group->grp_audited)
        print_origin(rep, group);
    if (depth == 0) {
        print_contents(rep, group);
        return;
    }
    stack_print(rep->rep_symbols, frames, depth, false, 6, color);
    print_addresses(rep, group);
}

static bool
audit_is_on(const struct heap *h)
{
    for (size_t i = 0; i < h->heap_cache_count; i++)
        if (h->heap_caches[i].cache_flags & h->heap_offsets.const_UMF_AUDIT)
            return true;
    return false;
}

static void
print_advice(const struct leak_report *rep)
{
    const struct leaks *leaks = rep->rep_leaks;
    if (leaks->lks_mappings > 0)
        printf("\nNot counted: %s, %s bytes, that nothing points to; --mappings lists them.\n",
               format_plural(leaks->lks_mappings, "mapping", "mappings").s,
               format_count(leaks->lks_mapping_bytes).s);
    if (leak_count(rep) > 0 && !audit_is_on(rep->rep_heap))
        printf("\nWho allocated these is not known, as the program ran without audit. To see it:\n"
               "  umem run --audit -- PROGRAM    (or UMEM_DEBUG=audit in its environment)\n");
    if (leak_count(rep) > 0 && !audit_is_on(rep->rep_heap) && leaks->lks_suppressions != NULL &&
        leaks->lks_suppressions->count > 0)
        printf("Suppressions go by who allocated: they suppress nothing without it.\n");
}

void
leak_report_text(const struct leak_report *rep)
{
    const struct leaks *leaks = rep->rep_leaks;
    size_t shown = 0;

    print_head(rep);
    if (leaks->lks_count > 0)
        print_summary(leaks);
    for (size_t i = 0; i < leaks->lks_group_count && shown < rep->rep_options->opt_max; i++) {
        const struct leak_group *group = &leaks->lks_groups[i];
        if (i == 0 || group->grp_kind != leaks->lks_groups[i - 1].grp_kind)
            printf("\n%s\n", group->grp_kind == LEAK_POSSIBLE && !heap_is_complete(rep->rep_heap)
                                 ? "Possible leaks: what was missing might point to them"
                                 : kind_title[group->grp_kind]);
        print_group(rep, group);
        shown++;
    }
    if (shown < leaks->lks_group_count)
        printf("\n%s; --max=0 lists all\n",
               format_plural(leaks->lks_group_count - shown, "more place", "more places").s);
    print_suppressed(leaks->lks_suppressions);
    print_advice(rep);
}

/* --- JSON --- */

static json_t *
amount_json(uint64_t buffers, uint64_t bytes)
{
    json_t *amount = json_object();
    json_object_set_new(amount, "buffers", json_integer((json_int_t)buffers));
    json_object_set_new(amount, "bytes", json_integer((json_int_t)bytes));
    return amount;
}

/* Null where it is no UTF-8. */
static json_t *
text_json(const char *text)
{
    json_t *value = json_string(text);
    return value != NULL ? value : json_null();
}

static json_t *
addresses_json(const struct leak_group *group)
{
    json_t *list = json_array();
    for (size_t i = 0; i < group->grp_address_count; i++) {
        char hex[24];
        snprintf(hex, sizeof(hex), "0x%" PRIx64, group->grp_addresses[i]);
        json_array_append_new(list, json_string(hex));
    }
    return list;
}

static json_t *
suppressed_json(const struct suppressions *s)
{
    struct amount sum = suppressed(s);
    json_t *out = amount_json(sum.count, sum.bytes);
    json_t *lines = json_array();

    for (size_t i = 0; s != NULL && i < s->count; i++) {
        if (s->list[i].sup_count == 0)
            continue;
        json_t *line = amount_json(s->list[i].sup_count, s->list[i].sup_bytes);
        json_object_set_new(line, "pattern", text_json(s->list[i].sup_pattern));
        json_object_set_new(line, "file", text_json(s->list[i].sup_file));
        json_object_set_new(line, "line", json_integer(s->list[i].sup_line));
        json_array_append_new(lines, line);
    }
    json_object_set_new(out, "lines", lines);
    return out;
}

static json_t *
group_json(const struct leak_report *rep, const struct leak_group *group)
{
    addr_t frames[HEAP_STACK_MAX];
    uint64_t now = heap_now(rep->rep_heap);
    uint64_t age = now > group->grp_oldest ? now - group->grp_oldest : 0;
    size_t depth = heap_stack(rep->rep_heap, group->grp_stack, frames, HEAP_STACK_MAX);
    json_t *out = json_object();

    json_object_set_new(out, "kind", json_string(kind_name[group->grp_kind]));
    json_object_set_new(out, "cache", json_string(group->grp_cache));
    json_object_set_new(out, "count", json_integer((json_int_t)group->grp_count));
    json_object_set_new(out, "bytes", json_integer((json_int_t)group->grp_bytes));
    json_object_set_new(out, "requested_bytes",
                        group->grp_requested_known ? json_integer((json_int_t)group->grp_requested)
                                                   : json_null());
    json_object_set_new(out, "holds", amount_json(group->grp_held_count, group->grp_held_bytes));
    json_object_set_new(out, "oldest_s",
                        group->grp_audited ? json_real(format_seconds(age)) : json_null());
    json_object_set_new(out, "thread",
                        group->grp_audited && !group->grp_threads_differ
                            ? json_integer((json_int_t)group->grp_thread)
                            : json_null());
    json_object_set_new(out, "stack", stack_json(rep->rep_symbols, frames, depth, false));
    json_object_set_new(out, "buffers", addresses_json(group));
    return out;
}

void
leak_report_json(const struct leak_report *rep)
{
    const struct heap *h = rep->rep_heap;
    const struct leaks *leaks = rep->rep_leaks;
    json_t *out = json_object();
    json_t *groups = json_array();

    json_object_set_new(out, "target", json_string(target_name(h->heap_target)));
    json_object_set_new(out, "complete", json_boolean(heap_is_complete(h)));
    if (!heap_is_complete(h))
        json_object_set_new(out, "incomplete", incomplete_json(h));
    json_object_set_new(out, "audit", json_boolean(audit_is_on(h)));
    json_object_set_new(out, "live", amount_json(h->heap_live_buffers, h->heap_live_bytes));
    json_object_set_new(out, "total", amount_json(leaks->lks_count, leaks->lks_bytes));
    for (unsigned k = 0; k <= LEAK_POSSIBLE; k++)
        json_object_set_new(out, kind_name[k],
                            amount_json(leaks->lks_kind_count[k], leaks->lks_kind_bytes[k]));
    json_object_set_new(out, "suppressed", suppressed_json(leaks->lks_suppressions));
    json_object_set_new(out, "unreached_mappings",
                        amount_json(leaks->lks_mappings, leaks->lks_mapping_bytes));
    for (size_t i = 0; i < leaks->lks_group_count; i++)
        json_array_append_new(groups, group_json(rep, &leaks->lks_groups[i]));
    json_object_set_new(out, "groups", groups);
    json_dumpf(out, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    putchar('\n');
    json_decref(out);
}
