/* SPDX-License-Identifier: MIT */
/*
 * fuzz.h - what the fuzz targets of the analyser share.
 *
 * A target is LLVMFuzzerTestOneInput(), for libFuzzer; with replay.c it is a
 * plain program that runs files, and changes them at random if told to.
 *
 * No input starts a process or opens a file but those that a core names:
 * addresses are not symbolised, since libdw, which is not ours, runs in a child
 * that is expected to crash.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

struct target;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* fuzz_open.c: the core in memory, for target_close(); NULL where there is none. */
struct target *fuzz_open(const void *image, size_t size);

/* What is asked of a core. */
struct question {
    unsigned qu_which;   /* modulo the number of those that there are */
    uint64_t qu_addr;    /* what it is about */
    const char *qu_line; /* for umem shell, where it is one that is free */
};

/* ask.c: has a verb, or a line of umem shell, answer it; the target stays as it was. */
void ask(struct target *t, const struct question *question);

#endif
