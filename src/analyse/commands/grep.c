/* SPDX-License-Identifier: MIT */
/*
 * grep.c - umem grep: where in a target a value lies.
 */
#include "look/grep.h"
#include "commands/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "report/block_report.h"
#include "report/format.h"
#include "report/json.h"
#include "report/open.h"
#include "report/place.h"

static const char description[] =
    "Looks at every aligned word of memory that can be read, and at all registers. Each hit is\n"
    "told with what it lies in: a buffer, a stack, static data. VALUE is hexadecimal.\n"
    "Exit code: 0 found, 1 not found, 2 the target could not be read.\n";

struct arguments {
    const char *value, *mask, *inverse_mask, *from, *to;
    size_t distance;
    size_t size;
    bool buffer;
};

struct hits {
    const struct look *look;
    struct grep_hit *list; /* the first opt_max */
    uint64_t count;
    size_t kept;
    bool failed;
};

static bool
keep(void *arg, const struct grep_hit *hit)
{
    struct hits *hits = arg;

    hits->count++;
    if (hits->kept >= hits->look->look_options->opt_max)
        return true;
    if ((hits->kept & (hits->kept - 1)) == 0) { /* room for twice as many at each power of two */
        size_t room = hits->kept == 0 ? 1 : 2 * hits->kept;
        struct grep_hit *list = realloc(hits->list, room * sizeof(*list));
        if (list == NULL) {
            hits->failed = true;
            return false;
        }
        hits->list = list;
    }
    hits->list[hits->kept++] = *hit;
    return true;
}

static void
describe(struct heap *h, const struct grep_hit *hit, char *out, size_t size)
{
    if (hit->hit_addr == 0)
        snprintf(out, size, "a register of thread %d", (int)hit->hit_thread);
    else
        place_describe(h, hit->hit_addr, out, size);
}

static void
print_text(const struct look *look, const struct grep_options *options, const struct hits *hits)
{
    bool color = look->look_options->opt_color;
    bool one_value = options->grp_distance == 0 && options->grp_mask == UINT64_MAX;
    char place[PLACE_TEXT_MAX];

    incomplete_print(look->look_heap, color);
    for (size_t i = 0; i < hits->kept; i++) {
        const struct grep_hit *hit = &hits->list[i];
        describe(look->look_heap, hit, place, sizeof(place));
        if (hit->hit_addr == 0)
            printf("%-18s ", "-");
        else
            printf("0x%-16" PRIx64 " ", hit->hit_addr);
        if (!one_value)
            printf("holds 0x%" PRIx64 "  ", hit->hit_value);
        printf("%s\n", place);
    }
    if (hits->count > hits->kept)
        printf("%sand %s more; -n 0 lists them%s\n", style_dim(color),
               format_count(hits->count - hits->kept).s, style_end(color));
    if (hits->count == 0)
        puts("not found");
}

static json_t *
hit_json(struct heap *h, const struct grep_hit *hit)
{
    char place[PLACE_TEXT_MAX];
    json_t *out = json_object();
    struct what what = {.what_kind = WHAT_UNKNOWN};

    describe(h, hit, place, sizeof(place));
    if (hit->hit_addr != 0)
        whatis(h, hit->hit_addr, &what);
    json_object_set_new(out, "address", hit->hit_addr != 0 ? json_hex(hit->hit_addr) : json_null());
    json_set_hex(out, "value", hit->hit_value);
    json_set_text(out, "kind", hit->hit_addr != 0 ? place_kind_name(what.what_kind) : "register");
    json_object_set_new(out, "base",
                        what.what_kind != WHAT_UNKNOWN ? json_hex(what.what_base) : json_null());
    json_object_set_new(out, "cache",
                        what.what_has_info ? json_string(what.what_info.blk_cache) : json_null());
    pid_t thread = hit->hit_addr == 0 ? hit->hit_thread : what.what_thread;
    json_object_set_new(out, "thread", thread != 0 ? json_integer(thread) : json_null());
    json_set_text(out, "place", place);
    return out;
}

static void
print_json(const struct look *look, const struct grep_options *options, const struct hits *hits)
{
    json_t *out = json_begin(look->look_heap);
    json_t *list = json_array();

    for (size_t i = 0; i < hits->kept; i++)
        json_array_append_new(list, hit_json(look->look_heap, &hits->list[i]));
    json_set_hex(out, "value", options->grp_value);
    json_set_hex(out, "mask", options->grp_mask);
    json_set_count(out, "distance", options->grp_distance);
    json_set_count(out, "count", hits->count);
    json_object_set_new(out, "hits", list);
    json_finish(out);
}

