/* SPDX-License-Identifier: MIT */
/*
 * umem.h - object caches and a memory allocator that can be debugged in
 * production: the umem(3) interface in its Solaris spelling.
 *
 * Sizes and alignments are bytes.  Unless an entry says otherwise, functions
 * may be called from any thread at any time (MT-safe), and none may be called
 * from a signal handler that could have interrupted this library.
 * An allocation that fails returns NULL and sets errno (ENOMEM; EAGAIN where
 * RLIMIT_MEMLOCK is what failed).
 *
 * Link with libumem (which also serves malloc) or libumem_core (which leaves
 * the program's malloc alone): both define the same names and versions.
 */
#ifndef UMEM_H
#define UMEM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/vmem.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Allocation flags. */
#define UMEM_DEFAULT 0x0000 /* fail with NULL */
#define UMEM_NOFAIL 0x0100  /* never return NULL: see umem_nofail_callback() */
#define UMEM_FLAGS 0xffff   /* every flag an allocation takes */

/* Flags of umem_cache_create(). */
#define UMC_NOTOUCH 0x00010000    /* never write into a free object */
#define UMC_NODEBUG 0x00020000    /* leave this cache out of UMEM_DEBUG */
#define UMC_NOMAGAZINE 0x00040000 /* no per-thread caching */
#define UMC_NOHASH 0x00080000     /* no bookkeeping outside the slab */

/* What an umem_nofail_callback_t returns. */
#define UMEM_CALLBACK_RETRY 0
#define UMEM_CALLBACK_EXIT(status) (0x100 | ((status)&0xff))

typedef struct umem_cache umem_cache_t;

/*
 * Makes a raw object of bufsize bytes ready for use.  Returns 0, or non-zero
 * to fail the allocation; flags are those of the allocation.
 */
typedef int umem_constructor_t(void *buf, void *private_data, int flags);
/* Undoes the constructor before the object's memory goes back to its slab. */
typedef void umem_destructor_t(void *buf, void *private_data);
/* Advises the owner of a cache that memory is wanted; only from a reap. */
typedef void umem_reclaim_t(void *private_data);
typedef int umem_nofail_callback_t(void);

/*
 * Returns size bytes, or NULL with errno.  Size 0 gives NULL without an error.
 * Blocks of 16 bytes and more are 16-aligned, multiples of 64 are 64-aligned,
 * multiples of the page size are page-aligned.
 */
void *umem_alloc(size_t size, int flags);
/* The same, zero-filled. */
void *umem_zalloc(size_t size, int flags);
/* size must be the one allocated.  (NULL, 0) is legal.  Keeps errno. */
void umem_free(void *buf, size_t size);

/*
 * Returns size bytes at a multiple of align, a power of two (EINVAL if not);
 * less than 8 counts as 8.  Free with umem_free_align() and the same size.
 */
void *umem_alloc_align(size_t size, size_t align, int flags);
void umem_free_align(void *buf, size_t size);

/*
 * Sets what happens when an UMEM_NOFAIL allocation fails: cb is called with no
 * lock held and returns UMEM_CALLBACK_RETRY or UMEM_CALLBACK_EXIT(status), or
 * leaves by longjmp() or pthread_exit().  Anything else, and no callback at
 * all, is UMEM_CALLBACK_EXIT(255).
 */
void umem_nofail_callback(umem_nofail_callback_t *cb);

/*
 * Creates a cache of objects of bufsize bytes at multiples of align (0: the
 * default, 8, or 16 where bufsize >= 16).  The name is copied (31 characters).
 * ctor, dtor and reclaim may be NULL.  vmp is the arena that slabs come from
 * (NULL: the heap).  NULL with errno: EINVAL for a NULL name, bufsize 0, an
 * align that is no power of two or exceeds the arena's quantum, UMC_NOHASH
 * with UMC_NOTOUCH, or an UMC_NOHASH object that fits no slab; ENOMEM.
 */
umem_cache_t *umem_cache_create(const char *name, size_t bufsize, size_t align,
                                umem_constructor_t *ctor, umem_destructor_t *dtor,
                                umem_reclaim_t *reclaim, void *private_data, vmem_t *vmp,
                                int cflags);
/*
 * Destroys a cache that no thread uses any more.  Objects still allocated are
 * reported ("not empty"), and the cache's memory is then left in place.
 */
void umem_cache_destroy(umem_cache_t *cp);

/* Returns a constructed object, or NULL with errno. */
void *umem_cache_alloc(umem_cache_t *cp, int flags);
/* Takes back an object in its constructed state.  Keeps errno. */
void umem_cache_free(umem_cache_t *cp, void *buf);

/*
 * Sees to it that at least n constructed objects exist beside those in use,
 * faulted in; reaps leave them.  n = 0 gives the reserve up.  0, or -1 with
 * errno: ENOMEM (what was made stays), what a constructor set, EINVAL for a
 * sealed cache.
 */
int umem_cache_reserve(umem_cache_t *cp, size_t n);
/*
 * From here on umem_cache_alloc() and umem_cache_free() of the objects that
 * the cache has make no system call, take no page fault and wait for no lock,
 * whatever thread calls them.  umem_cache_unseal() ends it.  No thread may use
 * the cache meanwhile.  0, or -1 with errno: ENOMEM, EINVAL (sealed already,
 * or not sealed).
 */
