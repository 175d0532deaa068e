/* SPDX-License-Identifier: MIT */
/* Another thread frees what is on the first one's stack. */
#include "death.h"

KEEP void *
drop_it(void *p)
{
    drop_buffer(p);
    return NULL;
}

int
main(void)
{
    pthread_t thread;
    char local[64];

    pthread_create(&thread, NULL, drop_it, local);
    pthread_join(thread, NULL);
    return survived();
}
