/* SPDX-License-Identifier: MIT */
/* A hundred allocations of every kind; prints which of them failed, and with what errno. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <umem.h>

enum { COUNT = 100 };

static void *
allocate(umem_cache_t *cp, int i)
{
    switch (i % 8) {
    case 0:
        return malloc(100);
    case 1:
        return calloc(3, 100);
    case 2:
        return realloc(NULL, 5000);
    case 3:
        return memalign(256, 1000);
    case 4:
        return malloc(1000000);
    case 5:
        return umem_alloc(64, UMEM_DEFAULT);
    case 6:
        return umem_zalloc(200000, UMEM_DEFAULT);
    default:
        return umem_cache_alloc(cp, UMEM_DEFAULT);
    }
}

int
main(void)
{
    int failed[COUNT], errors[COUNT], failures = 0;
    umem_cache_t *cp = umem_cache_create("anvil", 40, 0, NULL, NULL, NULL, NULL, NULL, 0);

    for (int i = 0; i < COUNT; i++) {
        (void)umem_alloc(10, UMEM_NOFAIL); /* is not counted */
        errno = 0;
        if (allocate(cp, i) != NULL)
            continue;
        failed[failures] = i;
        errors[failures++] = errno;
    }
    for (int i = 0; i < failures; i++)
        printf("%d%s\n", failed[i], errors[i] == ENOMEM ? "" : " errno");
    return 0;
}
