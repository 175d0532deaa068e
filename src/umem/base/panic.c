/* SPDX-License-Identifier: MIT */
/*
 * panic.c - the end of the road for our own bugs: one line, then SIGABRT.
 *
 * Writes with the one declaration it borrows from os/ (linked, not included,
 * so that base stays at the bottom).  Allocates nothing, takes no lock.
 */
#include "base/base.h"
#include "base/print.h"

void os_write(int fd, const void *buf, size_t size);
_Noreturn void os_abort(void);

#define STDERR 2
/* A path and a condition; longer ones are cut. */
#define PANIC_TEXT_SIZE 512

_Noreturn void
umem_panic(const char *file, int line, const char *what)
{
    char text[PANIC_TEXT_SIZE];
    size_t length = umem_snprintf(text, sizeof(text), "umem: %s:%d: %s\n", file, line, what);

    os_write(STDERR, text, umem_min(length, sizeof(text) - 1));
    os_abort();
}
