/* SPDX-License-Identifier: MIT */
/*
 * progress.h - a line on stderr that says how far long work is; on a terminal
 * only, and only after it has taken a second.
 */
#ifndef ANALYSE_REPORT_PROGRESS_H
#define ANALYSE_REPORT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *prg_what;
    uint64_t prg_start; /* ns */
    uint64_t prg_next;  /* ns: nothing is drawn before */
    bool prg_shown;
};

void progress_begin(struct progress *p, const char *what);
/* done of whole; what is drawn stays within 100 %. */
void progress_update(struct progress *p, uint64_t done, uint64_t whole);
/* Wipes the line. */
void progress_end(struct progress *p);

#endif
