/* SPDX-License-Identifier: MIT */
/*
 * options.c - parses a verb's command line by getopt_long from its table of
 * rows, and writes --help from the same table, so that the two cannot differ.
 */
#include "commands/commands.h"
#include "heap/memory.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Own rows, shared rows and --help; a verb with more than this needs another design. */
#define OPTION_ROWS_MAX 40
/* getopt_long's values: rows are numbered from here, above any letter. */
#define OPTION_FIRST_VALUE 256
/* Column where --help's explanations start. */
#define OPTION_HELP_COLUMN 24
#define NS_PER_S ((size_t)1000000000)

struct option_table {
    const struct option_row *tab_rows[OPTION_ROWS_MAX];
    int tab_count;
    struct option tab_long[OPTION_ROWS_MAX + 1];
    char tab_short[3 * OPTION_ROWS_MAX + 3];
};

int
command_error(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fflush(stdout);
    fputs("umem: ", stderr);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return COMMAND_TROUBLE;
}

bool
command_address(const char *text, uint64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 16);
    return errno == 0 && end != text && *end == '\0' && isxdigit((unsigned char)text[0]);
}

static bool
is_optional(enum option_kind kind)
{
    return kind == OPTION_OPTIONAL_NUMBER || kind == OPTION_OPTIONAL_STRING;
}

static int
option_has_arg(enum option_kind kind)
{
    if (kind == OPTION_FLAG)
        return no_argument;
    return is_optional(kind) ? optional_argument : required_argument;
}

static void
table_add(struct option_table *tab, const struct option_row *row)
{
    if (tab->tab_count >= OPTION_ROWS_MAX)
        abort(); /* a mistake of ours, found by the verb's first run */
    int has_arg = option_has_arg(row->row_kind);
    tab->tab_rows[tab->tab_count] = row;
    tab->tab_long[tab->tab_count] =
        (struct option){row->row_name, has_arg, NULL, OPTION_FIRST_VALUE + tab->tab_count};
    tab->tab_count++;
    if (row->row_letter == 0)
        return;
    size_t n = strlen(tab->tab_short);
    tab->tab_short[n++] = row->row_letter;
    for (int i = 0; i < has_arg; i++) /* ":" or "::" */
        tab->tab_short[n++] = ':';
    tab->tab_short[n] = '\0';
}

static const struct option_row *
table_row(const struct option_table *tab, int value)
{
    if (value >= OPTION_FIRST_VALUE && value - OPTION_FIRST_VALUE < tab->tab_count)
        return tab->tab_rows[value - OPTION_FIRST_VALUE];
    for (int i = 0; i < tab->tab_count; i++)
        if (value != 0 && tab->tab_rows[i]->row_letter == value)
            return tab->tab_rows[i];
    return NULL;
}

static int
help_row(const struct option_row *row)
{
    char text[80];
    int n = snprintf(text, sizeof(text), "  ");
    if (row->row_letter != 0)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "-%c, ", row->row_letter);
    n += snprintf(text + n, sizeof(text) - (size_t)n, "--%s", row->row_name);
    if (is_optional(row->row_kind))
        n += snprintf(text + n, sizeof(text) - (size_t)n, "[=%s]", row->row_argument);
    else if (row->row_argument != NULL)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "=%s", row->row_argument);
    if (n >= OPTION_HELP_COLUMN) /* too long: the explanation goes to its own line */
        return printf("%s\n%*s%s\n", text, OPTION_HELP_COLUMN, "", row->row_help);
    return printf("%-*s%s\n", OPTION_HELP_COLUMN, text, row->row_help);
}

static int
help(const struct command_spec *spec, const struct option_table *tab)
{
    printf("Usage: umem %s [options] %s\n\n%s.\n", spec->cmd_name, spec->cmd_usage,
           spec->cmd_summary);
    if (spec->cmd_description != NULL)
        printf("\n%s", spec->cmd_description);
    puts("\nOptions:");
    for (int i = 0; i < tab->tab_count; i++)
        help_row(tab->tab_rows[i]);
    if (spec->cmd_shared & SHARED_EXE)
        puts("\nTARGET is a core file (of the kernel, gcore or systemd-coredump) or a process id.");
    return COMMAND_CLEAN;
}

