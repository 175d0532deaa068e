/* SPDX-License-Identifier: MIT */
/*
 * sizes.c - umem sizes: how large blocks are, and what their caches add to that.
 */
#include "commands/commands.h"

#include <inttypes.h>
#include <stdio.h>

#include "look/sizes.h"
#include "report/block_report.h"
#include "report/format.h"
#include "report/json.h"
#include "report/open.h"

#define NAME_COLUMN 26
#define BAR_COLUMNS 40
/* Of the first geometric bin: no size class is closer to its neighbour. */
#define BIN_WIDTH_DEFAULT 16

static const char description[] =
    "A histogram of the sizes of live blocks as the program asked for them, and for each cache\n"
    "how much its blocks come to, how much memory it has for them, and what share of that is\n"
    "not the program's. Where neither audit nor guards recorded it, the size asked for is taken\n"
    "to be the buffer's.\n";

struct arguments {
    const char *cache;
    size_t bins;
    size_t bin_size;
    bool linear;
};

static void
print_bins(const struct size_bin *bins, size_t count, bool color)
{
    uint64_t most = sizes_most(bins, count);

    printf("%s%22s  %-*s %11s %8s%s\n", style_bold(color), "size", BAR_COLUMNS, "", "buffers",
           "bytes", style_end(color));
    for (size_t i = 0; i < count; i++) {
        char range[2 * FORMAT_SIZE + 8], bar[BAR_COLUMNS + 1];
        int width = (int)((bins[i].bin_count * BAR_COLUMNS + most - 1) / most);
        snprintf(range, sizeof(range), "%s to %s", format_count(bins[i].bin_low).s,
                 format_count(bins[i].bin_high).s);
        for (int k = 0; k < width; k++)
            bar[k] = '#';
        bar[width] = '\0';
        printf("%22s  %-*s %11s %8s\n", range, BAR_COLUMNS, bar, format_count(bins[i].bin_count).s,
               format_size(bins[i].bin_bytes).s);
    }
}

static const char *
cache_name(const struct heap *h, uint32_t cache)
{
    return cache == NO_CACHE ? HEAP_OVERSIZE_NAME : h->heap_caches[cache].cache_name;
}

static uint64_t
overhead_of(const struct cache_overhead *row)
{
    return row->ovh_memory > row->ovh_requested ? row->ovh_memory - row->ovh_requested : 0;
}

static void
print_overhead(const struct heap *h, const struct sizes *sizes, bool color)
{
    struct cache_overhead sum = {0};

    printf("\n%s%-*s %11s %9s %9s %9s %9s  %s%s\n", style_bold(color), NAME_COLUMN, "cache",
           "buffers", "average", "asked for", "memory", "overhead", "share", style_end(color));
    for (size_t i = 0; i <= sizes->siz_cache_count; i++) {
        bool last = i == sizes->siz_cache_count;
        const struct cache_overhead *row = last ? &sum : &sizes->siz_caches[i];
        printf("%-*s %11s %9s %9s %9s %9s  %s\n", NAME_COLUMN,
               last ? "total" : cache_name(h, row->ovh_cache), format_count(row->ovh_buffers).s,
               format_count(row->ovh_buffers > 0 ? row->ovh_requested / row->ovh_buffers : 0).s,
               format_size(row->ovh_requested).s, format_size(row->ovh_memory).s,
               format_size(overhead_of(row)).s,
               format_percent(overhead_of(row), row->ovh_memory).s);
        sum.ovh_buffers += row->ovh_buffers;
        sum.ovh_requested += row->ovh_requested;
        sum.ovh_memory += row->ovh_memory;
    }
}

static void
print_text(const struct look *look, const struct sizes *sizes, const struct size_bin *bins,
           size_t bin_count)
{
    bool color = look->look_options->opt_color;
    char target[512];

    target_describe(look->look_heap->heap_target, target, sizeof(target));
    incomplete_print(look->look_heap, color);
    if (look->look_unused != NULL || sizes->siz_buffers == 0) {
        printf("%s: %s\n", target,
               look->look_unused != NULL ? look->look_unused : "no live buffers of that kind");
        return;
    }
    print_bins(bins, bin_count, color);
    print_overhead(look->look_heap, sizes, color);
    if (sizes->siz_unrecorded > 0 && look->look_heap->heap_allocator == HEAP_UMEM)
        printf(
            "\nOf %s only the buffer's size is known: the program ran without audit and guards.\n",
            format_plural(sizes->siz_unrecorded, "buffer", "buffers").s);
}

