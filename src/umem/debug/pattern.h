/* SPDX-License-Identifier: MIT */
/*
 * pattern.h - writing and comparing runs of a pattern: the fills of free and of
 * fresh memory, and slack.  A pattern is a word of 64 bits that repeats.
 *
 * Most blocks are small: what is done for them at each operation is inline, 16
 * bytes at a time, and asks once, at the end.  Where it differs is looked for
 * by who has to report it.
 *
 * Owns no state.
 */
#ifndef UMEM_PATTERN_H
#define UMEM_PATTERN_H

#include <string.h>

#include "debug/bufctl.h"

#define UMEM_FREE_WORD ((uint64_t)UMEM_FREE_PATTERN << 32 | UMEM_FREE_PATTERN)
#define UMEM_UNINITIALIZED_WORD                                                                    \
    ((uint64_t)UMEM_UNINITIALIZED_PATTERN << 32 | UMEM_UNINITIALIZED_PATTERN)
/* The eight bytes of slack from a multiple of 8 on, as a little-endian word. */
#define UMEM_SLACK_WORD 0xb8b7b6b5b4b3b2b1u
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "umem_slack_word() is written for it");

/* What is written and compared at a time: the size that every 64-bit processor has. */
typedef uint64_t umem_vector __attribute__((vector_size(16)));
/* One in memory, wherever.  No function: i386 without SSE has no vectors for results. */
typedef umem_vector umem_vector_anywhere __attribute__((aligned(1), may_alias));
#define UMEM_VECTOR_AT(p) (*(const umem_vector_anywhere *)(p))
/* Up to this many bytes inline; beyond, a call is no cost. */
#define UMEM_PATTERN_INLINE 256

void umem_fill_long(char *p, size_t size, uint64_t word);
bool umem_is_run_long(const char *p, size_t size, uint64_t word);
/* Offset of the first byte that differs from a run of word, or size. */
size_t umem_first_difference(const char *p, size_t size, uint64_t word);

/* The eight bytes of slack from p on. */
static inline uint64_t
umem_slack_word(const char *p)
{
    unsigned shift = 8 * ((uintptr_t)p & 7);

    return UMEM_SLACK_WORD >> shift | UMEM_SLACK_WORD << ((64 - shift) & 63);
}

static inline uint64_t
umem_load_word(const char *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return word;
}

/* Writes a run of word.  The last vectors may lie across those before them. */
static inline void
umem_fill(char *p, size_t size, uint64_t word)
{
    const umem_vector v = {word, word};
    char *end = p + size;

    if (size > UMEM_PATTERN_INLINE || size % sizeof(word) != 0) {
        umem_fill_long(p, size, word);
    } else if (size >= sizeof(v)) {
        for (; p + 2 * sizeof(v) < end; p += 2 * sizeof(v)) {
            memcpy(p, &v, sizeof(v));
            memcpy(p + sizeof(v), &v, sizeof(v));
        }
        memcpy(end - sizeof(v), &v, sizeof(v));
        memcpy(p + sizeof(v) < end ? p : end - sizeof(v), &v, sizeof(v));
    } else if (size != 0) {
        memcpy(p, &word, sizeof(word));
    }
}

/* Whether there is nothing but a run of word. */
static inline bool
umem_is_run(const char *p, size_t size, uint64_t word)
{
    const umem_vector v = {word, word};
    umem_vector differs = {0, 0};

    if (size > UMEM_PATTERN_INLINE || size % sizeof(word) != 0)
        return umem_is_run_long(p, size, word);
    for (; size >= 2 * sizeof(v); p += 2 * sizeof(v), size -= 2 * sizeof(v))
        differs |= (UMEM_VECTOR_AT(p) ^ v) | (UMEM_VECTOR_AT(p + sizeof(v)) ^ v);
    if (size >= sizeof(v)) {
        differs |= UMEM_VECTOR_AT(p) ^ v;
        p += sizeof(v), size -= sizeof(v);
    }
    if (size != 0)
        differs[0] |= umem_load_word(p) ^ word;
    return (differs[0] | differs[1]) == 0;
}

#endif
