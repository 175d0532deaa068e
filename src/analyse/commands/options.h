/* SPDX-License-Identifier: MIT */
/*
 * options.h - how a verb describes its command line, the options that verbs
 * share, and the parser that fills them in and answers --help.
 *
 * Typical use:
 *
 *     bool verbose = false;
 *     const struct option_row rows[] = {
 *         {"verbose", 'v', OPTION_FLAG, &verbose, NULL, "say more", NULL}, {0}};
 *     const struct command_spec spec = {
 *         .cmd_name = "leaks", .cmd_usage = "TARGET", .cmd_summary = "find leaks",
 *         .cmd_rows = rows, .cmd_shared = SHARED_TARGET, .cmd_min_args = 1, .cmd_max_args = 1};
 *     struct command_options opts;
 *     int code = options_parse(&spec, argc, argv, &opts);
 *     if (code != OPTIONS_GO)
 *         return code;
 *
 * Nothing is kept between calls but getopt's own state, which is reset.
 */
#ifndef ANALYSE_OPTIONS_H
#define ANALYSE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_kind {
    OPTION_FLAG,            /* bool *: set true */
    OPTION_NUMBER,          /* size_t *: base 10, --name=N */
    OPTION_OPTIONAL_NUMBER, /* size_t *: --name[=N]; left as it is without =N, row_given tells */
    OPTION_SIZE,            /* size_t *: bytes, with k m g t */
    OPTION_AGE,             /* size_t *: nanoseconds, given with s m h d */
    OPTION_STRING,          /* const char **: points into argv */
    OPTION_OPTIONAL_STRING, /* const char **: --name[=TEXT]; as OPTIONAL_NUMBER */
    OPTION_LIST             /* struct option_list *: may be repeated */
};

struct option_list {
    const char **list_items; /* point into argv; the array is the caller's to free */
    size_t list_count;
    size_t list_room;
};

struct option_row {
    const char *row_name; /* long name without dashes; NULL ends the table */
    char row_letter;      /* or 0 */
    enum option_kind row_kind;
    void *row_value;
    const char *row_argument; /* its name in --help, "N", "FILE"; NULL for a flag */
    const char *row_help;
    bool *row_given; /* set true when the option was there; may be NULL */
};

/* Of verbs that go by when a block was allocated. */
#define SINCE_ROW(value)                                                                           \
    {                                                                                              \
        "since", 0, OPTION_AGE, (value), "AGE",                                                    \
            "only blocks allocated in the last 30s, 10m, 2h, 1d (with audit)", NULL                \
    }

enum output_format { FORMAT_TEXT, FORMAT_JSON, FORMAT_OPENMETRICS };

/* Options that many verbs have; cmd_shared says which of them a verb takes. */
enum shared_options {
    SHARED_FORMAT = 1, /* --format=text|json */
    SHARED_EXE = 2,    /* --exe FILE */
    SHARED_MAX = 4,    /* -n N, --max N */
    SHARED_COLOR = 8,  /* --color=auto|always|never */
    SHARED_SELF = 16,  /* --self */
    SHARED_TARGET = SHARED_FORMAT | SHARED_EXE | SHARED_MAX | SHARED_COLOR | SHARED_SELF
};

#define OPTIONS_MAX_DEFAULT 20 /* --max when not given: about a screen of rows */

struct command_options {
    enum output_format opt_format;
    const char *opt_exe; /* NULL: find it */
    size_t opt_max;      /* most items to list where a list can be long; SIZE_MAX for --max 0 */
    bool opt_process;    /* the verb is of use for a process only */
    bool opt_self;       /* a process is asked for a snapshot of itself, not looked at */
    bool opt_color;      /* stdout is a terminal that wants colour (NO_COLOR unset), or --color */
    int opt_argc;        /* operands that are left */
    char **opt_argv;
};

struct command_spec {
    const char *cmd_name;
    const char *cmd_usage;             /* operands, "TARGET ADDR..." */
    const char *cmd_summary;           /* one line */
    const char *cmd_description;       /* paragraphs for --help, ended by a newline; or NULL */
    const struct option_row *cmd_rows; /* own options; may be NULL */
    unsigned cmd_shared;
    int cmd_min_args;
    int cmd_max_args;         /* -1: any number */
    bool cmd_openmetrics;     /* --format=openmetrics, too */
    bool cmd_stop_at_operand; /* options end at the first operand (run) */
};

/* Whether output there is to have colour: a terminal that wants it, and NO_COLOR unset. */
bool options_want_color(int fd);

#define OPTIONS_GO (-1)

/* OPTIONS_GO, or the exit code: help was printed, or the usage was wrong (and said so). */
int options_parse(const struct command_spec *spec, int argc, char **argv,
                  struct command_options *options);

/* A number in hexadecimal, with or without 0x, as debuggers print addresses. */
bool command_address(const char *text, uint64_t *value);

/* "umem: ..." on stderr, one line; the newline is added.  Returns COMMAND_TROUBLE. */
int command_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
