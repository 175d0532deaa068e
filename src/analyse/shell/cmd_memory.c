/* SPDX-License-Identifier: MIT */
/*
 * cmd_memory.c - memory and values by formats, as adb and mdb have them:
 * ADDR[,COUNT]/FORMAT and ADDR=FORMAT; and the list of mappings.
 */
#include "shell/shell.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Values stand in columns of so many characters, as behind tabs of adb. */
#define COLUMN 16
/* A line is ended before it gets longer. */
#define LINE_WIDTH 80
/* A string that does not end before this is cut. */
#define STRING_MAX 1024
#define FORMAT_MAX 256
/* A count or a repetition beyond this is a slip of the finger. */
#define REPEAT_MAX ((uint64_t)1 << 24)

struct format {
    const char *print; /* of an unsigned long long; NULL: in its own way */
    const char *what;
    unsigned size; /* of the value in memory; 0: what it reads depends on what is there */
    char letter;
    bool is_signed;
};

static const struct format formats[] = {
    {"%llx", "byte, hexadecimal", 1, 'B', false},
    {"%llx", "2 bytes, hexadecimal", 2, 'x', false},
    {"%llx", "4 bytes, hexadecimal", 4, 'X', false},
    {"%llx", "8 bytes, hexadecimal", 8, 'J', false},
    {"%llx", "a pointer, hexadecimal", 8, 'K', false},
    {"0%llo", "byte, octal", 1, 'b', false},
    {"0%llo", "2 bytes, octal", 2, 'o', false},
    {"0%llo", "4 bytes, octal", 4, 'O', false},
    {"%llu", "byte, decimal", 1, 'V', false},
    {"%lld", "2 bytes, decimal with sign", 2, 'd', true},
    {"%lld", "4 bytes, decimal with sign", 4, 'D', true},
    {"%lld", "8 bytes, decimal with sign", 8, 'e', true},
    {"%llu", "2 bytes, decimal", 2, 'u', false},
    {"%llu", "4 bytes, decimal", 4, 'U', false},
    {"%llu", "8 bytes, decimal", 8, 'E', false},
    {NULL, "8 bytes as a time: seconds since 1970", 8, 'y', false},
    {NULL, "a pointer as symbol and offset", 8, 'p', false},
    {NULL, "the address itself, as symbol and offset", 0, 'a', false},
    {NULL, "a character", 1, 'c', false},
    {NULL, "a string to its 0", 0, 's', false},
    {NULL, "a new line", 0, 'n', false},
    {NULL, "a tab stop", 0, 't', false},
    {NULL, "a blank", 0, 'r', false},
    {NULL, "one byte on", 0, '+', false},
    {NULL, "one byte back", 0, '-', false},
};
#define FORMAT_COUNT (sizeof(formats) / sizeof(formats[0]))

struct printer {
    struct shell *sh;
    bool value_only; /* "=": the address is the value */
    addr_t at;
    int column;
    bool labelled; /* this line has begun */
};

static const struct format *
find_format(char letter)
{
    for (size_t i = 0; i < FORMAT_COUNT; i++)
        if (formats[i].letter == letter)
            return &formats[i];
    return NULL;
}

static void
new_line(struct printer *p)
{
    putchar('\n');
    p->column = 0;
}

static void
to_stop(struct printer *p)
{
    int blanks = COLUMN - p->column % COLUMN;
    p->column += printf("%*s", blanks, "");
}

/* The address that a line begins with. */
static void
label(struct printer *p)
{
    char name[SHELL_NAME_MAX];

    if (p->labelled) {
        if (p->column == 0)
            to_stop(p);
        return;
    }
    p->labelled = true;
    if (!p->value_only)
        p->column += printf("%s:", shell_name(p->sh, p->at, false, name));
    to_stop(p);
}

static void
put(struct printer *p, const char *text, bool pad)
{
    int length = (int)strlen(text);
    if (p->column > COLUMN && p->column + length > LINE_WIDTH)
        new_line(p);
    label(p);
    fputs(text, stdout);
    p->column += length;
    if (pad)
        to_stop(p);
}

