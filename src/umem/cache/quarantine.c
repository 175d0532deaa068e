/* SPDX-License-Identifier: MIT */
/*
 * quarantine.c - see quarantine.h.
 *
 * A first-in first-out list of blocks a shard, a shard a thread as far as there
 * are that many, and one bound on the bytes of all.  Where a block that comes
 * in makes them too many, the oldest of a shard goes: of the thread's own, or
 * of another one, chosen by chance, if that has more.  So what a thread left
 * behind that frees no more gives way to what others free.
 *
 * A block that leaves is checked and goes to a magazine or its slab, or to the
 * heap, with no lock held.  Until it has arrived the shard notes its cache
 * (shard_leaving), which nobody may destroy under it; hence one at a time.
 */
#include "cache/quarantine.h"

#include "cache/object_short.h"
#include "debug/log.h"
#include "os/lock.h"
#include "os/meta.h"
#include "os/os.h"

/* Threads beyond that share one: their locks are held for some 20 ns. */
#define SHARDS 16
/* With them a page is full of entries. */
#define PART_ENTRIES 170
/*
 * A block that goes was last touched a quarantine ago.  It is fetched into the
 * processor's cache while so many others go before it.
 */
#define FETCH_AHEAD 4
/* Objects taken out at once where a cache takes its own back. */
#define BATCH 64

struct entry {
    struct umem_cache *entry_cache;   /* NULL: an oversize block */
    void *entry_block;                /* the object, or the record; NULL: taken back */
    struct umem_bufctl *entry_bufctl; /* to be fetched with it */
};

struct part {
    struct part *part_next;
    uint32_t part_first; /* the oldest entry that is left */
    uint32_t part_end;   /* behind the newest */
    struct entry part_entry[PART_ENTRIES];
};

struct shard {
    _Alignas(UMEM_CACHE_LINE) struct umem_lock shard_lock;
    struct part *shard_oldest; /* NULL: nothing waits; else there is a part */
    struct part *shard_newest;
    _Atomic size_t shard_bytes;                 /* changed under the lock, read without */
    _Atomic(struct umem_cache *) shard_leaving; /* cache of the object on its way, or NULL */
};

static struct shard shards[SHARDS] = {
    [0 ... SHARDS - 1] = {.shard_lock = UMEM_LOCK_INIT(UMEM_RANK_QUARANTINE)}};
static _Atomic size_t total_bytes;

/* Kernel ids of threads that a program starts follow one another. */
static struct shard *
own_shard(void)
{
    return &shards[umem_thread_self() % SHARDS];
}

/* Any other one: addresses of blocks are as good as dice. */
static struct shard *
some_shard(const void *block)
{
    return &shards[((uintptr_t)block >> 4) * 0x9e3779b97f4a7c15u >> 60 & (SHARDS - 1)];
}

static size_t
entry_bytes(const struct entry *entry)
{
    const struct umem_large *large = entry->entry_block;

    if (entry->entry_cache != NULL)
        return entry->entry_cache->cache_slabs.pool_chunk_size;
    return large->large_span_size + large->large_lead;
}

static size_t
bytes_of(struct shard *shard)
{
    return atomic_load_explicit(&shard->shard_bytes, memory_order_relaxed);
}

/* Counts a change with a shard and with all; the lock is held. */
static void
add_bytes(struct shard *shard, size_t bytes)
{
    if (bytes == 0)
        return; /* most often one of the same size came and went */
    atomic_store_explicit(&shard->shard_bytes, bytes_of(shard) + bytes, memory_order_relaxed);
    if (os_thread_is_alone())
        atomic_store_explicit(&total_bytes, total_bytes + bytes, memory_order_relaxed);
    else
        atomic_fetch_add_explicit(&total_bytes, bytes, memory_order_relaxed);
}

/* Whether more bytes would be too many. */
static bool
is_too_much(size_t more)
{
    return atomic_load_explicit(&total_bytes, memory_order_relaxed) + more >
           umem_options.opt_quarantine;
}

/* The lock is held.  False: no memory. */
static bool
push(struct shard *shard, const struct entry *entry)
{
    struct part *part = shard->shard_newest;

    if (part == NULL || part->part_end == PART_ENTRIES) {
        struct part *added = umem_meta_alloc(sizeof(*added));
        if (added == NULL)
            return false;
        if (part != NULL)
            part->part_next = added;
        else
            shard->shard_oldest = added;
        shard->shard_newest = part = added;
    }
    part->part_entry[part->part_end++] = *entry;
    return true;
}

