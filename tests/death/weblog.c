/* SPDX-License-Identifier: MIT */
/*
 * The mistake that the library is known for finding: memory for a pointer
 * where memory for a structure of two was meant.
 */
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    void *first;
    void *second;
} alloc_t;

alloc_t *make_pair(void);

alloc_t *
make_pair(void)
{
    alloc_t *na;
    na = (alloc_t *)malloc(sizeof(na));
    na->first = na;
    na->second = stdout;
    return na;
}

int
main(void)
{
    alloc_t *na = make_pair();
    printf("%s\n", na->first == na && na->second == stdout ? "both set" : "lost");
    fflush(stdout);
    free(na);
    puts("freed");
    return 0;
}
