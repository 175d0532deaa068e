/* SPDX-License-Identifier: MIT */
/*
 * users_report.c - see users_report.h.
 */
#include "report/users_report.h"

#include <inttypes.h>
#include <stdio.h>

#include "report/block_report.h"
#include "report/format.h"
#include "report/group_report.h"
#include "report/json.h"

static void
print_each(const struct look *look, const struct leak_group *group)
{
    struct heap *h = look->look_heap;

    for (size_t i = 0; i < group->grp_address_count; i++) {
        struct block_info info;
        struct block b;
        uint64_t now = heap_now(h);
        if (!heap_find(h, group->grp_addresses[i], &b))
            continue;
        heap_block_info(h, b, &info);
        printf(
            "      0x%" PRIx64 "  %s bytes", info.blk_addr,
            format_count(info.blk_requested != BLOCK_UNKNOWN ? info.blk_requested : info.blk_size)
                .s);
        if (info.blk_audited)
            printf(", %s %s, thread %" PRIu32,
                   format_age(now > info.blk_time ? now - info.blk_time : 0).s,
                   age_suffix(h->heap_target), info.blk_thread);
        printf("\n");
    }
    if (group->grp_count > group->grp_address_count)
        printf("      and %s more; -n 0 lists them\n",
               format_count(group->grp_count - group->grp_address_count).s);
}

void
users_report_text(const struct look *look, const struct leaks *users, const struct users_view *view)
{
    const struct command_options *options = look->look_options;
    const struct group_view groups = {look->look_heap, look->look_symbols, options,
                                      users->lks_bytes, "them"};
    char target[512];
    size_t shown = 0, small = 0;

    target_describe(look->look_heap->heap_target, target, sizeof(target));
    incomplete_print(look->look_heap, options->opt_color);
    if (look->look_unused != NULL) {
        printf("%s: %s\n", target, look->look_unused);
        return;
    }
    printf("%s%s%s in %s: %s bytes from %s\n", style_bold(options->opt_color),
           format_plural(users->lks_count, "live buffer", "live buffers").s,
           style_end(options->opt_color), target, format_count(users->lks_bytes).s,
           format_plural(users->lks_group_count, "place", "places").s);
    for (size_t i = 0; i < users->lks_group_count; i++) {
        const struct leak_group *group = &users->lks_groups[i];
        if (!view->usv_small && users_is_small(group)) {
            small++;
        } else if (shown < options->opt_max) {
            group_print(&groups, group);
            if (view->usv_each)
                print_each(look, group);
            shown++;
        }
    }
    if (shown + small < users->lks_group_count)
        printf(
            "\n%s; -n 0 lists all\n",
            format_plural(users->lks_group_count - shown - small, "more place", "more places").s);
    if (small > 0)
        printf("\n%s small; -e lists them\n", format_plural(small, "place is", "places are").s);
}

void
users_report_json(const struct look *look, const struct leaks *users)
{
    const struct heap *h = look->look_heap;
    const struct group_view view = {.view_heap = look->look_heap,
                                    .view_symbols = look->look_symbols};
    json_t *out = json_begin(h);
    json_t *groups = json_array();

    for (size_t i = 0; i < users->lks_group_count; i++)
        json_array_append_new(groups, group_json(&view, &users->lks_groups[i]));
    json_object_set_new(out, "live", json_amount(h->heap_live_buffers, h->heap_live_bytes));
    json_object_set_new(out, "total", json_amount(users->lks_count, users->lks_bytes));
    json_object_set_new(out, "groups", groups);
    json_finish(out);
}
