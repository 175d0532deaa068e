/* SPDX-License-Identifier: MIT */
/*
 * leak_report.h - what the leak finder found, as text and as JSON.
 */
#ifndef ANALYSE_REPORT_LEAK_REPORT_H
#define ANALYSE_REPORT_LEAK_REPORT_H

#include "commands/options.h"
#include "leaks/leaks.h"
#include "report/stacks.h"

struct leak_report {
    struct heap *rep_heap;
    const struct leaks *rep_leaks;
    struct symboliser *rep_symbols;
    const struct command_options *rep_options;
};

void leak_report_text(const struct leak_report *rep);
void leak_report_json(const struct leak_report *rep);

#endif
