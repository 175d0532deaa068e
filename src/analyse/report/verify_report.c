/* SPDX-License-Identifier: MIT */
/*
 * verify_report.c - see verify_report.h.
 */
#include "report/verify_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "report/block_report.h"
#include "report/format.h"
#include "report/json.h"

#define NAME_COLUMN 26

static const char *
cache_name(const struct heap *h, uint32_t cache)
{
    return cache < h->heap_cache_count ? h->heap_caches[cache].cache_name : HEAP_OVERSIZE_NAME;
}

/* What is looked at in a cache, beside the lists of what is free. */
static const char *
depth_text(const struct verify_cache *row)
{
    static const char *const text[] = {
        [VERIFY_LISTS] = "lists only", [VERIFY_RECORDS] = "records", [VERIFY_GUARDS] = "guards"};
    return row->vc_busy ? "busy: in part" : text[row->vc_depth];
}

static void
print_row(const struct look *look, const char *name, const struct verify_cache *row)
{
    bool color = look->look_options->opt_color;

    printf("%-*s %11s  %-13s  ", NAME_COLUMN, name, format_count(row->vc_buffers).s,
           depth_text(row));
    if (row->vc_corrupt == 0 && row->vc_damaged == 0) {
        puts("clean");
        return;
    }
    fputs(style_alert(color), stdout);
    if (row->vc_corrupt > 0)
        printf("%s", format_plural(row->vc_corrupt, "corrupt buffer", "corrupt buffers").s);
    if (row->vc_damaged > 0)
        printf("%s%s", row->vc_corrupt > 0 ? ", " : "",
               format_plural(row->vc_damaged, "damaged list", "damaged lists").s);
    printf("%s\n", style_end(color));
}

static void
print_caches(const struct look *look, const struct verification *v, const char *name, bool all)
{
    const struct heap *h = look->look_heap;
    bool color = look->look_options->opt_color;

    printf("%s%-*s %11s  %-13s  %s%s\n", style_bold(color), NAME_COLUMN, "cache", "buffers",
           "looked at", "integrity", style_end(color));
    for (uint32_t i = 0; i <= h->heap_cache_count; i++) {
        const char *row_name = cache_name(h, i);
        const struct verify_cache *row = &v->ver_caches[i];
        bool any = row->vc_buffers != 0 || row->vc_corrupt != 0 || row->vc_damaged != 0;
        if (name != NULL ? strcmp(name, row_name) == 0 : all || any)
            print_row(look, row_name, row);
    }
}

static void
print_bytes(const struct verify_problem *prb)
{
    int64_t offset = prb->prb_offset;
    const char *sign = offset < 0 ? "-" : "";
    uint64_t distance = offset < 0 ? (uint64_t)-offset : (uint64_t)offset;

    if (prb->prb_kind == VERIFY_MODIFIED && prb->prb_expected > UINT8_MAX)
        printf("  modification occurred at offset %s0x%" PRIx64 " (0x%" PRIx64
               " replaced by 0x%" PRIx64 ")\n",
               sign, distance, prb->prb_expected, prb->prb_found);
    else
        printf("  byte at offset %s0x%" PRIx64 " is 0x%02" PRIx64 ", should be 0x%02" PRIx64 "\n",
               sign, distance, prb->prb_found, prb->prb_expected);
}

static void
print_problem(const struct look *look, const struct verify_problem *prb)
{
    struct heap *h = look->look_heap;
    bool color = look->look_options->opt_color;
    struct block_info info;

    printf("\n%s%s%s\n", style_bold(color), prb->prb_message, style_end(color));
    if (!prb->prb_has_block) {
        if (prb->prb_addr != 0)
            printf("  record 0x%" PRIx64 ", %s\n", prb->prb_addr, cache_name(h, prb->prb_cache));
        return;
    }
    heap_block_info(h, prb->prb_block, &info);
    printf("  buffer 0x%" PRIx64 ", %s", prb->prb_addr, info.blk_live ? "allocated, " : "free, ");
    printf("%s bytes", format_count(info.blk_size).s);
    if (info.blk_requested != BLOCK_UNKNOWN && info.blk_requested != info.blk_size)
        printf(" (%s requested)", format_count(info.blk_requested).s);
    printf(", %s\n", info.blk_cache);
    if (prb->prb_has_bytes)
        print_bytes(prb);
    block_history_print(h, look->look_symbols, &info, color);
}

