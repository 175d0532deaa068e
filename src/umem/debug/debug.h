/* SPDX-License-Identifier: MIT */
/*
 * debug.h - what the cache layer calls when debugging is on, the options that
 * turn it on, and the one path that misuse is reported by.
 *
 * Off, debugging costs the fast paths nothing: caches under debugging keep
 * their bins closed, and only the slow path asks for cache_flags.
 */
#ifndef UMEM_DEBUG_H
#define UMEM_DEBUG_H

#include <string.h>

#include "base/base.h"
#include "debug/bufctl.h"
#include "debug/events.h"
#include "os/fault.h"

struct umem_cache;
struct umem_large;

/* --- Options (debug/options.c) --- */

/*
 * opt_verbose and opt_allverbose: errors go to stderr in any case; verbose
 * adds what umem_message() else keeps in the ring, allverbose also a line at
 * start saying what is in force.
 */
struct umem_options {
    uint32_t opt_flags;        /* UMF_* for every cache that allows it */
    uint32_t opt_audit_frames; /* frames a transaction keeps, 0 to UMEM_AUDIT_FRAMES_MAX */
    size_t opt_contents_bytes; /* freed bytes kept a buffer */
    size_t opt_contents_log;   /* size of the contents log, bytes */
    /* Of the logs in events.h, 0: none. */
    size_t opt_transaction_log;
    size_t opt_fail_log;
    size_t opt_slab_log;
    bool opt_verbose; /* errors also where they would go to the ring only */
    bool opt_allverbose;
    bool opt_noabort;
    bool opt_verify;            /* umem_verify() at exit */
    uint32_t opt_verify_signal; /* and whenever this signal comes; 0: none */
    bool opt_checknull;         /* an allocation that is to return NULL is reported */
    bool opt_nosignal;          /* so is one from a signal handler, in caches with UMF_AUDIT */
    bool opt_random;            /* each cache has flags of its own beside opt_flags */
    uint64_t opt_random_seed;
    size_t opt_quarantine;   /* bytes of freed blocks that wait, with UMF_DEADBEEF */
    size_t opt_maxverify;    /* bytes of a buffer's fill that are verified at most */
    uint32_t opt_mtbf;       /* fault injection: 0 off */
    uint32_t opt_fail;       /* the allocation that fails, counted from 1; 0: none */
    size_t opt_firewall;     /* blocks of so many bytes and more lie at a guard; SIZE_MAX: none */
    uint32_t opt_sample;     /* one allocation in so many does; 0: none */
    bool opt_nohandler;      /* leave SIGSEGV and SIGBUS alone */
    bool opt_firewall_below; /* begin behind it, instead of ending before it */
    uint32_t opt_reap_interval_s;
    bool opt_nomagazines;
    size_t opt_perthread_cache;  /* bytes of a size that a thread may keep; SIZE_MAX: see depot.c */
    uint32_t opt_max_contention; /* of a depot in an interval, above which magazines grow */
    size_t opt_heap_limit;       /* bytes of the heap in use; 0: no limit */
    bool opt_reap_thread;        /* a thread of ours does the updates */
    uint32_t opt_exit_stop;      /* the process that is to be met before it ends; 0: none */
    bool opt_agent;              /* a thread of ours takes commands */
    uint32_t opt_vmem_policy;    /* VM_BESTFIT, VM_FIRSTFIT, VM_NEXTFIT or 0 */
};
#define UMEM_AUDIT_FRAMES_DEFAULT 15
#define UMEM_AUDIT_FRAMES_MAX 255
extern struct umem_options umem_options;

/*
 * Reads UMEM_DEBUG, UMEM_LOGGING, UMEM_OPTIONS (or the program's _umem_*_init
 * functions) into umem_options.  Called once, by the thread that sets up,
 * before any cache exists; allocates nothing; bad items are a message.
 */
void umem_options_read(void);

/* --- Checks (debug/check.c) --- */

/* One buffer with all that is known of it; built by the cache layer. */
struct umem_buffer {
    struct umem_cache *buf_cache; /* NULL for an oversize block */
    struct umem_bufctl *buf_bufctl;
    char *buf_addr;
    size_t buf_space;   /* bytes that may be asked for */
    uint32_t buf_flags; /* UMF_* in force */
    size_t buf_gap;     /* bytes from there to the buftag */
    /* Bufctls of the chunks in front and behind, NULL where there is none. */
    struct umem_bufctl *buf_before;
    struct umem_bufctl *buf_behind;
    /*
     * __builtin_frame_address(0) of the engine's function that the program
     * called, or NULL: where a transaction's stack begins.
     */
    const void *buf_frame;
};

