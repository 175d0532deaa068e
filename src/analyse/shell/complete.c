/* SPDX-License-Identifier: MIT */
/*
 * complete.c - which names fit at the end of an unfinished line.
 */
#include "shell/line.h"

#include <ctype.h>
#include <string.h>

/* The last word of the text: letters of names. */
static size_t
last_word(const char *text)
{
    size_t length = strlen(text);
    size_t start = length;
    while (start > 0 && (isalnum((unsigned char)text[start - 1]) || text[start - 1] == '_'))
        start--;
    return start;
}

/* Whether text, up to its last word, ends in "::name ". */
static bool
follows(const char *text, size_t start, const char *name)
{
    size_t length = strlen(name);

    while (start > 0 && text[start - 1] == ' ')
        start--;
    if (start < length || memcmp(text + start - length, name, length) != 0)
        return false;
    start -= length;
    return start >= 2 && text[start - 1] == ':' && text[start - 2] == ':';
}

struct offer {
    const char *word;
    size_t length;
    void (*fn)(void *arg, const char *name);
    void *arg;
};

static void
offer_name(const struct offer *o, const char *name)
{
    if (strncmp(name, o->word, o->length) == 0)
        o->fn(o->arg, name);
}

static void
offer_dcmds(const struct offer *o)
{
    const struct dcmd *dcmd;
    for (size_t i = 0; (dcmd = dcmd_at(i)) != NULL; i++)
        if (isalpha((unsigned char)dcmd->dcmd_name[0]))
            offer_name(o, dcmd->dcmd_name);
}

static void
offer_walkers(struct shell *sh, const struct offer *o)
{
    const struct walker *walker;
    for (size_t i = 0; (walker = walker_at(i)) != NULL; i++)
        offer_name(o, walker->walker_name);
    for (size_t i = 0; sh->sh_has_heap && i < sh->sh_heap.heap_cache_count; i++)
        offer_name(o, sh->sh_heap.heap_caches[i].cache_name);
}

static void
offer_variables(struct shell *sh, const struct offer *o)
{
    const char *name;
    for (size_t i = 0; i < sh->sh_variable_count; i++)
        offer_name(o, sh->sh_variables[i].var_name);
    for (size_t i = 0; (name = target_register_name(sh->sh_target, i)) != NULL; i++)
        offer_name(o, name);
}

size_t
complete(struct shell *sh, const char *text, void (*fn)(void *arg, const char *name), void *arg)
{
    size_t start = last_word(text);
    const struct offer o = {text + start, strlen(text + start), fn, arg};

    if ((start >= 2 && text[start - 1] == ':' && text[start - 2] == ':') ||
        follows(text, start, "help"))
        offer_dcmds(&o);
    else if (follows(text, start, "walk"))
        offer_walkers(sh, &o);
    else if (start >= 1 && text[start - 1] == '<')
        offer_variables(sh, &o);
    return o.length;
}
