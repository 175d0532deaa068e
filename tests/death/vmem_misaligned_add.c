/* SPDX-License-Identifier: MIT */
/* Adds a span that is not aligned to the arena's quantum. */
#include "death.h"
#include <sys/vmem.h>

int
main(void)
{
    vmem_t *vmp = vmem_create("coyote", NULL, 0, 16, NULL, NULL, NULL, 0, VM_SLEEP);
    vmem_add(vmp, (void *)0x1008UL, 0x1000, VM_SLEEP);
    return survived();
}
