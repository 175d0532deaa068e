/* SPDX-License-Identifier: MIT */
/*
 * Asks for what cannot be had, in the way named on the command line: NULL, or
 * under UMEM_DEBUG=checknull a report.
 */
#include <malloc.h>

#include "object.h"

#define HUGE_SIZE ((size_t)1 << 60)

static int
refuse(void *buf, void *private, int flags)
{
    (void)buf;
    (void)private;
    (void)flags;
    return 1;
}

KEEP void *
ask(const char *how)
{
    if (strcmp(how, "large") == 0)
        return opaque(malloc(HUGE_SIZE));
    if (strcmp(how, "small") == 0) /* for UMEM_DEBUG=mtbf=1 */
        return opaque(malloc(100));
    if (strcmp(how, "impossible") == 0)
        return opaque(malloc(SIZE_MAX));
    if (strcmp(how, "calloc") == 0)
        return opaque(calloc(HUGE_SIZE, 64));
    if (strcmp(how, "reallocarray") == 0)
        return opaque(reallocarray(NULL, HUGE_SIZE, 64));
    if (strcmp(how, "align") == 0)
        return opaque(umem_alloc_align(100, 48, UMEM_DEFAULT));
    if (strcmp(how, "nothing") == 0)
        return opaque(umem_alloc(0, UMEM_DEFAULT));
    umem_cache_t *cp = umem_cache_create("anvil", 100, 0, refuse, NULL, NULL, NULL, NULL, 0);
    return make_object(cp);
}

int
main(int argc, char **argv)
{
    return argc == 2 && ask(argv[1]) == NULL ? survived() : 3;
}
