/* SPDX-License-Identifier: MIT */
/*
 * mtbf.c - testing what a program does when memory runs out, by making
 * allocations fail.
 */
#include <stdio.h>
#include <string.h>
#include <umem.h>

/* A copy of text, or NULL: the error path that is to be tested. */
static char *
copy(const char *text)
{
    size_t size = strlen(text) + 1;
    char *result = umem_alloc(size, UMEM_DEFAULT);
    return result == NULL ? NULL : memcpy(result, text, size);
}

int
main(void)
{
    umem_setmtbf(1); /* every allocation fails */
    printf("with mtbf 1: %s\n", copy("text") == NULL ? "handled" : "not made to fail");
    umem_setmtbf(0); /* none does */
    char *text = copy("text");
    printf("with mtbf 0: %s\n", text == NULL ? "failed" : text);
    if (text != NULL)
        umem_free(text, strlen(text) + 1);
    return 0;
}
