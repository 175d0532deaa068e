/* SPDX-License-Identifier: MIT */
/*
 * A module to be loaded and unloaded many times: allocates in its constructor,
 * frees in its destructor, and has thread-local storage of its own, which libc
 * allocates for each thread that touches it.
 */
#include <stdlib.h>
#include <string.h>

static char *table;
static __thread char scratch[3000];
static __thread char *lazily;

int plugin_work(int n);

__attribute__((constructor)) static void
plugin_load(void)
{
    table = malloc(5000);
    if (table != NULL)
        memset(table, 7, 5000);
}

__attribute__((destructor)) static void
plugin_unload(void)
{
    free(table);
}

int
plugin_work(int n)
{
    if (lazily == NULL)
        lazily = calloc(1, 100);
    char *p = malloc((size_t)n + 1);
    if (lazily == NULL || p == NULL || table == NULL)
        return -1;
    memset(p, n, (size_t)n + 1);
    memcpy(scratch, p, (size_t)n + 1 < sizeof(scratch) ? (size_t)n + 1 : sizeof(scratch));
    int sum = scratch[0] + p[n] + table[4999];
    free(p);
    free(lazily);
    lazily = NULL;
    return sum == (char)n * 2 + 7 ? 0 : -1;
}
