/* SPDX-License-Identifier: MIT */
/*
 * fuzz_core.c - the reader of cores: an input is a core file, whole.
 */
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct memory_file file;
    if (size == 0)
        return 0;
    memory_file_set(&file, data, size);
    look_at_core(file.path, 0);
    return 0;
}
