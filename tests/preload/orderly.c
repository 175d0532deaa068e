/* SPDX-License-Identifier: MIT */
/* Uses the heap and says nothing. */
#include <stdlib.h>

int
main(void)
{
    for (size_t i = 0; i < 3000; i++) {
        void *p = calloc(1, i * 10);
        __asm__ volatile("" : "+r"(p));
        p = realloc(p, i * 20 + 1);
        free(p);
    }
    return 0;
}
