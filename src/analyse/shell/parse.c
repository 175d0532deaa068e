/* SPDX-License-Identifier: MIT */
/*
 * parse.c - see parse.h.
 */
#include "shell/parse.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heap/memory.h"

/* A name behind "$": one character, as adb had it. */
#define DOLLAR_VERB 2

struct reader_of_line {
    const struct expr_env *env;
    const char *at;
    struct pipeline *pl;
    size_t stage_room;
    size_t word_room;
    char *why;
    size_t why_size;
};

static bool
fail(struct reader_of_line *r, const char *what)
{
    snprintf(r->why, r->why_size, "%s", what);
    return false;
}

static void
skip_blanks(struct reader_of_line *r)
{
    while (isspace((unsigned char)*r->at))
        r->at++;
    if (r->at[0] == '/' && r->at[1] == '/') /* a comment */
        r->at += strlen(r->at);
}

static bool
ends_command(char c)
{
    return c == '\0' || c == ';';
}

/* Whether an unquoted word ends here. */
static bool
ends_word(char c)
{
    return ends_command(c) || c == '|' || c == '!' || isspace((unsigned char)c);
}

/* --- Words: kept in a buffer while they are read --- */

struct buffer {
    char *text;
    size_t length;
    size_t room;
};

/* Adds length characters, and the end of the text behind them. */
static bool
put(struct buffer *b, const char *text, size_t length)
{
    for (size_t i = 0;; i++) {
        if (!memory_grow(&b->text, &b->room, b->length, 1))
            return false;
        b->text[b->length] = '\0';
        if (i == length)
            return true;
        b->text[b->length++] = text[i];
    }
}

/* $[expression]: its value. */
static bool
put_value(struct reader_of_line *r, struct buffer *b)
{
    uint64_t value;
    char text[24];

    r->at += strlen("$[");
    if (!expr_eval(r->env, &r->at, &value, r->why, r->why_size))
        return false;
    while (isspace((unsigned char)*r->at))
        r->at++;
    if (*r->at != ']')
        return fail(r, "a ] is missing after $[");
    r->at++;
    int n = snprintf(text, sizeof(text), "0x%llx", (unsigned long long)value);
    return put(b, text, (size_t)n) || fail(r, "no memory");
}

static bool
put_quoted(struct reader_of_line *r, struct buffer *b)
{
    char quote = *r->at++;
    const char *end = strchr(r->at, quote);

    if (end == NULL)
        return fail(r, quote == '"' ? "a \" is missing" : "a ' is missing");
    bool ok = put(b, r->at, (size_t)(end - r->at));
    r->at = end + 1;
    return ok || fail(r, "no memory");
}

static bool
read_word(struct reader_of_line *r, struct buffer *b)
{
    while (!ends_word(*r->at)) {
        bool ok;
        if (*r->at == '"' || *r->at == '\'') {
            ok = put_quoted(r, b);
        } else if (r->at[0] == '$' && r->at[1] == '[') {
            ok = put_value(r, b);
        } else {
            ok = put(b, r->at, 1) || fail(r, "no memory");
            r->at++;
        }
        if (!ok)
            return false;
    }
    return put(b, "", 0) || fail(r, "no memory");
}

static bool
add_word(struct reader_of_line *r, struct stage *stage)
{
    struct buffer word = {0};

    if (!read_word(r, &word) || !memory_grow(&stage->stg_words, &r->word_room,
                                             (size_t)stage->stg_word_count, sizeof(char *))) {
        free(word.text);
        return r->why[0] != '\0' ? false : fail(r, "no memory");
    }
    stage->stg_words[stage->stg_word_count++] = word.text;
    return true;
}

/* --- Stages --- */

static struct stage *
add_stage(struct reader_of_line *r)
{
    struct pipeline *pl = r->pl;
    if (!memory_grow(&pl->pl_stages, &r->stage_room, pl->pl_stage_count, sizeof(*pl->pl_stages)))
        return NULL;
    r->word_room = 0;
    pl->pl_stages[pl->pl_stage_count] = (struct stage){0};
    return &pl->pl_stages[pl->pl_stage_count++];
}

static bool
is_verb_part(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '`' || c == '.';
}

