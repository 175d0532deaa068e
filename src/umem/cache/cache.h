/* SPDX-License-Identifier: MIT */
/*
 * cache.h - the cache: a depot over a slab pool, with constructors, debugging
 * and statistics; the size classes; first-use set-up.
 *
 * The structure is private to this layer and to debug beside it.  Lower layers
 * see only the pool and the depot embedded in it.
 */
#ifndef UMEM_CACHE_H
#define UMEM_CACHE_H

#include <umem.h>

#include "base/base.h"
#include "debug/bufctl.h"
#include "magazine/depot.h"
#include "magazine/tcache.h"
#include "slab/pagemap.h"
#include "slab/slab.h"
#include "vmem/vmem_impl.h"

#define UMEM_CACHE_NAME_SIZE 32

struct reserve;
struct umem_buffer;

struct umem_cache {
    /* Read by the fast path. */
    uint32_t cache_bin; /* bin whose window the fast path may use; 0: none, as under debugging */
    uint16_t cache_slow_bin; /* bin of the slow path; 0: no per-thread caching */
    bool cache_short;        /* its blocks go the short way: see object_short.h */
    uint8_t cache_class;     /* of a size class: which */
    uint32_t cache_flags;    /* UMF_* */
    uint32_t cache_cflags;   /* UMC_* */
    umem_constructor_t *cache_ctor;
    umem_destructor_t *cache_dtor;
    umem_reclaim_t *cache_reclaim;
    void *cache_private;
    size_t cache_bufsize;  /* as the creator asked */
    size_t cache_bufspace; /* bytes that may be asked for: bufsize rounded up, or less a tag */
    struct depot cache_depot;
    struct slab_pool cache_slabs;
    struct umem_list cache_link; /* on umem_caches */
    char cache_name[UMEM_CACHE_NAME_SIZE];
    size_t cache_firewall; /* requests of so many bytes and more go behind one; SIZE_MAX: none */
    _Atomic(struct reserve *) cache_reserve; /* of a sealed cache, else NULL: see reserve.h */
    _Atomic uint64_t cache_breaches;         /* allocations that found it empty */
    /* Audit at run time: see twin.h. */
    _Atomic(struct umem_cache *) cache_active; /* the twin that allocations come from, or NULL */
    _Atomic(struct umem_cache *) cache_twins;  /* all twins that it has, by cache_next_twin */
    struct umem_cache *cache_next_twin;
    struct umem_cache *cache_original; /* of a twin, else NULL */
    /* Statistics beside the bins' and the depot's own; relaxed. */
    _Atomic uint64_t cache_slow_allocs; /* not counted by any bin */
    _Atomic uint64_t cache_fails;
    _Atomic uint32_t cache_entered; /* threads that are allocating from this twin: see twin.h */
    _Atomic bool cache_update_left; /* an update waits for this cache's next slow allocation */
};

extern struct umem_list umem_caches; /* every cache, in order of creation */
extern struct umem_lock umem_caches_lock;

/* Oversize and widely aligned blocks: one record a block. */
struct umem_large {
    struct umem_list large_link; /* on umem_larges */
    char *large_base;            /* what the program got */
    size_t large_size;           /* what the program asked for */
    size_t large_span_size;      /* what the heap gave from there on */
    size_t large_lead;           /* and before: under debugging, room for a head tag */
    uint32_t large_flags;        /* UMF_* in force for this block */
    struct umem_bufctl large_bufctl;
};
/* Freed, and in quarantine: still on the list, and in the page map. */
static inline bool
umem_large_is_freed(const struct umem_large *large)
{
    return __atomic_load_n(&large->large_bufctl.bc_state, __ATOMIC_RELAXED) == UMEM_BUFFER_FREE;
}

extern struct umem_list umem_larges;
extern struct umem_lock umem_larges_lock;

/* State of the whole engine; the analyser starts here. */
enum umem_state { UMEM_STATE_NEW, UMEM_STATE_STARTING, UMEM_STATE_READY };

