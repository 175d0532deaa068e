/* SPDX-License-Identifier: MIT */
/* Frees a segment of an arena twice. */
#include "death.h"
#include <sys/vmem.h>

int
main(void)
{
    vmem_t *vmp =
        vmem_create("coyote", (void *)0x1000UL, 0x10000, 1, NULL, NULL, NULL, 0, VM_SLEEP);
    void *segment = vmem_alloc(vmp, 100, VM_SLEEP);
    vmem_free(vmp, segment, 100);
    vmem_free(vmp, segment, 100);
    return survived();
}
