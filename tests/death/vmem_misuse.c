/* SPDX-License-Identifier: MIT */
/*
 * Misuses an arena of the name "coyote".
 *
 *   vmem_misuse HOW
 */
#include "death.h"

#include <sys/vmem.h>

#define SIZE 0x10000
#define QUANTUM 16

static uintptr_t next_import;

static void *
import(vmem_t *source, size_t size, int flags)
{
    (void)source;
    (void)size;
    (void)flags;
    return (void *)next_import;
}

static void
give_back(vmem_t *source, void *addr, size_t size)
{
    (void)source;
    (void)addr;
    (void)size;
}

static vmem_t *
make_arena(const char *how)
{
    if (strncmp(how, "import", 6) == 0) {
        vmem_t *source =
            vmem_create("source", (void *)SIZE, SIZE, QUANTUM, NULL, NULL, NULL, 0, VM_SLEEP);
        next_import = strcmp(how, "import_misaligned") == 0 ? SIZE + QUANTUM / 2 : SIZE;
        return vmem_create("coyote", NULL, 0, QUANTUM, import, give_back, source, 0, VM_SLEEP);
    }
    return vmem_create("coyote", (void *)SIZE, SIZE, QUANTUM, NULL, NULL, NULL, 0, VM_SLEEP);
}

int
main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    vmem_t *vmp = make_arena(how);
    char *p = vmem_alloc(vmp, 10 * QUANTUM, VM_SLEEP);

    if (strcmp(how, "double_free") == 0) {
        vmem_free(vmp, p, 10 * QUANTUM);
        vmem_free(vmp, p, 10 * QUANTUM);
    } else if (strcmp(how, "wrong_size") == 0) {
        vmem_free(vmp, p, 12 * QUANTUM);
    } else if (strcmp(how, "free_inside") == 0) {
        vmem_free(vmp, p + QUANTUM, 9 * QUANTUM);
    } else if (strcmp(how, "free_elsewhere") == 0) {
        vmem_free(vmp, p + 4 * SIZE, 10 * QUANTUM);
    } else if (strcmp(how, "add_misaligned") == 0) {
        vmem_add(vmp, (void *)(4UL * SIZE + QUANTUM / 2), SIZE, VM_SLEEP);
    } else if (strcmp(how, "add_twice") == 0) {
        vmem_add(vmp, (void *)(SIZE + SIZE / 2UL), SIZE, VM_SLEEP);
    } else if (strcmp(how, "import_twice") == 0) {
        vmem_alloc(vmp, 10 * QUANTUM, VM_SLEEP);
    } else if (strcmp(how, "destroy_heap") == 0) {
        vmem_alloc_t *take;
        vmem_free_t *give;
        vmem_destroy(vmem_heap_arena(&take, &give));
    } else if (strcmp(how, "destroy_in_use") == 0) {
        vmem_destroy(vmp);
    }
    return survived();
}
