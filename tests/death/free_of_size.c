/* SPDX-License-Identifier: MIT */
/*
 * Frees a block with a size that is not its own.
 *
 *   free_of_size KIND MORE
 *
 * By umem_free(), free_aligned_sized() or free_sized() of C23, which libc may
 * not declare yet; MORE bytes are added to the right size.
 */
#include "kinds.h"

#include <dlfcn.h>

KEEP void
drop_of_size(const char *kind, void *p, size_t stated)
{
    void *sized = dlsym(RTLD_DEFAULT, "free_sized");
    void *aligned = dlsym(RTLD_DEFAULT, "free_aligned_sized");

    if (is(kind, "umem"))
        umem_free(opaque(p), stated);
    else if (is(kind, "memalign"))
        ((void (*)(void *, size_t, size_t))aligned)(opaque(p), 256, stated);
    else
        ((void (*)(void *, size_t))sized)(opaque(p), stated);
    __asm__ volatile("" : : : "memory");
}

int
main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    char *p = make_block(argv[1]);
    printf("%p\n", (void *)p);
    fflush(stdout);
    drop_of_size(argv[1], p, size + strtoul(argv[2], NULL, 10));
    return survived();
}
