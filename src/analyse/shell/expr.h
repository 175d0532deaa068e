/* SPDX-License-Identifier: MIT */
/*
 * expr.h - expressions of the shell, in mdb's notation.
 *
 *   integers    hexadecimal unless told otherwise: 1f 0x1f, 0t31 (decimal), 0o37 (octal),
 *               0i11111 (binary), 'abc' (characters)
 *   .           dot;  <name  a variable or register;  name  module`name  a symbol
 *   unary       -  ~ (bits)  # (logical not)  * (the word of the target at an address)
 *   binary      *  % (division)  # (round up to a multiple), then +  -, then <<  >>, then
 *               ==  !=, then &, then ^, then |; from left to right within a rank
 *
 * A name is a symbol first and a hexadecimal number second.  At the outer level
 * "|" begins the next stage of a pipeline: as an operator it needs parentheses.
 *
 * Knows nothing of targets: what names mean is asked of the environment.
 */
#ifndef ANALYSE_SHELL_EXPR_H
#define ANALYSE_SHELL_EXPR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct expr_env {
    void *env_arg;
    uint64_t env_dot;
    bool (*env_symbol)(void *arg, const char *name, uint64_t *value);
    bool (*env_variable)(void *arg, const char *name, uint64_t *value);
    bool (*env_word)(void *arg, uint64_t addr, uint64_t *value);
};

#define EXPR_NAME_MAX 256 /* of a symbol or variable, with its end */

/*
 * Evaluates as much of *text as is an expression and moves *text behind it.
 * False: why[] says what is wrong, and *text is at the place.
 */
bool expr_eval(const struct expr_env *env, const char **text, uint64_t *value, char *why,
               size_t size);

/* Whether an expression can begin with what text begins with. */
bool expr_begins(const char *text);

#endif
