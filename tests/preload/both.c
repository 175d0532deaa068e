/* SPDX-License-Identifier: MIT */
/*
 * Linked with libumem_core: uses umem_alloc() and malloc(), and says which
 * library serves which.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <umem.h>

static const char *
library_of(const void *function)
{
    Dl_info info;
    const char *slash;
    if (dladdr(function, &info) == 0)
        return "?";
    slash = strrchr(info.dli_fname, '/');
    return slash == NULL ? info.dli_fname : slash + 1;
}

int
main(void)
{
    void *p = umem_alloc(100, UMEM_DEFAULT);
    void *q = malloc(100);
    umem_cache_t *cp = umem_cache_create("both", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);
    if (p == NULL || q == NULL || cp == NULL)
        return 1;
    memset(p, 1, 100);
    memset(q, 2, 100);
    void *object = umem_cache_alloc(cp, UMEM_DEFAULT);
    umem_cache_free(cp, object);
    umem_cache_destroy(cp);
    printf("umem_alloc %s\nmalloc %s\n", library_of(dlsym(RTLD_DEFAULT, "umem_alloc")),
           library_of(dlsym(RTLD_DEFAULT, "malloc")));
    umem_free(p, 100);
    free(q);
    return 0;
}