/* A decimal number, with k m g t where scaled; false for anything else or an overflow. */
static bool
parse_number(const char *text, bool scaled, size_t *value)
{
    char *end;
    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (errno != 0)
        return false;
    if (scaled && *end != '\0') {
        const char *units = "kmgt";
        const char *unit = strchr(units, tolower((unsigned char)*end));
        unsigned shift = unit != NULL ? 10 * (unsigned)(unit - units + 1) : 0;
        if (unit == NULL || (n << shift) >> shift != n)
            return false;
        n <<= shift;
        end++;
    }
    *value = n;
    return *end == '\0';
}

/* A number of seconds, or of what the letter behind it says, in nanoseconds. */
static bool
parse_age(const char *text, size_t *value)
{
    static const struct {
        char unit;
        size_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    char number[24];
    size_t n, length = strlen(text), seconds = 1;

    for (size_t i = 0; length > 0 && i < sizeof(units) / sizeof(units[0]); i++)
        if (text[length - 1] == units[i].unit) {
            seconds = units[i].seconds;
            length--;
            break;
        }
    if (length >= sizeof(number))
        return false;
    snprintf(number, sizeof(number), "%.*s", (int)length, text);
    return parse_number(number, false, &n) && !__builtin_mul_overflow(n, seconds * NS_PER_S, value);
}

static bool
add_item(struct option_list *list, const char *value)
{
    if (!memory_grow(&list->list_items, &list->list_room, list->list_count, sizeof(char *)))
        return false;
    list->list_items[list->list_count++] = value;
    return true;
}

static bool
set_value(const struct option_row *row, const char *value)
{
    if (row->row_given != NULL)
        *row->row_given = true;
    switch (row->row_kind) {
    case OPTION_FLAG:
        *(bool *)row->row_value = true;
        return true;
    case OPTION_OPTIONAL_STRING:
        if (value == NULL)
            return true;
        __attribute__((fallthrough));
    case OPTION_STRING:
        *(const char **)row->row_value = value;
        return true;
    case OPTION_LIST:
        return add_item(row->row_value, value);
    case OPTION_OPTIONAL_NUMBER:
        if (value == NULL)
            return true;
        return parse_number(value, false, row->row_value);
    case OPTION_NUMBER:
        return parse_number(value, false, row->row_value);
    case OPTION_SIZE:
        return parse_number(value, true, row->row_value);
    case OPTION_AGE:
        return parse_age(value, row->row_value);
    }
    return false;
}

static int
bad_option(const struct command_spec *spec, const struct option_table *tab, char **argv, int value)
{
    /* optopt is the letter, the value of a long option, or 0 for an unknown long one. */
    const struct option_row *row = table_row(tab, optopt);
    if (value == ':' && row != NULL)
        return command_error("%s: option --%s needs %s; see 'umem %s --help'", spec->cmd_name,
                             row->row_name, row->row_argument, spec->cmd_name);
    if (row != NULL)
        return command_error("%s: option --%s takes no value; see 'umem %s --help'", spec->cmd_name,
                             row->row_name, spec->cmd_name);
    if (optopt != 0)
        return command_error("%s: no option -%c; see 'umem %s --help'", spec->cmd_name, optopt,
                             spec->cmd_name);
    return command_error("%s: no option %s; see 'umem %s --help'", spec->cmd_name, argv[optind - 1],
                         spec->cmd_name);
}

static const char *
what_is_wanted(enum option_kind kind)
{
    if (kind == OPTION_SIZE)
        return "a size (10, 4k, 2m)";
    return kind == OPTION_AGE ? "an age (30s, 10m, 2h, 1d)" : "a number";
}

/* Runs getopt over argv; OPTIONS_GO or an exit code. */
static int
parse_rows(const struct command_spec *spec, struct option_table *tab, const bool *want_help,
           int argc, char **argv)
{
    int value;
    optind = 0; /* glibc: start afresh, the caller may have parsed before */
    opterr = 0;
    while ((value = getopt_long(argc, argv, tab->tab_short, tab->tab_long, NULL)) != -1) {
        const struct option_row *row = table_row(tab, value);
        if (value == '?' || value == ':' || row == NULL)
            return bad_option(spec, tab, argv, value);
        if (!set_value(row, optarg))
            return command_error("%s: --%s=%s: not %s; see 'umem %s --help'", spec->cmd_name,
                                 row->row_name, optarg, what_is_wanted(row->row_kind),
                                 spec->cmd_name);
        if (*want_help)
            return help(spec, tab);
    }
    return OPTIONS_GO;
}

bool
options_want_color(int fd)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return isatty(fd) && (no_color == NULL || no_color[0] == '\0') && term != NULL &&
           strcmp(term, "dumb") != 0;
}

