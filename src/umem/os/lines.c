/* SPDX-License-Identifier: MIT */
/*
 * lines.c - the text files of /proc, a line at a time; see lines.h.
 *
 * Owns no state.
 */
#include "os/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

bool
os_lines_open(struct os_lines *lines, const char *path)
{
    lines->lines_fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    lines->lines_at = lines->lines_have = 0;
    lines->lines_skipping = false;
    return lines->lines_fd >= 0;
}

/* Makes room and reads on; false at the end, or where there is no room. */
static bool
read_more(struct os_lines *lines)
{
    long n;

    lines->lines_have -= lines->lines_at;
    memmove(lines->lines_text, lines->lines_text + lines->lines_at, lines->lines_have);
    lines->lines_at = 0;
    if (lines->lines_have == sizeof(lines->lines_text) - 1)
        return false;
    do
        n = syscall(SYS_read, lines->lines_fd, lines->lines_text + lines->lines_have,
                    sizeof(lines->lines_text) - 1 - lines->lines_have);
    while (n < 0 && errno == EINTR);
    lines->lines_have += n > 0 ? (size_t)n : 0;
    return n > 0;
}

char *
os_lines_next(struct os_lines *lines)
{
    for (;;) {
        char *line = lines->lines_text + lines->lines_at, *end;
        size_t length = lines->lines_have - lines->lines_at;
        bool skip = lines->lines_skipping;

        end = memchr(line, '\n', length);
        if (end != NULL) {
            lines->lines_at += (size_t)(end - line) + 1;
            lines->lines_skipping = false;
        } else if (read_more(lines)) {
            continue;
        } else if (lines->lines_have == sizeof(lines->lines_text) - 1) { /* to be cut */
            line = lines->lines_text;
            end = line + lines->lines_have;
            lines->lines_at = lines->lines_have;
            lines->lines_skipping = true;
        } else {
            return NULL;
        }
        *end = '\0';
        if (!skip)
            return line;
    }
}

void
os_lines_close(struct os_lines *lines)
{
    (void)syscall(SYS_close, lines->lines_fd);
    lines->lines_fd = -1;
}

uintptr_t
os_parse_hex(const char **p)
{
    uintptr_t n = 0;

    for (;; (*p)++) {
        char c = **p;
        if (c >= '0' && c <= '9')
            n = n << 4 | (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            n = n << 4 | (uintptr_t)(c - 'a' + 10);
        else
            break;
    }
    if (**p != '\0')
        (*p)++;
    return n;
}
