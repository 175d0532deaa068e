/* SPDX-License-Identifier: MIT */
/*
 * top.c - umem top: what a process has in use, by cache and by place, over and
 * over.
 *
 * The kernel makes a copy of the process, which runs on while that is read; where
 * it cannot, the process is stopped meanwhile.  A terminal is cleared before each picture,
 * a pipe gets one after the other.
 */
#include "look/top.h"
#include "commands/commands.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "report/open.h"
#include "report/top_report.h"

#define NS_PER_S 1e9
#define NS_PER_MS 1e6
#define DELAY_DEFAULT ((size_t)2000000000) /* ns */
#define ROWS_DEFAULT 10
#define ROWS_FIT SIZE_MAX /* as many as fit the terminal */

struct arguments {
    size_t delay; /* ns */
    size_t pictures;
    size_t rows;
    bool once;
};

struct viewer {
    const struct arguments *args;
    const struct command_options *options;
    struct place_names *names;
    struct top before;
    bool has_before;
};

/* What the terminal has, or 0: COLUMNS and LINES for one that does not say. */
static size_t
terminal_size(bool lines)
{
    struct winsize size = {0};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0)
        return lines ? size.ws_row : size.ws_col;
    const char *text = getenv(lines ? "LINES" : "COLUMNS");
    return text != NULL ? strtoul(text, NULL, 10) : 0;
}

/* Whether each picture takes the place of the one before. */
static bool
is_screen(const struct viewer *v)
{
    return !v->args->once && v->options->opt_format == FORMAT_TEXT && isatty(STDOUT_FILENO);
}

static void
fit_terminal(const struct viewer *v, struct top_view *view)
{
    bool fit = v->args->rows == ROWS_FIT;
    if (isatty(STDOUT_FILENO))
        view->tpv_columns = terminal_size(false);
    if (is_screen(v) && fit)
        view->tpv_lines = terminal_size(true);
    if (fit)
        view->tpv_rows = view->tpv_lines != 0 ? view->tpv_lines : ROWS_DEFAULT;
}

/* The heap is open, and does not change. */
static int
draw(struct viewer *v, struct heap *h)
{
    struct top top;
    int code = top_take(h, v->has_before ? &v->before : NULL, &top);

    target_resume(h->heap_target);
    struct top_view view = {.tpv_heap = h,
                            .tpv_symbols = symboliser_create(h->heap_target),
                            .tpv_names = v->names,
                            .tpv_rows = v->args->rows == 0 ? SIZE_MAX : v->args->rows,
                            .tpv_stopped_ms = (double)target_stopped_ns(h->heap_target) / NS_PER_MS,
                            .tpv_color = v->options->opt_color};
    fit_terminal(v, &view);
    if (v->has_before)
        view.tpv_seconds = (double)(top.top_time - v->before.top_time) / NS_PER_S;
    if (code == 0 && view.tpv_symbols != NULL) {
        if (v->options->opt_format == FORMAT_JSON)
            top_report_json(&view, &top);
        else
            top_report_text(&view, &top);
    } else {
        code = -1;
    }
    symboliser_destroy(view.tpv_symbols);
    if (v->has_before)
        top_fini(&v->before);
    v->before = top;
    v->has_before = true;
    return code == 0 ? COMMAND_CLEAN : command_error("top: not enough memory");
}

static int
picture(struct viewer *v)
{
    struct heap h;
    const char *why;
    enum heap_read status =
        report_open("top", v->options->opt_argv[0], v->options, OPEN_FORKED, &h, &why);
    bool clear = is_screen(v);
    int code = COMMAND_CLEAN;

    if (status == HEAP_FAILED)
        return COMMAND_TROUBLE;
    if (clear)
        fputs("\033[H\033[J", stdout);
    if (!target_is_process(h.heap_target) && !v->args->once)
        code = command_error("top: %s is a file: give the number of a process, or --once",
                             target_name(h.heap_target));
    else if (status == HEAP_NONE)
        puts(why);
    else
        code = draw(v, &h);
    if (code == COMMAND_CLEAN && !clear && !v->args->once && v->options->opt_format == FORMAT_TEXT)
        putchar('\n');
    fflush(stdout);
    report_close(&h);
    return code;
}

static bool
has_ended(const char *name)
{
    char *end;
    long pid = strtol(name, &end, 10);
    return *end == '\0' && pid > 0 && kill((pid_t)pid, 0) != 0;
}

static int
watch(struct viewer *v)
{
    const struct arguments *args = v->args;
    const struct timespec delay = {.tv_sec = (time_t)(args->delay / (size_t)NS_PER_S),
                                   .tv_nsec = (long)(args->delay % (size_t)NS_PER_S)};
    int code = picture(v);

    for (size_t n = 1; code == COMMAND_CLEAN && !args->once && n != args->pictures; n++) {
        if (ferror(stdout))
            break; /* nobody reads any more */
        nanosleep(&delay, NULL);
        if (has_ended(v->options->opt_argv[0])) {
            if (v->options->opt_format == FORMAT_TEXT)
                printf("process %s has ended\n", v->options->opt_argv[0]);
            break;
        }
        code = picture(v);
    }
    return code;
}

int
command_top(int argc, char **argv)
{
    struct arguments args = {.delay = DELAY_DEFAULT, .rows = ROWS_FIT};
    const struct option_row rows[] = {
        {"delay", 'd', OPTION_AGE, &args.delay, "TIME", "between two pictures (2s)", NULL},
        {"pictures", 'p', OPTION_NUMBER, &args.pictures, "N", "end after so many", NULL},
        {"once", '1', OPTION_FLAG, &args.once, NULL, "one picture, as it is now", NULL},
        {"rows", 'n', OPTION_NUMBER, &args.rows, "N",
         "of each table, 0 for all (10, or what fits the terminal)", NULL},
        {0}};
    const struct command_spec spec = {
        .cmd_name = "top",
        .cmd_usage = "PID",
        .cmd_summary = "Watch what a process has in use, by cache and by place",
        .cmd_description =
            "Until Ctrl-C. Changes are told a second. The process is stopped for some "
            "milliseconds\n"
            "each time. Places are known of programs that run under UMEM_DEBUG=audit.\n",
        .cmd_rows = rows,
        .cmd_shared = SHARED_FORMAT | SHARED_EXE | SHARED_COLOR | SHARED_SELF,
        .cmd_min_args = 1,
        .cmd_max_args = 1};
    struct command_options options;
    int code = options_parse(&spec, argc, argv, &options);

    if (code != OPTIONS_GO)
        return code;
    options.opt_process = !args.once;
    struct viewer viewer = {
        .args = &args, .options = &options, .names = place_names_create(), .has_before = false};
    code = viewer.names != NULL ? watch(&viewer) : command_error("top: not enough memory");
    if (viewer.has_before)
        top_fini(&viewer.before);
    place_names_destroy(viewer.names);
    return code;
}