int umem_cache_seal(umem_cache_t *cp);
int umem_cache_unseal(umem_cache_t *cp);
/* Allocations that came when the reserve of the sealed cache was empty. */
uint64_t umem_cache_breaches(umem_cache_t *cp);
/*
 * Whether every allocation from the cache is to reach it: debugging or an audit
 * looks at each, umem_setmtbf() may make it fail, the cache is sealed or has no
 * magazines.  0: no.  Who keeps freed objects in a list of its own asks this
 * first.  An audit that starts calls the reclaim functions of its caches.
 */
int umem_cache_watched(umem_cache_t *cp);

/*
 * Takes objects apart that wait in the cache constructed, all but the keep that
 * were freed last, and gives their memory back; with UMEM_TRIM_IDLE only such as
 * nobody wanted since the last call with that flag.  What threads hold in their
 * own magazines stays, and is not counted; of the calling thread it goes too where keep
 * is 0 and flags are.  Returns how many went: none of a cache that is sealed or
 * has a reserve, nor from a destructor.
 */
#define UMEM_TRIM_IDLE 0x1
size_t umem_cache_trim(umem_cache_t *cp, size_t keep, int flags);

/*
 * A section of code, in one thread, that is to run without a fault: what came
 * between umem_nofault_begin() and umem_nofault_end().
 */
#define UMEM_NOFAULT_NONE 0    /* nothing */
#define UMEM_NOFAULT_ALLOC 1   /* an allocation on a slow path */
#define UMEM_NOFAULT_FREE 2    /* a free on a slow path */
#define UMEM_NOFAULT_SYSCALL 3 /* a system call of the library's */
#define UMEM_NOFAULT_FAULT 4   /* a page fault, which has no stack */
#define UMEM_NOFAULT_DEPTH 32  /* frames kept */

struct umem_nofault {
    uint64_t nf_allocs; /* allocations that came to a slow path */
    uint64_t nf_frees;  /* frees that did */
    uint64_t nf_syscalls;
    uint64_t nf_faults; /* page faults of the thread, minor and major */
    /* What came first of allocations, frees and system calls, else of faults. */
    uint32_t nf_first;                  /* UMEM_NOFAULT_* */
    uint32_t nf_depth;                  /* frames in nf_stack */
    size_t nf_size;                     /* bytes asked for, of an allocation */
    void *nf_stack[UMEM_NOFAULT_DEPTH]; /* return addresses, innermost first */
    uint64_t nf_private[4];
};

/*
 * Starts a section of this thread, which may lie in another.  *nf stays in
 * place, and is the library's, until the section has ended.
 */
void umem_nofault_begin(struct umem_nofault *nf);
/*
 * Ends it, and those within it, and fills *nf in.  0: nothing came between; 1:
 * something did; -1 with EINVAL: this thread has no such section.
 */
int umem_nofault_end(struct umem_nofault *nf);
/* Prints counts and stack, with names, on standard error. */
void umem_nofault_print(const struct umem_nofault *nf);

/*
 * What umem_audit_start() records: with a member left 0, all there is.
 */
struct umem_audit_spec {
    unsigned audit_flags;        /* UMEM_AUDIT_* */
    unsigned audit_frames;       /* callers kept of each stack, at most 255; 0: as before */
    const char *audit_cache;     /* name of the only cache */
    size_t audit_size_min;       /* sizes asked for, from this */
    size_t audit_size_max;       /* to this; 0: any */
    const int *audit_threads;    /* kernel ids of the only threads that allocate */
    unsigned audit_thread_count; /* at most UMEM_AUDIT_THREADS_MAX; 0: all threads */
    size_t audit_cap;            /* bytes of records after which recording ends; 0: none */
};
#define UMEM_AUDIT_GUARDS 0x1 /* fills and redzones too, as UMEM_DEBUG=guards has them */
#define UMEM_AUDIT_THREADS_MAX 64

struct umem_audit_status {
    int audit_on;              /* started and not stopped */
    int audit_cap_met;         /* and nothing more is recorded */
    unsigned audit_frames;     /* callers kept of each stack */
    size_t audit_cap;          /* bytes; 0: none */
    size_t audit_record_bytes; /* that all records take, UMEM_DEBUG's too */
};

/*
 * Records from now on, for blocks that are allocated, what UMEM_DEBUG=audit
 * records: in this thread at once, in others within a moment.  spec NULL: of
 * all allocations.  0, or -1 with errno: EALREADY (it is on), EINVAL, ENOENT
 * (no cache of that name), ENOMEM.
 */
int umem_audit_start(const struct umem_audit_spec *spec);
/* Ends that; what was recorded stays until its block is freed.  EALREADY: it is off. */
int umem_audit_stop(void);
void umem_audit_status(struct umem_audit_status *status);

/* Releases what the working set does not need; calls reclaim functions. */
void umem_reap(void);

/*
 * Makes about one allocation in mtbf fail (0: none, 1: all of them), except
 * those with UMEM_NOFAIL.
 */
void umem_setmtbf(uint32_t mtbf);

/*
 * Looks at every buffer that debugging (UMEM_DEBUG=guards) knows of.  Corrupt
 * ones are reported, each once; returns how many, unless the first one ends the
 * process.
 */
size_t umem_verify(void);

#ifdef __cplusplus
}
#endif
#endif
