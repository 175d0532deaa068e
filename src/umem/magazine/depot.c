/* SPDX-License-Identifier: MIT */
/*
 * depot.c - the depot: full and empty magazines of one cache.
 *
 * After Bonwick and Adams, "Magazines and Vmem" (USENIX 2001), sections 3.1 to
 * 3.6: exchange of whole magazines, working-set reaping, resizing.  A size
 * that has proved itself is remembered in depot_mag_size: it grows when the
 * lock is contended (their rule), and when a cache needs many magazines at the
 * current size (ours: a lone thread that frees by the thousand contends with
 * nobody and still pays for each exchange).
 */
#include "magazine/depot.h"

#include "os/meta.h"

/*
 * Rounds are 2^n - 2, so that a magazine with its 16-byte header fills a
 * power-of-two block of the metadata pool.
 */
#define MAG_SIZE_MIN 2u      /* 32 bytes */
#define MAG_SIZE_INITIAL 14u /* 128 bytes: cheap for a thread that allocates little */
/* Objects that one magazine may hold, in bytes; a thread has two magazines a cache. */
#define MAG_BYTES_MAX ((size_t)128 * 1024)
/* Failed trylocks in an update interval above which the size takes a step. */
#define CONTENTION_MAX 3u
/* Magazines of one size before the next ones are made larger. */
#define CREATED_MAX 4u

_Static_assert(sizeof(struct magazine) == 16 || sizeof(void *) == 4, "see MAG_SIZE_MIN");

/* The next size up or the same: 2^n - 2 -> 2^(n+1) - 2. */
static uint32_t
next_size(uint32_t size)
{
    return 2 * (size + 2) - 2;
}

void
depot_init(struct depot *depot, size_t object_size)
{
    uint32_t max = MAG_SIZE_MIN;

    while (max < MAGAZINE_ROUNDS_MAX && next_size(max) * object_size <= MAG_BYTES_MAX)
        max = next_size(max);
    umem_lock_init(&depot->depot_lock, UMEM_RANK_DEPOT);
    depot->depot_mag_size_max = max;
    depot->depot_mag_size = max < MAG_SIZE_INITIAL ? max : MAG_SIZE_INITIAL;
}

struct magazine *
magazine_create(uint32_t size)
{
    struct magazine *mag = umem_meta_alloc(sizeof(*mag) + size * sizeof(void *));

    if (mag != NULL)
        mag->mag_size = size;
    return mag;
}

void
magazine_destroy(struct magazine *mag)
{
    umem_meta_free(mag, sizeof(*mag) + mag->mag_size * sizeof(void *));
}

static void
push(struct magazine_list *list, struct magazine *mag)
{
    mag->mag_next = list->list_head;
    list->list_head = mag;
    list->list_count++;
}

static struct magazine *
pop(struct magazine_list *list)
{
    struct magazine *mag = list->list_head;

    if (mag != NULL) {
        list->list_head = mag->mag_next;
        mag->mag_next = NULL;
        list->list_count--;
        if (list->list_count < list->list_min)
            list->list_min = list->list_count;
    }
    return mag;
}

static void
put_locked(struct depot *depot, struct magazine *mag)
{
    if (mag == NULL)
        return;
    if (mag->mag_rounds == 0) {
        push(&depot->depot_empty, mag);
    } else {
        push(&depot->depot_full, mag);
        depot->depot_rounds += mag->mag_rounds;
    }
}

static struct magazine *
pop_full(struct depot *depot)
{
    struct magazine *mag = pop(&depot->depot_full);

    if (mag != NULL)
        depot->depot_rounds -= mag->mag_rounds;
    return mag;
}

/* Takes the lock, noting whether somebody else had it. */
static void
lock_counting(struct depot *depot)
{
    if (umem_lock_try(&depot->depot_lock))
        return;
    umem_lock_acquire(&depot->depot_lock);
    depot->depot_contention++;
}

bool
depot_get_full(struct depot *depot, struct magazine **mag)
{
    lock_counting(depot);
    struct magazine *full = pop_full(depot);
    if (full != NULL) {
        put_locked(depot, *mag);
        *mag = full;
    }
    umem_lock_release(&depot->depot_lock);
    return full != NULL;
}

