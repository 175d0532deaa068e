/* SPDX-License-Identifier: MIT */
/*
 * cache.c - an object cache: the lock in each object is initialised when the
 * object's memory is first used, and stays so from free to the next alloc.
 */
#include <pthread.h>
#include <stdio.h>
#include <umem.h>

struct session {
    pthread_mutex_t lock;
    int users;
};

static int constructed;

static int
session_construct(void *buf, void *private_data, int flags)
{
    struct session *session = buf;
    (void)private_data;
    (void)flags;
    session->users = 0;
    constructed++;
    return pthread_mutex_init(&session->lock, NULL);
}

static void
session_destroy(void *buf, void *private_data)
{
    struct session *session = buf;
    (void)private_data;
    pthread_mutex_destroy(&session->lock);
    constructed--;
}

int
main(void)
{
    umem_cache_t *cache = umem_cache_create("session", sizeof(struct session), 0, session_construct,
                                            session_destroy, NULL, NULL, NULL, 0);
    if (cache == NULL) {
        perror("umem_cache_create");
        return 1;
    }
    for (int i = 0; i < 1000; i++) {
        struct session *session = umem_cache_alloc(cache, UMEM_DEFAULT);
        if (session == NULL)
            return 1;
        pthread_mutex_lock(&session->lock);
        session->users++;
        pthread_mutex_unlock(&session->lock);
        session->users--; /* an object goes back in its constructed state */
        umem_cache_free(cache, session);
    }
    printf("1000 sessions, constructed fewer times: %d\n", constructed < 1000);
    umem_cache_destroy(cache);
    printf("constructed after umem_cache_destroy: %d\n", constructed);
    return 0;
}
