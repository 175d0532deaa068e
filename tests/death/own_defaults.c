/* SPDX-License-Identifier: MIT */
/* A program that brings defaults for UMEM_DEBUG and its sisters, and then overruns a block. */
#include "death.h"

__attribute__((visibility("default"))) const char *
_umem_debug_init(void)
{
    return "audit=7,guards,allverbose";
}

__attribute__((visibility("default"))) const char *
_umem_logging_init(void)
{
    return "transaction=128k,fnord";
}

__attribute__((visibility("default"))) const char *
_umem_options_init(void)
{
    return "allocator=best,backend=sbrk";
}

int
main(void)
{
    char *p = make_buffer(32);

    scribble(p, 32, 1);
    drop_buffer(p);
    return survived();
}
