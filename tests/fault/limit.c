/* SPDX-License-Identifier: MIT */
/*
 * limit.c - a program under UMEM_OPTIONS=limit=64m: what would pass it fails
 * with ENOMEM, large or small, by malloc, calloc and realloc; what was freed
 * can be had again, as another size.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)
#define LIMIT (64 * MIB)

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("line %d: %s\n", __LINE__, #condition);                                         \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

static char *held[LIMIT / 16 + 1];

/* As many blocks as there are, written to; how many. */
static size_t
fill(size_t size)
{
    size_t n = 0;

    errno = 0;
    while (n < sizeof(held) / sizeof(held[0]) && (held[n] = malloc(size)) != NULL)
        memset(held[n++], 1, size);
    return n;
}

static void
empty(size_t n)
{
    while (n > 0)
        free(held[--n]);
}

int
main(void)
{
    for (int round = 0; round < 3; round++) {
        for (size_t size = 16; size <= 8 * MIB; size *= 8) {
            size_t n = fill(size);
            CHECK(errno == ENOMEM);
            CHECK(n * size > LIMIT / 3 && n * size <= LIMIT);
            CHECK(realloc(held[0], LIMIT) == NULL && errno == ENOMEM);
            CHECK(held[0][0] == 1);
            empty(n);
        }
        CHECK(calloc(1, LIMIT + 1) == NULL && errno == ENOMEM);
        char *most = calloc(1, LIMIT - 16 * MIB);
        CHECK(most != NULL && most[LIMIT / 2] == 0);
        free(most);
    }
    puts("ok");
    return 0;
}
