/* SPDX-License-Identifier: MIT */
/* The misuse is in an atexit handler, after main. */
#include "death.h"

static char *late;

static void
clean_up(void)
{
    drop_buffer(late);
    survived();
}

int
main(void)
{
    late = make_buffer(32);
    scribble(late, 32, 1);
    atexit(clean_up);
    return 0;
}
