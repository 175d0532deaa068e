/* SPDX-License-Identifier: MIT */
/*
 * alloc.c - umem_alloc() and its relatives: the caller keeps the size and
 * says it again when it frees.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <umem.h>

int
main(void)
{
    size_t size = 100;
    char *text = umem_alloc(size, UMEM_DEFAULT);
    if (text == NULL) {
        fprintf(stderr, "umem_alloc: %s\n", strerror(errno));
        return 1;
    }
    snprintf(text, size, "a hundred bytes");
    printf("%s, 16-aligned: %d\n", text, (uintptr_t)text % 16 == 0);
    umem_free(text, size);

    int *zeroes = umem_zalloc(10 * sizeof(*zeroes), UMEM_NOFAIL);
    printf("zeroed: %d %d\n", zeroes[0], zeroes[9]);
    umem_free(zeroes, 10 * sizeof(*zeroes));

    void *page = umem_alloc_align(10000, 4096, UMEM_DEFAULT);
    if (page == NULL)
        return 1;
    printf("page-aligned: %d\n", (uintptr_t)page % 4096 == 0);
    umem_free_align(page, 10000);

    errno = 0;
    printf("size 0: %p, errno %d\n", umem_alloc(0, UMEM_DEFAULT), errno);
    return 0;
}
