/* SPDX-License-Identifier: MIT */
/*
 * depot.c - the depot: full and empty magazines of one cache.
 *
 * After Bonwick and Adams, "Magazines and Vmem" (USENIX 2001), sections 3.1 to
 * 3.6: exchange of whole magazines, working-set reaping, resizing.  Theirs
 * grow where the lock is contended; ours do so also for a bin that comes here
 * often (tcache_bin.c counts), since a lone thread that frees by the thousand
 * contends with nobody and still pays for each exchange.
 *
 * What all magazines of all caches may hold is bounded, so that a thousand
 * threads do not keep a thousand times what one does: beyond the bound they
 * stay at the size that they begin with.
 */
#include "magazine/depot.h"

#include "os/meta.h"

/*
 * Rounds are 2^n - 2, so that a magazine with its 16-byte header fills a
 * power-of-two block of the metadata pool.  Of objects so large that two
 * would be too many a magazine holds one.
 */
#define MAG_SIZE_ONE 1u
#define MAG_SIZE_MIN 2u      /* 32 bytes */
#define MAG_SIZE_INITIAL 14u /* 128 bytes: cheap for a thread that allocates little */
/*
 * Bytes of objects that one magazine may hold.  A bin that sways, a thousand
 * objects out and a thousand in, would pass them to and fro through the depot,
 * where other threads' cold ones lie too.
 */
#define MAG_BYTES_MAX ((size_t)64 * 1024)
#define MAG_ROUNDS_MAX 254
#define MAG_BYTES_SWAY ((size_t)256 * 1024)
/*
 * Of objects above this, which cost more to use than to exchange, a magazine
 * holds less: a program that needs a few of each size would keep most of them.
 */
#define SMALL_OBJECT_MAX ((size_t)1024)
#define MAG_BYTES_LARGE ((size_t)16 * 1024)
/* But those of a bin that sways: two threads else meet at the depot with every block of 4 KiB. */
#define MAG_BYTES_LARGE_SWAY ((size_t)64 * 1024)
/* And the first ones of a bin: a thread that used a dozen sizes once keeps less than 8 KiB. */
#define MAG_BYTES_INITIAL ((size_t)512)
/* Bytes that all magazines there are may hold before none grows: 64 KiB of 1,000 threads each. */
#define MAG_BYTES_TOTAL_MAX ((size_t)64 * 1024 * 1024)
/*
 * Bytes by which regret may raise the bounds of all depots together: objects of
 * one size are of no use to another, as where a program's phases alternate.
 */
#define RAISED_BYTES_MAX ((size_t)128 * 1024 * 1024)
/*
 * Regret raises no bound of objects below this: their place in a magazine would
 * be a sixteenth of them and more, and a slab's bitmap has them by the bit, in
 * the order of their addresses.  (A Lua program ran a sixth faster so, in 4 %
 * less memory.)
 */
#define REGRET_SIZE_MIN (16 * sizeof(void *))
/* Largest magazines of objects that a bounded depot always may keep. */
#define KEPT_MIN 2u
/*
 * Bytes of empty magazines that a depot keeps; the pool of records has the
 * others for whoever needs one next.  In a program that frees and allocates by
 * turns each cache would else keep as many as it had full ones at its peak.
 */
#define EMPTY_BYTES_MAX ((size_t)32 * 1024)

size_t depot_bin_bytes_max = SIZE_MAX;
uint32_t depot_contention_max = DEPOT_CONTENTION_MAX;

_Static_assert(sizeof(struct magazine) == 16 || sizeof(void *) == 4, "see MAG_SIZE_MIN");

/* Bytes of objects that all magazines there are have room for. */
static _Atomic size_t bytes_total;
/* Bytes of objects by which bounds are above their minimum, in all depots. */
static _Atomic size_t bytes_raised;

