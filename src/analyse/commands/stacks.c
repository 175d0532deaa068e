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

static const char *
state_name(const struct stack_row *row)
{
    return row->row_used ? "in use" : row->row_cold ? "cold" : "cached";
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
           state_name(row));
    printf("%11s", row->row_depth != 0 ? format_count(row->row_depth).s : "");
    printf("%11s", row->row_filled ? format_count(row->row_highwater).s : "");
    if (row->row_thread != 0)
        printf("%9d", (int)row->row_thread);
    else
        printf("%9s", "");
    printf("  %-16s%s\n", start_name(t, row, &symbol), row->row_name);
}

static void
print_text(struct target *t, const struct stack_table *table, size_t max, bool color)
{
    uint64_t used = 0, used_bytes = 0, cached = 0, cached_bytes = 0;
    for (size_t i = 0; i < table->tab_count; i++) {
        const struct stack_row *row = &table->tab_rows[i];
        bool waits = !row->row_used && !row->row_cold;
        used += row->row_used;
        used_bytes += row->row_used ? row->row_size : 0;
        cached += waits;
        cached_bytes += waits ? row->row_size : 0;
    }
    printf("%s in use (%s bytes), %s cached (%s bytes)", format_plural(used, "stack", "stacks").s,
           format_count(used_bytes).s, format_count(cached).s, format_count(cached_bytes).s);
    if (table->tab_count > used + cached)
        printf(", %s cold", format_count(table->tab_count - used - cached).s);
    putchar('\n');
    if (table->tab_count == 0)
        return;
    printf("\n%s%-16s%6s  %-7s%11s%11s%9s  %-16s%s%s\n", style_bold(color), "base", "size", "state",
           "depth now", "high water", "thread", "started in", "name", style_end(color));
    for (size_t i = 0; i < table->tab_count && i < max; i++)
        print_row(t, &table->tab_rows[i]);
    if (table->tab_count > max)
        printf("... and %s more: --max 0 lists all\n", format_count(table->tab_count - max).s);
}

static void
print_json(struct target *t, const struct stack_table *table)
{
    json_t *out = json_array();
    for (size_t i = 0; i < table->tab_count; i++) {
        const struct stack_row *row = &table->tab_rows[i];
        struct symbol symbol;
        char base[32];
        json_t *name = json_string(row->row_name);
        snprintf(base, sizeof(base), "0x%" PRIx64, row->row_base);
        json_t *one = json_object();
        json_object_set_new(one, "base", json_string(base));
        json_object_set_new(one, "size", json_integer((json_int_t)row->row_size));
        json_object_set_new(one, "state", json_string(state_name(row)));
        json_object_set_new(one, "thread", json_integer(row->row_thread));
        json_object_set_new(one, "depth", json_integer((json_int_t)row->row_depth));
        json_object_set_new(one, "high_water",
                            row->row_filled ? json_integer((json_int_t)row->row_highwater)
                                            : json_null());
        json_object_set_new(one, "start", json_string(start_name(t, row, &symbol)));
        json_object_set_new(one, "name", name != NULL ? name : json_null());
        json_array_append_new(out, one);
    }
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
    struct target_options target_options = {.opt_exe = options.opt_exe};
    struct target *t = target_open(options.opt_argv[0], &target_options);
    if (t == NULL)
        return COMMAND_TROUBLE;
    code = COMMAND_CLEAN;
    if (!stack_table_read(t, &table, why, sizeof(why)))
        code = command_error("umem stacks %s: %s", options.opt_argv[0], why);
    else if (options.opt_format == FORMAT_JSON)
        print_json(t, &table);
    else
        print_text(t, &table, options.opt_max, options.opt_color);
    stack_table_fini(&table);
    target_close(t);
    return code;
}
