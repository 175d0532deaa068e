/* SPDX-License-Identifier: MIT */
/*
 * lines.h - the text files of /proc, a line at a time: no allocation, no lock,
 * nothing of libc's but raw system calls (open() and read() of libc are
 * cancellation points).
 */
#ifndef UMEM_LINES_H
#define UMEM_LINES_H

#include "base/base.h"

/* A longer line is cut. */
#define OS_LINE_MAX 1024

struct os_lines {
    int lines_fd;        /* -1: none */
    size_t lines_at;     /* where the next line begins */
    size_t lines_have;   /* of lines_text */
    bool lines_skipping; /* what follows is the rest of a line that was cut */
    char lines_text[OS_LINE_MAX];
};

/* False with errno: it cannot be read. (AS) */
bool os_lines_open(struct os_lines *lines, const char *path);
/* The next line, without its end, valid until the next call; NULL at the end. (AS) */
char *os_lines_next(struct os_lines *lines);
/* (AS) */
void os_lines_close(struct os_lines *lines);

/* A hexadecimal number; moves *p behind it and the one character that follows. (AS) */
uintptr_t os_parse_hex(const char **p);

#endif