static json_t *
sizes_json(const struct sizes *sizes)
{
    json_t *list = json_array();
    for (size_t i = 0; i < sizes->siz_list_count; i++) {
        json_t *size = json_object();
        json_set_count(size, "size", sizes->siz_list[i].siz_size);
        json_set_count(size, "count", sizes->siz_list[i].siz_count);
        json_array_append_new(list, size);
    }
    return list;
}

static void
print_json(const struct look *look, const struct sizes *sizes, const struct size_bin *bins,
           size_t bin_count)
{
    const struct heap *h = look->look_heap;
    json_t *out = json_begin(h);
    json_t *histogram = json_array();
    json_t *caches = json_array();

    for (size_t i = 0; i < bin_count; i++) {
        json_t *bin = json_object();
        json_set_count(bin, "from", bins[i].bin_low);
        json_set_count(bin, "to", bins[i].bin_high);
        json_set_count(bin, "count", bins[i].bin_count);
        json_set_count(bin, "bytes", bins[i].bin_bytes);
        json_array_append_new(histogram, bin);
    }
    for (size_t i = 0; i < sizes->siz_cache_count; i++) {
        const struct cache_overhead *row = &sizes->siz_caches[i];
        json_t *cache = json_object();
        json_set_text(cache, "name", cache_name(h, row->ovh_cache));
        json_set_count(cache, "buffers", row->ovh_buffers);
        json_set_count(cache, "requested_bytes", row->ovh_requested);
        json_set_count(cache, "memory", row->ovh_memory);
        json_set_count(cache, "overhead", overhead_of(row));
        json_array_append_new(caches, cache);
    }
    json_object_set_new(out, "total", json_amount(sizes->siz_buffers, sizes->siz_bytes));
    json_set_count(out, "unrecorded", sizes->siz_unrecorded);
    json_object_set_new(out, "histogram", histogram);
    json_object_set_new(out, "sizes", sizes_json(sizes));
    json_object_set_new(out, "caches", caches);
    json_finish(out);
}

static int
look_at(const struct look *look, void *arg)
{
    const struct arguments *args = arg;
    const struct size_bins_options options = {.bno_max = (unsigned)args->bins,
                                              .bno_width = args->bin_size,
                                              .bno_geometric = !args->linear};
    struct size_bin bins[SIZE_BINS_MAX];
    struct sizes sizes;
    int code = COMMAND_CLEAN;

    if (!report_has_cache("sizes", look->look_heap, args->cache))
        return COMMAND_TROUBLE;
    if (sizes_find(look->look_heap, args->cache, &sizes) != 0) {
        code = command_error("sizes: not enough memory");
    } else {
        size_t count = sizes_bins(&sizes, &options, bins);
        if (look->look_options->opt_format == FORMAT_JSON)
            print_json(look, &sizes, bins, count);
        else
            print_text(look, &sizes, bins, count);
    }
    sizes_fini(&sizes);
    return code;
}

int
command_sizes(int argc, char **argv)
{
    struct arguments args = {.bins = 24, .bin_size = BIN_WIDTH_DEFAULT};
    const struct option_row rows[] = {
        {"cache", 0, OPTION_STRING, &args.cache, "NAME",
         "only this cache (those of malloc and umem_alloc)", NULL},
        {"bins", 'b', OPTION_NUMBER, &args.bins, "N", "bins of the histogram at most (24)", NULL},
        {"bin-size", 'B', OPTION_SIZE, &args.bin_size, "SIZE", "of the narrowest bin (16)", NULL},
        {"linear", 'l', OPTION_FLAG, &args.linear, NULL, "bins of one width", NULL},
        {0}};
    const struct command_spec spec = {.cmd_name = "sizes",
                                      .cmd_usage = "TARGET",
                                      .cmd_summary = "Show how large blocks are, and the overhead",
                                      .cmd_description = description,
                                      .cmd_rows = rows,
                                      .cmd_shared =
                                          SHARED_FORMAT | SHARED_EXE | SHARED_COLOR | SHARED_SELF,
                                      .cmd_min_args = 1,
                                      .cmd_max_args = 1};
    struct command_options options;
    int code = options_parse(&spec, argc, argv, &options);

    if (code != OPTIONS_GO)
        return code;
    if (args.bins == 0 || args.bins > SIZE_BINS_MAX)
        return command_error("sizes: --bins=%zu: give 1 to %d", args.bins, SIZE_BINS_MAX);
    return report_look("sizes", options.opt_argv[0], &options, OPEN_COPIED, look_at, &args);
}