/* Sets everything up on first use.  Cheap once ready. */
bool umem_ready_slow(void);
extern _Atomic uint32_t umem_state;
static inline bool
umem_is_ready(void)
{
    return atomic_load_explicit(&umem_state, memory_order_acquire) == UMEM_STATE_READY;
}
static inline bool
umem_ready(void)
{
    return UMEM_LIKELY(umem_is_ready()) || umem_ready_slow();
}

/* --- Size classes (cache/sizes.c) --- */

/* Among UMEM_NOFAIL and its kind: malloc's alignment is enough, whatever the size. */
#define UMEM_ALIGNED_16 0x10000

#define UMEM_MAX_CLASS_SIZE ((size_t)131072) /* above: the oversize arena */
#define UMEM_CLASS_COUNT 85
#define UMEM_SMALL_MAX 1024 /* classes to here are looked up by one table */

struct umem_class {
    uint32_t class_size;
    uint32_t class_align; /* greatest power of two that divides it, at most a page */
};
extern const struct umem_class umem_classes[UMEM_CLASS_COUNT];
/* (size + 15) / 16 -> TCACHE_BIN_AT(class that is 16-aligned): what malloc uses. */
extern const uint16_t umem_class_of_small[UMEM_SMALL_MAX / 16 + 1];
/*
 * Their caches, umem_alloc_8 to umem_alloc_131072, by class; bin of class c is
 * c + 1.  Made when first asked for: most programs use a third of them, and what
 * is not made touches no memory.  NULL: not yet.
 */
extern struct umem_cache *_Atomic umem_class_made[UMEM_CLASS_COUNT];
/* The records, in the order in which they were made. */
extern struct umem_cache umem_class_record[UMEM_CLASS_COUNT];
/* Makes the cache of a class if need be. */
struct umem_cache *umem_class_make(unsigned class);
static inline struct umem_cache *
umem_class_cache(unsigned class)
{
    struct umem_cache *cp = atomic_load_explicit(&umem_class_made[class], memory_order_acquire);

    return UMEM_LIKELY(cp != NULL) ? cp : umem_class_make(class);
}

static inline bool
umem_is_class_cache(const struct umem_cache *cp)
{
    return cp >= umem_class_record && cp < umem_class_record + UMEM_CLASS_COUNT;
}

/* Or a twin of one (twin.h): whether its blocks go to free(). */
static inline bool
umem_serves_free(const struct umem_cache *cp)
{
    return umem_is_class_cache(cp->cache_original != NULL ? cp->cache_original : cp);
}

/* The class that ends each row of classes with the same number a doubling: see sizes.c. */
#define UMEM_CLASS_1K 32
#define UMEM_CLASS_2K 48
#define UMEM_CLASS_8K 64
#define UMEM_CLASS_16K 72

/*
 * From 4 to 8 KiB the classes are what a slab has room for 15, 14 and so on to 8
 * of, rounded down to 16, and not all are of wider alignment than that.
 */
#define UMEM_SHARED_SLAB 65536u
static inline bool
umem_class_is_share(size_t size)
{
    return size > 4096 && size <= 8192;
}

/* Class for 1 <= size <= UMEM_MAX_CLASS_SIZE, 16-aligned. */
static inline unsigned
umem_class_of(size_t size)
{
    if (UMEM_LIKELY(size <= UMEM_SMALL_MAX))
        return (unsigned)(umem_class_of_small[(size + 15) >> 4] / TCACHE_BIN_AT(1));
    /* Else the four, three or two bits below the highest tell which class of a doubling. */
    if (size <= 2048)
        return UMEM_CLASS_1K + (unsigned)((size - 1) >> 6) - 15;
    if (umem_class_is_share(size))
        return UMEM_CLASS_8K + 8 - UMEM_SHARED_SLAB / (unsigned)umem_align_up(size, 16);
    unsigned log2 = umem_log2(size - 1);
    if (size <= 16384)
        return UMEM_CLASS_2K + (log2 - 11) * 8 + (unsigned)((size - 1) >> (log2 - 3)) - 7;
    return UMEM_CLASS_16K + (log2 - 14) * 4 + (unsigned)((size - 1) >> (log2 - 2)) - 3;
}

