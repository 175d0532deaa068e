/* SPDX-License-Identifier: MIT */
/*
 * support.h - for the tests of debug/: what the ring got, and children that
 * are expected to die.
 */
#ifndef UMEM_TEST_SUPPORT_H
#define UMEM_TEST_SUPPORT_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "debug/ring.h"

/* What the ring got since it held mark bytes. */
static inline const char *
ring_since(uint64_t mark)
{
    static char text[UMEM_RING_SIZE + 1];
    size_t size = (size_t)(umem_ring.ring_head - mark);

    assert_true(size <= UMEM_RING_SIZE);
    for (size_t i = 0; i < size; i++)
        text[i] = umem_ring.ring_text[(mark + i) % UMEM_RING_SIZE];
    text[size] = '\0';
    return text;
}

struct outcome {
    int status;       /* of waitpid() */
    char text[65536]; /* standard error */
};

/* Runs fn(arg) in a child; it exits with 0 when fn returns. */
static inline struct outcome *
run_child(void (*fn)(void *), void *arg)
{
    static struct outcome outcome;
    int fds[2];
    size_t size = 0;

    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)prctl(PR_SET_DUMPABLE, 1);
        (void)dup2(fds[1], STDERR_FILENO);
        (void)close(fds[0]);
        (void)close(fds[1]);
        alarm(20);
        fn(arg);
        _exit(0);
    }
    assert_true(pid > 0);
    (void)close(fds[1]);
    for (ssize_t n; (n = read(fds[0], outcome.text + size, sizeof(outcome.text) - 1 - size)) > 0;)
        size += (size_t)n;
    outcome.text[size] = '\0';
    for (char rest[512]; read(fds[0], rest, sizeof(rest)) > 0;)
        continue;
    (void)close(fds[0]);
    assert_int_equal(waitpid(pid, &outcome.status, 0), pid);
    return &outcome;
}

static inline void
assert_aborted(const struct outcome *outcome)
{
    if (!WIFSIGNALED(outcome->status) || WTERMSIG(outcome->status) != SIGABRT)
        fail_msg("status %#x, no SIGABRT; stderr: %s", (unsigned)outcome->status, outcome->text);
}

static inline void
assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in: %s", part, text);
}

static inline void
assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part) != NULL)
        fail_msg("\"%s\" is in: %s", part, text);
}

#endif
