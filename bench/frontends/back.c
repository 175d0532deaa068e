/* SPDX-License-Identifier: MIT */
/*
 * back.c - the back end that both front ends stand on: objects cut one by one
 * from a large mapping, a depot of full and empty magazines, one lock.
 */
#include "frontends.h"

#ifdef FRONTENDS_SUPPORTED

#include <pthread.h>
#include <sys/mman.h>

/* Address space for all objects and magazines of a run; only what is used gets memory. */
#define ARENA_SIZE ((size_t)16 << 30)

static struct {
    pthread_mutex_t lock; /* all of this */
    char *low, *high;     /* untouched arena: objects from below, magazines from above */
    struct magazine *full, *empty;
    struct object *loose; /* objects that no magazine has */
    size_t cut, fulls, looses;
} back = {.lock = PTHREAD_MUTEX_INITIALIZER};

void
back_init(void)
{
    back.low = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (back.low == MAP_FAILED)
        die("no address space");
    back.high = back.low + ARENA_SIZE; /* aligned as pages are */
}

static void
push_magazine(struct magazine **list, struct magazine *mag)
{
    mag->mag_next = *list;
    *list = mag;
}

struct magazine *
back_get_full(struct magazine *mag)
{
    pthread_mutex_lock(&back.lock);
    struct magazine *full = back.full;
    if (full != NULL) {
        back.full = full->mag_next;
        back.fulls--;
        if (mag != NULL)
            push_magazine(&back.empty, mag);
    }
    pthread_mutex_unlock(&back.lock);
    return full;
}

struct magazine *
back_get_empty(struct magazine *mag)
{
    pthread_mutex_lock(&back.lock);
    struct magazine *empty = back.empty;
    if (empty != NULL)
        back.empty = empty->mag_next;
    else
        empty = (struct magazine *)(void *)(back.high -= MAGAZINE_SIZE);
    if (mag != NULL) {
        push_magazine(&back.full, mag);
        back.fulls++;
    }
    pthread_mutex_unlock(&back.lock);
    return empty;
}

void
back_put(struct magazine *mag, bool full)
{
    pthread_mutex_lock(&back.lock);
    push_magazine(full ? &back.full : &back.empty, mag);
    back.fulls += full;
    pthread_mutex_unlock(&back.lock);
}

void *
back_object(void)
{
    pthread_mutex_lock(&back.lock);
    struct object *obj = back.loose;
    if (obj != NULL) {
        back.loose = obj->obj_next;
        back.looses--;
    } else {
        obj = (struct object *)(void *)back.low;
        back.low += OBJECT_SIZE;
        back.cut++;
        if (back.low > back.high - (1 << 20))
            die("arena used up");
    }
    pthread_mutex_unlock(&back.lock);
    return obj;
}

void
back_loose(void **rounds, size_t n)
{
    pthread_mutex_lock(&back.lock);
    for (size_t i = 0; i < n; i++) {
        struct object *obj = rounds[i];
        obj->obj_next = back.loose;
        back.loose = obj;
    }
    back.looses += n;
    pthread_mutex_unlock(&back.lock);
}

size_t
back_outside(void)
{
    return back.cut - back.looses - back.fulls * ROUNDS;
}

#endif
