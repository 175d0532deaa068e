/* SPDX-License-Identifier: MIT */
/*
 * line.c - see line.h.  The library is libedit, whose state is one object and
 * which asks for nothing global but the terminal's settings.
 *
 * SIGINT is blocked while a line is read but for the wait for a key, so that
 * none comes just before that wait and is not noticed.
 */
#include "shell/line.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROMPT "> "

/* False: interrupted, or the input is broken.  mask: the signals that are blocked otherwise. */
static bool
wait_for_input(const sigset_t *mask)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    while (!shell_interrupted) {
        if (ppoll(&input, 1, NULL, mask) >= 0)
            return true;
        if (errno != EINTR)
            return false;
    }
    return false;
}

static void
block_interrupts(sigset_t *before)
{
    sigset_t interrupts;
    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupts, before);
}

#ifdef HAVE_LIBEDIT

#include <histedit.h>

#define HISTORY_LINES 1000
/* A line that is completed, and what it can go on with. */
#define COMPLETE_MAX 1024
#define NAMES_MAX 256

struct line_reader {
    struct shell *sh;
    EditLine *edit;
    History *history;
    char *text;    /* of the line that was handed out */
    sigset_t mask; /* before SIGINT was blocked */
};

static const char *
prompt(EditLine *edit)
{
    static const char text[] = PROMPT;
    (void)edit;
    return text;
}

struct names {
    const char *list[NAMES_MAX];
    size_t count;
};

static void
take_name(void *arg, const char *name)
{
    struct names *names = arg;
    if (names->count < NAMES_MAX)
        names->list[names->count++] = name;
}

/* How long the beginning is that all names share. */
static size_t
common_length(const struct names *names)
{
    size_t length = strlen(names->list[0]);
    for (size_t i = 1; i < names->count; i++) {
        size_t n = 0;
        while (n < length && names->list[i][n] == names->list[0][n])
            n++;
        length = n;
    }
    return length;
}

/* Tab: the rest of the name, as far as it is certain; where it is not, what there is. */
static unsigned char
complete_key(EditLine *edit, int key)
{
    char text[COMPLETE_MAX];
    struct line_reader *reader;
    struct names names = {.count = 0};
    const LineInfo *line = el_line(edit);
    size_t length = (size_t)(line->cursor - line->buffer);

    (void)key;
    if (length >= sizeof(text) || el_get(edit, EL_CLIENTDATA, &reader) != 0)
        return CC_ERROR;
    memcpy(text, line->buffer, length);
    text[length] = '\0';
    size_t typed = complete(reader->sh, text, take_name, &names);
    if (names.count == 0)
        return CC_ERROR;
    size_t common = common_length(&names);
    if (common > typed || names.count == 1) {
        snprintf(text, sizeof(text), "%.*s%s", (int)(common - typed), names.list[0] + typed,
                 names.count == 1 ? " " : "");
        return el_insertstr(edit, text) == 0 ? CC_REFRESH : CC_ERROR;
    }
    putchar('\n');
    for (size_t i = 0; i < names.count; i++)
        printf("%s%s", names.list[i], i + 1 < names.count ? "  " : "\n");
    fflush(stdout);
    return CC_REDISPLAY;
}

/* Bytes, as libedit's own function has it where no locale was set. */
static int
read_key(EditLine *edit, wchar_t *key)
{
    struct line_reader *reader;
    unsigned char byte;

    if (el_get(edit, EL_CLIENTDATA, &reader) != 0 || !wait_for_input(&reader->mask))
        return -1;
    ssize_t n = read(STDIN_FILENO, &byte, 1);
    *key = byte;
    return (int)n;
}

static bool
set_up(struct line_reader *reader)
{
    HistEvent event;

    reader->edit = el_init("umem", stdin, stdout, stderr);
    reader->history = history_init();
    if (reader->edit == NULL || reader->history == NULL)
        return false;
    history(reader->history, &event, H_SETSIZE, HISTORY_LINES);
    history(reader->history, &event, H_SETUNIQUE, 1);
    el_set(reader->edit, EL_CLIENTDATA, reader);
    el_set(reader->edit, EL_GETCFN, read_key);
    el_set(reader->edit, EL_PROMPT, prompt);
    el_set(reader->edit, EL_EDITOR, "emacs");
    el_set(reader->edit, EL_HIST, history, reader->history);
    el_set(reader->edit, EL_ADDFN, "umem-complete", "Complete a name", complete_key);
    el_set(reader->edit, EL_BIND, "^I", "umem-complete", NULL);
    el_set(reader->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(reader->edit, NULL); /* the user's .editrc */
    return true;
}

struct line_reader *
line_open(struct shell *sh)
{
    struct line_reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        return NULL;
    reader->sh = sh;
    if (set_up(reader))
        return reader;
    line_close(reader);
    return NULL;
}

void
line_close(struct line_reader *reader)
{
    if (reader->history != NULL)
        history_end(reader->history);
    if (reader->edit != NULL)
        el_end(reader->edit);
    free(reader->text);
    free(reader);
}

const char *
line_next(struct line_reader *reader)
{
    HistEvent event;
    int length = 0;

    block_interrupts(&reader->mask);
    /* Before the prompt: what is typed at its sight may be an escape or an end of input. */
    el_set(reader->edit, EL_PREP_TERM, 1);
    const char *line = el_gets(reader->edit, &length);
    sigprocmask(SIG_SETMASK, &reader->mask, NULL);
    free(reader->text);
    reader->text = NULL;
    if (line == NULL && shell_interrupted) { /* the line is given up */
        putchar('\n');
        el_reset(reader->edit);
        return "";
    }
    if (line == NULL || length <= 0)
        return NULL;
    reader->text = strndup(line, strcspn(line, "\n"));
    if (reader->text != NULL && reader->text[strspn(reader->text, " \t")] != '\0')
        history(reader->history, &event, H_ENTER, reader->text);
    return reader->text;
}

#else

struct line_reader {
    char *text;
    size_t room;
};

struct line_reader *
line_open(struct shell *sh)
{
    (void)sh;
    return calloc(1, sizeof(struct line_reader));
}

void
line_close(struct line_reader *reader)
{
    free(reader->text);
    free(reader);
}

const char *
line_next(struct line_reader *reader)
{
    sigset_t mask;

    fputs(PROMPT, stdout);
    fflush(stdout);
    block_interrupts(&mask);
    bool come = wait_for_input(&mask); /* the terminal gives whole lines */
    sigprocmask(SIG_SETMASK, &mask, NULL);
    if (!come && shell_interrupted) {
        putchar('\n');
        return "";
    }
    if (getline(&reader->text, &reader->room, stdin) < 0)
        return NULL;
    reader->text[strcspn(reader->text, "\n")] = '\0';
    return reader->text;
}

#endif
