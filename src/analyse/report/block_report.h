/* SPDX-License-Identifier: MIT */
/*
 * block_report.h - what a block holds, for people who have no allocating stack
 * to go by; and how a heap that was read in part is owned up to.
 */
#ifndef ANALYSE_REPORT_BLOCK_REPORT_H
#define ANALYSE_REPORT_BLOCK_REPORT_H

#include <jansson.h>

#include "heap/heap.h"
#include "report/stacks.h"

#define CONTENTS_TEXT_MAX 160
/*
 * What the block's first bytes look like: a quoted string, "vtable for Widget
 * (C++ object)", or bytes in hexadecimal.
 */
void contents_describe(struct heap *h, struct symboliser *s, addr_t addr, uint64_t size, char *out,
                       size_t out_size);
/* The same for what the contents log has of a free block.  False: nothing, or it is not free. */
bool freed_contents_describe(struct heap *h, struct symboliser *s, const struct block_info *info,
                             char *out, size_t out_size);

/*
 * The transactions of a block that are recorded, in lines indented by 2 and
 * stacks by 6: who has it, or who freed it and who had it before.  Nothing
 * without audit.
 */
void block_history_print(struct heap *h, struct symboliser *s, const struct block_info *info,
                         bool color);
/* The same as keys "thread", "age_s", "stack", "allocated_stack"; info: NULL, of no block. */
void block_history_json(struct heap *h, struct symboliser *s, const struct block_info *info,
                        json_t *out);

/*
 * What a reader should know before anything else: that the heap is not libumem's, and lines
 * "incomplete: ..." for each reason.  Mostly nothing.
 */
void incomplete_print(const struct heap *h, bool color);
/* An array of the reasons. */
json_t *incomplete_json(const struct heap *h);
/* What follows an age: a core's are told from the last thing that happened in it. */
const char *age_suffix(const struct target *t);
/* The target in words: "sqlite3 (pid 1234)", "core.1234 of sqlite3". */
void target_describe(const struct target *t, char *out, size_t size);

#endif