static uint64_t
sign_extend(uint64_t value, unsigned size)
{
    unsigned shift = 64 - 8 * size;
    return (uint64_t)((int64_t)(value << shift) >> shift);
}

static bool
fetch(struct printer *p, unsigned size, uint64_t *value)
{
    *value = 0;
    label(p);
    if (p->value_only) {
        *value = size >= sizeof(*value) ? p->at : p->at & (((uint64_t)1 << 8 * size) - 1);
        return true;
    }
    if (!target_read_exact(p->sh->sh_target, p->at, value, size)) {
        if (p->column > 0)
            new_line(p);
        return shell_error(p->sh, "0x%" PRIx64 " cannot be read", p->at);
    }
    p->at += size;
    return true;
}

static void
put_character(struct printer *p, unsigned char c)
{
    char text[8];
    if (isprint(c))
        snprintf(text, sizeof(text), "%c", c);
    else
        snprintf(text, sizeof(text), "\\%03o", c);
    put(p, text, false);
}

static void
put_time(struct printer *p, uint64_t value)
{
    char text[64] = "";
    time_t seconds = (time_t)value;
    struct tm tm;
    if (localtime_r(&seconds, &tm) == NULL ||
        strftime(text, sizeof(text), "%Y %b %e %H:%M:%S", &tm) == 0)
        snprintf(text, sizeof(text), "%" PRIu64, value);
    put(p, text, true);
}

static bool
put_string(struct printer *p)
{
    char byte = 1;

    if (p->value_only)
        return shell_error(p->sh, "=s: a value has no string; ADDR/s reads one");
    label(p);
    for (unsigned n = 0; n < STRING_MAX; n++, p->at++) {
        if (target_read(p->sh->sh_target, p->at, &byte, 1) != 1) {
            new_line(p);
            return shell_error(p->sh, "0x%" PRIx64 " cannot be read", p->at);
        }
        if (byte == '\0')
            break;
        if (isprint((unsigned char)byte))
            p->column += printf("%c", byte);
        else
            p->column += printf("\\%03o", (unsigned char)byte);
    }
    p->at += byte == '\0';
    return true;
}

/* Formats that are about the place and not about what is there. */
static bool
put_place(struct printer *p, char letter)
{
    char name[SHELL_NAME_MAX];

    switch (letter) {
    case 'a':
        p->labelled = true;
        p->column += printf("%s:", shell_name(p->sh, p->at, false, name));
        to_stop(p);
        break;
    case 'n':
        new_line(p);
        break;
    case 't':
        to_stop(p);
        break;
    case 'r':
        p->column += printf(" ");
        break;
    case '+':
        p->at++;
        break;
    case '-':
        p->at--;
        break;
    default:
        return put_string(p);
    }
    return true;
}

static bool
put_format(struct printer *p, const struct format *format)
{
    char text[SHELL_NAME_MAX];
    unsigned size = format->size;
    uint64_t value;

    if (size == 0)
        return put_place(p, format->letter);
    if ((format->letter == 'K' || format->letter == 'p') && p->sh->sh_has_heap)
        size = p->sh->sh_heap.heap_offsets.off_word;
    if (!fetch(p, size, &value))
        return false;
    if (format->letter == 'c') {
        put_character(p, (unsigned char)value);
    } else if (format->letter == 'y') {
        put_time(p, value);
    } else if (format->letter == 'p') {
        put(p, shell_name(p->sh, value, false, text), true);
    } else {
        if (format->is_signed)
            value = sign_extend(value, size);
        /* The text is one of the table above. */
        snprintf(text, sizeof(text), format->print, (unsigned long long)value);
        put(p, text, true);
    }
    return true;
}

/* One pass over the formats, "4Xn": repetitions are decimal. */
static bool
put_formats(struct printer *p, const char *text)
{
    while (*text != '\0') {
        uint64_t repeat = 1;
        if (isdigit((unsigned char)*text)) {
            char *end;
            repeat = strtoull(text, &end, 10);
            text = end;
        }
        const struct format *format = *text != '\0' ? find_format(*text) : NULL;
        if (format == NULL || repeat > REPEAT_MAX)
            return shell_error(p->sh, "%s: no such format; ::formats lists them",
                               *text != '\0' ? text : "a number alone");
        for (uint64_t i = 0; i < repeat; i++) {
            if (shell_interrupted)
                return shell_error(p->sh, "interrupted");
            if (!put_format(p, format))
                return false;
        }
        text++;
    }
    return true;
}

