/* SPDX-License-Identifier: MIT */
/*
 * leaks.h - what umem leaks and umem run --leaks have in common: reading the
 * files of suppressions, and one search from opening the target to the report.
 */
#ifndef ANALYSE_COMMANDS_LEAKS_H
#define ANALYSE_COMMANDS_LEAKS_H

#include "commands/options.h"
#include "leaks/leaks.h"

#define SUPPRESSIONS_ROW(list)                                                                     \
    {                                                                                              \
        "suppressions", 0, OPTION_LIST, (list), "FILE",                                            \
            "known leaks, not to be reported, as LeakSanitizer has them; may be repeated", NULL    \
    }

/* Reads the files and frees the list.  False, after one line on stderr that says why. */
bool leaks_read_suppressions(const char *verb, struct option_list *files, struct suppressions *s);

/*
 * Opens target and looks for leaks.  COMMAND_CLEAN: to be closed by
 * leaks_fini(leaks) and report_close(h); else one line was printed on stderr
 * and nothing is open.  A live process runs on once its memory is copied.
 */
int leaks_open(const char *verb, const char *target, const struct leak_options *find,
               const struct command_options *options, struct heap *h, struct leaks *leaks);

/*
 * Opens target, looks for leaks and reports them on stdout.  A live process
 * runs on once its memory is copied.  Returns what the verb exits with.
 */
int leaks_search(const char *verb, const char *target, const struct leak_options *find,
                 const struct command_options *options);

#endif
