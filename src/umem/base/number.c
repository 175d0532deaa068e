/* SPDX-License-Identifier: MIT */
/*
 * number.c - numbers as options and commands spell them.  Owns no state.
 */
#include "base/number.h"

#include <string.h>

bool
umem_parse_number(const char *text, size_t length, bool suffixes, uint64_t *result)
{
    uint64_t n = 0;
    size_t i = 0;

    for (; i < length && text[i] >= '0' && text[i] <= '9'; i++)
        if (__builtin_mul_overflow(n, (uint64_t)10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(text[i] - '0'), &n))
            return false;
    if (i == 0)
        return false;
    if (suffixes && i + 1 == length) {
        static const char suffix[] = "kmgt";
        const char *at = strchr(suffix, text[i] | ('a' ^ 'A'));
        if (at == NULL || *at == '\0')
            return false;
        if (__builtin_mul_overflow(n, (uint64_t)1 << (10 * (at - suffix + 1)), &n))
            return false;
        i++;
    }
    *result = n;
    return i == length;
}
