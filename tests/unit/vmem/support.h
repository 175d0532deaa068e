/* SPDX-License-Identifier: MIT */
/*
 * support.h - what the unit tests of vmem share: arenas of plain numbers, a
 * source that can be told to fail, children that are expected to die.
 */
#ifndef TESTS_VMEM_SUPPORT_H
#define TESTS_VMEM_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmem/vmem_impl.h"

/* Address sanitizers map terabytes and know no RLIMIT_AS. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#else
#define UNDER_SANITIZER 0
#endif
#ifdef __SANITIZE_THREAD__
#define UNDER_THREAD_SANITIZER 1
#else
#define UNDER_THREAD_SANITIZER 0
#endif

#define PTR(n) ((void *)(uintptr_t)(n))
#define NUM(p) ((uintptr_t)(p))

/* The layer's own heap: vmem_heap_arena() and vmem_create() are the cache layer's. */
static inline vmem_t *
the_heap(void)
{
    vmem_init();
    return &vmem_heap;
}

/* An arena of numbers that imports nothing. */
static inline vmem_t *
numbers(uintptr_t base, size_t size, size_t quantum, int vmflag)
{
    vmem_t *vmp = vmem_new("numbers", PTR(base), size, quantum, NULL, NULL, NULL, 0, vmflag);

    assert_non_null(vmp);
    return vmp;
}

static inline uint64_t
random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Runs fn in a child; its stderr goes to text.  Returns the wait status. */
static inline int
run_in_child(void (*fn)(void), char *text, size_t size)
{
    int fds[2], status;

    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        dup2(fds[1], 2);
        close(fds[0]);
        alarm(60); /* a hang is a failure */
        fn();
        _exit(0);
    }
    close(fds[1]);
    size_t length = 0;
    for (ssize_t n; length < size - 1 && (n = read(fds[0], text + length, size - 1 - length)) > 0;)
        length += (size_t)n;
    text[length] = '\0';
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* fn must die of SIGABRT having said just that line. */
static inline void
assert_dies(void (*fn)(void), const char *message)
{
    char text[1024];
    int status = run_in_child(fn, text, sizeof(text));

    assert_string_equal(text, message);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

#endif
