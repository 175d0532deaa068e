/* SPDX-License-Identifier: MIT */
/*
 * verify.c - the heap looked at between two requests of a server, so that the
 * one that did damage is known.
 */
#include <stdio.h>
#include <string.h>
#include <umem.h>

static void
serve(int request)
{
    char *buf = umem_alloc(100, UMEM_NOFAIL);
    memset(buf, request, 100);
    umem_free(buf, 100);
}

int
main(void)
{
    size_t corrupt = 0;
    for (int request = 1; request <= 3; request++) {
        serve(request);
        corrupt += umem_verify(); /* under UMEM_DEBUG=guards; else there is nothing to see */
    }
    printf("%zu buffers are corrupt\n", corrupt);
    return 0;
}
