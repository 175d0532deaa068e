/* SPDX-License-Identifier: MIT */
/*
 * fuzz_open.c - opens a core in memory; see fuzz.h.
 */
#include "fuzz.h"

#include <limits.h>

#include "target/target_impl.h"

struct target *
fuzz_open(const void *image, size_t size)
{
    struct target *t = target_open_image("core", image, size);
    if (t != NULL)
        t->t_helper_deaths = UINT_MAX; /* no child is started to name addresses */
    return t;
}