/* The next size up: 1, 2, 6, 14, 30 and so on to 1,022. */
static uint32_t
next_size(uint32_t size)
{
    return size < MAG_SIZE_MIN ? MAG_SIZE_MIN : 2 * (size + 2) - 2;
}

/* The largest size up to limit whose objects take no more than bytes, or than a bin may hold. */
static uint32_t
largest_size(size_t object_size, size_t bytes, uint32_t limit)
{
    uint32_t size = MAG_SIZE_ONE;

    bytes = umem_min(bytes, depot_bin_bytes_max / MAGAZINES_A_BIN);
    while (size < limit && next_size(size) * object_size <= bytes)
        size = next_size(size);
    return size;
}

void
depot_init(struct depot *depot, size_t object_size, bool bounded)
{
    umem_lock_init(&depot->depot_lock, UMEM_RANK_DEPOT);
    depot->depot_object_size = object_size;
    bool small = object_size <= SMALL_OBJECT_MAX;
    depot->depot_mag_size_max =
        largest_size(object_size, small ? MAG_BYTES_MAX : MAG_BYTES_LARGE, MAG_ROUNDS_MAX);
    depot->depot_mag_size_sway = largest_size(
        object_size, small ? MAG_BYTES_SWAY : MAG_BYTES_LARGE_SWAY, MAGAZINE_ROUNDS_MAX);
    depot->depot_mag_size = largest_size(object_size, MAG_BYTES_INITIAL, MAG_SIZE_INITIAL);
    depot->depot_rounds_min = bounded ? KEPT_MIN * depot->depot_mag_size_max : SIZE_MAX;
    depot->depot_rounds_max = depot->depot_rounds_min;
}

static bool
is_memory_short(void)
{
    return atomic_load_explicit(&bytes_total, memory_order_relaxed) >= MAG_BYTES_TOTAL_MAX;
}

uint32_t
depot_next_size(const struct depot *depot, uint32_t size, bool sways)
{
    uint32_t max = sways ? depot->depot_mag_size_sway : depot->depot_mag_size_max;

    if (size == 0)
        return atomic_load_explicit(&depot->depot_mag_size, memory_order_relaxed);
    return size >= max || is_memory_short() ? size : next_size(size);
}

/* A line at least: two threads that shared one would write to it by turns, 16 ns each time. */
static size_t
magazine_bytes(uint32_t size)
{
    return umem_max(sizeof(struct magazine) + size * sizeof(void *), UMEM_CACHE_LINE);
}

struct magazine *
magazine_create(const struct depot *depot, uint32_t size)
{
    struct magazine *mag = umem_meta_alloc(magazine_bytes(size));

    if (mag != NULL) {
        mag->mag_size = size;
        atomic_fetch_add_explicit(&bytes_total, size * depot->depot_object_size,
                                  memory_order_relaxed);
    }
    return mag;
}

void
magazine_destroy(const struct depot *depot, struct magazine *mag)
{
    atomic_fetch_sub_explicit(&bytes_total, mag->mag_size * depot->depot_object_size,
                              memory_order_relaxed);
    umem_meta_free(mag, magazine_bytes(mag->mag_size));
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
        list->list_min = umem_min(list->list_min, list->list_count);
        list->list_idle = umem_min(list->list_idle, list->list_count);
    }
    return mag;
}

static bool
has_empties(const struct depot *depot, const struct magazine *mag)
{
    return !depot_is_pinned(depot) &&
           (depot->depot_empty.list_count + 1) * magazine_bytes(mag->mag_size) > EMPTY_BYTES_MAX;
}

/* Returns an empty one of which there are enough, to be destroyed without the lock. */
static struct magazine *
put_locked(struct depot *depot, struct magazine *mag)
{
    if (mag == NULL)
        return NULL;
    if (mag->mag_rounds != 0) {
        push(&depot->depot_full, mag);
        depot->depot_rounds += mag->mag_rounds;
        return NULL;
    }
    if (has_empties(depot, mag))
        return mag;
    push(&depot->depot_empty, mag);
    return NULL;
}

