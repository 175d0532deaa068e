/* SPDX-License-Identifier: MIT */
/* The module that deepbind.c loads: symbols are looked for here, then in libc, then there. */
#include <dlfcn.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

const char *whose(void);
const char *see(void);
void drop(void *block);
void *grow(void *block, size_t size);
void *make(int kind, size_t size);
int loads(const char *name);

char *early; /* made by a constructor, for the program to free */

__attribute__((constructor)) static void
construct(void)
{
    early = strdup("made before dlopen() has returned");
}

const char *
whose(void)
{
    return "its own";
}

const char *
see(void)
{
    return whose();
}

void
drop(void *block)
{
    free(block);
}

void *
grow(void *block, size_t size)
{
    return realloc(block, size);
}

void *
make(int kind, size_t size)
{
    void *block = NULL;

    switch (kind) {
    case 0:
        return malloc(size);
    case 1:
        return calloc(size, 1);
    case 2:
        return aligned_alloc(64, (size + 63) / 64 * 64);
    case 3:
        return memalign(256, size);
    default:
        return posix_memalign(&block, 4096, size) == 0 ? block : NULL;
    }
}

int
loads(const char *name)
{
    return dlopen(name, RTLD_NOW) != NULL;
}
