/* SPDX-License-Identifier: MIT */
/*
 * diff.c - umem diff: what grew between two cores, snapshots or processes.
 */
#include "look/diff.h"
#include "commands/commands.h"

#include <inttypes.h>
#include <stdio.h>

#include "report/block_report.h"
#include "report/format.h"
#include "report/json.h"
#include "report/open.h"

static const char description[] =
    "FIRST and SECOND are targets: snapshots of one process at two times, or cores of two runs\n"
    "of a program. What was allocated at each place, a stack and a cache, is compared, and what\n"
    "of it nothing reaches any more. Stacks are known of programs that run under\n"
    "UMEM_DEBUG=audit; else caches are compared.\n";

struct arguments {
    struct diff_options find;
    size_t min_bytes;
};

struct side {
    struct heap heap;
    struct symboliser *symbols;
};

struct comparison {
    struct side *sides; /* two */
    const struct command_options *options;
    struct diff diff;
};

/* "+1,234" or "-1,234". */
static struct text
format_change(uint64_t before, uint64_t after)
{
    struct text out;
    bool grown = after >= before;
    snprintf(out.s, sizeof(out.s), "%c%.40s", grown ? '+' : '-',
             format_count(grown ? after - before : before - after).s);
    return out;
}

static void
print_head(const struct comparison *c)
{
    const struct diff_amount *a = &c->diff.dif_before, *b = &c->diff.dif_after;
    bool color = c->options->opt_color;
    char target[512];

    for (int i = 0; i < 2; i++) {
        const struct diff_amount *amount = i == 0 ? a : b;
        target_describe(c->sides[i].heap.heap_target, target, sizeof(target));
        incomplete_print(&c->sides[i].heap, color);
        printf("%s %s: %s, %s bytes, of which %s bytes leaked\n", i == 0 ? "first " : "second",
               target, format_plural(amount->amt_count, "live buffer", "live buffers").s,
               format_count(amount->amt_bytes).s, format_count(amount->amt_leaked_bytes).s);
    }
    printf("%schange %s buffers, %s bytes, leaked %s bytes%s\n", style_bold(color),
           format_change(a->amt_count, b->amt_count).s, format_change(a->amt_bytes, b->amt_bytes).s,
           format_change(a->amt_leaked_bytes, b->amt_leaked_bytes).s, style_end(color));
}

static size_t
read_stack(const struct comparison *c, const struct diff_row *row, addr_t frames[HEAP_STACK_MAX])
{
    return heap_stack(&c->sides[row->row_in_second].heap, row->row_stack, frames, HEAP_STACK_MAX);
}

static void
print_row(const struct comparison *c, const struct diff_row *row)
{
    const struct diff_amount *a = &row->row_before, *b = &row->row_after;
    addr_t frames[HEAP_STACK_MAX];
    bool color = c->options->opt_color;

    printf("\n  %s%s bytes%s, %s buffers (%s to %s), %s\n", style_bold(color),
           format_change(a->amt_bytes, b->amt_bytes).s, style_end(color),
           format_change(a->amt_count, b->amt_count).s, format_count(a->amt_count).s,
           format_count(b->amt_count).s, row->row_cache);
    if (a->amt_leaked_count != b->amt_leaked_count)
        printf("    leaked %s bytes, %s buffers (%s to %s)\n",
               format_change(a->amt_leaked_bytes, b->amt_leaked_bytes).s,
               format_change(a->amt_leaked_count, b->amt_leaked_count).s,
               format_count(a->amt_leaked_count).s, format_count(b->amt_leaked_count).s);
    stack_print(c->sides[row->row_in_second].symbols, frames, read_stack(c, row, frames), false, 6,
                color);
}

static void
print_text(const struct comparison *c)
{
    size_t count = c->diff.dif_count;
    size_t shown = count < c->options->opt_max ? count : c->options->opt_max;

    print_head(c);
    for (size_t i = 0; i < shown; i++)
        print_row(c, &c->diff.dif_rows[i]);
    if (shown < count)
        printf("\n%s changed; -n 0 lists them\n",
               format_plural(count - shown, "more place", "more places").s);
}

static json_t *
amount_json(const struct diff_amount *amount)
{
    json_t *out = json_amount(amount->amt_count, amount->amt_bytes);
    json_set_count(out, "leaked_buffers", amount->amt_leaked_count);
    json_set_count(out, "leaked_bytes", amount->amt_leaked_bytes);
    return out;
}