static bool
print_memory(struct shell *sh, const struct call *call, bool value_only)
{
    char text[FORMAT_MAX] = "";
    size_t n = 0;
    struct printer p = {.sh = sh, .value_only = value_only, .at = call->call_addr};

    for (int i = 0; i < call->call_argc && n < sizeof(text); i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s", call->call_argv[i]);
    if (n >= sizeof(text))
        return shell_error(sh, "%s: the format is too long", call->call_dcmd->dcmd_name);
    if (call->call_count > REPEAT_MAX)
        return shell_error(sh, "a count of more than 0x%" PRIx64, REPEAT_MAX);
    bool ok = true;
    for (uint64_t i = 0; ok && i < call->call_count; i++)
        ok = put_formats(&p, n > 0 ? text : value_only ? "J" : "K");
    if (ok && p.column > 0)
        putchar('\n');
    if (!value_only)
        sh->sh_dot = p.at;
    return ok;
}

static bool
dcmd_read(struct shell *sh, const struct call *call)
{
    return print_memory(sh, call, false);
}

static bool
dcmd_value(struct shell *sh, const struct call *call)
{
    return print_memory(sh, call, true);
}

static bool
dcmd_formats(struct shell *sh, const struct call *call)
{
    if (!dcmd_plain(sh, call))
        return false;
    for (size_t i = 0; i < FORMAT_COUNT; i++)
        printf("  %c - %s\n", formats[i].letter, formats[i].what);
    return true;
}

static bool
dcmd_mappings(struct shell *sh, const struct call *call)
{
    const struct mapping *maps;
    size_t n = target_mappings(sh->sh_target, &maps);

    if (!dcmd_plain(sh, call))
        return false;
    if (call_is_first(call))
        printf("%16s %16s %16s %-5s %s\n", "BASE", "LIMIT", "SIZE", "PERM", "NAME");
    for (size_t i = 0; i < n; i++) {
        const struct mapping *map = &maps[i];
        if (call_has_address(call) &&
            (call->call_addr < map->map_start || call->call_addr >= map->map_end))
            continue;
        printf(
            "%16" PRIx64 " %16" PRIx64 " %16" PRIx64 " %c%c%c%c  %s\n", map->map_start,
            map->map_end, map->map_end - map->map_start, map->map_flags & MAPPING_READ ? 'r' : '-',
            map->map_flags & MAPPING_WRITE ? 'w' : '-', map->map_flags & MAPPING_EXEC ? 'x' : '-',
            map->map_flags & MAPPING_PRIVATE ? 'p' : 's', map->map_name);
    }
    return true;
}

#define HELP_FORMATS                                                                               \
    "  FORMAT is letters, each with a number of repetitions before it if need be, as \"4Xn\":\n"   \
    "  ::formats lists them. Without one: the pointer that is there.\n"

const struct dcmd dcmds_memory[] = {
    {"/", "[FORMAT]", "print memory: ADDR[,COUNT]/FORMAT",
     HELP_FORMATS "  Dot moves behind what was read, so that another / goes on.\n",
     "main/4X\n<sp,4/Jpn\nmain,8/c", dcmd_read, DCMD_COUNTS},
    {"=", "[FORMAT]", "print a value: ADDR=FORMAT", HELP_FORMATS, "0t100=X\n<pc=p", dcmd_value,
     DCMD_COUNTS},
    {"formats", "", "list the formats of / and =", NULL, "::formats", dcmd_formats, DCMD_NONE},
    {"mappings", "", "list mappings, or the one that holds an address", NULL, "main::mappings",
     dcmd_mappings, 0},
    {"$m", "", "list mappings, or the one that holds an address", NULL, "$m ! head", dcmd_mappings,
     0},
    {0}};
