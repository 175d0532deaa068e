/* SPDX-License-Identifier: MIT */
/*
 * nofault.c - a section without faults, in which the function that the
 * argument names does something; the report goes to standard error.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <umem.h>
#include <unistd.h>

#define OBJECTS 8
#define KEPT __attribute__((noinline, noclone))

static umem_cache_t *sealed;
static void *held[OBJECTS];
static char *pages;

KEPT static void
use_sealed(void)
{
    for (int i = 0; i < OBJECTS; i++)
        memset(held[i] = umem_cache_alloc(sealed, UMEM_DEFAULT), 1, 1000);
    for (int i = 0; i < OBJECTS; i++)
        umem_cache_free(sealed, held[i]);
}

/* The one too many is a breach. */
KEPT static void
overdraw_sealed(void)
{
    void *taken[OBJECTS + 1];

    for (int i = 0; i <= OBJECTS; i++)
        taken[i] = umem_cache_alloc(sealed, UMEM_DEFAULT);
    for (int i = 0; i <= OBJECTS; i++)
        umem_cache_free(sealed, taken[i]);
}

KEPT static void
allocate_many(void)
{
    for (int i = 0; i < 5000; i++)
        (void)umem_alloc(3000, UMEM_DEFAULT);
}

KEPT static void
allocate_large(void)
{
    umem_free(umem_alloc(1 << 20, UMEM_DEFAULT), 1 << 20);
}

/* The arena imports, and gives back, what no cache had asked for. */
KEPT static void
call_system(void)
{
    vmem_t *heap = vmem_heap_arena(NULL, NULL);
    vmem_free(heap, vmem_alloc(heap, 64 << 20, VM_NOSLEEP), 64 << 20);
}

KEPT static void
touch_fresh_page(void)
{
    *(volatile char *)pages = 1;
    pages += sysconf(_SC_PAGESIZE);
}

static const struct {
    const char *name;
    void (*run)(void);
} works[] = {
    {"use_sealed", use_sealed},       {"overdraw_sealed", overdraw_sealed},
    {"allocate_many", allocate_many}, {"allocate_large", allocate_large},
    {"call_system", call_system},     {"touch_fresh_page", touch_fresh_page},
};

int
main(int argc, char **argv)
{
    struct umem_nofault nf;
    void (*work)(void) = NULL;
    int result = 0;

    for (size_t i = 0; argc > 1 && i < sizeof(works) / sizeof(works[0]); i++)
        if (strcmp(works[i].name, argv[1]) == 0)
            work = works[i].run;
    pages = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sealed = umem_cache_create("sealed", 1000, 0, NULL, NULL, NULL, NULL, NULL, 0);
    if (work == NULL || pages == MAP_FAILED || madvise(pages, 1 << 20, MADV_NOHUGEPAGE) != 0 ||
        umem_cache_reserve(sealed, OBJECTS) != 0 || umem_cache_seal(sealed) != 0)
        return 2;
    /* The first turn is a rehearsal; volatile, so that both are one call, and one stack. */
    for (volatile int turn = 0; turn < 2; turn++) {
        umem_nofault_begin(&nf);
        work();
        result = umem_nofault_end(&nf);
    }
    umem_nofault_print(&nf);
    return result;
}