/* Drops what is used up in front; the lock is held.  The oldest entry, or NULL. */
static UMEM_NOINLINE struct entry *
oldest_slow(struct shard *shard)
{
    struct part *part = shard->shard_oldest;

    while (part != NULL) {
        while (part->part_first < part->part_end &&
               part->part_entry[part->part_first].entry_block == NULL)
            part->part_first++;
        if (part->part_first < part->part_end)
            return &part->part_entry[part->part_first];
        if (part == shard->shard_newest) {
            part->part_first = part->part_end = 0;
            return NULL;
        }
        shard->shard_oldest = part->part_next;
        umem_meta_free(part, sizeof(*part));
        part = shard->shard_oldest;
    }
    return NULL;
}

static UMEM_ALWAYS_INLINE struct entry *
oldest(struct shard *shard)
{
    struct part *part = shard->shard_oldest;

    if (UMEM_LIKELY(part != NULL && part->part_first < part->part_end &&
                    part->part_entry[part->part_first].entry_block != NULL))
        return &part->part_entry[part->part_first];
    return oldest_slow(shard);
}

/*
 * Takes the oldest block out; the lock is held.  Its bytes, which the caller
 * counts; 0: none, or one is on its way.
 */
static UMEM_ALWAYS_INLINE size_t
pop(struct shard *shard, struct entry *out)
{
    struct entry *entry = oldest(shard);

    if (entry == NULL || atomic_load_explicit(&shard->shard_leaving, memory_order_acquire) != NULL)
        return 0;
    *out = *entry;
    size_t size = entry_bytes(out);
    if (shard->shard_oldest->part_first++ + FETCH_AHEAD < PART_ENTRIES) {
        __builtin_prefetch(entry[FETCH_AHEAD].entry_block, 1);
        __builtin_prefetch(entry[FETCH_AHEAD].entry_bufctl, 1);
    }
    atomic_store_explicit(&shard->shard_leaving, out->entry_cache, memory_order_relaxed);
    return size;
}

static UMEM_ALWAYS_INLINE void
go_on(struct shard *shard, const struct entry *entry)
{
    if (entry->entry_cache == NULL) {
        umem_large_leave(entry->entry_block);
        return;
    }
    if (UMEM_UNLIKELY(
            !umem_short_leave(entry->entry_cache, entry->entry_block, entry->entry_bufctl)))
        umem_cache_leave(entry->entry_cache, entry->entry_block);
    atomic_store_explicit(&shard->shard_leaving, NULL, memory_order_release);
}

/* Lets the oldest block of a shard go on.  Its bytes, or 0. */
static size_t
let_go(struct shard *shard)
{
    struct entry entry;

    umem_lock_acquire(&shard->shard_lock);
    size_t size = pop(shard, &entry);
    add_bytes(shard, -size);
    umem_lock_release(&shard->shard_lock);
    if (size > 0)
        go_on(shard, &entry);
    return size;
}

bool
umem_quarantine_put(struct umem_cache *cp, void *block, struct umem_bufctl *bufctl, size_t size)
{
    struct entry entry = {cp, block, bufctl}, out;
    struct shard *own = own_shard(), *other = some_shard(block);
    size_t gone = 0;

    umem_lock_acquire(&own->shard_lock);
    bool kept = push(own, &entry);
    /* Most often one goes for one that comes: at once, then. */
    if (kept && is_too_much(size) && bytes_of(own) >= bytes_of(other))
        gone = pop(own, &out);
    add_bytes(own, (kept ? size : 0) - gone);
    umem_lock_release(&own->shard_lock);
    if (gone > 0)
        go_on(own, &out);
    while (is_too_much(0) &&
           (let_go(bytes_of(own) >= bytes_of(other) ? own : other) > 0 || let_go(own) > 0))
        continue;
    return kept;
}

/* Gives back the part that is kept for the next entry, if there is none. */
static void
tidy(struct shard *shard)
{
    struct part *part = NULL;

    umem_lock_acquire(&shard->shard_lock);
    if (oldest(shard) == NULL) {
        part = shard->shard_newest;
        shard->shard_oldest = shard->shard_newest = NULL;
    }
    umem_lock_release(&shard->shard_lock);
    umem_meta_free(part, sizeof(*part));
}

