/* SPDX-License-Identifier: MIT */
/*
 * tcache_bin.c - a bin beyond its window: exchange of the loaded with the
 * previous magazine, of that with the depot, credit, size.
 *
 * A bin learns the size of magazine that it needs: after EXCHANGES_MAX
 * exchanges it asks for a larger one, so that they become rare.  What it takes
 * from the slabs at once doubles likewise, so that a thread that needs two
 * objects does not keep sixty.
 *
 * Everything here runs under tc_lock, which others take only where the owner
 * has not been seen for long, and at a fork.  Calls depots beside it.
 */

#include "magazine/tcache.h"

/*
 * Exchanges before magazines get larger.  From 14 rounds to 254 takes some
 * thousand operations; the objects that then lie in them were in use before.
 */
#define EXCHANGES_MAX 16
/*
 * Bytes of the first objects that a bin takes from slabs at once: a thread that
 * allocates once of a dozen sizes keeps some KiB.
 */
#define BATCH_BYTES_INITIAL 256
#define BATCH_MAX 64 /* the lock of the slabs is then taken once for 64 objects */
/*
 * Of objects this large the first RELUCTANCE frees go to the slabs, where their
 * pages are anybody's: a program that needs a buffer of each size once should
 * not end with a page or more of each.
 */
#define RELUCTANT_SIZE 2048
#define RELUCTANCE 32
/*
 * After so many run-outs on the side of free, with none on that of alloc between
 * them, the thread is taken for one that frees what others allocate: it needs
 * no second magazine, which would be full for most of the time.
 */
#define GIVER_RUNS 4
/*
 * The rate of allocations is measured, and credit is meant to last, for this
 * long: several ticks of the coarse clock, and short beside any interval after
 * which memory is given back.
 */
#define CREDIT_MS 64
#define CREDIT_INITIAL 16
/* A visit costs some 50 ns: spread over this many allocations, next to nothing. */
#define CREDIT_MAX 4096

static void
remark(struct tbin *b)
{
    uint32_t allocs = b->bin_granted - (uint32_t)b->bin_credit;

    b->bin_frees = (uint32_t)(b->bin_cur - b->bin_loaded->mag_round) + allocs;
}

/* Opens the window on a magazine whose mag_rounds is valid. */
static void
load(const struct tcache *tc, struct tbin *b, struct magazine *mag)
{
    b->bin_loaded = mag;
    b->bin_cur = mag->mag_round + mag->mag_rounds;
    tcache_open(tc, b);
    remark(b);
}

/* Closes the window: the loaded magazine, its rounds counted, or NULL. */
static struct magazine *
unload(struct tbin *b)
{
    struct magazine *mag = b->bin_loaded;

    if (mag != NULL)
        mag->mag_rounds = (uint32_t)(b->bin_cur - mag->mag_round);
    /* In a sweep the owner may be at its window: at no instant may it look open. */
    b->bin_base = TCACHE_BASE_CLOSED;
    b->bin_limit = TCACHE_LIMIT_CLOSED;
    b->bin_cur = NULL;
    b->bin_loaded = NULL;
    return mag;
}

/* previous is not NULL. */
static void
exchange_loaded_and_previous(const struct tcache *tc, struct tbin *b)
{
    struct magazine *loaded = unload(b);

    load(tc, b, b->bin_previous);
    b->bin_previous = loaded;
}

/* Counts what was allocated since the last visit with the depot; returns it. */
static uint32_t
retire_allocs(const struct tbin *b, struct depot *depot)
{
    uint32_t allocs = b->bin_granted - (uint32_t)b->bin_credit;

    atomic_fetch_add_explicit(&depot->depot_retired_allocs, allocs, memory_order_relaxed);
    return allocs;
}

/*
 * Counts what was allocated since the last visit, and grants credit for what is
 * to come.  frees_only: after a burst of those, however short, the next
 * allocation is to come by: it may be the last for long, with much to give back.
 */
