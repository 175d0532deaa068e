/* SPDX-License-Identifier: MIT */
/*
 * leak_report.c - see leak_report.h.
 */
#include "report/leak_report.h"

#include <stdio.h>
#include <string.h>

#include "report/block_report.h"
#include "report/format.h"
#include "report/group_report.h"
#include "report/json.h"

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
    const struct group_view view = {rep->rep_heap, rep->rep_symbols, rep->rep_options,
                                    leaks->lks_group_count > 1 ? leaks->lks_bytes : 0, "the leaks"};
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
        group_print(&view, group);
        shown++;
    }
    if (shown < leaks->lks_group_count)
        printf("\n%s; --max=0 lists all\n",
               format_plural(leaks->lks_group_count - shown, "more place", "more places").s);
    print_suppressed(leaks->lks_suppressions);
    print_advice(rep);
}

/* --- JSON --- */

/* Null where it is no UTF-8. */
static json_t *
text_json(const char *text)
{
    json_t *value = json_string(text);
    return value != NULL ? value : json_null();
}

static json_t *
suppressed_json(const struct suppressions *s)
{
    struct amount sum = suppressed(s);
    json_t *out = json_amount(sum.count, sum.bytes);
    json_t *lines = json_array();

    for (size_t i = 0; s != NULL && i < s->count; i++) {
        if (s->list[i].sup_count == 0)
            continue;
        json_t *line = json_amount(s->list[i].sup_count, s->list[i].sup_bytes);
        json_object_set_new(line, "pattern", text_json(s->list[i].sup_pattern));
        json_object_set_new(line, "file", text_json(s->list[i].sup_file));
        json_object_set_new(line, "line", json_integer(s->list[i].sup_line));
        json_array_append_new(lines, line);
    }
    json_object_set_new(out, "lines", lines);
    return out;
}

void
leak_report_json(const struct leak_report *rep)
{
    const struct heap *h = rep->rep_heap;
    const struct leaks *leaks = rep->rep_leaks;
    const struct group_view view = {.view_heap = rep->rep_heap, .view_symbols = rep->rep_symbols};
    json_t *out = json_begin(h);
    json_t *groups = json_array();

    json_object_set_new(out, "audit", json_boolean(audit_is_on(h)));
    json_object_set_new(out, "live", json_amount(h->heap_live_buffers, h->heap_live_bytes));
    json_object_set_new(out, "total", json_amount(leaks->lks_count, leaks->lks_bytes));
    for (unsigned k = 0; k <= LEAK_POSSIBLE; k++)
        json_object_set_new(out, kind_name[k],
                            json_amount(leaks->lks_kind_count[k], leaks->lks_kind_bytes[k]));
    json_object_set_new(out, "suppressed", suppressed_json(leaks->lks_suppressions));
    json_object_set_new(out, "unreached_mappings",
                        json_amount(leaks->lks_mappings, leaks->lks_mapping_bytes));
    for (size_t i = 0; i < leaks->lks_group_count; i++) {
        json_t *group = group_json(&view, &leaks->lks_groups[i]);
        json_set_text(group, "kind", kind_name[leaks->lks_groups[i].grp_kind]);
        json_array_append_new(groups, group);
    }
    json_object_set_new(out, "groups", groups);
    json_finish(out);
}
