/* SPDX-License-Identifier: MIT */
/*
 * reserve.c - a real-time thread takes its messages out of a sealed cache: no
 * system call, no page fault, no lock.
 */
#include <pthread.h>
#include <stdio.h>
#include <umem.h>

#define MESSAGES 64 /* that are under way at a time */

struct message {
    int number;
    char text[1000];
};

static umem_cache_t *cache;

static void *
real_time(void *arg)
{
    struct message *sent[MESSAGES];
    (void)arg;
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < MESSAGES; i++) {
            sent[i] = umem_cache_alloc(cache, UMEM_DEFAULT);
            if (sent[i] == NULL)
                return NULL;
            sent[i]->number = i;
        }
        for (int i = 0; i < MESSAGES; i++)
            umem_cache_free(cache, sent[i]);
    }
    return NULL;
}

int
main(void)
{
    pthread_t thread;

    cache = umem_cache_create("message", sizeof(struct message), 0, NULL, NULL, NULL, NULL, NULL,
                              UMC_NOTOUCH);
    if (cache == NULL || umem_cache_reserve(cache, MESSAGES) != 0 || umem_cache_seal(cache) != 0) {
        perror("a sealed cache of messages");
        return 1;
    }
    if (pthread_create(&thread, NULL, real_time, NULL) != 0)
        return 1;
    pthread_join(thread, NULL);
    printf("breaches: %d\n", (int)umem_cache_breaches(cache));

    /* One more than there are is served nevertheless, and counted. */
    void *held[MESSAGES + 1];
    for (int i = 0; i <= MESSAGES; i++)
        held[i] = umem_cache_alloc(cache, UMEM_DEFAULT);
    printf("breaches with %d in use: %d\n", MESSAGES + 1, (int)umem_cache_breaches(cache));
    for (int i = 0; i <= MESSAGES; i++)
        umem_cache_free(cache, held[i]);
    umem_cache_destroy(cache);
    return 0;
}