static void
visit(struct tcache *tc, struct tbin *b, struct depot *depot, uint32_t now_ms, bool frees_only)
{
    uint32_t allocs = retire_allocs(b, depot);
    uint32_t elapsed_ms = now_ms - b->bin_visit_ms;
    uint64_t credit = CREDIT_INITIAL;

    if (frees_only)
        credit = 1;
    else if (b->bin_granted != 0)
        credit = elapsed_ms < CREDIT_MS ? 2 * (uint64_t)b->bin_granted
                                        : (uint64_t)allocs * CREDIT_MS / elapsed_ms + 1;
    if (UMEM_UNLIKELY(tcache_sample_every != 0))
        credit = tcache_sample_credit(tc, allocs, credit);
    b->bin_granted = (uint32_t)umem_min64(credit, CREDIT_MAX);
    b->bin_credit = (int32_t)b->bin_granted;
    b->bin_visit_ms = now_ms;
    if (b->bin_loaded != NULL)
        remark(b);
}

/* Whether it is time for one: the credit is spent, or the rate may have changed. */
static void
visit_if_due(struct tcache *tc, struct tbin *b, struct depot *depot, uint32_t now_ms)
{
    if (b->bin_credit <= 0 || now_ms - b->bin_visit_ms >= CREDIT_MS)
        visit(tc, b, depot, now_ms, false);
}

UMEM_COLD bool
tcache_sample_due(struct tcache *tc, unsigned bin, uint32_t now_ms)
{
    struct tbin *b = &tc->tc_bin[bin];

    umem_lock_acquire(&tc->tc_lock);
    visit_if_due(tc, b, tcache_depot[bin], now_ms);
    bool due = tc->tc_sample <= 0 && tcache_sample_take(tc);
    umem_lock_release(&tc->tc_lock);
    return due;
}

/*
 * Notes that the window has run out, on which side: now and then magazines
 * should be larger.
 */
static void
note_exchange(struct tbin *b, const struct depot *depot, bool full)
{
    bool sways = (b->bin_full != 0) != full;

    if (!full)
        b->bin_full = 0;
    else if (b->bin_full < GIVER_RUNS)
        b->bin_full++;
    /* Where only a swaying bin may grow further, only its turns count. */
    if (b->bin_size >= depot->depot_mag_size_max && !sways)
        return;
    if (b->bin_size != 0 && ++b->bin_exchanges <= EXCHANGES_MAX)
        return;
    b->bin_size = depot_next_size(depot, b->bin_size, sways) & 0xfff; /* as wide as the field */
    b->bin_exchanges = 0;
}

static bool
is_empty(const struct tbin *b)
{
    return b->bin_loaded == NULL || b->bin_cur == b->bin_loaded->mag_round;
}

static bool
has_room(const struct tbin *b)
{
    return b->bin_loaded != NULL && b->bin_cur < b->bin_loaded->mag_round + b->bin_loaded->mag_size;
}

/* An allocation by the slow path is counted as one of the window's. */
static void *
pop(struct tbin *b)
{
    b->bin_credit--;
    return *--b->bin_cur;
}

static void
push(struct tbin *b, void *obj)
{
    *b->bin_cur++ = obj; /* NOLINT(clang-analyzer-core.NullDereference): there is room */
    b->bin_frees++;
}

void *
tcache_take(struct tcache *tc, unsigned bin, uint32_t now_ms)
{
    struct tbin *b = &tc->tc_bin[bin];
    struct depot *depot = tcache_depot[bin];
    void *obj = NULL;

    umem_lock_acquire(&tc->tc_lock);
    visit_if_due(tc, b, depot, now_ms);
    if (is_empty(b)) {
        if (b->bin_size != 0) /* else it is not used yet, and may be reluctant */
            note_exchange(b, depot, false);
        /* Without rounds in either, previous is empty or missing: for the depot. */
        if (b->bin_previous == NULL || b->bin_previous->mag_rounds == 0)
            (void)depot_get_full(depot, &b->bin_previous);
        if (b->bin_previous != NULL && b->bin_previous->mag_rounds != 0)
            exchange_loaded_and_previous(tc, b);
    }
    if (!is_empty(b))
        obj = pop(b);
    umem_lock_release(&tc->tc_lock);
    return obj;
}

