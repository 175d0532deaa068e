/* SPDX-License-Identifier: MIT */
/*
 * Gives a block, or an address inside of one, to a cache that it is not from.
 *
 *   given_to_cache KIND OFFSET FLAGS
 *
 * FLAGS: those of that cache (UMC_*); or "free", and free() is given it.
 */
#include "kinds.h"

int
main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    umem_cache_t *cp = umem_cache_create("rocket_cache", 40, 0, NULL, NULL, NULL, NULL, NULL,
                                         (int)strtol(argv[3], NULL, 0));
    char *p = make_block(argv[1]);
    printf("%p\n", (void *)p);
    fflush(stdout);
    p += strtol(argv[2], NULL, 10);
    if (strcmp(argv[3], "free") == 0)
        drop_buffer(p);
    else
        drop_object(cp, p);
    return survived();
}