/* --- Objects (cache/object.c): the slow paths under every allocation --- */

/*
 * What an allocation comes to where no window has a round: magazines, slab,
 * constructor, debugging, UMEM_NOFAIL.  requested is what the program asked
 * for (recorded under debugging).  NULL with errno.
 */
void *umem_cache_alloc_slow(struct umem_cache *cp, size_t requested, int flags);
/*
 * The same by the number of a size class, whose cache need not be there yet.  The
 * size is malloc's first parameter too, and stays where it is.
 */
void *umem_class_alloc_slow(size_t requested, unsigned class, int flags);
/* The same of an alignment that the cache's objects have, for what goes behind a firewall. */
void *umem_cache_alloc_slow_aligned(struct umem_cache *cp, size_t requested, size_t align,
                                    int flags);
/* stated: the size that the caller gives with the free, SIZE_MAX if none.  Keeps errno. */
void umem_cache_free_slow(struct umem_cache *cp, void *buf, size_t stated);
/*
 * The same on behalf of the engine's function that the program called, which
 * names its frame (buf_frame in debug.h) and lets it last: its call here must
 * not become a jump, which would give the frame up first.
 */
#define UMEM_KEEP_FRAME() __asm__ volatile("" : : : "memory")
void umem_cache_free_from(struct umem_cache *cp, void *buf, size_t stated, const void *frame);
/*
 * An object fresh from the slabs, as magazines hold them: constructed, if that
 * is this cache's way.  NULL with errno.  And such objects back to the slabs.
 */
void *umem_cache_make(struct umem_cache *cp, int flags);
void umem_cache_unmake(struct umem_cache *cp, void **objs, unsigned n);
/* A freed object that need not wait, filled if that is this cache's way, to whoever comes. */
void umem_cache_put(struct umem_cache *cp, void *obj);
/* A freed object has waited (quarantine.h): checks it, and gives it to whoever comes. */
void umem_cache_leave(struct umem_cache *cp, void *obj);
/* Destroys the objects of a chain of magazines, and the magazines. */
void umem_cache_empty_magazines(struct umem_cache *cp, struct magazine *chain);
/*
 * Whether the cache's windows never open, so that every operation comes to the
 * slow path: under debugging, and where allocations are counted (fail=).
 */
bool umem_cache_is_closed(const struct umem_cache *cp);
/* Whether objects are as cheap to make as to keep: neither constructor nor destructor. */
static inline bool
umem_cache_is_plain(const struct umem_cache *cp)
{
    return cp->cache_ctor == NULL && cp->cache_dtor == NULL;
}
/*
 * Reports a free of an address that is the start of none of cp's objects; NULL:
 * by free() or umem_free(), of an object.
 */
void umem_cache_report_free(struct umem_cache *cp, void *buf);
/*
 * The slab that addr is in, of whatever cache, or NULL.  Asks every cache over an
 * arena of the program's, whose slabs no page map knows: for reports.
 */
struct slab *umem_cache_find_slab(const void *addr);
/* The buffer of which addr is the start.  False: addr is not that. */
bool umem_cache_describe(struct umem_cache *cp, const void *addr, struct umem_buffer *buf);
/* The same by its place in a slab. */
void umem_cache_describe_chunk(struct umem_cache *cp, const struct slab *slab, uint32_t index,
                               struct umem_buffer *buf);

/* What a block of this size must be a multiple of; cp: NULL for an oversize one. */
size_t umem_natural_align(const struct umem_cache *cp, size_t size);
/*
 * The size class that has room for a block and its tag (see init.c), at what
 * umem_alloc() promises to align, if that is asked for: at most a few further.
 */
