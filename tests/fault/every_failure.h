/* SPDX-License-Identifier: MIT */
/*
 * every_failure.h - what the three files of this test share.
 *
 *   every_failure.c           runs the workload once for each thing that may fail
 *   every_failure_inject.c    makes it fail, counts what is outstanding
 *   every_failure_workload.c  uses every part of the library
 */
#ifndef EVERY_FAILURE_H
#define EVERY_FAILURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

/* Says where, and ends the child. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            say(STDERR_FILENO, "%s:%d: %s (%s %llu)\n", __FILE__, __LINE__, #condition,            \
                inject_names[inject_kind], (unsigned long long)inject_at);                         \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* --- every_failure_inject.c --- */

enum { INJECT_ALLOC, INJECT_MAP, INJECT_META, INJECT_KINDS };
extern const char *const inject_names[INJECT_KINDS];
extern int inject_kind; /* what fails, INJECT_*, and which of them */
extern uint64_t inject_at;

/* The at-th from now on fails, or (for_good) all from that one on do. */
void inject_arm(int kind, uint64_t at, bool for_good);
/* From now on nothing fails; whether anything did. */
bool inject_disarm(void);
/* Whether anything may fail just now. */
bool inject_is_armed(void);
/* Records of the engine that are in use, but for those that never go back. */
long inject_meta_blocks(void);

/* A message past stdio, which would allocate. */
void say(int fd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --- every_failure_workload.c --- */

/*
 * All of it once.  Whatever it gets it gives back.  large_first: the library is
 * first used for a large block, which then is what the page map is made for.
 */
void workload(bool large_first);

#endif
