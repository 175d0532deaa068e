/* SPDX-License-Identifier: MIT */
/*
 * caches.c - umem caches: what each cache is: where, of which geometry, under
 * which debugging.
 */
#include "commands/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "look/usage.h"
#include "report/block_report.h"
#include "report/format.h"
#include "report/json.h"
#include "report/open.h"

#define NAME_COLUMN 26
#define FLAG_NAMES_MAX 5

struct arguments {
    bool all;
    const char *name; /* or NULL */
};

static bool
is_shown(const struct arguments *args, const struct heap_cache *cache)
{
    struct usage_row row = usage_of_cache(cache);

    if (args->name != NULL)
        return strcmp(args->name, cache->cache_name) == 0;
    return args->all || usage_is_used(&row);
}

/* Names of the debugging in force, and how many of them there are. */
static size_t
flag_names(const struct heap *h, const struct heap_cache *cache, const char *names[FLAG_NAMES_MAX])
{
    const struct offsets *off = &h->heap_offsets;
    const struct {
        uint64_t flag;
        const char *name;
    } known[] = {{off->const_UMF_AUDIT, "audit"},
                 {off->const_UMF_DEADBEEF, "fill"},
                 {off->const_UMF_REDZONE, "redzone"},
                 {off->const_UMF_CONTENTS, "contents"},
                 {off->const_UMF_STATE, "state"}};
    size_t n = 0;

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if ((cache->cache_flags & known[i].flag) != 0)
            names[n++] = known[i].name;
    return n;
}

static void
print_cache(const struct heap *h, const struct heap_cache *cache)
{
    const char *names[FLAG_NAMES_MAX];
    size_t n = flag_names(h, cache, names);

    printf("0x%-12" PRIx64 " %-*s %9s %9s %7s %9s %9s  ", cache->cache_addr, NAME_COLUMN,
           cache->cache_name, format_count(cache->cache_bufsize).s,
           format_count(cache->cache_chunk).s, format_size(cache->cache_slab_size).s,
           format_count(cache->cache_slab_count).s, format_count(cache->cache_total).s);
    for (size_t i = 0; i < n; i++)
        printf("%s%s", i > 0 ? "," : "", names[i]);
    puts(n == 0 ? "-" : "");
}

static void
print_text(const struct look *look, const struct arguments *args)
{
    const struct heap *h = look->look_heap;
    bool color = look->look_options->opt_color;
    size_t hidden = 0;

    incomplete_print(h, color);
    printf("%s%-14s %-*s %9s %9s %7s %9s %9s  %s%s\n", style_bold(color), "address", NAME_COLUMN,
           "cache", "size", "chunk", "slab", "slabs", "buffers", "debugging", style_end(color));
    for (size_t i = 0; i < h->heap_cache_count; i++) {
        if (is_shown(args, &h->heap_caches[i]))
            print_cache(h, &h->heap_caches[i]);
        else
            hidden++;
    }
    if (hidden > 0 && args->name == NULL)
        printf("%s%s never used; --all lists them%s\n", style_dim(color),
               format_plural(hidden, "cache was", "caches were").s, style_end(color));
}

static json_t *
cache_json(const struct heap *h, const struct heap_cache *cache)
{
    const char *names[FLAG_NAMES_MAX];
    size_t n = flag_names(h, cache, names);
    json_t *out = json_object();
    json_t *flags = json_array();

    for (size_t i = 0; i < n; i++)
        json_array_append_new(flags, json_string(names[i]));
    json_set_hex(out, "address", cache->cache_addr);
    json_set_text(out, "name", cache->cache_name);
    json_set_count(out, "bufsize", cache->cache_bufsize);
    json_set_count(out, "chunk", cache->cache_chunk);
    json_set_count(out, "slab_size", cache->cache_slab_size);
    json_set_count(out, "slabs", cache->cache_slab_count);
    json_set_count(out, "total", cache->cache_total);
    json_set_count(out, "inuse", cache->cache_inuse);
    json_set_count(out, "cached", cache->cache_cached);
    json_set_hex(out, "flags", cache->cache_flags);
    json_set_hex(out, "cflags", cache->cache_cflags);
    json_object_set_new(out, "debugging", flags);
    return out;
}

static int
look_at(const struct look *look, void *arg)
{
    struct arguments *args = arg;
    const struct heap *h = look->look_heap;
    const struct command_options *options = look->look_options;

    args->name = options->opt_argc > 1 ? options->opt_argv[1] : NULL;
    if (!report_has_cache("caches", h, args->name))
        return COMMAND_TROUBLE;
    if (args->name != NULL && strcmp(args->name, HEAP_OVERSIZE_NAME) == 0)
        return command_error(
            "caches: %s is no cache, but what has none; 'umem stat %s' tells of it", args->name,
            options->opt_argv[0]);
    if (options->opt_format == FORMAT_TEXT) {
        print_text(look, args);
        return COMMAND_CLEAN;
    }
    json_t *out = json_begin(h);
    json_t *caches = json_array();
    for (size_t i = 0; i < h->heap_cache_count; i++)
        if (args->name == NULL || is_shown(args, &h->heap_caches[i]))
            json_array_append_new(caches, cache_json(h, &h->heap_caches[i]));
    json_object_set_new(out, "caches", caches);
    json_finish(out);
    return COMMAND_CLEAN;
}

int
command_caches(int argc, char **argv)
{
    struct arguments args = {0};
    const struct option_row rows[] = {
        {"all", 'a', OPTION_FLAG, &args.all, NULL, "also caches that were never used", NULL}, {0}};
    const struct command_spec spec = {
        .cmd_name = "caches",
        .cmd_usage = "TARGET [NAME]",
        .cmd_summary = "List caches: where they are, their geometry, their debugging",
        .cmd_description =
            "Chunk: the distance of two buffers. Slab: the size of one, in units of 1024.\n"
            "How much of them is in use: umem stat.\n",
        .cmd_rows = rows,
        .cmd_shared = SHARED_FORMAT | SHARED_EXE | SHARED_COLOR | SHARED_SELF,
        .cmd_min_args = 1,
        .cmd_max_args = 2};
    struct command_options options;
    int code = options_parse(&spec, argc, argv, &options);

    return code != OPTIONS_GO
               ? code
               : report_look("caches", options.opt_argv[0], &options, OPEN_STOPPED, look_at, &args);
}