static inline struct umem_cache *
umem_cache_with_room(struct umem_cache *cp, size_t requested, size_t align, int flags)
{
    if (requested <= cp->cache_bufspace)
        return cp;
    if (align == 0 && (flags & UMEM_ALIGNED_16) == 0)
        align = umem_natural_align(cp, requested);
    while (cp->cache_bufspace < requested || cp->cache_slabs.pool_align < align)
        cp = umem_class_cache(cp->cache_class + 1u);
    return cp;
}

static inline struct umem_cache *
umem_cache_of_slab(const struct slab *slab)
{
    return UMEM_CONTAINER_OF(slab->slab_pool, struct umem_cache, cache_slabs);
}

/* The fast path; bin must exist in every thread cache (the size classes' do). */
static inline void *
umem_cache_alloc_fast(struct umem_cache *cp, unsigned bin, size_t requested, int flags)
{
    struct tbin *b = tcache_bin(bin);
    void *obj;

    if (UMEM_LIKELY(tcache_pop(b, &obj)))
        return obj;
    return umem_cache_alloc_slow(cp, requested, flags);
}

/* The same for a size class, by TCACHE_BIN_AT(class). */
static inline void *
umem_class_alloc_fast(size_t at, size_t requested, int flags)
{
    struct tbin *b = tcache_bin_at(at); /* one before the class's */
    void *obj;

    if (UMEM_LIKELY(tcache_pop(b + 1, &obj)))
        return obj;
    /* The class is found anew, so that the fast path need not keep it. */
    return umem_class_alloc_slow(requested, (unsigned)(b - tcache_self->tc_bin), flags);
}

/* --- Blocks of any size (cache/alloc.c, cache/large.c) --- */

/* Class or oversize.  NULL with errno.  Size 0 counts as 1. */
void *umem_alloc_sized(size_t size, int flags);
/* align is a power of two; no check is made of it. */
void *umem_alloc_aligned(size_t size, size_t align, int flags);
/*
 * What a free comes to that no window takes: any block of ours, or a report.
 * stated as in umem_cache_free_slow().  Keeps errno.
 */
void umem_free_slow(void *buf, size_t stated);

/* Bytes of buf that its owner may use.  False: it is none of our blocks, or freed. */
bool umem_block_size(const void *buf, size_t *size);
/* Makes buf size bytes long where it lies.  False: the caller must move it. */
bool umem_resize(void *buf, size_t size);
/* After that: by moving its pages.  NULL: the caller must copy it. */
void *umem_move(void *buf, size_t size);

/* The fast path of free: buf is any block, or NULL. */
static inline void
umem_free_fast(void *buf, size_t stated)
{
    struct tbin *b = tcache_bin(pagemap_bin_of(buf));

    if (UMEM_UNLIKELY(!tcache_push(b, buf)))
        umem_free_slow(buf, stated);
}

void *umem_large_alloc(size_t size, size_t align, int flags);
/* The same, zeroed: at no cost where the heap knows that it is. */
void *umem_large_zalloc(size_t size, int flags);
/* buf is in no slab: an oversize block, or a report. */
void umem_large_free(void *buf, size_t stated);
/* The oversize block that addr is in; walks all, for reports. */
bool umem_large_find(const void *addr, struct umem_buffer *buf);
/* If an oversize block at buf was freed a short time ago, reports a second free of it. */
bool umem_large_report_freed(void *buf);
/* umem_verify() of all oversize blocks: corrupt ones. */
size_t umem_large_verify(void);
/* A freed block has waited (quarantine.h). */
void umem_large_leave(struct umem_large *large);
bool umem_large_resize(struct umem_large *large, size_t size);
/*
 * Makes a block longer by moving its pages, not their contents.  The new
 * block; NULL, and nothing has changed, where that cannot be done or is not
 * worth it.  Keeps errno.
 */
void *umem_large_move(struct umem_large *large, size_t size);
size_t umem_large_usable(const struct umem_large *large);

/* --- Sealed caches (cache/reserve.c) --- */

/* Counts an allocation that found the reserve empty; tells of the first. */
void umem_cache_breach(struct umem_cache *cp);

