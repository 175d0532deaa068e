/* SPDX-License-Identifier: MIT */
/*
 * fuzz_core.c - the reader of cores: an input is a core file, whole.
 */
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    look_at_core(data, size);
    return 0;
}
