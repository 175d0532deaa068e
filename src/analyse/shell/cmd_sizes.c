/* SPDX-License-Identifier: MIT */
/*
 * cmd_sizes.c - ::umem_malloc_dist and ::umem_malloc_info: how large blocks
 * are, and what their caches add to that.
 */
#include "shell/shell.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "look/sizes.h"

#define BAR_WIDTH 40
#define BINS_DEFAULT 32
#define PERMILLE 1000

static void
print_bins(const struct size_bin *bins, size_t count)
{
    static const char marks[] = "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@";
    uint64_t most = sizes_most(bins, count);

    printf("%16s  %s %s\n", "malloc size", "------------- Distribution -------------", "count");
    for (size_t i = 0; i < count; i++) {
        char range[48];
        int width = (int)((bins[i].bin_count * BAR_WIDTH + most - 1) / most);
        snprintf(range, sizeof(range), "%" PRIu64 "-%" PRIu64, bins[i].bin_low, bins[i].bin_high);
        printf("%16s |%-*.*s %" PRIu64 "\n", range, BAR_WIDTH, width, marks, bins[i].bin_count);
    }
}

static bool
dcmd_malloc_dist(struct shell *sh, const struct call *call)
{
    bool dump = false;
    bool geometric = false;
    uint64_t most = BINS_DEFAULT;
    uint64_t width = 1;
    struct size_bin bins[SIZE_BINS_MAX];
    struct sizes sizes;
    const struct dcmd_option options[] = {{'d', DCMD_FLAG, &dump, NULL},
                                          {'g', DCMD_FLAG, &geometric, NULL},
                                          {'b', DCMD_VALUE, &most, NULL},
                                          {'B', DCMD_VALUE, &width, NULL},
                                          {0}};

    if (!dcmd_options(sh, call, options, 0, NULL))
        return false;
    if (most == 0 || most > SIZE_BINS_MAX || width == 0)
        return shell_error(sh, "umem_malloc_dist: -b takes 1 to 0x%x, -B 1 and more",
                           SIZE_BINS_MAX);
    bool ok = sizes_find(&sh->sh_heap, NULL, &sizes) == 0 ||
              shell_error(sh, "umem_malloc_dist: no memory");
    if (ok && dump) {
        for (size_t i = 0; i < sizes.siz_list_count; i++)
            printf("%" PRIu64 "\t%" PRIu64 "\n", sizes.siz_list[i].siz_size,
                   sizes.siz_list[i].siz_count);
    } else if (ok) {
        const struct size_bins_options how = {(unsigned)most, width, geometric};
        print_bins(bins, sizes_bins(&sizes, &how, bins));
    }
    sizes_fini(&sizes);
    return ok;
}

static void
print_overhead(const struct heap *h, const struct cache_overhead *row)
{
    const struct heap_cache *cache =
        row->ovh_cache != NO_CACHE ? &h->heap_caches[row->ovh_cache] : NULL;
    uint64_t bufsize = cache != NULL ? cache->cache_bufsize : 0;
    uint64_t over = row->ovh_memory > row->ovh_requested ? row->ovh_memory - row->ovh_requested : 0;
    uint64_t share = row->ovh_memory > 0 ? PERMILLE * over / row->ovh_memory : 0;

    printf("%016" PRIx64 " %6" PRIu64 " %6" PRIu64 " %8" PRIu64 " %8" PRIu64 " %10" PRIu64
           " %10" PRIu64 " %3" PRIu64 ".%" PRIu64 "%%\n",
           cache != NULL ? cache->cache_addr : 0, bufsize, bufsize, row->ovh_buffers,
           row->ovh_buffers > 0 ? row->ovh_requested / row->ovh_buffers : 0, row->ovh_requested,
           over, share / 10, share % 10);
}

static bool
dcmd_malloc_info(struct shell *sh, const struct call *call)
{
    const struct heap_cache *cache = NULL;
    struct sizes sizes;

    if (!dcmd_plain(sh, call) || !shell_one_cache(sh, call, &cache))
        return false;
    bool ok = sizes_find(&sh->sh_heap, cache != NULL ? cache->cache_name : NULL, &sizes) == 0 ||
              shell_error(sh, "umem_malloc_info: no memory");
    if (ok && call_is_first(call))
        printf("%-16s %6s %6s %8s %8s %10s %10s %6s\n", "CACHE", "BUFSZ", "MAXMAL", "BUFMALLC",
               "AVG_MAL", "MALLOCED", "OVERHEAD", "%OVER");
    for (size_t i = 0; ok && i < sizes.siz_cache_count; i++)
        print_overhead(&sh->sh_heap, &sizes.siz_caches[i]);
    sizes_fini(&sizes);
    return ok;
}

const struct dcmd dcmds_sizes[] = {
    {"umem_malloc_dist", "[-dg] [-b bins] [-B size]", "how large blocks are, as a histogram",
     "  Of what malloc and umem_alloc serve, as the program asked for it.\n"
     "    -d        sizes and counts instead of a histogram\n"
     "    -g        each bin twice as wide as the one before\n"
     "    -b bins   so many bins at most, hexadecimal\n"
     "    -B size   bins of so many bytes at least, hexadecimal\n",
     "::umem_malloc_dist\n::umem_malloc_dist -g\n::umem_malloc_dist -d", dcmd_malloc_dist,
     DCMD_HEAP | DCMD_NONE},
    {"umem_malloc_info", "", "what caches add to the sizes that were asked for",
     "  Of the caches that malloc and umem_alloc use, or of the one at an address; oversize "
     "blocks\n"
     "  have none, their address is 0. MAXMAL is the largest size that a cache serves.\n",
     "::umem_malloc_info", dcmd_malloc_info, DCMD_HEAP},
    {0}};
