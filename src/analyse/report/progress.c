/* SPDX-License-Identifier: MIT */
/*
 * progress.c - see progress.h.
 */
#include "report/progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S ((uint64_t)1000000000)
#define FIRST_AFTER NS_PER_S        /* shorter work needs no bar */
#define REDRAW_EVERY (NS_PER_S / 5) /* as often as an eye follows */
#define BAR_WIDTH 40

static uint64_t
now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

void
progress_begin(struct progress *p, const char *what)
{
    *p = (struct progress){.prg_what = what, .prg_start = now_ns()};
    p->prg_next = isatty(STDERR_FILENO) ? p->prg_start + FIRST_AFTER : UINT64_MAX;
}

void
progress_update(struct progress *p, uint64_t done, uint64_t whole)
{
    char bar[BAR_WIDTH + 1];

    if (p->prg_next == UINT64_MAX || now_ns() < p->prg_next)
        return;
    p->prg_next = now_ns() + REDRAW_EVERY;
    p->prg_shown = true;
    double part = whole == 0 || done >= whole ? 1.0 : (double)done / (double)whole;
    size_t filled = (size_t)(part * BAR_WIDTH);
    memset(bar, '-', BAR_WIDTH);
    memset(bar, '#', filled);
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r%s [%s] %3.0f %%", p->prg_what, bar, part * 100.0);
    fflush(stderr);
}

void
progress_end(struct progress *p)
{
    if (p->prg_shown)
        fputs("\r\033[K", stderr);
    p->prg_next = UINT64_MAX;
}