bool
umem_quarantine_empty(void)
{
    bool any = false;

    for (struct shard *shard = shards; shard < shards + SHARDS; shard++) {
        /* No more than is there now: other threads may be adding all the time. */
        size_t left = bytes_of(shard);
        for (size_t size; left > 0 && (size = let_go(shard)) > 0; left -= umem_min(left, size))
            any = true;
        tidy(shard);
    }
    return any;
}

/* Takes up to BATCH objects of cp out of a shard; returns how many. */
static unsigned
take_some(struct shard *shard, struct umem_cache *cp, void **out)
{
    unsigned taken = 0;

    umem_lock_acquire(&shard->shard_lock);
    for (struct part *part = shard->shard_oldest; part != NULL; part = part->part_next)
        for (uint32_t i = part->part_first; i < part->part_end && taken < BATCH; i++) {
            struct entry *entry = &part->part_entry[i];
            if (entry->entry_block == NULL || entry->entry_cache != cp)
                continue;
            out[taken++] = entry->entry_block;
            add_bytes(shard, -entry_bytes(entry));
            entry->entry_block = NULL;
        }
    umem_lock_release(&shard->shard_lock);
    return taken;
}

void
umem_quarantine_take_back(struct umem_cache *cp)
{
    void *objs[BATCH];

    for (struct shard *shard = shards; shard < shards + SHARDS; shard++) {
        for (unsigned n; (n = take_some(shard, cp, objs)) > 0;)
            while (n > 0)
                umem_cache_leave(cp, objs[--n]);
        while (atomic_load_explicit(&shard->shard_leaving, memory_order_acquire) == cp)
            os_sleep_ms(1); /* another thread has one in its hands */
    }
}

size_t
umem_quarantine_bytes(bool (*counts)(const struct umem_cache *cp))
{
    size_t bytes = 0;

    for (struct shard *shard = shards; shard < shards + SHARDS; shard++) {
        umem_lock_acquire(&shard->shard_lock);
        for (const struct part *part = shard->shard_oldest; part != NULL; part = part->part_next)
            for (uint32_t i = part->part_first; i < part->part_end; i++) {
                const struct entry *entry = &part->part_entry[i];
                if (entry->entry_block != NULL && entry->entry_cache != NULL &&
                    counts(entry->entry_cache))
                    bytes += entry_bytes(entry);
            }
        umem_lock_release(&shard->shard_lock);
    }
    return bytes;
}

bool
umem_quarantine_verify(void)
{
    size_t sum = 0;
    bool good = true;

    for (struct shard *shard = shards; shard < shards + SHARDS; shard++) {
        size_t bytes = 0;
        umem_lock_acquire(&shard->shard_lock);
        for (struct part *part = shard->shard_oldest; part != NULL; part = part->part_next) {
            good &= part->part_first <= part->part_end && part->part_end <= PART_ENTRIES &&
                    (part->part_next != NULL || part == shard->shard_newest);
            for (uint32_t i = part->part_first; i < part->part_end; i++)
                if (part->part_entry[i].entry_block != NULL)
                    bytes += entry_bytes(&part->part_entry[i]);
        }
        good &= bytes == bytes_of(shard);
        sum += bytes;
        umem_lock_release(&shard->shard_lock);
    }
    return good && sum == atomic_load_explicit(&total_bytes, memory_order_relaxed);
}

static void
for_locks(void (*fn)(struct umem_lock *lock))
{
    for (struct shard *shard = shards; shard < shards + SHARDS; shard++)
        fn(&shard->shard_lock);
}

UMEM_USUAL void
umem_quarantine_fork_prepare(void)
{
    for_locks(umem_lock_acquire_fork);
}

UMEM_USUAL void
umem_quarantine_fork_parent(void)
{
    for_locks(umem_lock_release);
}

void
umem_quarantine_fork_child(void)
{
    for_locks(umem_lock_reset_child);
    /* What another thread had in its hands is out of reach, like what it was allocating. */
    for (struct shard *shard = shards; shard < shards + SHARDS; shard++)
        atomic_store_explicit(&shard->shard_leaving, NULL, memory_order_relaxed);
}
