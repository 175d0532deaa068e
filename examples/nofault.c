/* SPDX-License-Identifier: MIT */
/*
 * nofault.c - a real-time program asserts that the work it does in each period
 * neither faults nor comes to a slow path of the allocator.
 */
#include <stdio.h>
#include <umem.h>

#define MESSAGES 16 /* that are under way at a time */

static umem_cache_t *cache;

static void
period(void)
{
    char *message[MESSAGES];

    for (int i = 0; i < MESSAGES; i++) {
        message[i] = umem_cache_alloc(cache, UMEM_NOFAIL);
        message[i][0] = 1;
    }
    for (int i = MESSAGES; i-- > 0;)
        umem_cache_free(cache, message[i]);
}

static void
say(const char *what, const struct umem_nofault *nf)
{
    printf("%s: slow allocations %d, slow frees %d\n", what, (int)nf->nf_allocs, (int)nf->nf_frees);
}

int
main(void)
{
    struct umem_nofault nf;

    cache = umem_cache_create("message", 1000, 0, NULL, NULL, NULL, NULL, NULL, 0);
    if (cache == NULL || umem_cache_reserve(cache, MESSAGES) != 0 || umem_cache_seal(cache) != 0) {
        perror("a sealed cache of messages");
        return 1;
    }
    /* The first turn is a rehearsal: it faults in what the code touches. */
    for (int turn = 0; turn < 2; turn++) {
        umem_nofault_begin(&nf);
        period();
        if (umem_nofault_end(&nf) != 0 && turn > 0)
            umem_nofault_print(&nf);
    }
    say("sealed", &nf);
    printf("system calls %d, page faults %d\n", (int)nf.nf_syscalls, (int)nf.nf_faults);
    umem_cache_destroy(cache);

    umem_nofault_begin(&nf);
    umem_free(umem_alloc(1 << 20, UMEM_NOFAIL), 1 << 20);
    if (umem_nofault_end(&nf) != 0 && nf.nf_first == UMEM_NOFAULT_ALLOC)
        say("of a megabyte", &nf);
    return 0;
}
