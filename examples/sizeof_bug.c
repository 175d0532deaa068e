/* SPDX-License-Identifier: MIT */
/*
 * sizeof_bug.c - the mistake that this project's origin tells of: memory for a
 * pointer where memory for the structure was meant.
 *
 * It runs without complaint on its own.  With the library preloaded and
 * UMEM_DEBUG=audit=64,guard it dies at the free, with the stack of the
 * allocation.  `make demo` shows that.
 */
#include <stdio.h>
#include <stdlib.h>

typedef struct alloc {
    void *left;
    void *right;
} alloc_t;

/* In functions of their own, so that no compiler warns us of what we came to show. */
__attribute__((noipa)) static alloc_t *
new_alloc(void)
{
    alloc_t *na;
    na = (alloc_t *)malloc(sizeof(na)); /* meant: sizeof(alloc_t) */
    if (na == NULL)
        abort();
    return na;
}

__attribute__((noipa)) static void
fill(alloc_t *na, void *left, void *right)
{
    na->left = left;
    na->right = right; /* past the end */
}

int
main(void)
{
    alloc_t *na = new_alloc();
    fill(na, na, na);
    printf("asked for %zu bytes, wrote %zu\n", sizeof(na), sizeof(*na));
    fflush(stdout);
    free(na);
    puts("freed without complaint");
    return 0;
}
