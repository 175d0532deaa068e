/* SPDX-License-Identifier: MIT */
/*
 * options.c - options of dcmds: letters behind a dash, several in one word,
 * values in the next word or the rest of this one.
 */
#include "shell/shell.h"

#include <string.h>

static const struct dcmd_option *
find_option(const struct dcmd_option *options, char letter)
{
    for (; options != NULL && options->opt_letter != 0; options++)
        if (options->opt_letter == letter)
            return options;
    return NULL;
}

static bool
set_option(struct shell *sh, const struct dcmd_option *option, const char *text)
{
    if (option->opt_given != NULL)
        *option->opt_given = true;
    switch (option->opt_kind) {
    case DCMD_FLAG:
        *(bool *)option->opt_value = true;
        return true;
    case DCMD_TEXT:
        *(const char **)option->opt_value = text;
        return true;
    case DCMD_VALUE:
        return shell_value(sh, text, option->opt_value);
    }
    return false;
}

/* One word of letters; *next is the index of the word behind it, and of what it takes. */
static bool
read_letters(struct shell *sh, const struct call *call, const struct dcmd_option *options,
             const char *letters, int *next)
{
    const char *name = call->call_dcmd->dcmd_name;

    for (; *letters != '\0'; letters++) {
        const struct dcmd_option *option = find_option(options, *letters);
        const char *text = letters + 1;
        if (option == NULL)
            return shell_error(sh, "%s: no option -%c; see ::help %s", name, *letters, name);
        if (option->opt_kind == DCMD_FLAG) {
            set_option(sh, option, NULL);
            continue;
        }
        if (*text == '\0') {
            if (*next == call->call_argc)
                return shell_error(sh, "%s: option -%c needs a value; see ::help %s", name,
                                   *letters, name);
            text = call->call_argv[(*next)++];
        }
        return set_option(sh, option, text);
    }
    return true;
}

bool
dcmd_options(struct shell *sh, const struct call *call, const struct dcmd_option *options, int max,
             int *rest)
{
    const char *name = call->call_dcmd->dcmd_name;
    int i = 0;

    while (i < call->call_argc && call->call_argv[i][0] == '-' && call->call_argv[i][1] != '\0') {
        const char *letters = call->call_argv[i++] + 1;
        if (strcmp(letters, "-") == 0)
            break;
        if (!read_letters(sh, call, options, letters, &i))
            return false;
    }
    if (rest != NULL)
        *rest = i;
    if (max >= 0 && call->call_argc - i > max)
        return shell_error(sh, "%s: %s is one word too many; see ::help %s", name,
                           call->call_argv[i + max], name);
    return true;
}

bool
dcmd_plain(struct shell *sh, const struct call *call)
{
    return dcmd_options(sh, call, NULL, 0, NULL);
}
