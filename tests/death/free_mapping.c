/* SPDX-License-Identifier: MIT */
/* Frees a page of mmap. */
#include "death.h"
#include <sys/mman.h>

int
main(void)
{
    void *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    drop_buffer(p);
    return survived();
}
