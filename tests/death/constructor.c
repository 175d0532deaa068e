/* SPDX-License-Identifier: MIT */
/* A module whose constructor commits the misuse; the program that loads it is itself. */
#include "death.h"
#include <dlfcn.h>

#ifdef MODULE
__attribute__((constructor)) static void
load(void)
{
    char *p = make_buffer(32);
    scribble(p, 32, 1);
    drop_buffer(p);
}
#else
int
main(int argc, char **argv)
{
    if (argc < 2 || dlopen(argv[1], RTLD_NOW) == NULL)
        return 3;
    return survived();
}
#endif
