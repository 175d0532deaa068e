/* SPDX-License-Identifier: MIT */
/*
 * firewall.h - blocks behind a firewall (UMEM_DEBUG=firewall=N): each in pages
 * of its own, its body, with an inaccessible page before and behind.
 *
 * A span of the heap is cut into bodies of one size, one guard page between two
 * of them, which both share:
 *
 *   | guard | body | guard | body | guard | ...
 *              ^ the block ends where its body ends, or with below: begins there
 *
 * A span is born wholly inaccessible (os/guard.h).  An allocation opens one
 * body; a free closes it again, which gives its memory back, and puts it into
 * quarantine: there it stays inaccessible until it is one of the longest freed
 * and others want the room.
 *
 * What lies between the end of a block and the end of its body (for its
 * alignment, or as a page is not full) is its slack, filled with
 * UMEM_SLACK_BYTE and checked when the block is freed; so are some bytes before
 * the block.
 *
 * The page map leads from every address of a span to its record, which lies in
 * the metadata pool and has a bufctl for each body: always audited, since what
 * a transaction costs is little beside the two system calls of a block.
 *
 * Lock: firewall_lock (UMEM_RANK_FIREWALL) for the lists, the quarantine and
 * the numbers.  A block's own record belongs to the thread that allocates or
 * frees it; its state changes by compare-and-swap.  Who holds the lock and finds
 * a block allocated may read its body: one that is freed meanwhile is closed by
 * a thread that has had the lock since.
 */
#ifndef UMEM_FIREWALL_H
#define UMEM_FIREWALL_H

#include "base/base.h"
#include "cache/cache.h"
#include "debug/bufctl.h"
#include "debug/debug.h"
#include "os/fault.h"

/* What is known of a body and of the block that is or was in it.  64 bytes. */
struct umem_firewall_block {
    struct umem_list fwb_link;    /* in quarantine, or on fw_free */
    char *fwb_base;               /* what the program got; NULL: nobody has used it yet */
    struct umem_cache *fwb_cache; /* NULL: oversize, or its cache is no more */
    struct umem_bufctl fwb_bufctl;
};

/* A span. */
struct umem_firewall {
    struct umem_list fw_link; /* on umem_firewalls */
    struct umem_list fw_room; /* on the list of those with free bodies of this size */
    struct umem_list fw_free; /* free bodies that were used, the longest free first */
    char *fw_base;            /* what the heap gave, */
    size_t fw_size;           /* bytes of it */
    char *fw_first;           /* the first body */
    size_t fw_body;           /* bytes of each: whole pages; a guard page follows */
    uint32_t fw_blocks;       /* bodies */
    uint32_t fw_used;         /* those below have been used */
    uint32_t fw_busy;         /* open, or in quarantine */
    _Atomic bool fw_heavy;    /* see os/guard.h */
    struct umem_firewall_block fw_block[];
};
extern struct umem_list umem_firewalls;
extern struct umem_lock umem_firewall_lock;

/* A body and what is in it. */
struct umem_firewall_slot {
    struct umem_firewall *slot_span;
    struct umem_firewall_block *slot_block;
    char *slot_body;
    size_t slot_size;
};

/* --- firewall_span.c: bodies --- */

/* Once, with the options read; installs the handler of faults where there will be blocks. */
void umem_firewall_init(void);
/*
 * Opens a body for size bytes at a multiple of align: zeroed memory of whole
 * pages.  Its block's size is noted, its state is not yet that of a block.
 * False: it cannot be had.
 */
bool umem_firewall_take(size_t size, size_t align, struct umem_firewall_slot *slot);
/* Closes the body of a block whose state says that it has been freed, and keeps it in quarantine.
 */
void umem_firewall_put(const struct umem_firewall_slot *slot);
/* For an allocation that failed: gives up what is in quarantine.  True if that was anything. */
bool umem_firewall_drain(void);
/* The body that addr is in; word is pagemap_get(addr).  False: it is in none. (AS) */
bool umem_firewall_find(const void *addr, uint64_t word, struct umem_firewall_slot *slot);
/* The one with this number in a span. (AS) */
struct umem_firewall_slot umem_firewall_slot_at(struct umem_firewall *span, uint32_t index);

struct umem_firewall_stats {
    size_t fws_blocks;      /* live */
    size_t fws_bytes;       /* as the program asked for them */
    size_t fws_quarantined; /* bodies in quarantine */
};
struct umem_firewall_stats umem_firewall_stats(void);
/* Whether every invariant holds. */
bool umem_firewall_verify(void);

/* --- firewall.c: blocks --- */

/* What is asked for. */
struct umem_request {
    struct umem_cache *req_cache; /* NULL: oversize */
    size_t req_size;
    size_t req_align; /* 0: what the cache and the size ask for */
    int req_flags;
    bool req_zeroed;
    const void *req_frame; /* as buf_frame */
};

/*
 * A block.  False: it cannot be had, and is to be served without.  *obj NULL with
 * errno: the cache's constructor failed.
 */
bool umem_firewall_alloc(const struct umem_request *req, void **obj);
/*
 * A free of an address in a span.  cp: the cache it was freed to, NULL by free()
 * or umem_free(); word is pagemap_get(buf); stated as in umem_cache_free_slow().
 */
void umem_firewall_free(struct umem_cache *cp, void *buf, uint64_t word, size_t stated);
/* umem_verify() of the bytes round all live blocks: corrupt blocks. */
size_t umem_firewall_check(void);
/* Bytes of the live block that begins at buf.  False: none does. */
bool umem_firewall_size(const void *buf, uint64_t word, size_t *size);
/*
 * Before a cache goes: its freed blocks forget it, its live ones are reported,
 * the first max.  How many live.
 */
size_t umem_firewall_forget(struct umem_cache *cp, size_t max);

/* --- sample.c --- */

/* The same for an allocation that is the one in opt_sample.  False: it is not. */
bool umem_sample_alloc(const struct umem_request *req, void **obj);
/* A sampled block has been freed; its address is not given out again yet. */
void umem_sample_free(const void *obj);

/* Either: by its size, or as it was drawn. */
static inline bool
umem_guarded_alloc(const struct umem_request *req, void **obj)
{
    const struct umem_cache *cp = req->req_cache;

    if (req->req_size >= (cp != NULL ? cp->cache_firewall : umem_options.opt_firewall))
        return umem_firewall_alloc(req, obj);
    return umem_options.opt_sample != 0 && umem_sample_alloc(req, obj);
}

/* --- firewall_fault.c --- */

/* Reports an access to a guard or to a closed body; false: the address is in none. (AS) */
bool umem_firewall_explain(const struct os_fault *fault);

#endif
