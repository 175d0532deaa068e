/* SPDX-License-Identifier: MIT */
/*
 * stacks.c - umem stacks: the stacks of libstackalloc in a process, who is on
 * each, and how deep.
 */
#include "commands/commands.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "heap/stack_table.h"
#include "report/format.h"

enum { IN_USE, CACHED, COLD, STATES };
static const char *const state_names[STATES] = {"in use", "cached", "cold"};

static unsigned
row_state(const struct stack_row *row)
{
    return row->row_used ? IN_USE : row->row_cold ? COLD : CACHED;
}

/* Whether anything is known of how deep it went. */
static bool
is_told(const struct stack_row *row)
{
    return row->row_filled || (row->row_used && row->row_highwater < row->row_size);
}

/* The function that a thread started in, or "". */
static const char *
start_name(struct target *t, const struct stack_row *row, struct symbol *symbol)
{
    if (row->row_start == 0 || target_symbolise(t, row->row_start, false, symbol, 1) == 0)
        return "";
    return symbol->sym_function;
}

static void
print_row(struct target *t, const struct stack_row *row)
{
    struct symbol symbol;
    printf("0x%-14" PRIx64 "%6s  %-7s", row->row_base, format_size(row->row_size).s,
           state_names[row_state(row)]);
    printf("%11s", row->row_depth != 0 ? format_count(row->row_depth).s : "");
    printf("%11s%-8s", is_told(row) ? format_count(row->row_highwater).s : "",
           is_told(row) && !row->row_filled ? " at most" : "");
    if (row->row_thread != 0)
        printf("%9d", (int)row->row_thread);
    else
        printf("%9s", "");
    printf("  %-16s%s\n", start_name(t, row, &symbol), row->row_name);
}

struct totals {
    uint64_t sum_count[STATES], sum_bytes[STATES];
    uint64_t sum_faults; /* of the process, where they are known */
    bool sum_has_faults;
};

static struct totals
add_up(struct target *t, const struct stack_table *table)
{
    struct totals sum = {.sum_has_faults = false};
    sum.sum_has_faults = target_faults(t, &sum.sum_faults);
    for (size_t i = 0; i < table->tab_count; i++) {
        unsigned state = row_state(&table->tab_rows[i]);
        sum.sum_count[state]++;
        sum.sum_bytes[state] += table->tab_rows[i].row_size;
    }
    return sum;
}

static void
print_totals(const struct totals *sum)
{
    printf("%s in use (%s bytes)", format_plural(sum->sum_count[IN_USE], "stack", "stacks").s,
           format_count(sum->sum_bytes[IN_USE]).s);
    printf(", %s cached (%s bytes)", format_count(sum->sum_count[CACHED]).s,
           format_count(sum->sum_bytes[CACHED]).s);
    if (sum->sum_count[COLD] > 0)
        printf(", %s cold", format_count(sum->sum_count[COLD]).s);
    if (sum->sum_has_faults)
        printf("; the process took %s",
               format_plural(sum->sum_faults, "page fault", "page faults").s);
    putchar('\n');
}

static void
print_text(struct target *t, const struct stack_table *table, size_t max, bool color)
{
    struct totals sum = add_up(t, table);
    print_totals(&sum);
    if (table->tab_count == 0)
        return;
    printf("\n%s%-16s%6s  %-7s%11s%11s%8s%9s  %-16s%s%s\n", style_bold(color), "base", "size",
           "state", "depth now", "high water", "", "thread", "started in", "name",
           style_end(color));
    for (size_t i = 0; i < table->tab_count && i < max; i++)
        print_row(t, &table->tab_rows[i]);
    if (table->tab_count > max)
        printf("... and %s more: --max 0 lists all\n", format_count(table->tab_count - max).s);
}

static json_t *
json_of_row(struct target *t, const struct stack_row *row)
{
    struct symbol symbol;
    char base[32];
    json_t *name = json_string(row->row_name);
    json_t *one = json_object();
    snprintf(base, sizeof(base), "0x%" PRIx64, row->row_base);
    json_object_set_new(one, "base", json_string(base));
    json_object_set_new(one, "size", json_integer((json_int_t)row->row_size));
    json_object_set_new(one, "state", json_string(state_names[row_state(row)]));
    json_object_set_new(one, "thread", json_integer(row->row_thread));
    json_object_set_new(one, "depth", json_integer((json_int_t)row->row_depth));
    json_object_set_new(one, "high_water",
                        row->row_filled ? json_integer((json_int_t)row->row_highwater)
                                        : json_null());
    json_object_set_new(one, "high_water_at_most", json_integer((json_int_t)row->row_highwater));
    json_object_set_new(one, "start", json_string(start_name(t, row, &symbol)));
    json_object_set_new(one, "name", name != NULL ? name : json_null());
    return one;
}

static void
print_json(struct target *t, const struct stack_table *table)
{
    struct totals sum = add_up(t, table);
    json_t *stacks = json_array(), *totals = json_array();
    for (size_t i = 0; i < table->tab_count; i++)
        json_array_append_new(stacks, json_of_row(t, &table->tab_rows[i]));
    for (unsigned state = 0; state < STATES; state++)
        json_array_append_new(totals, json_pack("{s:s, s:I, s:I}", "state", state_names[state],
                                                "count", (json_int_t)sum.sum_count[state], "bytes",
                                                (json_int_t)sum.sum_bytes[state]));
    json_t *faults = sum.sum_has_faults ? json_integer((json_int_t)sum.sum_faults) : json_null();
    json_t *out =
        json_pack("{s:o, s:o, s:o}", "totals", totals, "faults", faults, "stacks", stacks);
    json_dumpf(out, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(out);
}

int
command_stacks(int argc, char **argv)
{
    const struct command_spec spec = {.cmd_name = "stacks",
                                      .cmd_usage = "TARGET",
                                      .cmd_summary = "List the stacks of libstackalloc, who is on "
                                                     "each, and how deep",
                                      .cmd_shared = SHARED_TARGET,
                                      .cmd_min_args = 1,
                                      .cmd_max_args = 1};
    struct command_options options;
    struct stack_table table;
    char why[128];
    int code = options_parse(&spec, argc, argv, &options);

    if (code != OPTIONS_GO)
        return code;
    struct target_options target_options = {.opt_exe = options.opt_exe,
                                            .opt_self = options.opt_self};
    struct target *t = target_open(options.opt_argv[0], &target_options);
    if (t == NULL)
        return COMMAND_TROUBLE;
    code = COMMAND_CLEAN;
    if (!stack_table_read(t, &table, why, sizeof(why)))
        code = command_error("stacks %s: %s", options.opt_argv[0], why);
    else if (options.opt_format == FORMAT_JSON)
        print_json(t, &table);
    else
        print_text(t, &table, options.opt_max, options.opt_color);
    stack_table_fini(&table);
    target_close(t);
    return code;
}
