/* SPDX-License-Identifier: MIT */
/*
 * Blocks of glibc's own malloc: held in every way that matters, or lost, with
 * free ones of every kind beside them.
 *
 *   glibc_kinds [lose] [THREADS]   says "ready" and waits; THREADS: each of so many
 *                           allocates from an arena of its own too, and waits
 *   glibc_kinds ... smash   with the header of one chunk overwritten besides
 *
 * What is lost is lost for certain: pointers are overwritten, and the dead part
 * of the stack is wiped.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SITE __attribute__((noipa)) static
#define WIPED 65536
#define THREADS_MAX 16

enum {
    LOST_SMALL = 7,    /* of 100 bytes */
    LOST_MIDDLE = 3,   /* of 5,000 */
    LOST_MAPPED = 2,   /* of 1,000,000: mappings of their own */
    LOST_LIST = 5,     /* of 40, each held by the one before */
    LOST_BY_THREAD = 4 /* of 200 */
};

struct node {
    struct node *next;
    char rest[32];
};

static void *volatile held[4096];
static int held_count;
static pthread_barrier_t barrier;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

SITE void
hold(void *p)
{
    pthread_mutex_lock(&mutex);
    held[held_count++] = p;
    pthread_mutex_unlock(&mutex);
}

SITE void *
filled(size_t size)
{
    void *p = malloc(size);
    if (p == NULL)
        abort();
    return memset(p, 1, size);
}

SITE void
wipe(void)
{
    volatile char dead[WIPED];
    __asm__ volatile("" : : "r"(memset((char *)dead, 0, sizeof(dead))) : "memory");
}

/* Free chunks in a thread's cache, in fast bins, in small, large and unsorted bins, and on top. */
SITE void
free_some(void)
{
    static const size_t sizes[] = {24, 100, 104, 600, 5000, 70000, 400000};
    void *blocks[64];
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        for (size_t i = 0; i < 40; i++)
            blocks[i] = filled(sizes[s]);
        for (size_t i = 0; i < 40; i++)
            if (i % 3 == 2)
                hold(blocks[i]);
            else
                free(blocks[i]);
    }
    memset(blocks, 0, sizeof(blocks));
}

SITE void
lose(void)
{
    struct node *list = NULL;
    for (int i = 0; i < LOST_SMALL; i++)
        filled(100);
    for (int i = 0; i < LOST_MIDDLE; i++)
        filled(5000);
    for (int i = 0; i < LOST_MAPPED; i++)
        filled(1000000);
    for (int i = 0; i < LOST_LIST; i++) {
        struct node *node = filled(sizeof(*node));
        node->next = list;
        list = node;
    }
}

static void *
run(void *losing)
{
    free_some();
    if (losing != NULL)
        for (int i = 0; i < LOST_BY_THREAD; i++)
            filled(200);
    wipe();
    pthread_barrier_wait(&barrier);
    pause();
    return NULL;
}

/* As an overrun does: the size of the chunk behind is gone. */
SITE void
smash(void)
{
    char *first = filled(3000);
    hold(first);
    hold(filled(3000));
    memset(first + malloc_usable_size(first), 'x', sizeof(size_t));
}

int
main(int argc, char **argv)
{
    static char losing;
    int threads = 0;
    int smashing = 0;
    int lost = 0;
    for (int i = 1; i < argc; i++) {
        lost |= strcmp(argv[i], "lose") == 0;
        smashing |= strcmp(argv[i], "smash") == 0;
        threads += atoi(argv[i]);
    }
    if (threads > THREADS_MAX)
        return 2;
    pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1);
    free_some();
    if (lost)
        lose();
    for (int i = 0; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, run, lost ? &losing : NULL) != 0)
            return 1;
    }
    pthread_barrier_wait(&barrier);
    free_some();
    if (smashing)
        smash();
    wipe();
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
