/* SPDX-License-Identifier: MIT */
/*
 * ask.c - asks a core what a person would: verbs with their options, lines of
 * umem shell.
 *
 * The verbs open what they are told to by target_open(), and close it.  Both
 * are wrapped (by the linker's --wrap): the first gives them the core at hand,
 * which stays open, since to open it anew takes as long as half of the answers.
 * page_load() is, too: where the page of umem report lies is no matter here.
 */
#include "fuzz.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/commands.h"
#include "report/page.h"
#include "shell/shell.h"
#include "target/target.h"

#define LINE_MAX_BYTES 256
#define WORDS_MAX 12
#define FREE_LINES 64 /* questions that are one's own line: that many of some 500 */

static struct target *at_hand;

struct target *__wrap_target_open(const char *name, const struct target_options *options);
void __wrap_target_close(struct target *t);
char *__wrap_page_load(char *why, size_t size);

struct target *
__wrap_target_open(const char *name, const struct target_options *options)
{
    (void)name;
    (void)options;
    return at_hand;
}

void
__wrap_target_close(struct target *t)
{
    (void)t;
}

char *
__wrap_page_load(char *why, size_t size)
{
    (void)why;
    (void)size;
    return strdup("<html>{\"umem\":\"data\"}</html>");
}

/* --- Verbs --- */

/* T is the target, A the address; of each verb there are those options that make a difference. */
static const char *const verbs[] = {
    "arenas T",
    "arenas --format=json T",
    "caches --all T",
    "caches --format=json T",
    "caches T umem_alloc_16",
    "diff T T",
    "diff --format=json --min-bytes=0 T T",
    "grep T A",
    "grep --buffer --max=100 T A",
    "grep --size=4 --distance=100 --format=json T A",
    "grep --mask=fffffffffffff000 --from=A T A",
    "history T A",
    "history --format=json --max=0 T A",
    "leaks T",
    "leaks --max=0 T",
    "leaks --format=json --possible --mappings T",
    "leaks --since=1s --min-bytes=64 T",
    "log T transaction",
    "log --format=json T transaction",
    "log --max=0 T fail",
    "log --format=json T slab",
    "report --folded=- T",
    "report --folded=- --value=leaked-objects T",
    "report --output=- T",
    "report --pprof=- T",
    "sizes T",
    "sizes --format=json --bins=7 --linear T",
    "stacks T",
    "stacks --format=json T",
    "stat --all T",
    "stat --format=json T",
    "stat --format=openmetrics T",
    "status T",
    "status --format=json T",
    "threads T",
    "threads --stacks --format=json T",
    "top --once --rows=0 T",
    "top --once --format=json T",
    "users --small --each T",
    "users --format=json T",
    "verify --all T",
    "verify --format=json T",
    "whatis T A",
    "whatis --path T A",
    "whatis --format=json --path T A",
};
#define VERB_COUNT (sizeof(verbs) / sizeof(verbs[0]))

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"arenas", command_arenas}, {"caches", command_caches},   {"diff", command_diff},
    {"grep", command_grep},     {"history", command_history}, {"leaks", command_leaks},
    {"log", command_log},       {"report", command_report},   {"shell", command_shell},
    {"sizes", command_sizes},   {"stacks", command_stacks},   {"stat", command_stat},
    {"status", command_status}, {"threads", command_threads}, {"top", command_top},
    {"users", command_users},   {"verify", command_verify},   {"whatis", command_whatis},
};

static void
run(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, argv[0]) == 0)
            (void)commands[i].run(argc, argv);
}

/* Writes the address in A's place, where a word ends in it. */
static char *
fill_in(char *word, uint64_t addr, char *room, size_t size)
{
    size_t length = strlen(word);
    if (word[length - 1] != 'A')
        return strcmp(word, "T") == 0 ? (char *)(uintptr_t) "core" : word;
    snprintf(room, size, "%.*s%" PRIx64, (int)(length - 1), word, addr);
    return room;
}

