/* SPDX-License-Identifier: MIT */
/*
 * Another library that is preloaded and stands before malloc: counts calls and
 * passes them on, as heap profilers do.  dlsym() itself may allocate.
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_long calls;
static void *(*next_malloc)(size_t);
static void *(*next_realloc)(void *, size_t);
static void (*next_free)(void *);

void *
malloc(size_t size)
{
    if (next_malloc == NULL)
        next_malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    atomic_fetch_add(&calls, 1);
    return next_malloc(size);
}

void *
realloc(void *p, size_t size)
{
    if (next_realloc == NULL)
        next_realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
    atomic_fetch_add(&calls, 1);
    return next_realloc(p, size);
}

void
free(void *p)
{
    if (next_free == NULL)
        next_free = (void (*)(void *))dlsym(RTLD_NEXT, "free");
    next_free(p);
}

__attribute__((destructor)) static void
report(void)
{
    const char *path = getenv("WRAPPER_REPORT");
    FILE *f = path != NULL ? fopen(path, "a") : NULL;
    if (f == NULL)
        return;
    fprintf(f, "%ld\n", atomic_load(&calls));
    fclose(f);
}