/* The length of the verb that r->at begins with, 0 where there is none. */
static size_t
verb_length(const struct reader_of_line *r)
{
    const char *at = r->at;
    size_t n = 0;

    if (at[0] == '/' || at[0] == '=' || at[0] == '>' || at[0] == '?')
        return 1;
    if (at[0] == '$' && at[1] != '[' && isgraph((unsigned char)at[1]))
        return DOLLAR_VERB;
    if (at[0] != ':' || at[1] != ':')
        return 0;
    at += 2;
    while (is_verb_part(at[n]))
        n++;
    return n;
}

static bool
read_verb(struct reader_of_line *r, struct stage *stage)
{
    bool named = r->at[0] == ':' && r->at[1] == ':';
    size_t length = verb_length(r);

    if (length == 0)
        return fail(r, named ? "a name is missing after ::"
                             : "a command is missing: ::name, $c, / or =");
    r->at += named ? 2 : 0;
    stage->stg_verb = strndup(r->at, length);
    r->at += length;
    if (stage->stg_verb == NULL)
        return fail(r, "no memory");
    /* "?" reads the file where "/" reads memory: here they are one. */
    if (stage->stg_verb[0] == '?')
        stage->stg_verb[0] = '/';
    for (;;) {
        while (isspace((unsigned char)*r->at)) {
            r->at++;
            if (r->at[0] == '/' && r->at[1] == '/')
                r->at += strlen(r->at);
        }
        if (ends_word(*r->at))
            return true;
        if (!add_word(r, stage))
            return false;
    }
}

static bool
read_stages(struct reader_of_line *r)
{
    for (;;) {
        struct stage *stage = add_stage(r);
        if (stage == NULL)
            return fail(r, "no memory");
        if (!read_verb(r, stage))
            return false;
        if (*r->at != '|')
            return true;
        r->at++;
        skip_blanks(r);
        if (*r->at == '!') /* "| ! command" is "! command" */
            return true;
    }
}

/* The rest of the line is for the shell, semicolons too. */
static bool
read_shell(struct reader_of_line *r)
{
    r->at++;
    while (isspace((unsigned char)*r->at))
        r->at++;
    if (*r->at == '\0')
        return fail(r, "a shell command is missing after !");
    r->pl->pl_shell = strdup(r->at);
    r->at += strlen(r->at);
    return r->pl->pl_shell != NULL || fail(r, "no memory");
}

static bool
read_value(struct reader_of_line *r, uint64_t *value)
{
    bool ok = expr_eval(r->env, &r->at, value, r->why, r->why_size);
    skip_blanks(r);
    return ok;
}

static bool
read_pipeline(struct reader_of_line *r)
{
    struct pipeline *pl = r->pl;

    skip_blanks(r);
    if (expr_begins(r->at)) {
        pl->pl_has_addr = true;
        if (!read_value(r, &pl->pl_addr))
            return false;
    }
    if (*r->at == ',') {
        r->at++;
        pl->pl_has_count = true;
        if (!read_value(r, &pl->pl_count))
            return false;
    }
    if (!ends_command(*r->at) && *r->at != '!' && !read_stages(r))
        return false;
    if (*r->at == '!')
        return read_shell(r);
    if (*r->at == ';')
        r->at++;
    return true;
}

bool
pipeline_parse(const struct expr_env *env, const char **text, struct pipeline *pl, char *why,
               size_t size)
{
    struct reader_of_line r = {.env = env, .at = *text, .pl = pl, .why = why, .why_size = size};

    *pl = (struct pipeline){.pl_count = 1};
    why[0] = '\0';
    bool ok = read_pipeline(&r);
    *text = r.at;
    return ok;
}

void
pipeline_free(struct pipeline *pl)
{
    for (size_t i = 0; i < pl->pl_stage_count; i++) {
        struct stage *stage = &pl->pl_stages[i];
        for (int k = 0; k < stage->stg_word_count; k++)
            free(stage->stg_words[k]);
        free(stage->stg_words);
        free(stage->stg_verb);
    }
    free(pl->pl_stages);
    free(pl->pl_shell);
    *pl = (struct pipeline){0};
}
