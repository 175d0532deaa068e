/* SPDX-License-Identifier: MIT */
/* Another thread overruns and frees the block. */
#include "death.h"

KEEP void *
clumsy(void *p)
{
    scribble(p, 48, 4);
    drop_buffer(p);
    return NULL;
}

int
main(void)
{
    pthread_t thread;
    char *p = make_buffer(48);
    pthread_create(&thread, NULL, clumsy, p);
    pthread_join(thread, NULL);
    return survived();
}
