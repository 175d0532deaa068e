/* SPDX-License-Identifier: MIT */
/*
 * pattern.c - runs of a pattern beyond what pattern.h does inline, and of any
 * length, a cache line at a time: by vectors of half its size where the processor
 * has them (AVX2), else by what every one has.
 */
#include "debug/pattern.h"

#include "os/os.h"

#define LINE 64

/* Both do whole lines from p on, and return the bytes that they did. */
#if defined(__x86_64__)
typedef long long wide __attribute__((vector_size(32)));
#define WIDE __attribute__((target("avx2"))) UMEM_NOINLINE

static WIDE size_t
fill_wide(char *p, size_t size, uint64_t word)
{
    const wide v = (wide){0} + (long long)word;
    size_t at;

    for (at = 0; size - at >= LINE; at += LINE) {
        memcpy(p + at, &v, sizeof(v));
        memcpy(p + at + sizeof(v), &v, sizeof(v));
    }
    return at;
}

/* Up to one that differs. */
static WIDE size_t
compare_wide(const char *p, size_t size, uint64_t word)
{
    const wide v = (wide){0} + (long long)word;
    size_t at;

    for (at = 0; size - at >= LINE; at += LINE) {
        wide a, b;
        memcpy(&a, p + at, sizeof(v));
        memcpy(&b, p + at + sizeof(v), sizeof(v));
        wide differs = (a ^ v) | (b ^ v);
        if (UMEM_UNLIKELY(!__builtin_ia32_ptestz256(differs, differs)))
            break;
    }
    return at;
}
#else
static size_t
fill_wide(char *p, size_t size, uint64_t word)
{
    (void)p, (void)size, (void)word;
    return 0;
}

static size_t
compare_wide(const char *p, size_t size, uint64_t word)
{
    (void)p, (void)size, (void)word;
    return 0;
}
#endif

UMEM_NOINLINE void
umem_fill_long(char *p, size_t size, uint64_t word)
{
    const umem_vector v = {word, word}, line[LINE / sizeof(v)] = {v, v, v, v};

    if (os_has_avx2()) {
        size_t done = fill_wide(p, size, word);
        p += done, size -= done;
    }
    for (; size >= sizeof(line); p += sizeof(line), size -= sizeof(line))
        memcpy(p, line, sizeof(line));
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
    size_t at = os_has_avx2() ? compare_wide(p, size, word) : 0;

    for (; size - at >= LINE; at += LINE) {
        umem_vector difference = (UMEM_VECTOR_AT(p + at) ^ v) |
                                 (UMEM_VECTOR_AT(p + at + sizeof(v)) ^ v) |
                                 (UMEM_VECTOR_AT(p + at + 2 * sizeof(v)) ^ v) |
                                 (UMEM_VECTOR_AT(p + at + 3 * sizeof(v)) ^ v);
        if (UMEM_UNLIKELY((difference[0] | difference[1]) != 0))
            break;
    }
    while (size - at >= sizeof(word) && umem_load_word(p + at) == word)
        at += sizeof(word);
    while (at < size && p[at] == ((const char *)&word)[at % sizeof(word)])
        at++;
    return at;
}
