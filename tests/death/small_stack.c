/* SPDX-License-Identifier: MIT */
/* The misuse is found on the smallest stack that a thread may have. */
#include "death.h"
#include <unistd.h>

KEEP void *
cramped(void *unused)
{
    char *p = make_buffer(32);
    scribble(p, 32, 1);
    drop_buffer(p);
    return unused;
}

int
main(void)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, (size_t)sysconf(_SC_THREAD_STACK_MIN));
    if (pthread_create(&thread, &attr, cramped, NULL) != 0)
        return 3;
    pthread_join(thread, NULL);
    return survived();
}
