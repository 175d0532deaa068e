/* SPDX-License-Identifier: MIT */
/*
 * The module that leaky.c loads: it holds one block in its data and one in its
 * thread-local storage, which is dynamic, since the module comes by dlopen().
 */
#include <stdlib.h>
#include <string.h>

/* Volatile: nobody reads them, and a compiler does not keep what is only written. */
static void *volatile held_by_module_data;
static __thread void *volatile held_by_module_tls;

void module_hold_in_data(size_t size);
void module_hold_in_tls(size_t size);

__attribute__((noipa)) void
module_hold_in_data(size_t size)
{
    held_by_module_data = malloc(size);
    if (held_by_module_data == NULL)
        abort();
    memset(held_by_module_data, 1, size);
}

__attribute__((noipa)) void
module_hold_in_tls(size_t size)
{
    held_by_module_tls = malloc(size);
    if (held_by_module_tls == NULL)
        abort();
    memset(held_by_module_tls, 1, size);
}