static json_t *
row_json(const struct comparison *c, const struct diff_row *row)
{
    addr_t frames[HEAP_STACK_MAX];
    json_t *out = json_object();
    size_t n = read_stack(c, row, frames);

    json_set_text(out, "cache", row->row_cache);
    json_object_set_new(
        out, "growth_bytes",
        json_integer((json_int_t)(row->row_after.amt_bytes - row->row_before.amt_bytes)));
    json_object_set_new(out, "before", amount_json(&row->row_before));
    json_object_set_new(out, "after", amount_json(&row->row_after));
    json_object_set_new(out, "stack",
                        stack_json(c->sides[row->row_in_second].symbols, frames, n, false));
    return out;
}

static void
print_json(const struct comparison *c)
{
    json_t *out = json_object();
    json_t *rows = json_array();

    for (size_t i = 0; i < c->diff.dif_count; i++)
        json_array_append_new(rows, row_json(c, &c->diff.dif_rows[i]));
    json_object_set_new(out, "first", json_begin(&c->sides[0].heap));
    json_object_set_new(out, "second", json_begin(&c->sides[1].heap));
    json_object_set_new(out, "before", amount_json(&c->diff.dif_before));
    json_object_set_new(out, "after", amount_json(&c->diff.dif_after));
    json_object_set_new(out, "changes", rows);
    json_finish(out);
}

static int
compare(struct side *sides, const struct arguments *args, const struct command_options *options)
{
    struct comparison c = {.sides = sides, .options = options};
    const char *cache = args->find.dif_cache;
    int code = COMMAND_CLEAN;

    if (sides[0].heap.heap_allocator != sides[1].heap.heap_allocator)
        return command_error("diff: one has libumem, the other glibc's own heap: give two that "
                             "ran under the same");
    if (cache != NULL && !heap_has_cache(&sides[0].heap, cache) &&
        !report_has_cache("diff", &sides[1].heap, cache))
        return COMMAND_TROUBLE;
    if (diff_find(&sides[0].heap, &sides[1].heap, &args->find, &c.diff) != 0)
        code = command_error("diff: not enough memory");
    else if (options->opt_format == FORMAT_JSON)
        print_json(&c);
    else
        print_text(&c);
    diff_fini(&c.diff);
    return code;
}

static int
open_and_compare(const struct arguments *args, const struct command_options *options)
{
    struct side sides[2] = {{.symbols = NULL}, {.symbols = NULL}};
    int code = COMMAND_TROUBLE, opened = 0;
    const char *why;
    bool ok = true;

    while (ok && opened < 2) {
        struct side *side = &sides[opened];
        enum heap_read status =
            report_open("diff", options->opt_argv[opened], options, OPEN_COPIED, &side->heap, &why);
        if (status == HEAP_FAILED)
            break;
        opened++;
        side->symbols = symboliser_create(side->heap.heap_target);
        ok = side->symbols != NULL && status == HEAP_OK;
        if (status == HEAP_NONE)
            command_error("diff %s: %s", options->opt_argv[opened - 1], why);
    }
    if (ok && opened == 2)
        code = compare(sides, args, options);
    while (opened-- > 0) {
        symboliser_destroy(sides[opened].symbols);
        report_close(&sides[opened].heap);
    }
    return code;
}

int
command_diff(int argc, char **argv)
{
    struct arguments args = {0};
    const struct option_row rows[] = {
        {"cache", 0, OPTION_STRING, &args.find.dif_cache, "NAME", "only this cache", NULL},
        {"min-bytes", 0, OPTION_SIZE, &args.min_bytes, "SIZE",
         "only places that changed by so much", NULL},
        {0}};
    const struct command_spec spec = {.cmd_name = "diff",
                                      .cmd_usage = "FIRST SECOND",
                                      .cmd_summary = "Show what grew between two targets",
                                      .cmd_description = description,
                                      .cmd_rows = rows,
                                      .cmd_shared = SHARED_TARGET,
                                      .cmd_min_args = 2,
                                      .cmd_max_args = 2};
    struct command_options options;
    int code = options_parse(&spec, argc, argv, &options);

    if (code != OPTIONS_GO)
        return code;
    args.find.dif_min_bytes = args.min_bytes;
    return open_and_compare(&args, &options);
}
