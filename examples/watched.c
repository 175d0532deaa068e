/* SPDX-License-Identifier: MIT */
/*
 * watched.c - a free list in front of a cache, which makes way where each
 * allocation is to be seen.
 */
#include <stdio.h>
#include <umem.h>

struct event {
    struct event *next; /* in the list */
    char text[100];
};

static umem_cache_t *cache;
static struct event *list;

static struct event *
get(void)
{
    struct event *event = list;
    if (event == NULL)
        return umem_cache_alloc(cache, UMEM_DEFAULT);
    list = event->next;
    return event;
}

static void
put(struct event *event)
{
    if (umem_cache_watched(cache)) {
        umem_cache_free(cache, event);
        return;
    }
    event->next = list;
    list = event;
}

/* Called by umem_reap(), and where an audit begins. */
static void
give_back(void *unused)
{
    (void)unused;
    while (list != NULL) {
        struct event *event = list;
        list = event->next;
        umem_cache_free(cache, event);
    }
}

int
main(void)
{
    cache =
        umem_cache_create("event", sizeof(struct event), 0, NULL, NULL, give_back, NULL, NULL, 0);
    if (cache == NULL)
        return 1;
    put(get());
    if (umem_audit_start(NULL) != 0)
        return 1;
    printf("in the list under audit: %d\n", list != NULL);
    put(get());
    printf("and after: %d\n", list != NULL);
    return umem_audit_stop();
}
