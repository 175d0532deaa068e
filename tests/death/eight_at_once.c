/* SPDX-License-Identifier: MIT */
/* Eight threads find their mistakes at the same time. */
#include "death.h"

static pthread_barrier_t barrier;

KEEP void *
clumsy(void *p)
{
    scribble(p, 32, 1);
    pthread_barrier_wait(&barrier);
    drop_buffer(p);
    return NULL;
}

int
main(void)
{
    pthread_t thread[8];
    pthread_barrier_init(&barrier, NULL, 8);
    for (int i = 0; i < 8; i++)
        if (pthread_create(&thread[i], NULL, clumsy, make_buffer(32)) != 0)
            return 3;
    for (int i = 0; i < 8; i++)
        pthread_join(thread[i], NULL);
    return survived();
}