/*
 * A buffer leaves the free state: checks tag, state and fill, fills with
 * UMEM_UNINITIALIZED_PATTERN, writes slack and tag, records the transaction.
 * False: it is corrupt and reported, the caller drops it (opt_noabort).
 */
bool umem_debug_alloc(const struct umem_buffer *buf, size_t requested);
/*
 * A buffer is freed: checks state, the bytes before it, tag, slack and, unless
 * SIZE_MAX, the stated size; records the transaction.  False as above.
 */
bool umem_debug_free(const struct umem_buffer *buf, size_t stated);
/* After the destructor: logs contents, fills with UMEM_FREE_PATTERN. */
void umem_debug_fill_free(const struct umem_buffer *buf);
/* A fresh chunk, first seen: state raw, and what nobody writes later. */
void umem_debug_raw(const struct umem_buffer *buf);
/* A free buffer: checks fill and tag.  False as above. */
bool umem_debug_check_free(const struct umem_buffer *buf);
/*
 * Any buffer, whoever may be using it meanwhile: false where it is corrupt and
 * that was not said before, but now.  One that changes hands counts as sound.
 */
bool umem_debug_verify(const struct umem_buffer *buf);
/*
 * Fresh blocks up to this get the fill of uninitialised memory.  Larger ones
 * are mostly written through at once or used sparsely, and a fill that touches
 * every page of them could take a program's machine down.
 */
#define UMEM_FILL_MAX ((size_t)64 * 1024 * 1024)
/* Fills fresh memory with UMEM_UNINITIALIZED_PATTERN: for oversize blocks, whose free fill is not
 * kept. */
void umem_debug_fill_fresh(char *addr, size_t size);
/* An allocated buffer changes its requested size in place (realloc). */
void umem_debug_resize(const struct umem_buffer *buf, size_t requested);

/* --- Audit (debug/audit.c over os/unwind.h and debug/stacks.h) --- */

/*
 * A transaction of this thread, now: stack, thread, time.  frame: buf_frame.
 * To be had before the bufctl is looked at, which may be on its way from memory
 * meanwhile (umem_audit_fetch()).  Keeps errno.
 */
struct umem_transaction umem_audit(const void *frame);
static inline void
umem_audit_fetch(const struct umem_bufctl *bc)
{
    __builtin_prefetch(bc, 1);
}
/*
 * Puts bc_last into bc_prev and the transaction into bc_last, and an entry into
 * the transaction log; bc_size is the size by now.
 */
static inline void
umem_audit_record(struct umem_bufctl *bc, const struct umem_transaction *now, const void *addr,
                  const struct umem_cache *cache, enum umem_event_kind kind)
{
    bc->bc_prev = bc->bc_last;
    bc->bc_last = *now;
    if (UMEM_UNLIKELY(umem_options.opt_transaction_log != 0))
        umem_event_transaction(bc, addr, cache, kind);
}
/* All of it. */
static inline void
umem_audit_logged(struct umem_bufctl *bc, const void *frame, const void *addr,
                  const struct umem_cache *cache, enum umem_event_kind kind)
{
    struct umem_transaction now = umem_audit(frame);

    umem_audit_record(bc, &now, addr, cache, kind);
}
/*
 * With nosignal: reports where a signal handler is among the callers.  Asked
 * before any lock is taken, since the handler may have struck its holder.
 */
void umem_debug_signal_slow(void);
static inline void
umem_debug_signal(uint32_t flags)
{
    if (UMEM_UNLIKELY(umem_options.opt_nosignal) && (flags & UMF_AUDIT) != 0)
        umem_debug_signal_slow();
}

/* --- What a cache is given (debug/choose.c) --- */

/* UMF_* of a cache before its own flags forbid any. */
uint32_t umem_debug_flags(const char *cache_name);

/* --- Fault injection (debug/fault.c) --- */