static void
ask_verb(const char *verb, uint64_t addr)
{
    char line[LINE_MAX_BYTES], words[WORDS_MAX][LINE_MAX_BYTES];
    char *argv[WORDS_MAX + 1];
    char *rest = line, *word;
    int argc = 0;

    snprintf(line, sizeof(line), "%s", verb);
    while (argc < WORDS_MAX && (word = strsep(&rest, " ")) != NULL) {
        argv[argc] = fill_in(word, addr, words[argc], sizeof(words[argc]));
        argc++;
    }
    argv[argc] = NULL;
    run(argc, argv);
}

/* --- Lines of umem shell --- */

static size_t
count_dcmds(void)
{
    size_t n = 0;
    while (dcmd_at(n) != NULL)
        n++;
    return n;
}

static size_t
count_walkers(void)
{
    size_t n = 0;
    while (walker_at(n) != NULL)
        n++;
    return n;
}

/* "::name", or the name alone of $c and its like. */
static void
write_dcmd(size_t number, char *out, size_t size)
{
    const char *name = dcmd_at(number)->dcmd_name;
    snprintf(out, size, "%s%s", name[0] < 'a' || name[0] > 'z' ? "" : "::", name);
}

/*
 * Each dcmd without and with the address, then each walker, then each dcmd with
 * what a walker finds; false: which is past them, and told what is left of it.
 */
static bool
make_line(size_t *which, uint64_t addr, char *line)
{
    const size_t dcmds = count_dcmds(), walkers = count_walkers();
    char dcmd[64];

    if (*which < 2 * dcmds) {
        write_dcmd(*which / 2, dcmd, sizeof(dcmd));
        if (*which % 2 == 0)
            snprintf(line, LINE_MAX_BYTES, "%s", dcmd);
        else
            snprintf(line, LINE_MAX_BYTES, "%" PRIx64 "%s", addr, dcmd);
        return true;
    }
    *which -= 2 * dcmds;
    if (*which < 2 * walkers) {
        const char *name = walker_at(*which / 2)->walker_name;
        if (*which % 2 == 0)
            snprintf(line, LINE_MAX_BYTES, "::walk %s", name);
        else
            snprintf(line, LINE_MAX_BYTES, "%" PRIx64 "::walk %s", addr, name);
        return true;
    }
    *which -= 2 * walkers;
    if (*which >= dcmds)
        return false;
    write_dcmd(*which, dcmd, sizeof(dcmd));
    snprintf(line, LINE_MAX_BYTES, "%" PRIx64 "::walk %s | %s", addr,
             walker_at(addr / 8 % walkers)->walker_name, dcmd);
    return true;
}

/*
 * What may be asked of a person's own line: no command of the system's shell, and
 * no count of more than a digit, for whoever wants a million lines gets them.
 */
static void
tame(char *line)
{
    for (char *c = line; (c = strchr(c, '!')) != NULL;)
        *c = '|';
    for (char *c = line; (c = strchr(c, ',')) != NULL;) {
        if (*++c == '\0')
            break;
        if (strchr("123456789", *c) == NULL)
            *c = '4';
        for (c++; *c != '\0' && strchr("/=:$|;", *c) == NULL; c++)
            *c = ' ';
    }
}

static void
ask_shell(char *line)
{
    char *argv[] = {"shell", "-e", line, "core", NULL};
    run(4, argv);
}

void
ask(struct target *t, const struct question *question)
{
    size_t all = VERB_COUNT + 3 * count_dcmds() + 2 * count_walkers() + FREE_LINES;
    size_t which = question->qu_which % all;
    char line[LINE_MAX_BYTES];

    at_hand = t;
    if (which < VERB_COUNT) {
        ask_verb(verbs[which], question->qu_addr);
        return;
    }
    which -= VERB_COUNT;
    if (!make_line(&which, question->qu_addr, line)) {
        snprintf(line, sizeof(line), "%s", question->qu_line);
        tame(line);
    }
    ask_shell(line);
}