static int
set_shared(const struct command_spec *spec, struct command_options *options, const char *format,
           const char *color, size_t max)
{
    if (strcmp(format, "json") == 0)
        options->opt_format = FORMAT_JSON;
    else if (spec->cmd_openmetrics && strcmp(format, "openmetrics") == 0)
        options->opt_format = FORMAT_OPENMETRICS;
    else if (strcmp(format, "text") != 0)
        return command_error("%s: --format=%s: give text%s", spec->cmd_name, format,
                             spec->cmd_openmetrics ? ", json or openmetrics" : " or json");
    if (strcmp(color, "auto") == 0) {
        options->opt_color = options_want_color(STDOUT_FILENO);
    } else if (strcmp(color, "always") == 0) {
        options->opt_color = true;
    } else if (strcmp(color, "never") != 0) {
        return command_error("%s: --color=%s: give auto, always or never", spec->cmd_name, color);
    }
    options->opt_max = max == 0 ? SIZE_MAX : max;
    return OPTIONS_GO;
}

int
options_parse(const struct command_spec *spec, int argc, char **argv,
              struct command_options *options)
{
    bool want_help = false;
    const char *format = "text";
    const char *color = "auto";
    size_t max = OPTIONS_MAX_DEFAULT;
    *options = (struct command_options){0};
    const struct option_row shared[] = {
        {"format", 0, OPTION_STRING, &format,
         spec->cmd_openmetrics ? "text|json|openmetrics" : "text|json", "how to print (text)",
         NULL},
        {"exe", 0, OPTION_STRING, &options->opt_exe, "FILE",
         "the core's executable, where it is not at its old path", NULL},
        {"max", 'n', OPTION_NUMBER, &max, "N", "list at most N items, 0 for all (20)", NULL},
        {"color", 0, OPTION_STRING, &color, "WHEN", "auto, always or never (auto)", NULL},
        {"self", 0, OPTION_FLAG, &options->opt_self, NULL,
         "ask the process itself, where nobody may trace it (UMEM_OPTIONS=agent)", NULL},
    };
    const struct option_row help_option = {
        "help", 'h', OPTION_FLAG, &want_help, NULL, "print this help", NULL};
    struct option_table tab = {.tab_short = "+:"};
    if (!spec->cmd_stop_at_operand)
        memmove(tab.tab_short, ":", 2);
    for (const struct option_row *row = spec->cmd_rows; row != NULL && row->row_name != NULL; row++)
        table_add(&tab, row);
    for (unsigned i = 0; i < sizeof(shared) / sizeof(shared[0]); i++)
        if (spec->cmd_shared & (1U << i))
            table_add(&tab, &shared[i]);
    table_add(&tab, &help_option);

    int code = parse_rows(spec, &tab, &want_help, argc, argv);
    if (code == OPTIONS_GO)
        code = set_shared(spec, options, format, color, max);
    if (code != OPTIONS_GO)
        return code;
    options->opt_argc = argc - optind;
    options->opt_argv = argv + optind;
    if (options->opt_argc < spec->cmd_min_args)
        return command_error("%s: needs %s; see 'umem %s --help'", spec->cmd_name, spec->cmd_usage,
                             spec->cmd_name);
    if (spec->cmd_max_args >= 0 && options->opt_argc > spec->cmd_max_args)
        return command_error("%s: %s is one operand too many; see 'umem %s --help'", spec->cmd_name,
                             options->opt_argv[spec->cmd_max_args], spec->cmd_name);
    if (options->opt_exe != NULL && access(options->opt_exe, R_OK) != 0)
        return command_error("%s: --exe=%s: %s; give the program that the core is of",
                             spec->cmd_name, options->opt_exe, strerror(errno));
    return OPTIONS_GO;
}
