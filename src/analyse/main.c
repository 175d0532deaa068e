/* SPDX-License-Identifier: MIT */
/*
 * main.c - the umem command: finds the verb and calls it.
 *
 * Owns the table of verbs and the answers that belong to no verb: --help,
 * --version, help VERB, and what was probably meant by an unknown one.
 */
#include "commands/commands.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef UMEM_VERSION
#define UMEM_VERSION "unknown"
#endif

struct verb {
    const char *verb_name;
    int (*verb_run)(int argc, char **argv);
    const char *verb_summary;
};

static const struct verb verbs[] = {
    {"run", command_run, "run a program under the library"},
    {"leaks", command_leaks, "find memory that nothing points to any more"},
    {"diff", command_diff, "what grew between two cores or snapshots"},
    {"verify", command_verify, "check that the heap is not corrupt"},
    {"users", command_users, "who has the memory, by allocating stack"},
    {"stat", command_stat, "usage by cache, arena and thread"},
    {"top", command_top, "watch what a process has in use"},
    {"sizes", command_sizes, "how large blocks are, and the overhead"},
    {"status", command_status, "version, settings and message log of the allocator"},
    {"log", command_log, "last transactions, failures and slabs"},
    {"report", command_report, "what is in use and what leaks, as a web page or a profile"},
    {"whatis", command_whatis, "what an address belongs to"},
    {"history", command_history, "all known transactions of a buffer"},
    {"grep", command_grep, "find a value, say a pointer, in memory"},
    {"snapshot", command_snapshot, "keep the heap of a process as it is now"},
    {"core", command_core, "a core file of a process that runs on"},
    {"caches", command_caches, "caches, their geometry and debugging"},
    {"arenas", command_arenas, "vmem arenas"},
    {"threads", command_threads, "threads, their caches, where they are"},
    {"stacks", command_stacks, "thread and fiber stacks, who is on each, how deep"},
    {"shell", command_shell, "look around with mdb's commands"},
};
#define VERB_COUNT (sizeof(verbs) / sizeof(verbs[0]))

/* A verb is suggested when this many edits or fewer lead to it. */
#define SUGGEST_EDITS_MAX 2
/* Longer words than this are no misspelt verb. */
#define SUGGEST_WORD_MAX 31

/* For who does not know where to begin: one screen of 80 columns and 24 lines. */
static const char overview[] =
    "umem looks into the memory of programs that run under libumem.\n\n"
    "  umem run --audit --guards -- PROGRAM   start one so that all can be told of it\n"
    "  umem leaks TARGET                      what leaks, and who allocated it\n"
    "  umem verify TARGET                     whether the heap is corrupt\n"
    "  umem top PID                           what is in use, and how that changes\n\n"
    "TARGET is the number of a process, a core file, or a snapshot. The verbs:\n\n"
    "  to start with       run\n"
    "  leaks and growth    leaks  diff  users  top  report\n"
    "  corruption          verify  history  log\n"
    "  one address         whatis  grep\n"
    "  usage               stat  sizes  status  caches  arenas  threads  stacks\n"
    "  to keep for later   snapshot  core\n"
    "  all of it, asked    shell\n\n"
    "A line on each: umem --help. All about one: umem VERB --help, man umem-VERB.\n";

static int
usage(void)
{
    puts("Usage: umem VERB [options] ...\n\nVerbs:");
    for (size_t i = 0; i < VERB_COUNT; i++)
        printf("  %-10s%s\n", verbs[i].verb_name, verbs[i].verb_summary);
    puts("\nEverything about one of them: umem VERB --help\n"
         "Other options: --help, --version\n"
         "Exit codes: 0 nothing found, 1 leaks or problems found, 2 trouble");
    return COMMAND_CLEAN;
}

static const struct verb *
find_verb(const char *name)
{
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (strcmp(verbs[i].verb_name, name) == 0)
            return &verbs[i];
    return NULL;
}

static unsigned
min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

/* Insertions, deletions and replacements that lead from a to b. */
static unsigned
edit_distance(const char *a, const char *b)
{
    unsigned row[SUGGEST_WORD_MAX + 1];
    size_t na = strlen(a);
    size_t nb = strlen(b);
    if (na > SUGGEST_WORD_MAX || nb > SUGGEST_WORD_MAX)
        return SUGGEST_EDITS_MAX + 1;
    for (unsigned j = 0; j <= nb; j++)
        row[j] = j;
    for (unsigned i = 1; i <= na; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= nb; j++) {
            unsigned above = row[j];
            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[nb];
}

static int
unknown_verb(const char *name)
{
    const struct verb *best = NULL;
    unsigned best_distance = SUGGEST_EDITS_MAX + 1;
    for (size_t i = 0; i < VERB_COUNT; i++) {
        unsigned d = edit_distance(name, verbs[i].verb_name);
        if (strncmp(verbs[i].verb_name, name, strlen(name)) == 0)
            d = 0; /* abbreviated */
        if (d < best_distance) {
            best_distance = d;
            best = &verbs[i];
        }
    }
    if (best == NULL)
        return command_error("no verb '%s'; 'umem --help' lists them", name);
    return command_error("no verb '%s': did you mean 'umem %s'? 'umem --help' lists them", name,
                         best->verb_name);
}

/* A result that could not be written (a full disk) must not look like a success. */
static int
finish(int code)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        return command_error(
            "standard output could not be written; is the disk that it goes to full?");
    return code;
}

int
main(int argc, char **argv)
{
    if (argc < 2) {
        fputs(overview, stdout);
        return finish(COMMAND_TROUBLE); /* nothing was asked for */
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        puts("umem " UMEM_VERSION);
        return finish(COMMAND_CLEAN);
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 ||
        (strcmp(name, "help") == 0 && argc == 2))
        return finish(usage());
    char help_option[] = "--help";
    char *help_argv[] = {NULL, help_option, NULL};
    argv++;
    argc--;
    if (strcmp(name, "help") == 0) { /* umem help VERB */
        name = help_argv[0] = argv[1];
        argv = help_argv;
        argc = 2;
    }
    if (name[0] == '-')
        return command_error("no option %s; 'umem --help' lists the verbs", name);
    const struct verb *verb = find_verb(name);
    if (verb == NULL)
        return unknown_verb(name);
    return finish(verb->verb_run(argc, argv));
}
