/* SPDX-License-Identifier: MIT */
/*
 * Threads that use the heap in every way, none of it wrong, beside one that
 * looks at all of it again and again.
 *
 *   verify_beside [damage]
 *
 * With damage one block is overrun first, and then found.
 */
#include "object.h"

#define THREADS 3
#define LOOKS 300

static volatile int done;
static umem_cache_t *cache;

static void *
work(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    char *live[64] = {NULL};

    while (!done) {
        seed = seed * 1103515245 + 12345;
        unsigned slot = seed >> 16 & 63;
        /* Long ones take long to fill: the look comes in between. */
        size_t size = seed % 5 == 0 ? 50000 + seed % 150000 : seed % 3000 + 1;
        if (seed % 3 == 0) {
            live[slot] = opaque(realloc(live[slot], size));
        } else {
            free(live[slot]);
            live[slot] = opaque(seed % 2 != 0 ? malloc(size) : calloc(size, 1));
        }
        memset(live[slot], 'w', size);
        void *object = make_object(cache);
        memset(object, 'o', 72);
        drop_object(cache, object);
    }
    for (int i = 0; i < 64; i++)
        free(live[i]);
    return NULL;
}

int
main(int argc, char **argv)
{
    pthread_t thread[THREADS];
    size_t corrupt = 0;
    char *p = make_buffer(100);

    cache = new_cache("anvil_cache", 72);
    if (argc > 1 && strcmp(argv[1], "damage") == 0)
        p[100] = 'A';
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, work, (void *)(i + 1));
    for (int i = 0; i < LOOKS; i++)
        corrupt += umem_verify();
    done = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    printf("%zu corrupt\n", corrupt + umem_verify());
    return 0;
}
