/* SPDX-License-Identifier: MIT */
/*
 * parse.h - one command of the shell as a pipeline of stages:
 *
 *     [address [, count]] verb words ... [ | verb words ... ] ... [ ! shell command ]
 *
 * A verb is ::name, $c and the like, / or = with formats, or > with a name.
 */
#ifndef ANALYSE_SHELL_PARSE_H
#define ANALYSE_SHELL_PARSE_H

#include "shell/expr.h"

struct stage {
    char *stg_verb; /* the name without "::"; "/", "=", ">", "$c" */
    char **stg_words;
    int stg_word_count;
};

struct pipeline {
    bool pl_has_addr;
    bool pl_has_count;
    uint64_t pl_addr;
    uint64_t pl_count;
    struct stage *pl_stages; /* none: the address alone, or the shell command alone */
    size_t pl_stage_count;
    char *pl_shell; /* what comes after "!", or NULL */
};

/*
 * Parses one command and moves *text to the next one.  Its address and count
 * are evaluated, as are $[...] in words.  False: why[] says what is wrong; the
 * pipeline is to be freed in either case.
 */
bool pipeline_parse(const struct expr_env *env, const char **text, struct pipeline *pl, char *why,
                    size_t size);
void pipeline_free(struct pipeline *pl);

#endif
