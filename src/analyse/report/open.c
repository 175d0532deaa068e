/* SPDX-License-Identifier: MIT */
/*
 * open.c - see open.h.
 */
#include "report/open.h"

#include "commands/commands.h"

#include <string.h>

/* What cannot be told of a heap without libumem, and what comes closest. */
static const struct {
    const char *verb;
    const char *instead;
} verbs_of_umem[] = {
    {"caches", "glibc's malloc has none; 'umem stat' tells what is in use of each size"},
    {"stacks", "only libstackalloc's are known; 'umem threads' tells where threads are"},
    {"status", "no settings and no messages; 'umem stat' tells what is in use"},
    {"log", "nothing records what is allocated and freed"},
    {"history",
     "nothing records what is allocated and freed; 'umem whatis' tells what is there now"},
};

/* NULL where the verb can tell something of this heap. */
static const char *
why_not(const struct heap *h, const char *verb)
{
    for (size_t i = 0; i < sizeof(verbs_of_umem) / sizeof(verbs_of_umem[0]); i++)
        if (h->heap_allocator != HEAP_UMEM && strcmp(verb, verbs_of_umem[i].verb) == 0)
            return verbs_of_umem[i].instead;
    return NULL;
}

bool
report_has_cache(const char *verb, const struct heap *h, const char *name)
{
    const char *lists = h->heap_allocator == HEAP_UMEM ? "caches" : "stat";
    if (name == NULL || heap_has_cache(h, name))
        return true;
    command_error("%s: no cache '%s'; 'umem %s --all %s' lists them", verb, name, lists,
                  target_name(h->heap_target));
    return false;
}

enum heap_read
report_open(const char *verb, const char *name, const struct command_options *options,
            enum open_hold hold, struct heap *h, const char **why)
{
    static char text[512];
    struct target_options target_options = {.opt_exe = options->opt_exe,
                                            .opt_process = options->opt_process,
                                            .opt_self = options->opt_self};
    struct target *t = target_open(name, &target_options);

    *why = text;
    if (t == NULL)
        return HEAP_FAILED;
    if (hold == OPEN_COPIED)
        heap_copy_target(t);
    else if (hold == OPEN_FORKED)
        (void)target_fork(t); /* else it stays stopped */
    enum heap_read status = heap_open(h, t, text, sizeof(text));
    if (status == HEAP_FAILED) {
        command_error("%s %s: %s", verb, name, text);
        target_close(t);
    }
    const char *instead = status == HEAP_OK ? why_not(h, verb) : NULL;
    if (instead != NULL) {
        command_error("%s %s: no libumem in it: %s; run the program under 'umem run' for more",
                      verb, name, instead);
        report_close(h);
        return HEAP_FAILED;
    }
    return status;
}

void
report_close(struct heap *h)
{
    struct target *t = h->heap_target;
    heap_close(h);
    target_close(t);
}

int
report_look(const char *verb, const char *name, const struct command_options *options,
            enum open_hold hold, int (*fn)(const struct look *look, void *arg), void *arg)
{
    struct heap h;
    const char *why;
    enum heap_read status = report_open(verb, name, options, hold, &h, &why);

    if (status == HEAP_FAILED)
        return COMMAND_TROUBLE;
    const struct look look = {&h, symboliser_create(h.heap_target), options,
                              status == HEAP_NONE ? why : NULL};
    int code = look.look_symbols != NULL ? fn(&look, arg)
                                         : command_error("%s %s: not enough memory", verb, name);
    symboliser_destroy(look.look_symbols);
    report_close(&h);
    return code;
}