static void
destroy_spare(const struct depot *depot, struct magazine *spare)
{
    if (spare != NULL)
        magazine_destroy(depot, spare);
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

/* The bound was something else before. */
static void
note_raised(const struct depot *depot, size_t rounds_before)
{
    atomic_fetch_add_explicit(&bytes_raised,
                              (depot->depot_rounds_max - rounds_before) * depot->depot_object_size,
                              memory_order_relaxed);
}

/* Objects are wanted that were sent away not long ago: next time as many more may stay. */
static void
regret(struct depot *depot)
{
    size_t rounds = umem_min(depot->depot_sent_away, MAGAZINE_ROUNDS_MAX);

    if (rounds == 0 || !depot_is_bounded(depot) || depot->depot_object_size < REGRET_SIZE_MIN)
        return;
    depot->depot_sent_away -= rounds;
    depot->depot_regretted = true;
    if (atomic_load_explicit(&bytes_raised, memory_order_relaxed) < RAISED_BYTES_MAX) {
        depot->depot_rounds_max += rounds;
        note_raised(depot, depot->depot_rounds_max - rounds);
    }
}

bool
depot_get_full(struct depot *depot, struct magazine **mag)
{
    struct magazine *spare = NULL;

    lock_counting(depot);
    struct magazine *full = pop_full(depot);
    if (full != NULL) {
        spare = put_locked(depot, *mag);
        *mag = full;
    } else {
        regret(depot);
    }
    umem_lock_release(&depot->depot_lock);
    destroy_spare(depot, spare);
    return full != NULL;
}

/* An empty magazine of at least size rounds; smaller ones are replaced.  No lock held. */
static struct magazine *
large_enough(struct depot *depot, struct magazine *mag, uint32_t size)
{
    if (mag != NULL && mag->mag_size >= size)
        return mag;
    struct magazine *larger = magazine_create(depot, size);
    if (larger == NULL)
        return mag;
    if (mag != NULL)
        magazine_destroy(depot, mag);
    return larger;
}

bool
depot_get_empty(struct depot *depot, struct magazine **mag, uint32_t size,
                struct magazine **surplus)
{
    struct magazine *spare = NULL;

    *surplus = NULL;
    lock_counting(depot);
    struct magazine *empty = pop(&depot->depot_empty);
    if (empty == NULL || empty->mag_size < size) {
        umem_lock_release(&depot->depot_lock);
        empty = large_enough(depot, empty, size);
        if (empty == NULL)
            return false;
        umem_lock_acquire(&depot->depot_lock);
    }
    if (*mag != NULL && (*mag)->mag_rounds != 0 && depot_is_bounded(depot) &&
        depot->depot_rounds >= depot->depot_rounds_max) {
        *surplus = *mag;
        depot->depot_sent_away += (*mag)->mag_rounds;
    } else {
        spare = put_locked(depot, *mag);
    }
    *mag = empty;
    umem_lock_release(&depot->depot_lock);
    destroy_spare(depot, spare);
    return true;
}

void
depot_put(struct depot *depot, struct magazine *mag)
{
    if (mag == NULL)
        return;
    umem_lock_acquire(&depot->depot_lock);
    struct magazine *spare = put_locked(depot, mag);
    umem_lock_release(&depot->depot_lock);
    destroy_spare(depot, spare);
}

static void
update_list(struct magazine_list *list, size_t *reap)
{
    *reap = list->list_min;
    list->list_min = list->list_count;
}

/* Without regret the bound halves, down to its minimum. */
static void
update_bound(struct depot *depot)
{
    size_t before = depot->depot_rounds_max;

    if (depot_is_bounded(depot) && !depot->depot_regretted) {
        depot->depot_rounds_max = umem_max(before / 2, depot->depot_rounds_min);
        note_raised(depot, before);
    }
    depot->depot_regretted = false;
    depot->depot_sent_away = 0;
}

void
depot_update(struct depot *depot)
{
    umem_lock_acquire(&depot->depot_lock);
    update_list(&depot->depot_full, &depot->depot_full_reap);
    update_list(&depot->depot_empty, &depot->depot_empty_reap);
    update_bound(depot);
    if (depot->depot_contention > depot_contention_max &&
        depot->depot_mag_size < depot->depot_mag_size_max)
        depot->depot_mag_size = next_size(depot->depot_mag_size);
    depot->depot_contention = 0;
    umem_lock_release(&depot->depot_lock);
}

UMEM_COLD void
depot_zero_working_set(struct depot *depot)
{
    umem_lock_acquire(&depot->depot_lock);
    depot->depot_full_reap = depot->depot_full.list_min = depot->depot_full.list_count;
    depot->depot_empty_reap = depot->depot_empty.list_min = depot->depot_empty.list_count;
    umem_lock_release(&depot->depot_lock);
}

/* Moves up to max reapable magazines to the chain; returns how many. */
static size_t
take_from(struct depot *depot, struct magazine_list *list, size_t *reap, size_t max,
          struct magazine **chain)
{
    size_t want = umem_min(umem_min(*reap, list->list_min), max);

    for (size_t i = 0; i < want; i++) {
        struct magazine *mag = list == &depot->depot_full ? pop_full(depot) : pop(list);
        UMEM_VERIFY(mag != NULL); /* list_min never exceeds list_count */
        mag->mag_next = *chain;
        *chain = mag;
    }
    *reap -= want;
    return want;
}

size_t
depot_take_reapable(struct depot *depot, size_t max, struct magazine **chain)
{
    *chain = NULL;
    umem_lock_acquire(&depot->depot_lock);
    size_t taken = take_from(depot, &depot->depot_full, &depot->depot_full_reap, max, chain);
    taken += take_from(depot, &depot->depot_empty, &depot->depot_empty_reap, max - taken, chain);
    umem_lock_release(&depot->depot_lock);
    return taken;
}

UMEM_COLD size_t
depot_take_oldest(struct depot *depot, size_t keep, bool idle, struct magazine **chain)
{
    struct magazine_list *full = &depot->depot_full;
    struct magazine **link = &full->list_head;
    size_t kept = 0, count = 0;

    *chain = NULL;
    umem_lock_acquire(&depot->depot_lock);
    if (depot->depot_rounds <= keep) {
        full->list_idle = idle ? full->list_count : full->list_idle;
        umem_lock_release(&depot->depot_lock);
        return 0;
    }
    /* What was taken and put back since lies in front of what lay idle. */
    size_t busy = idle ? full->list_count - full->list_idle : 0;
    for (; *link != NULL && (kept < keep || count < busy); link = &(*link)->mag_next) {
        kept += (*link)->mag_rounds;
        count++;
    }
    size_t taken = depot->depot_rounds - kept;
    *chain = *link;
    *link = NULL;
    depot->depot_rounds = kept;
    full->list_count = count;
    full->list_min = umem_min(full->list_min, count);
    if (idle || full->list_idle > count)
        full->list_idle = count;
    umem_lock_release(&depot->depot_lock);
    return taken;
}

UMEM_COLD struct magazine *
depot_take_all(struct depot *depot)
{
    struct magazine *chain;

    depot_zero_working_set(depot);
    (void)depot_take_reapable(depot, SIZE_MAX, &chain);
    return chain;
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

UMEM_COLD bool
depot_verify(struct depot *depot)
{
    size_t rounds = 0;

    umem_lock_acquire(&depot->depot_lock);
    bool good = verify_list(&depot->depot_full, true, &rounds) &&
                verify_list(&depot->depot_empty, false, &rounds) && rounds == depot->depot_rounds;
    umem_lock_release(&depot->depot_lock);
    return good;
}
