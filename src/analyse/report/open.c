/* SPDX-License-Identifier: MIT */
/*
 * open.c - see open.h.
 */
#include "report/open.h"

#include "commands/commands.h"

#include <string.h>

/* What can be told of a heap without libumem. */
static const char *const verbs_for_any[] = {"leaks", "whatis", "stat",   "users", "sizes",
                                            "grep",  "diff",   "report", "top"};

static bool
is_for(const struct heap *h, const char *verb)
{
    bool found = h->heap_allocator == HEAP_UMEM;
    for (size_t i = 0; i < sizeof(verbs_for_any) / sizeof(verbs_for_any[0]); i++)
        found = found || strcmp(verb, verbs_for_any[i]) == 0;
    return found;
}

enum heap_read
report_open(const char *verb, const char *name, const struct command_options *options,
            enum open_hold hold, struct heap *h, const char **why)
{
    static char text[512];
    struct target_options target_options = {.opt_exe = options->opt_exe,
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
    if (status == HEAP_OK && !is_for(h, verb)) {
        command_error("%s %s: no libumem in it: run the program under 'umem run' or with "
                      "LD_PRELOAD=libumem.so.1; of glibc's heap umem leaks, users, sizes, stat and "
                      "whatis tell",
                      verb, name);
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
