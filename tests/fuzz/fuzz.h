/* SPDX-License-Identifier: MIT */
/*
 * fuzz.h - what the fuzz targets of the analyser share: a file in memory that
 * a core is opened from, and everything that is asked of one.
 *
 * A target is LLVMFuzzerTestOneInput(), for libFuzzer; with replay.c it is a
 * plain program that runs files, and changes them at random if told to.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A file in memory that holds size bytes; path is that of its descriptor. */
struct memory_file {
    int fd;
    uint8_t *data;
    size_t size;
    char path[64];
};
void memory_file_set(struct memory_file *file, const uint8_t *data, size_t size);

/* Opens the core and looks at its tables and memory; deep: at its heap, for leaks, too. */
void look_at_core(const char *path, int deep);

#endif
