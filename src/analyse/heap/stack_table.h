/* SPDX-License-Identifier: MIT */
/*
 * stack_table.h - the stacks of libstackalloc in a target, from its layout
 * block and its table of stacks.  Nothing here needs the engine.
 */
#ifndef ANALYSE_HEAP_STACK_TABLE_H
#define ANALYSE_HEAP_STACK_TABLE_H

#include "target/target.h"

#define STACK_ROW_NAME 32 /* more than the library keeps */

struct stack_row {
    addr_t row_base;
    uint64_t row_size;
    bool row_used;      /* else cached, */
    bool row_cold;      /* or taken apart, its place still mapped */
    pid_t row_thread;   /* noted by the library, or found on it by its stack pointer; 0: none */
    addr_t row_start;   /* an address in the thread's start function, or 0 */
    uint64_t row_depth; /* of the thread that is on it now, from the high end; 0: none is */
    /* Bytes used since stack_watermark() filled it, where it did; else at most so many. */
    uint64_t row_highwater;
    bool row_filled;
    char row_name[STACK_ROW_NAME];
};

struct stack_table {
    struct stack_row *tab_rows; /* by address */
    size_t tab_count;
};

/* False where there is none that can be read; why[] says the reason. */
bool stack_table_read(struct target *t, struct stack_table *table, char *why, size_t size);
void stack_table_fini(struct stack_table *table);

#endif
