/* SPDX-License-Identifier: MIT */
/* The misuse is found while another thread holds the locks of stdio and of the loader. */
#include "death.h"
#include <link.h>

KEEP void *
clumsy(void *p)
{
    scribble(p, 32, 1);
    drop_buffer(p);
    return NULL;
}

/* Called with the loader's lock held. */
static int
in_loader(struct dl_phdr_info *info, size_t size, void *unused)
{
    pthread_t thread;
    (void)info, (void)size, (void)unused;
    if (pthread_create(&thread, NULL, clumsy, make_buffer(32)) != 0)
        return 3;
    pthread_join(thread, NULL);
    return 1;
}

int
main(void)
{
    flockfile(stderr);
    flockfile(stdout);
    dl_iterate_phdr(in_loader, NULL);
    funlockfile(stdout);
    return survived();
}
