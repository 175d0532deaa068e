/* SPDX-License-Identifier: MIT */
/*
 * print.h - formatted text into a caller's buffer: no allocation, no lock, no
 * locale, async-signal-safe.  What every report and log of the engine uses.
 *
 * Conversions: %s %c %d %u %x with the length marks l, ll, z
 * and t, %p (0x-prefixed), %%, a '-' or '0' flag and a minimum width, a
 * precision for %s.
 */
#ifndef UMEM_PRINT_H
#define UMEM_PRINT_H

#include <stdarg.h>
#include <stddef.h>

/*
 * Writes at most size bytes, always terminated if size > 0.  Returns the
 * length the whole text would have had, as snprintf() does.
 */
size_t umem_vsnprintf(char *buf, size_t size, const char *fmt, va_list ap);
size_t umem_snprintf(char *buf, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
