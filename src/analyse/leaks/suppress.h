/* SPDX-License-Identifier: MIT */
/*
 * suppress.h - leaks that are known and not to be reported, in the format of
 * LeakSanitizer's files: a line is "leak:PATTERN", or a comment after "#".
 *
 * A pattern is looked for anywhere in a name; "^" at its front and "$" at its
 * end tie it there, "*" stands for any text.  A block is suppressed where a
 * pattern fits the function, the source file or the module (its whole path) of
 * any frame of the stack that allocated it; the first such line counts it.
 * What a suppressed block leads to hangs on it, and is counted with it.
 */
#ifndef ANALYSE_LEAKS_SUPPRESS_H
#define ANALYSE_LEAKS_SUPPRESS_H

#include "heap/heap.h"

struct suppression { /* one line */
    char *sup_pattern;
    const char *sup_file; /* as the caller named it */
    unsigned sup_line;
    uint64_t sup_count; /* blocks that it suppressed */
    uint64_t sup_bytes;
};

struct verdict {       /* what has been found out: the line that fits, for a stack or an address */
    uint64_t ver_key;  /* 0: a free slot */
    uint32_t ver_line; /* its index + 1; 0: none fits */
};

struct verdicts { /* a hash table with open addressing */
    struct verdict *list;
    size_t count;
    size_t room; /* a power of two, or 0 */
};

struct suppressions {
    struct suppression *list;
    size_t count;
    size_t room;
    struct verdicts stacks;
    struct verdicts addresses;
};

/*
 * Adds the lines of a file, whose name must stay.  False, with why in one line
 * that names file and line.
 */
bool suppressions_read(struct suppressions *s, const char *file, char *why, size_t size);
void suppressions_fini(struct suppressions *s);

/* Whether a pattern fits a name; no pattern fits a name that is not known (""). */
bool suppression_fits(const char *pattern, const char *name);

/* Counts a block in if a line fits it; false: it is to be reported. */
bool suppressions_take(struct suppressions *s, struct heap *h, struct block b);
/*
 * Takes the suppressed blocks, and what hangs on them, out of the set of those
 * that nothing reaches, and counts them.  -1: no memory.
 */
int suppressions_apply(struct suppressions *s, struct heap *h, uint64_t *leaked);

#endif