/*
 * One by one: memcpy() would leave rounds in vector registers that nothing else
 * uses for long, and for a leak finder what a register holds is no leak.
 */
static void
copy_rounds(void **to, void *const *from, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        to[i] = from[i];
        __asm__ volatile("" : : : "memory");
    }
}

/*
 * Moves the rounds of the loaded magazine to one of the size that it should
 * have.  A small one would else stay: full and empty by turns, it is never the
 * one that goes to the depot.  False: it has that size, or there is no memory.
 */
static bool
enlarge(const struct tcache *tc, struct tbin *b, struct depot *depot)
{
    struct magazine *small = b->bin_loaded, *large = NULL;
    struct magazine *surplus;

    if (small == NULL || small->mag_size >= b->bin_size ||
        !depot_get_empty(depot, &large, b->bin_size, &surplus))
        return false;
    if (large->mag_size <= small->mag_size) {
        depot_put(depot, large);
        return false;
    }
    (void)unload(b);
    copy_rounds(large->mag_round, small->mag_round, small->mag_rounds);
    large->mag_rounds = small->mag_rounds;
    load(tc, b, large);
    magazine_destroy(depot, small);
    return true;
}

/* Passes the loaded magazine on for an empty one, and has no other.  False: no memory. */
static bool
give(const struct tcache *tc, struct tbin *b, struct depot *depot, struct magazine **surplus)
{
    depot_put(depot, b->bin_previous);
    b->bin_previous = NULL;
    struct magazine *mag = unload(b);
    bool got = depot_get_empty(depot, &mag, b->bin_size, surplus);
    if (mag != NULL)
        load(tc, b, mag);
    return got;
}

/* Opens a window with room; locked.  False: no memory. */
static bool
make_room(const struct tcache *tc, struct tbin *b, struct depot *depot, struct magazine **surplus)
{
    if (has_room(b))
        return true;
    note_exchange(b, depot, true);
    if (enlarge(tc, b, depot))
        return true;
    if (b->bin_full == GIVER_RUNS)
        return give(tc, b, depot, surplus);
    /* Without room in either, previous is full or missing: for the depot. */
    if ((b->bin_previous == NULL || b->bin_previous->mag_rounds > 0) &&
        !depot_get_empty(depot, &b->bin_previous, b->bin_size, surplus))
        return false;
    exchange_loaded_and_previous(tc, b);
    return true;
}

/* Whether the bin has not yet shown that it needs magazines. */
static bool
is_reluctant(const struct tbin *b, const struct depot *depot)
{
    return b->bin_size == 0 && b->bin_exchanges < RELUCTANCE && depot_is_bounded(depot) &&
           depot->depot_object_size >= RELUCTANT_SIZE;
}

bool
tcache_put(struct tcache *tc, unsigned bin, void *obj, uint32_t now_ms, struct magazine **surplus)
{
    struct tbin *b = &tc->tc_bin[bin];
    struct depot *depot = tcache_depot[bin];

    *surplus = NULL;
    umem_lock_acquire(&tc->tc_lock);
    if (b->bin_full != 0 && !has_room(b)) /* and ran out on this side the last time too */
        visit(tc, b, depot, now_ms, true);
    else
        visit_if_due(tc, b, depot, now_ms);
    bool reluctant = is_reluctant(b, depot);
    bool room = !reluctant && make_room(tc, b, depot, surplus);
    if (room)
        push(b, obj);
    else if (reluctant)
        b->bin_exchanges++; /* that there would have been */
    umem_lock_release(&tc->tc_lock);
    return room;
}

