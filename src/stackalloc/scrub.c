/* SPDX-License-Identifier: MIT */
/*
 * scrub.c - what the last user left in a stack is gone before the next one has
 * it, where stack_config() asked for that.
 *
 * A stack begins as zeroes.  So one that was scrubbed each time holds zeroes up
 * to where its last user went, and the first other byte from the low end bounds
 * what there is to clear: zeroes that were written there need no clearing.  Of
 * a lazy stack what was never touched stays so.
 *
 * No state, no locks: the stack is its freer's alone.
 */
#include <stackalloc.h>
#include <string.h>

#include "look.h"
#include "stack.h"

/* Bytes looked at together: as many as a vector register or two, or none of it is a page's. */
#define SCAN_STEP 256

/* From the low end on, whole steps of zeroes. */
static size_t
zeroes(const char *body, size_t size)
{
    size_t at = 0;
    for (; at < size; at += SCAN_STEP) {
        const uint64_t *word = (const uint64_t *)(const void *)(body + at);
        uint64_t any = 0;
        for (size_t i = 0; i < SCAN_STEP / sizeof(*word); i++)
            any |= word[i];
        if (any != 0)
            break;
    }
    return at;
}

void
stack_scrub(char *body, unsigned index, enum stack_scrub how)
{
    struct stack_form form = stack_class_form(index);
    /* Sealed, no system call can be made to ask. */
    bool ask = form.form_lazy && !stack_is_sealed();
    size_t clean = ask ? look_untouched(body, form.form_size) : 0;
    if (how == STACK_SCRUB_USED)
        clean += zeroes(body + clean, form.form_size - clean);
    memset(body + clean, 0, form.form_size - clean);
}
