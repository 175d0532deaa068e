/* SPDX-License-Identifier: MIT */
/*
 * stacks.h - recorded stacks as text and JSON, symbolised once an address.
 *
 * JSON frames are {"address", "function", "module", "offset", "file", "line"};
 * what is unknown is null.  A function that was inlined is a frame of its own
 * with the address of the one that it is in, and "inlined": true.
 */
#ifndef ANALYSE_REPORT_STACKS_H
#define ANALYSE_REPORT_STACKS_H

#include <jansson.h>
#include <stdbool.h>

#include "target/target.h"

struct symboliser;

/* NULL: no memory. */
struct symboliser *symboliser_create(struct target *t);
void symboliser_destroy(struct symboliser *s);

/*
 * The functions at a code address, innermost inlined one first; they stay until
 * symboliser_destroy().  Returns how many, 0 without memory.
 */
size_t symboliser_look_up(struct symboliser *s, addr_t addr, bool is_return,
                          const struct symbol **symbols);

/* One line a frame, each after indent blanks; first_is_pc: frames[0] is no return address. */
void stack_print(struct symboliser *s, const addr_t *frames, size_t count, bool first_is_pc,
                 int indent, bool color);
json_t *stack_json(struct symboliser *s, const addr_t *frames, size_t count, bool first_is_pc);

/*
 * The function that addr is in, not one that was inlined there; sym_function is
 * "" where unknown.  NULL: no memory.
 */
const struct symbol *symboliser_symbol(struct symboliser *s, addr_t addr, bool is_return);
/* "allocate < parse < main": the functions of some frames on one line, innermost first. */
void stack_line(struct symboliser *s, const addr_t *frames, size_t count, char *out, size_t size);

/* "vtable for Widget" where addr lies in a C++ virtual table, else "". */
const char *symboliser_vtable(struct symboliser *s, addr_t addr);

#endif