/* Capacity for a magazine that must be made now; the lock is held. */
static uint32_t
size_for_new(struct depot *depot)
{
    if (++depot->depot_created > CREATED_MAX && depot->depot_mag_size < depot->depot_mag_size_max) {
        depot->depot_mag_size = next_size(depot->depot_mag_size);
        depot->depot_created = 1;
    }
    return depot->depot_mag_size;
}

bool
depot_get_empty(struct depot *depot, struct magazine **mag)
{
    lock_counting(depot);
    struct magazine *empty = pop(&depot->depot_empty);
    if (empty == NULL) {
        uint32_t size = size_for_new(depot);
        umem_lock_release(&depot->depot_lock);
        empty = magazine_create(size);
        if (empty == NULL)
            return false;
        umem_lock_acquire(&depot->depot_lock);
    }
    put_locked(depot, *mag);
    *mag = empty;
    umem_lock_release(&depot->depot_lock);
    return true;
}

void
depot_put(struct depot *depot, struct magazine *mag)
{
    if (mag == NULL)
        return;
    umem_lock_acquire(&depot->depot_lock);
    put_locked(depot, mag);
    umem_lock_release(&depot->depot_lock);
}

void
depot_retire(struct depot *depot, uint64_t allocs)
{
    if (allocs == 0)
        return;
    umem_lock_acquire(&depot->depot_lock);
    depot->depot_retired_allocs += allocs;
    umem_lock_release(&depot->depot_lock);
}

static void
update_list(struct magazine_list *list)
{
    list->list_reap = list->list_min;
    list->list_min = list->list_count;
}

void
depot_update(struct depot *depot)
{
    umem_lock_acquire(&depot->depot_lock);
    update_list(&depot->depot_full);
    update_list(&depot->depot_empty);
    if (depot->depot_contention > CONTENTION_MAX &&
        depot->depot_mag_size < depot->depot_mag_size_max)
        depot->depot_mag_size = next_size(depot->depot_mag_size);
    depot->depot_contention = 0;
    umem_lock_release(&depot->depot_lock);
}

void
depot_zero_working_set(struct depot *depot)
{
    umem_lock_acquire(&depot->depot_lock);
    depot->depot_full.list_reap = depot->depot_full.list_min = depot->depot_full.list_count;
    depot->depot_empty.list_reap = depot->depot_empty.list_min = depot->depot_empty.list_count;
    umem_lock_release(&depot->depot_lock);
}

/* Moves up to max reapable magazines to the chain; returns how many. */
static size_t
take_from(struct depot *depot, struct magazine_list *list, size_t max, struct magazine **chain)
{
    size_t want = umem_min(umem_min(list->list_reap, list->list_min), max);

    for (size_t i = 0; i < want; i++) {
        struct magazine *mag = list == &depot->depot_full ? pop_full(depot) : pop(list);
        UMEM_VERIFY(mag != NULL); /* list_min never exceeds list_count */
        mag->mag_next = *chain;
        *chain = mag;
    }
    list->list_reap -= umem_min(list->list_reap, want);
    return want;
}

struct magazine *
depot_take_reapable(struct depot *depot, size_t max)
{
    struct magazine *chain = NULL;

    umem_lock_acquire(&depot->depot_lock);
    size_t taken = take_from(depot, &depot->depot_full, max, &chain);
    (void)take_from(depot, &depot->depot_empty, max - taken, &chain);
    umem_lock_release(&depot->depot_lock);
    return chain;
}

struct magazine *
depot_take_all(struct depot *depot)
{
    depot_zero_working_set(depot);
    return depot_take_reapable(depot, SIZE_MAX);
}

static bool
verify_list(const struct magazine_list *list, bool full, size_t *rounds)
{
    size_t count = 0;

    for (const struct magazine *mag = list->list_head; mag != NULL; mag = mag->mag_next) {
        if (mag->mag_rounds > mag->mag_size || (mag->mag_rounds != 0) != full)
            return false;
        *rounds += mag->mag_rounds;
        count++;
    }
    return count == list->list_count && list->list_min <= count;
}

bool
depot_verify(struct depot *depot)
{
    size_t rounds = 0;

    umem_lock_acquire(&depot->depot_lock);
    bool good = verify_list(&depot->depot_full, true, &rounds) &&
                verify_list(&depot->depot_empty, false, &rounds) && rounds == depot->depot_rounds;
    umem_lock_release(&depot->depot_lock);
    return good;
}