/* About one allocation in umem_mtbf fails: 0 none, 1 all.  Set by umem_setmtbf() and mtbf=. */
extern _Atomic uint32_t umem_mtbf;
bool umem_fault_inject_slow(uint32_t mtbf);
/* Allocations so far that fail= has counted. */
uint64_t umem_fault_count(void);
/*
 * Whether this allocation is to fail.  The caller leaves UMEM_NOFAIL ones out.
 * Under opt_fail every allocation comes here: caches keep their windows closed.
 */
static inline bool
umem_fault_inject(void)
{
    uint32_t mtbf = atomic_load_explicit(&umem_mtbf, memory_order_relaxed);
    return UMEM_UNLIKELY((mtbf | umem_options.opt_fail) != 0) && umem_fault_inject_slow(mtbf);
}

/* --- Reports (debug/report.c) --- */

enum umem_error {
    UMERR_MODIFIED,
    UMERR_REDZONE,
    UMERR_UNDERRUN,
    UMERR_DUPFREE,
    UMERR_BADADDR,
    UMERR_BADBUFTAG,
    UMERR_BADBUFCTL,
    UMERR_BADCACHE,
    UMERR_BADSIZE,
    UMERR_BADBASE,
    UMERR_PAST_END, /* accesses to guarded blocks: described, then their signal's default */
    UMERR_BEFORE_START,
    UMERR_AFTER_FREE,
    UMERR_STRAY,    /* an access next to no block: err_buffer and err_above are the nearest */
    UMERR_NOTEMPTY, /* a destroyed cache has live objects: a message, no abort */
    UMERR_NULL,     /* checknull */
    UMERR_SIGNAL    /* nosignal */
};

struct umem_error_info {
    enum umem_error err_kind;
    const void *err_addr;                 /* what the program passed */
    const struct umem_buffer *err_buffer; /* NULL where none is known */
    const struct umem_buffer *err_above;  /* STRAY: err_buffer is the one below; or NULL */
    const struct umem_cache *err_cache;   /* the cache it was freed to, or NULL */
    /* MODIFIED, REDZONE, BADBUFTAG, accesses: in the buffer; UNDERRUN: modulo 2^N. */
    size_t err_offset;
    uint64_t err_expected;
    uint64_t err_found;
    size_t err_size; /* BADSIZE: stated; NULL: asked for */
    size_t err_alloc_size;
    const char *err_why;              /* NULL: the reason */
    const struct os_fault *err_fault; /* of an access, else NULL */
};

/*
 * Says what is wrong on stderr and in the message ring: the fault, the buffer,
 * its cache, with audit its transactions with symbolised frames, the finder's
 * stack; then aborts, unless opt_noabort or it was an access, which the
 * processor has stopped.  Allocates nothing, takes no lock of
 * the heap, concurrent reports do not interleave.
 */
void umem_report(const struct umem_error_info *err);
#define UMEM_WHY_MEMORY "no memory can be had"
#define UMEM_WHY_CONSTRUCTOR "no memory can be had, or the constructor failed"
#define UMEM_WHY_INJECTED "it was made to fail"
#define UMEM_WHY_SIZE "so much memory does not exist"
#define UMEM_WHY_ALIGN "the alignment is not valid"
/* An allocation of size bytes failed: an entry in the fail log.  cache may be NULL.  Keeps errno.
 */
static inline void
umem_debug_failed(const struct umem_cache *cache, size_t size, int error)
{
    if (UMEM_UNLIKELY(umem_options.opt_fail_log != 0))
        umem_event_fail(cache, size, error);
}
/*
 * It is about to return NULL, with that errno, and why: with checknull a
 * report besides.  Keeps errno.
 */
static inline void
umem_debug_null(const struct umem_cache *cache, size_t size, int error, const char *why)
{
    umem_debug_failed(cache, size, error);
    if (UMEM_UNLIKELY(umem_options.opt_checknull))
        umem_report(&(struct umem_error_info){
            .err_kind = UMERR_NULL, .err_cache = cache, .err_size = size, .err_why = why});
}
/* A line "umem: ..." to the ring, and to stderr where opt_verbose or always is set. */
void umem_message(bool always, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * The log alone (rank UMEM_RANK_LOG, the last lock of a prepare handler); the
 * stack depot has handlers of its own.  The child's forgets the thread's id.
 */
void umem_debug_fork_prepare(void);
void umem_debug_fork_parent(void);
void umem_debug_fork_child(void);

#endif
