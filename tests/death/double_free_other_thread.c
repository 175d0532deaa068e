/* SPDX-License-Identifier: MIT */
/* The second free comes from another thread. */
#include "death.h"

KEEP void *
drop_again(void *p)
{
    drop_buffer(p);
    return NULL;
}

int
main(void)
{
    pthread_t thread;
    char *p = make_buffer(40);
    drop_buffer(p);
    pthread_create(&thread, NULL, drop_again, p);
    pthread_join(thread, NULL);
    return survived();
}