/* --- umem_verify() when a signal asks for it (cache/verify.c) --- */

/* Once, with the options read. */
void umem_verify_init(void);
extern _Atomic bool umem_verify_asked;
void umem_verify_answer(const struct umem_cache *cp);
/* On the way of an allocation from a cache (NULL: of something else), before it takes a lock. */
static inline void
umem_verify_if_asked(const struct umem_cache *cp)
{
    if (UMEM_UNLIKELY(atomic_load_explicit(&umem_verify_asked, memory_order_relaxed)))
        umem_verify_answer(cp);
}

/* --- Set-up, reap, fork (cache/init.c, cache/reap.c, cache/fork.c) --- */

/* Sets up a zeroed record and puts it on umem_caches.  -1 with errno. */
struct umem_cache_args {
    const char *args_name;
    size_t args_bufsize;
    size_t args_align;
    umem_constructor_t *args_ctor;
    umem_destructor_t *args_dtor;
    umem_reclaim_t *args_reclaim;
    void *args_private;
    vmem_t *args_arena; /* NULL: the heap */
    int args_cflags;
    uint32_t args_debug;  /* UMF_* of a twin; 0: those of the options */
    unsigned args_bin;    /* fixed bin of a size class, or 0 */
    size_t args_slab_min; /* of a quantum cache, else 0: see slab_geometry */
    bool args_holds_tag;  /* a tag takes of the size, and not beside it: see init.c */
};
int umem_cache_init(struct umem_cache *cp, const struct umem_cache_args *args);
/* The same but for the list, which the caller may have locked. */
int umem_cache_set_up(struct umem_cache *cp, const struct umem_cache_args *args);
/* UMF_* for a cache: what is wanted less what its flags (UMC_*) forbid. */
uint32_t umem_cache_debug_flags(int cflags, uint32_t wanted);
/* The same on a record of its own.  NULL with errno. */
struct umem_cache *umem_cache_new(const struct umem_cache_args *args);

/*
 * A step of update where one is due, on the way of an operation on a cache
 * (NULL: on something else).  Returns the time in milliseconds.
 */
uint32_t umem_update_if_due(struct umem_cache *cp);
/*
 * For the thread of reaper.c: from now on no operation makes a step but that
 * thread, until a fork's child, which has none.  And a step, which leaves out
 * caches with destructors: they catch up on their own operations.  Both return
 * the milliseconds until the next one.
 */
uint64_t umem_update_take_over(void);
uint64_t umem_update_step(void);
/* The cache behind a place in the list of caches, or NULL; reap_lock is held. */
struct umem_list *umem_cache_next(struct umem_list *at);
/* A cache that is about to leave the list; reap_lock is held. */
void umem_update_forget(struct umem_cache *cp);
/*
 * For an allocation that failed: gives back, unless a reap is under way, what
 * depots and slabs keep of objects without a constructor (constructed ones,
 * such as stacks, were kept on purpose).  True if that was anything.
 */
bool umem_reap_plain(void);
/* The same for one cache. */
bool umem_cache_reap(struct umem_cache *cp);
/* Keeps reaps out while a cache goes, but for the one that this thread may be in. */
bool umem_reap_exclude(void);
void umem_reap_admit(bool excluded);
/* The same for who may not wait for a reap: false where one is under way. */
bool umem_reap_try_exclude(void);
void umem_reap_fork_child(void);
/* After a failed UMEM_NOFAIL allocation: true to try again, or does not return. */
bool umem_nofail_retry(const struct umem_cache *cache, size_t size, int error);

/* Registers the handlers of fork; they do nothing while the engine is asleep. */
void umem_fork_init(void);
/* Starts the thread that does the updates, if that is wanted, once (cache/reaper.c). */
void umem_reaper_start(void);
/* init_lock across a fork; prepare: whether the engine is set up. */
bool umem_init_fork_prepare(void);
void umem_init_fork_parent(void);
void umem_init_fork_child(void);
extern const struct vmem_qcache_ops umem_qcache_ops;

#endif
