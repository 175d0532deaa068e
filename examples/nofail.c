/* SPDX-License-Identifier: MIT */
/*
 * nofail.c - what to do when an allocation that must not fail fails: give up
 * a reserve and try again.
 */
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <umem.h>

#define RESERVE_SIZE ((size_t)64 << 20)

static void *reserve;
static size_t reserve_size;

static int
give_up_reserve(void)
{
    if (reserve == NULL)
        return UMEM_CALLBACK_EXIT(3);
    puts("out of memory: the reserve is given up");
    umem_free(reserve, reserve_size);
    reserve = NULL;
    umem_reap();
    return UMEM_CALLBACK_RETRY;
}

int
main(void)
{
    reserve_size = RESERVE_SIZE;
    reserve = umem_alloc(reserve_size, UMEM_DEFAULT);
    if (reserve == NULL)
        return 1;
    umem_nofail_callback(give_up_reserve);

    /* Room for the reserve and a little more, but not for two of its size. */
    struct rlimit limit = {RESERVE_SIZE * 3 / 2, RESERVE_SIZE * 3 / 2};
    setrlimit(RLIMIT_AS, &limit);
    char *wanted = umem_alloc(RESERVE_SIZE / 2, UMEM_NOFAIL);
    wanted[0] = 1;
    puts("allocated after all");
    umem_free(wanted, RESERVE_SIZE / 2);
    return 0;
}
