/* SPDX-License-Identifier: MIT */
/*
 * A program whose core is small, and has in it what there can be in a heap:
 * blocks that are held, lost, lost in a circle, free, large, aligned; a string;
 * a row of freed ones, more than a thread of glibc's keeps.  Unless it is to be
 * alone, a thread does the same; as "alone die" it dies.  Where libumem is preloaded a cache with a
 * constructor and a reserve, and an arena; where libstackalloc is, two stacks.
 * What the corpus of the fuzz targets is made of.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stackalloc.h"
#include "sys/vmem.h"
#include "umem.h"

#pragma weak umem_cache_create
#pragma weak umem_cache_alloc
#pragma weak umem_cache_free
#pragma weak umem_cache_reserve
#pragma weak vmem_create
#pragma weak vmem_alloc
#pragma weak stack_alloc
#pragma weak stack_free

#define ROW 12 /* glibc keeps 7 for the thread */
#define OBJECT_SIZE 72
#define LARGE_SIZE ((size_t)200000)
#define STACK_SIZE ((size_t)32768)

struct node {
    struct node *next;
    char *text;
};

static void *volatile held[3 * ROW];
static size_t held_count;
static void *objects[ROW];

static void *
must(void *p)
{
    if (p == NULL)
        abort();
    return p;
}

static void
hold(void *p)
{
    held[held_count++] = must(p);
}

/* Nothing leads to them but they to each other. */
static void
lose(bool circle)
{
    struct node *first = must(calloc(1, sizeof(*first)));
    struct node *second = must(calloc(1, sizeof(*second)));
    first->next = second;
    first->text = must(strdup("a string that is lost"));
    second->next = circle ? first : NULL;
}

static void
work(void)
{
    static const size_t sizes[] = {24, 56, 200, 1000};
    void *row[ROW];
    for (size_t i = 0; i < ROW; i++)
        row[i] = must(malloc(40));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        hold(malloc(sizes[i]));
        free(must(malloc(sizes[i])));
    }
    hold(row[0]);
    for (size_t i = 2; i < ROW; i++) /* one in between is lost */
        free(row[i]);
    lose(false);
    lose(true);
}

static void *
run(void *arg)
{
    work();
    pause();
    return arg;
}

/* --- What only libumem has --- */

static int
construct(void *object, void *arg, int flags)
{
    (void)arg;
    (void)flags;
    memset(object, 0, OBJECT_SIZE);
    *(void **)object = malloc(24);
    return 0;
}

static void
destroy(void *object, void *arg)
{
    (void)arg;
    free(*(void **)object);
}

static void
use_umem(void)
{
    umem_cache_t *cache =
        umem_cache_create("objects", OBJECT_SIZE, 0, construct, destroy, NULL, NULL, NULL, 0);
    for (size_t i = 0; i < ROW; i++)
        objects[i] = must(umem_cache_alloc(cache, UMEM_DEFAULT));
    for (size_t i = ROW / 2; i < ROW; i++)
        umem_cache_free(cache, objects[i]);
    (void)umem_cache_reserve(cache, 2);
    vmem_t *ids = vmem_create("ids", (void *)1, 100, 1, NULL, NULL, NULL, 0, VM_NOSLEEP);
    (void)vmem_alloc(ids, 3, VM_NOSLEEP);
    (void)vmem_alloc(ids, 1, VM_NOSLEEP);
}

static void
use_stacks(void)
{
    must(stack_alloc(STACK_SIZE));
    if (stack_free(must(stack_alloc(STACK_SIZE)), STACK_SIZE) != 0)
        abort();
}

int
main(int argc, char **argv)
{
    pthread_t thread;
    pthread_attr_t attr;
    work();
    hold(malloc(LARGE_SIZE));
    hold(aligned_alloc(4096, 4096));
    if (umem_cache_create != NULL)
        use_umem();
    if (stack_alloc != NULL)
        use_stacks();
    if (argc == 1 &&
        (pthread_attr_init(&attr) != 0 || pthread_attr_setstacksize(&attr, 65536) != 0 ||
         pthread_create(&thread, &attr, run, NULL) != 0))
        return 1;
    if (argc > 2 && strcmp(argv[2], "die") == 0)
        abort();
    usleep(100000);
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
