/* SPDX-License-Identifier: MIT */
/*
 * A program that loads a module by RTLD_DEEPBIND, as PHP and Apache do, and
 * shares blocks with it.
 *
 *   deepbind deep|plain MODULE BESIDE
 *
 * plain: without RTLD_DEEPBIND.
 * BESIDE: the name of a library that is found by the RUNPATH of the module, not
 * by that of the program.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The module has another one, which it is to see. */
const char *
whose(void)
{
    return "the program's";
}

static void *module;

static void *
find(const char *name)
{
    void *function = dlsym(module, name);

    if (function == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return function;
}

int
main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    module = dlopen(argv[2], RTLD_NOW | RTLD_GLOBAL | (argv[1][0] == 'd' ? RTLD_DEEPBIND : 0));
    if (module == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    const char *(*see)(void) = find("see");
    void (*drop)(void *) = find("drop");
    void *(*grow)(void *, size_t) = find("grow");
    void *(*make)(int, size_t) = find("make");
    int (*loads)(const char *) = find("loads");

    printf("the module sees %s function\n", see());
    for (size_t size = 1; size < 500000; size += size / 2 + 1) {
        drop(malloc(size));
        drop(grow(calloc(size, 1), size * 2));
        for (int kind = 0; kind < 5; kind++) {
            char *block = make(kind, size);
            if (block == NULL || malloc_usable_size(block) < size)
                return 3;
            memset(block, 'x', size);
            free(kind % 2 == 0 ? block : realloc(block, size + 100));
        }
    }
    free(*(void **)find("early"));
    puts("blocks are shared");
    printf("%s is %s\n", argv[3], dlopen(argv[3], RTLD_NOW) == NULL ? "not for all" : "for all");
    printf("the module %s it\n", loads(argv[3]) ? "finds" : "does not find");
    return dlclose(module);
}
