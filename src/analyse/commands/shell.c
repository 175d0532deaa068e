/* SPDX-License-Identifier: MIT */
/*
 * shell.c - umem shell: mdb's commands on a core or a live process, typed, on
 * standard input, or by -e.
 */
#include "commands/commands.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "report/block_report.h"
#include "report/format.h"
#include "shell/line.h"
#include "shell/shell.h"

static const char description[] =
    "Commands are mdb's: ::findleaks -d, ADDR::whatis, ::walk umem_alloc_32 | ::bufctl_audit,\n"
    "$c, ADDR,4/J, ::umastat ! less. ::help tells about them. They are typed, with history and\n"
    "completion, or come on standard input, a line each, or from -e.\n"
    "A live process is stopped for a moment, while the kernel makes a copy to look at; with\n"
    "--stop until the shell ends.\n"
    "Exit code, but for a shell that is typed to: 0, 1 where ::findleaks found leaks or\n"
    "::umem_verify damage, 2 where a command failed or the target could not be read.\n";

static void
interrupt(int signal)
{
    (void)signal;
    shell_interrupted = 1;
}

/* Without SA_RESTART: reading a line is to end, too. */
static void
catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = interrupt};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

static void
run_line(struct shell *sh, const char *line)
{
    shell_interrupted = 0;
    shell_run(sh, line);
    fflush(stdout);
}

static int
run_typed(struct shell *sh)
{
    struct line_reader *reader = line_open(sh);
    char name[512];
    const char *line;

    if (reader == NULL)
        return command_error("shell: the terminal cannot be used; give commands by -e");
    catch_interrupts();
    target_describe(sh->sh_target, name, sizeof(name));
    if (sh->sh_has_heap)
        printf("%s: %s; ::help tells how to begin\n", name,
               format_plural(sh->sh_heap.heap_live_buffers, "live buffer", "live buffers").s);
    else
        printf("%s: %s\n", name, sh->sh_no_heap);
    while (!sh->sh_quit) {
        shell_interrupted = 0;
        line = line_next(reader);
        if (line == NULL) {
            putchar('\n');
            break;
        }
        run_line(sh, line);
    }
    line_close(reader);
    return COMMAND_CLEAN;
}

static int
exit_code(const struct shell *sh)
{
    if (sh->sh_error)
        return COMMAND_TROUBLE;
    return sh->sh_found ? COMMAND_FOUND : COMMAND_CLEAN;
}

static int
run_input(struct shell *sh)
{
    char *line = NULL;
    size_t room = 0;

    while (!sh->sh_quit && getline(&line, &room, stdin) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        run_line(sh, line);
    }
    free(line);
    return exit_code(sh);
}

static int
run_list(struct shell *sh, const struct option_list *list)
{
    for (size_t i = 0; !sh->sh_quit && i < list->list_count; i++)
        run_line(sh, list->list_items[i]);
    return exit_code(sh);
}

int
command_shell(int argc, char **argv)
{
    struct option_list list = {0};
    bool stop = false;
    const struct option_row rows[] = {
        {"execute", 'e', OPTION_LIST, &list, "COMMAND", "run this, and no others (repeatable)",
         NULL},
        {"stop", 0, OPTION_FLAG, &stop, NULL, "keep a live process stopped until the end", NULL},
        {0}};
    const struct command_spec spec = {.cmd_name = "shell",
                                      .cmd_usage = "TARGET",
                                      .cmd_summary = "Look around in a core or a live process, "
                                                     "with mdb's commands",
                                      .cmd_description = description,
                                      .cmd_rows = rows,
                                      .cmd_shared = SHARED_EXE | SHARED_SELF,
                                      .cmd_min_args = 1,
                                      .cmd_max_args = 1};
    struct command_options options;
    struct shell sh;
    int code = options_parse(&spec, argc, argv, &options);

    if (code == OPTIONS_GO) {
        const struct target_options target = {.opt_exe = options.opt_exe,
                                              .opt_self = options.opt_self};
        if (!shell_open(&sh, options.opt_argv[0], &target, stop)) {
            code = COMMAND_TROUBLE;
        } else {
            code = list.list_count > 0                             ? run_list(&sh, &list)
                   : isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) ? run_typed(&sh)
                                                                   : run_input(&sh);
            shell_close(&sh);
        }
    }
    free(list.list_items);
    return code;
}
