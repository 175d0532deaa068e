/* SPDX-License-Identifier: MIT */
/*
 * check.h - what the C programs of this folder share: named sections, each a
 * function, and checks that go on after a failure.
 *
 * `program` runs all sections, `program NAME` one, `program --list` prints
 * their names.  A section that holds prints "ok NAME" on stdout; a failed
 * check is a line on stderr; the exit status is 1 after any failure.
 */
#ifndef CHECK_H
#define CHECK_H

#ifdef __cplusplus
#include <atomic>
using std::atomic_fetch_add;
using std::atomic_int;
using std::atomic_load;
#else
#include <stdatomic.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_int check_failures;

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            if (atomic_fetch_add(&check_failures, 1) < 20)                                         \
                fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #cond);               \
        }                                                                                          \
    } while (0)

/* For what a section cannot go on without. */
#define NEED(cond)                                                                                 \
    do {                                                                                           \
        int holds = (cond);                                                                        \
        CHECK(holds &&#cond);                                                                      \
        if (!holds)                                                                                \
            return;                                                                                \
    } while (0)

struct section {
    const char *name;
    void (*run)(void);
};

/* The value, of which the compiler knows nothing any more. */
static inline void *
opaque(void *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

static inline size_t
opaque_size(size_t n)
{
    __asm__ volatile("" : "+r"(n));
    return n;
}

static inline int
check_main(int argc, char **argv, const struct section *sections, size_t count)
{
    int ran = 0;
    for (size_t i = 0; i < count; i++) {
        if (argc > 1 && strcmp(argv[1], "--list") == 0) {
            puts(sections[i].name);
            ran++;
            continue;
        }
        if (argc > 1 && strcmp(argv[1], sections[i].name) != 0)
            continue;
        int before = atomic_load(&check_failures);
        sections[i].run();
        ran++;
        if (atomic_load(&check_failures) == before)
            printf("ok %s\n", sections[i].name);
        fflush(stdout);
    }
    if (ran == 0) {
        fprintf(stderr, "no section %s\n", argc > 1 ? argv[1] : "at all");
        return 2;
    }
    return atomic_load(&check_failures) != 0;
}

#endif
