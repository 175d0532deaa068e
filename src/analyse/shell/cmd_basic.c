/* SPDX-License-Identifier: MIT */
/*
 * cmd_basic.c - dcmds that are about the shell itself: help, lists, variables,
 * and those that take a pipeline's addresses one by one.
 */
#include "shell/shell.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "report/block_report.h"
#include "report/format.h"

static const char *
colons(const struct dcmd *dcmd)
{
    return isalpha((unsigned char)dcmd->dcmd_name[0]) ? "::" : "";
}

static bool
help_one(struct shell *sh, const char *name)
{
    const char *plain = strncmp(name, "::", 2) == 0 ? name + 2 : name;
    const struct dcmd *dcmd = dcmd_find(plain);

    if (dcmd == NULL)
        return shell_error(sh, "help: no command %s; ::dcmds lists them", name);
    const char *addr = dcmd->dcmd_flags & DCMD_NONE      ? ""
                       : dcmd->dcmd_flags & DCMD_ADDRESS ? "ADDR "
                                                         : "[ADDR] ";
    printf("NAME\n  %s - %s\n\nSYNOPSIS\n  %s%s%s %s\n", dcmd->dcmd_name, dcmd->dcmd_summary, addr,
           colons(dcmd), dcmd->dcmd_name, dcmd->dcmd_usage);
    if (dcmd->dcmd_help != NULL)
        printf("\nDESCRIPTION\n%s", dcmd->dcmd_help);
    if (dcmd->dcmd_flags & DCMD_FEEDS)
        printf("\n  In a pipeline it says addresses.\n");
    printf("\nEXAMPLES\n");
    for (const char *line = dcmd->dcmd_example; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        printf("  > %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
    return true;
}

static bool
dcmd_help(struct shell *sh, const struct call *call)
{
    int rest;

    if (!dcmd_options(sh, call, NULL, 1, &rest))
        return false;
    if (rest < call->call_argc)
        return help_one(sh, call->call_argv[rest]);
    puts("A command is  [ADDR [, COUNT]] ::name [options] [| ::name ...] [! shell command].\n"
         "\n"
         "  ADDR          an expression: hexadecimal 7f00, decimal 0t100, a symbol, `.', "
         "<register,\n"
         "                sums and so on; the command is about what is there\n"
         "  |             the addresses that one command says are those of the next\n"
         "  !             the output goes to a shell command: ::umastat ! less\n"
         "\n"
         "To begin with\n"
         "  ::umem_status           settings and messages of the allocator\n"
         "  ::findleaks -d          what nothing points to any more\n"
         "  ADDR::whatis            what an address is\n"
         "  ::umastat               usage by cache and arena\n"
         "  ::walk umem_alloc_32 | ::bufctl\n"
         "  ::stacks                threads with the same stack together\n"
         "  ADDR,4/J                four words of memory\n"
         "\n"
         "  ::dcmds      lists the commands, ::help NAME tells about one\n"
         "  ::walkers    lists what ::walk can walk\n"
         "  ::quit       ends");
    return true;
}

static bool
dcmd_dcmds(struct shell *sh, const struct call *call)
{
    const struct dcmd *dcmd;

    if (!dcmd_plain(sh, call))
        return false;
    for (size_t i = 0; (dcmd = dcmd_at(i)) != NULL; i++)
        printf("  %-24s - %s\n", dcmd->dcmd_name, dcmd->dcmd_summary);
    return true;
}

static bool
dcmd_walkers(struct shell *sh, const struct call *call)
{
    const struct walker *walker;

    if (!dcmd_plain(sh, call))
        return false;
    for (size_t i = 0; (walker = walker_at(i)) != NULL; i++)
        printf("  %-24s - %s\n", walker->walker_name, walker->walker_descr);
    printf("  %-24s - %s\n", "NAME of a cache", "its allocated buffers");
    return true;
}

static bool
dcmd_quit(struct shell *sh, const struct call *call)
{
    sh->sh_quit = true;
    return dcmd_plain(sh, call);
}

static bool
dcmd_echo(struct shell *sh, const struct call *call)
{
    (void)sh;
    for (int i = 0; i < call->call_argc; i++)
        printf("%s%s", i > 0 ? " " : "", call->call_argv[i]);
    putchar('\n');
    return true;
}

/* The words are one expression, in which "." is the address that comes by. */
static bool
value_of_words(struct shell *sh, const struct call *call, uint64_t *value)
{
    char text[SHELL_WHY_MAX] = "";
    size_t n = 0;

    for (int i = 0; i < call->call_argc && n < sizeof(text); i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s ", call->call_argv[i]);
    if (n == 0 || n >= sizeof(text))
        return shell_error(sh, "%s: needs an expression", call->call_dcmd->dcmd_name);
    text[n - 1] = '\0';
    return shell_value(sh, text, value);
}

static bool
say_or_print(struct shell *sh, const struct call *call, addr_t addr)
{
    if (call_feeds(call))
        return shell_say_address(sh, addr);
    printf("0x%" PRIx64 "\n", addr);
    return true;
}

static bool
dcmd_grep(struct shell *sh, const struct call *call)
{
    uint64_t value;
    return value_of_words(sh, call, &value) &&
           (value == 0 || say_or_print(sh, call, call->call_addr));
}

static bool
dcmd_map(struct shell *sh, const struct call *call)
{
    uint64_t value;
    return value_of_words(sh, call, &value) && say_or_print(sh, call, value);
}

static bool
dcmd_assign(struct shell *sh, const struct call *call)
{
    if (call->call_argc != 1)
        return shell_error(sh, "> needs the name of a variable: ADDR>name");
    return shell_set(sh, call->call_argv[0], call->call_addr);
}

static bool
dcmd_variables(struct shell *sh, const struct call *call)
{
    if (!dcmd_plain(sh, call))
        return false;
    for (size_t i = 0; i < sh->sh_variable_count; i++)
        printf("%s = %" PRIx64 "\n", sh->sh_variables[i].var_name, sh->sh_variables[i].var_value);
    return true;
}

static bool
dcmd_status(struct shell *sh, const struct call *call)
{
    char name[512];
    const struct thread *threads;

    if (!dcmd_plain(sh, call))
        return false;
    target_describe(sh->sh_target, name, sizeof(name));
    printf("debugging %s\n", name);
    printf("file: %s\n", target_executable(sh->sh_target));
    size_t n = target_threads(sh->sh_target, &threads);
    printf("threads: %zu%s\n", n,
           target_is_live(sh->sh_target) ? ", as they were at the beginning" : "");
    if (!sh->sh_has_heap) {
        printf("heap: %s\n", sh->sh_no_heap);
        return true;
    }
    printf("heap: %s, %s of %s bytes\n", sh->sh_heap.heap_offsets.off_module,
           format_plural(sh->sh_heap.heap_live_buffers, "live buffer", "live buffers").s,
           format_count(sh->sh_heap.heap_live_bytes).s);
    incomplete_print(&sh->sh_heap, false);
    return true;
}

const struct dcmd dcmds_basic[] = {
    {"help", "[NAME]", "tell about a command, or how to begin",
     "  ::help NAME prints what NAME does, with its options.\n", "::help findleaks", dcmd_help,
     DCMD_NONE},
    {"dcmds", "", "list the commands", NULL, "::dcmds", dcmd_dcmds, DCMD_NONE},
    {"walkers", "", "list what ::walk can walk", NULL, "::walkers ! grep vmem", dcmd_walkers,
     DCMD_NONE},
    {"quit", "", "leave the shell", "  A live process goes on.\n", "::quit", dcmd_quit, DCMD_NONE},
    {"$q", "", "leave the shell", NULL, "$q", dcmd_quit, DCMD_NONE},
    {"echo", "[word ...]", "print words", "  $[expression] in a word is replaced by its value.\n",
     "::echo main is at $[main]", dcmd_echo, 0},
    {"grep", "expression", "let addresses pass for which an expression is not 0",
     "  In a pipeline: each address that comes by is `.' in the expression, which goes to the\n"
     "  end of the stage. `|' in it needs parentheses or quotes.\n",
     "::walk umem_cache | ::grep (. & 3f) == 0 | ::umem_cache", dcmd_grep,
     DCMD_FEEDS | DCMD_ADDRESS},
    {"map", "expression", "replace addresses by the values of an expression",
     "  In a pipeline: each address that comes by is `.' in the expression.\n",
     "::walk leakbuf | ::map *. | ::whatis -q", dcmd_map, DCMD_FEEDS | DCMD_ADDRESS},
    {">", "name", "give a variable the value of the address: ADDR>name",
     "  <name is its value in expressions.\n", "main>here; <here=p", dcmd_assign, 0},
    {"$v", "", "list variables that have been set", NULL, "10>ten; $v", dcmd_variables, DCMD_NONE},
    {"status", "", "tell what the target is", NULL, "::status", dcmd_status, DCMD_NONE},
    {0}};
