/* SPDX-License-Identifier: MIT */
/*
 * vmem_ids.c - vmem arenas hand out ranges of anything: here identifiers from
 * 100 to 199, one at a time and in runs.
 */
#include <stdint.h>
#include <stdio.h>
#include <sys/vmem.h>

static void
print_segment(void *arg, void *start, size_t size)
{
    (void)arg;
    printf("  from %lu, %zu long\n", (unsigned long)(uintptr_t)start, size);
}

int
main(void)
{
    vmem_t *ids = vmem_create("ids", (void *)100, 100, 1, NULL, NULL, NULL, 0, VM_NOSLEEP);
    if (ids == NULL) {
        perror("vmem_create");
        return 1;
    }
    void *one = vmem_alloc(ids, 1, VM_NOSLEEP | VM_FIRSTFIT);
    /* A run of 8 that starts at a multiple of 8, below 150. */
    void *run = vmem_xalloc(ids, 8, 8, 0, 0, NULL, (void *)150, VM_NOSLEEP | VM_FIRSTFIT);
    printf("one: %lu, run: %lu\n", (unsigned long)(uintptr_t)one, (unsigned long)(uintptr_t)run);
    printf("allocated %zu, free %zu, 150 in the arena: %d\n", vmem_size(ids, VMEM_ALLOC),
           vmem_size(ids, VMEM_FREE), vmem_contains(ids, (void *)150, 1));
    puts("allocated:");
    vmem_walk(ids, VMEM_ALLOC, print_segment, NULL);
    vmem_xfree(ids, run, 8);
    vmem_free(ids, one, 1);

    vmem_add(ids, (void *)1000, 10, VM_NOSLEEP);
    printf("free with a second span: %zu\n", vmem_size(ids, VMEM_FREE));
    vmem_destroy(ids);
    return 0;
}
