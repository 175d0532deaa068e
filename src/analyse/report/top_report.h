/* SPDX-License-Identifier: MIT */
/*
 * top_report.h - one picture of umem top, as text and as JSON.
 *
 * The names of places are kept from one picture to the next: a stack's number
 * is the same for as long as the process lives, and looking names up costs more
 * than all else.
 */
#ifndef ANALYSE_REPORT_TOP_REPORT_H
#define ANALYSE_REPORT_TOP_REPORT_H

#include "look/top.h"
#include "report/stacks.h"

struct place_names;
struct place_names *place_names_create(void); /* NULL: no memory */
void place_names_destroy(struct place_names *names);
/* Looks up, where it is not known yet, "allocate < parse < main" for the stack. */
const char *place_names_get(struct place_names *names, struct heap *h, struct symboliser *s,
                            uint32_t stack);

struct top_view {
    struct heap *tpv_heap;
    struct symboliser *tpv_symbols;
    struct place_names *tpv_names;
    size_t tpv_rows;       /* of each table, as far as there is room */
    size_t tpv_columns;    /* of the terminal; 0: no limit */
    size_t tpv_lines;      /* the same */
    double tpv_seconds;    /* since the picture before; 0: this is the first */
    double tpv_stopped_ms; /* how long the process stood still for it */
    bool tpv_color;
};

void top_report_text(const struct top_view *view, const struct top *top);
void top_report_json(const struct top_view *view, const struct top *top);

#endif