static int
bad_number(const char *what, const char *text)
{
    return command_error("grep: %s%s: not a number (give hexadecimal: 0x7f00abcd)", what, text);
}

/* The options as numbers; COMMAND_CLEAN, or an error that was told. */
static int
read_numbers(const struct arguments *args, struct grep_options *options)
{
    uint64_t inverse = 0;

    *options = (struct grep_options){.grp_mask = UINT64_MAX,
                                     .grp_distance = args->distance,
                                     .grp_size = (unsigned)args->size,
                                     .grp_to = UINT64_MAX};
    if (!command_address(args->value, &options->grp_value))
        return bad_number("", args->value);
    if (args->mask != NULL && !command_address(args->mask, &options->grp_mask))
        return bad_number("--mask=", args->mask);
    if (args->inverse_mask != NULL && !command_address(args->inverse_mask, &inverse))
        return bad_number("--inverse-mask=", args->inverse_mask);
    if (args->from != NULL && !command_address(args->from, &options->grp_from))
        return bad_number("--from=", args->from);
    if (args->to != NULL && !command_address(args->to, &options->grp_to))
        return bad_number("--to=", args->to);
    options->grp_mask &= ~inverse;
    if (args->size > 8 || (args->size & (args->size - 1)) != 0)
        return command_error("grep: --size=%zu: give 1, 2, 4 or 8", args->size);
    return COMMAND_CLEAN;
}

static int
look_at(const struct look *look, void *arg)
{
    const struct arguments *args = arg;
    struct hits hits = {.look = look};
    struct grep_options options;
    int code = read_numbers(args, &options);

    if (code != COMMAND_CLEAN)
        return code;
    if (options.grp_size == 0)
        options.grp_size = look->look_heap->heap_offsets.off_word;
    if (args->buffer && !grep_into_block(look->look_heap, options.grp_value, &options))
        return command_error("grep: %s is in no buffer; 'umem whatis %s %s' tells what it is",
                             args->value, target_name(look->look_heap->heap_target), args->value);
    if (grep_target(look->look_heap, &options, keep, &hits) != 0 || hits.failed)
        code = command_error("grep: not enough memory");
    else if (look->look_options->opt_format == FORMAT_JSON)
        print_json(look, &options, &hits);
    else
        print_text(look, &options, &hits);
    free(hits.list);
    return code == COMMAND_CLEAN && hits.count == 0 ? COMMAND_FOUND : code;
}

int
command_grep(int argc, char **argv)
{
    struct arguments args = {0};
    const struct option_row rows[] = {
        {"buffer", 'b', OPTION_FLAG, &args.buffer, NULL,
         "all pointers into the buffer that VALUE is in", NULL},
        {"distance", 'd', OPTION_SIZE, &args.distance, "N", "any of N values from VALUE on", NULL},
        {"mask", 'm', OPTION_STRING, &args.mask, "HEX", "compare these bits only", NULL},
        {"inverse-mask", 'M', OPTION_STRING, &args.inverse_mask, "HEX", "leave these bits out",
         NULL},
        {"size", 's', OPTION_NUMBER, &args.size, "N", "of VALUE, 1, 2, 4 or 8 bytes (a pointer's)",
         NULL},
        {"from", 0, OPTION_STRING, &args.from, "ADDR", "begin there", NULL},
        {"to", 0, OPTION_STRING, &args.to, "ADDR", "end before there", NULL},
        {0}};
    const struct command_spec spec = {.cmd_name = "grep",
                                      .cmd_usage = "TARGET VALUE",
                                      .cmd_summary = "Find a value, say a pointer, in memory",
                                      .cmd_description = description,
                                      .cmd_rows = rows,
                                      .cmd_shared = SHARED_TARGET,
                                      .cmd_min_args = 2,
                                      .cmd_max_args = 2};
    struct command_options options;
    int code = options_parse(&spec, argc, argv, &options);

    if (code != OPTIONS_GO)
        return code;
    args.value = options.opt_argv[1];
    struct grep_options numbers;
    code = read_numbers(&args, &numbers); /* before a process is stopped for nothing */
    return code != COMMAND_CLEAN
               ? code
               : report_look("grep", options.opt_argv[0], &options, OPEN_FORKED, look_at, &args);
}