/* How many objects to take from slabs at once. */
static unsigned
next_batch(struct tbin *b, const struct depot *depot)
{
    size_t initial = umem_max(BATCH_BYTES_INITIAL / depot->depot_object_size, 1);
    size_t most = umem_min(depot->depot_mag_size_max, BATCH_MAX);
    size_t batch = umem_min(b->bin_batch == 0 ? initial : 2 * (size_t)b->bin_batch, most);

    b->bin_batch = (uint8_t)batch;
    return (unsigned)batch;
}

/* The other way round: lower addresses, taken first, go out first, and pages are touched in order.
 */
static void
reverse(void **objs, unsigned n)
{
    for (unsigned low = 0, high = n - 1; low < high; low++, high--) {
        void *swapped = objs[low];
        objs[low] = objs[high];
        objs[high] = swapped;
        __asm__ volatile("" : : : "memory"); /* see copy_rounds() */
    }
}

void *
tcache_fill(struct tcache *tc, unsigned bin, tcache_source_t *source, void *arg)
{
    struct tbin *b = &tc->tc_bin[bin];
    struct depot *depot = tcache_depot[bin];
    struct magazine *surplus = NULL;
    void *obj = NULL;

    umem_lock_acquire(&tc->tc_lock);
    unsigned batch = is_reluctant(b, depot) ? 1 : next_batch(b, depot);
    /* Nothing of an empty bin can be surplus, unless a handler of signals filled it meanwhile. */
    if (batch > 1 && is_empty(b) && make_room(tc, b, depot, &surplus)) {
        struct magazine *mag = unload(b);
        unsigned got = source(arg, mag->mag_round, (unsigned)umem_min(batch, mag->mag_size));
        if (got > 0)
            reverse(mag->mag_round, got);
        mag->mag_rounds = got;
        load(tc, b, mag);
        if (got > 0)
            obj = pop(b);
    }
    umem_lock_release(&tc->tc_lock);
    depot_put(depot, surplus);
    return obj;
}

void
tcache_flush_bin(struct tcache *tc, unsigned bin)
{
    struct tbin *b = &tc->tc_bin[bin];
    struct depot *depot = tcache_depot[bin];

    if (depot == NULL)
        return;
    depot_put(depot, unload(b));
    depot_put(depot, b->bin_previous);
    b->bin_previous = NULL;
    b->bin_size = 0;
    b->bin_full = 0;
    b->bin_exchanges = 0;
    b->bin_batch = 0;
}

void
tcache_retire_bin(struct tcache *tc, unsigned bin)
{
    struct tbin *b = &tc->tc_bin[bin];

    tcache_flush_bin(tc, bin);
    if (tcache_depot[bin] != NULL)
        retire_allocs(b, tcache_depot[bin]);
    *b = (struct tbin){.bin_cur = NULL};
}

/* Reads other threads' bin_cur as it moves, one word; the lock keeps the magazines where they are.
 */
UMEM_COLD __attribute__((no_sanitize("thread"))) size_t
tcache_bin_rounds(unsigned bin)
{
    size_t rounds = 0;

    umem_lock_acquire(&umem_tcaches_lock);
    UMEM_LIST_FOR (node, &umem_tcaches) {
        struct tcache *tc = UMEM_CONTAINER_OF(node, struct tcache, tc_link);
        if (bin >= tc->tc_bins)
            continue;
        umem_lock_acquire(&tc->tc_lock);
        const struct tbin *b = &tc->tc_bin[bin];
        if (b->bin_loaded != NULL)
            rounds += (size_t)(*(void **volatile const *)&b->bin_cur - b->bin_loaded->mag_round);
        if (b->bin_previous != NULL)
            rounds += b->bin_previous->mag_rounds;
        umem_lock_release(&tc->tc_lock);
    }
    umem_lock_release(&umem_tcaches_lock);
    return rounds;
}
