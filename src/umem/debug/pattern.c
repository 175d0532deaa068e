/* SPDX-License-Identifier: MIT */
/*
 * pattern.c - runs of a pattern beyond what pattern.h does inline, and of any
 * length.  Four vectors at a time make a cache line.
 */
#include "debug/pattern.h"

#define BLOCK_VECTORS 4

UMEM_NOINLINE void
umem_fill_long(char *p, size_t size, uint64_t word)
{
    const umem_vector v = {word, word}, block[BLOCK_VECTORS] = {v, v, v, v};

    for (; size >= sizeof(block); p += sizeof(block), size -= sizeof(block))
        memcpy(p, block, sizeof(block));
    for (; size >= sizeof(word); p += sizeof(word), size -= sizeof(word))
        memcpy(p, &word, sizeof(word));
    for (const char *from = (const char *)&word; size > 0; size--)
        *p++ = *from++;
}

UMEM_NOINLINE bool
umem_is_run_long(const char *p, size_t size, uint64_t word)
{
    return umem_first_difference(p, size, word) == size;
}

size_t
umem_first_difference(const char *p, size_t size, uint64_t word)
{
    const umem_vector v = {word, word};
    size_t at = 0;

    for (; size - at >= BLOCK_VECTORS * sizeof(v); at += BLOCK_VECTORS * sizeof(v)) {
        umem_vector a, b, c, d;
        memcpy(&a, p + at, sizeof(v));
        memcpy(&b, p + at + sizeof(v), sizeof(v));
        memcpy(&c, p + at + 2 * sizeof(v), sizeof(v));
        memcpy(&d, p + at + 3 * sizeof(v), sizeof(v));
        umem_vector difference = (a ^ v) | (b ^ v) | (c ^ v) | (d ^ v);
        if (UMEM_UNLIKELY((difference[0] | difference[1]) != 0))
            break;
    }
    while (size - at >= sizeof(word) && umem_load_word(p + at) == word)
        at += sizeof(word);
    while (at < size && p[at] == ((const char *)&word)[at % sizeof(word)])
        at++;
    return at;
}
