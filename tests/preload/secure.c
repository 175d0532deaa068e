/* SPDX-License-Identifier: MIT */
/* Prints whether the process is a secure one and what fresh memory holds. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

int
main(void)
{
    unsigned *p = malloc(400);
    __asm__ volatile("" : "+r"(p));
    if (p == NULL)
        return 1;
    printf("secure %lu, euid %u, fresh memory %08x\n", getauxval(AT_SECURE), geteuid(), p[50]);
    free(p);
    return 0;
}
