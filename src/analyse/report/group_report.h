/* SPDX-License-Identifier: MIT */
/*
 * group_report.h - a group of blocks from one place, as text and as JSON: what
 * the leak finder, the list of users and their like print alike.
 */
#ifndef ANALYSE_REPORT_GROUP_REPORT_H
#define ANALYSE_REPORT_GROUP_REPORT_H

#include <jansson.h>

#include "commands/options.h"
#include "leaks/leaks.h"
#include "report/stacks.h"

struct group_view {
    struct heap *view_heap;
    struct symboliser *view_symbols;
    const struct command_options *view_options; /* of text only, as what follows */
    uint64_t view_whole;                        /* bytes that a share is told of; 0: none is */
    const char *view_of;                        /* "the leaks" */
};

/* A blank line, how many and how large, when and by whom, the stack or the contents. */
void group_print(const struct group_view *view, const struct leak_group *group);
json_t *group_json(const struct group_view *view, const struct leak_group *group);

#endif