void
verify_report_text(const struct look *look, const struct verification *v, const char *name,
                   bool all)
{
    const struct command_options *options = look->look_options;
    char target[512];

    target_describe(look->look_heap->heap_target, target, sizeof(target));
    if (look->look_unused != NULL) {
        printf("%s: %s\n", target, look->look_unused);
        return;
    }
    if (!target_is_complete(look->look_heap->heap_target))
        incomplete_print(look->look_heap, options->opt_color);
    print_caches(look, v, name, all);
    size_t shown = v->ver_kept < options->opt_max ? v->ver_kept : options->opt_max;
    for (size_t i = 0; i < shown; i++)
        print_problem(look, &v->ver_problems[i]);
    if (v->ver_count > shown)
        printf("\n%sand %s%s; -n 0 lists them%s\n", style_dim(options->opt_color),
               format_plural(v->ver_count - shown, "more problem", "more problems").s, "",
               style_end(options->opt_color));
    if (v->ver_count == 0)
        printf("\n%s: nothing is corrupt\n", target);
    else
        printf("\n%s: %s\n", target, format_plural(v->ver_count, "problem", "problems").s);
}

static json_t *
problem_json(const struct look *look, const struct verify_problem *prb)
{
    struct heap *h = look->look_heap;
    struct block_info info = {0};
    json_t *out = json_object();

    if (prb->prb_has_block)
        heap_block_info(h, prb->prb_block, &info);
    json_object_set_new(out, "address", prb->prb_addr != 0 ? json_hex(prb->prb_addr) : json_null());
    if (prb->prb_kind == VERIFY_HEAP)
        json_object_set_new(out, "cache", json_null());
    else
        json_set_text(out, "cache", cache_name(h, prb->prb_cache));
    json_set_text(out, "kind", verify_kind_name(prb->prb_kind));
    json_set_text(out, "message", prb->prb_message);
    json_object_set_new(out, "offset",
                        prb->prb_has_bytes ? json_integer(prb->prb_offset) : json_null());
    json_object_set_new(out, "expected",
                        prb->prb_has_bytes ? json_hex(prb->prb_expected) : json_null());
    json_object_set_new(out, "found", prb->prb_has_bytes ? json_hex(prb->prb_found) : json_null());
    block_history_json(h, look->look_symbols, prb->prb_has_block ? &info : NULL, out);
    return out;
}

static json_t *
row_json(const struct heap *h, const struct verification *v, uint32_t i)
{
    static const char *const depth[] = {
        [VERIFY_LISTS] = "lists", [VERIFY_RECORDS] = "records", [VERIFY_GUARDS] = "guards"};
    const struct verify_cache *row = &v->ver_caches[i];
    json_t *out = json_object();

    json_set_text(out, "name", cache_name(h, i));
    json_set_count(out, "buffers", row->vc_buffers);
    json_set_count(out, "corrupt", row->vc_corrupt);
    json_set_count(out, "damaged", row->vc_damaged);
    json_set_text(out, "depth", depth[row->vc_depth]);
    json_object_set_new(out, "busy", json_boolean(row->vc_busy));
    return out;
}

void
verify_report_json(const struct look *look, const struct verification *v)
{
    const struct heap *h = look->look_heap;
    json_t *out = json_begin(h);
    json_t *problems = json_array();
    json_t *caches = json_array();

    for (size_t i = 0; i < v->ver_kept && i < look->look_options->opt_max; i++)
        json_array_append_new(problems, problem_json(look, &v->ver_problems[i]));
    for (uint32_t i = 0; v->ver_caches != NULL && i <= h->heap_cache_count; i++)
        if (v->ver_caches[i].vc_buffers > 0 || v->ver_caches[i].vc_damaged > 0)
            json_array_append_new(caches, row_json(h, v, i));
    json_object_set_new(out, "clean", json_boolean(v->ver_count == 0));
    json_set_count(out, "problem_count", v->ver_count);
    json_object_set_new(out, "problems", problems);
    json_object_set_new(out, "caches", caches);
    json_finish(out);
}
