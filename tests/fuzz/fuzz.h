/* SPDX-License-Identifier: MIT */
/*
 * fuzz.h - what the fuzz targets of the analyser share: everything that is
 * asked of a core in memory.
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is asked of a heap, and of which of several alike. */
struct question {
    unsigned qu_kind;  /* modulo the number of kinds */
    unsigned qu_which; /* dcmd, walker, cache: modulo their number */
    uint64_t qu_addr;
};

/* Opens the core and looks at its tables and at memory. */
void look_at_core(const void *image, size_t size);
/* Opens the core and its heap, and asks. */
void look_at_heap(const void *image, size_t size, const struct question *question);

#endif
