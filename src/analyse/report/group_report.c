/* SPDX-License-Identifier: MIT */
/*
 * group_report.c - see group_report.h.
 */
#include "report/group_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "report/block_report.h"
#include "report/format.h"
#include "report/json.h"

/* Addresses shown of a group with a known stack, and blocks described of one without. */
#define TEXT_ADDRESSES 4
#define TEXT_CONTENTS 3

/* Some buffers' contents: where there is no stack, they are all there is to go by. */
static void
print_contents(const struct group_view *view, const struct leak_group *group)
{
    size_t n = group->grp_address_count < TEXT_CONTENTS ? group->grp_address_count : TEXT_CONTENTS;
    for (size_t i = 0; i < n; i++) {
        char text[CONTENTS_TEXT_MAX];
        contents_describe(view->view_heap, view->view_symbols, group->grp_addresses[i],
                          group->grp_bytes / group->grp_count, text, sizeof(text));
        printf("      0x%" PRIx64 "  %s\n", group->grp_addresses[i], text);
    }
    if (group->grp_count > n)
        printf("      and %s more\n", format_count(group->grp_count - n).s);
}

static void
print_addresses(const struct group_view *view, const struct leak_group *group)
{
    size_t n =
        group->grp_address_count < TEXT_ADDRESSES ? group->grp_address_count : TEXT_ADDRESSES;
    printf("      %s", style_dim(view->view_options->opt_color));
    for (size_t i = 0; i < n; i++)
        printf("%s0x%" PRIx64, i == 0 ? "" : ", ", group->grp_addresses[i]);
    if (group->grp_count > n)
        printf(" and %s more", format_count(group->grp_count - n).s);
    printf("%s\n", style_end(view->view_options->opt_color));
}

static void
print_origin(const struct group_view *view, const struct leak_group *group)
{
    uint64_t now = heap_now(view->view_heap);
    struct text oldest = format_age(now > group->grp_oldest ? now - group->grp_oldest : 0);
    struct text newest = format_age(now > group->grp_newest ? now - group->grp_newest : 0);

    printf("    allocated %s", newest.s);
    if (strcmp(newest.s, oldest.s) != 0)
        printf(" to %s", oldest.s);
    printf(" %s, by ", age_suffix(view->view_heap->heap_target));
    if (group->grp_threads_differ)
        printf("several threads\n");
    else
        printf("thread %u\n", group->grp_thread);
}

void
group_print(const struct group_view *view, const struct leak_group *group)
{
    addr_t frames[HEAP_STACK_MAX];
    bool color = view->view_options->opt_color;

    printf("\n  %s%s, %s bytes%s", style_bold(color),
           format_plural(group->grp_count, "buffer", "buffers").s, format_count(group->grp_bytes).s,
           style_end(color));
    if (group->grp_requested_known && group->grp_requested != group->grp_bytes)
        printf(" (%s requested)", format_count(group->grp_requested).s);
    printf(", %s", group->grp_cache);
    if (view->view_whole > 0)
        printf(", %s of %s", format_percent(group->grp_bytes, view->view_whole).s, view->view_of);
    printf("\n");
    if (group->grp_held_count > 0)
        printf("    hold another %s, %s bytes (below, as indirect)\n",
               format_plural(group->grp_held_count, "buffer", "buffers").s,
               format_count(group->grp_held_bytes).s);
    size_t depth = heap_stack(view->view_heap, group->grp_stack, frames, HEAP_STACK_MAX);
    if (group->grp_audited)
        print_origin(view, group);
    if (depth == 0) {
        print_contents(view, group);
        return;
    }
    stack_print(view->view_symbols, frames, depth, false, 6, color);
    print_addresses(view, group);
}

static json_t *
addresses_json(const struct leak_group *group)
{
    json_t *list = json_array();
    for (size_t i = 0; i < group->grp_address_count; i++)
        json_array_append_new(list, json_hex(group->grp_addresses[i]));
    return list;
}

json_t *
group_json(const struct group_view *view, const struct leak_group *group)
{
    addr_t frames[HEAP_STACK_MAX];
    uint64_t now = heap_now(view->view_heap);
    uint64_t age = now > group->grp_oldest ? now - group->grp_oldest : 0;
    size_t depth = heap_stack(view->view_heap, group->grp_stack, frames, HEAP_STACK_MAX);
    json_t *out = json_object();

    json_set_text(out, "cache", group->grp_cache);
    json_object_set_new(out, "count", json_integer((json_int_t)group->grp_count));
    json_object_set_new(out, "bytes", json_integer((json_int_t)group->grp_bytes));
    json_object_set_new(out, "requested_bytes",
                        group->grp_requested_known ? json_integer((json_int_t)group->grp_requested)
                                                   : json_null());
    json_object_set_new(out, "holds", json_amount(group->grp_held_count, group->grp_held_bytes));
    json_object_set_new(out, "oldest_s",
                        group->grp_audited ? json_real(format_seconds(age)) : json_null());
    json_object_set_new(out, "thread",
                        group->grp_audited && !group->grp_threads_differ
                            ? json_integer((json_int_t)group->grp_thread)
                            : json_null());
    json_object_set_new(out, "stack", stack_json(view->view_symbols, frames, depth, false));
    json_object_set_new(out, "buffers", addresses_json(group));
    return out;
}
