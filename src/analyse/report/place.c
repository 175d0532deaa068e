/* SPDX-License-Identifier: MIT */
/*
 * place.c - see place.h.
 */
#include "report/place.h"

#include <inttypes.h>
#include <stdio.h>

const char *
place_kind_name(enum what_kind kind)
{
    static const char *const names[] = {
        [WHAT_UNKNOWN] = "unknown", [WHAT_BUFFER] = "buffer", [WHAT_FREE_BUFFER] = "free buffer",
        [WHAT_STACK] = "stack",     [WHAT_GUARD] = "guard",   [WHAT_MAPPING] = "mapping"};
    return names[kind];
}

void
place_describe(struct heap *h, addr_t addr, char *out, size_t size)
{
    struct what what;

    whatis(h, addr, &what);
    uint64_t offset = addr - what.what_base;
    if (what.what_has_info && what.what_kind != WHAT_STACK)
        snprintf(out, size, "%s+0x%" PRIx64 " in %s 0x%" PRIx64, what.what_info.blk_cache, offset,
                 place_kind_name(what.what_kind), what.what_base);
    else if (what.what_kind == WHAT_STACK || what.what_kind == WHAT_GUARD)
        snprintf(out, size, "%s of thread %d", place_kind_name(what.what_kind),
                 (int)what.what_thread);
    else if (what.what_kind == WHAT_MAPPING)
        snprintf(out, size, "%s", what.what_note);
    else
        snprintf(out, size, "nothing is mapped there");
}
