/* SPDX-License-Identifier: MIT */
/*
 * sys/vmem.h - vmem: a general allocator of resources that come in integer
 * ranges, after Bonwick and Adams, "Magazines and Vmem" (USENIX 2001), in its
 * Solaris spelling.
 *
 * An arena hands out segments of [base, base + size); what the numbers mean is
 * the caller's business, and the arena never touches what they name.  Sizes
 * are in the arena's units (bytes for memory).  MT-safe; not for signal
 * handlers.  Misuse (a segment freed twice or with another size, a misaligned
 * vmem_add()) is fatal with a message on stderr.
 */
#ifndef SYS_VMEM_H
#define SYS_VMEM_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Allocation flags. */
#define VM_SLEEP 0x0000    /* fail with NULL: a user process never waits */
#define VM_NOSLEEP 0x0001  /* the same; kept for source compatibility */
#define VM_BESTFIT 0x0100  /* the smallest free segment that fits */
#define VM_FIRSTFIT 0x0200 /* the lowest free segment that fits */
#define VM_NEXTFIT 0x0400  /* the next one after the last allocation */
#define VM_FLAGS 0xffff

/* What vmem_walk() and vmem_size() look at. */
#define VMEM_ALLOC 0x01
#define VMEM_FREE 0x02
/* vmem_walk() drops the arena's lock round each call of its function. */
#define VMEM_REENTRANT 0x80000000u

typedef struct vmem vmem_t;
typedef void *vmem_alloc_t(vmem_t *vmp, size_t size, int vmflag);
typedef void vmem_free_t(vmem_t *vmp, void *addr, size_t size);

/*
 * Creates an arena, with the initial span [base, base + size) if size is not
 * 0.  quantum, a power of two, is the unit of allocation.  Where the arena
 * runs short it imports spans with afunc(source, size, vmflag) and returns
 * wholly free ones with ffunc.  Sizes up to qcache_max (at most 16 quanta) are
 * served from object caches.  NULL with errno: EINVAL, ENOMEM, or EAGAIN where
 * RLIMIT_MEMLOCK is what failed (so for every function below).
 */
vmem_t *vmem_create(const char *name, void *base, size_t size, size_t quantum, vmem_alloc_t *afunc,
                    vmem_free_t *ffunc, vmem_t *source, size_t qcache_max, int vmflag);
/* Destroys an arena; segments still allocated are reported on stderr. */
void vmem_destroy(vmem_t *vmp);

/* Returns a segment of size (not 0) rounded up to the quantum; NULL with EINVAL, ENOMEM. */
void *vmem_alloc(vmem_t *vmp, size_t size, int vmflag);
void vmem_free(vmem_t *vmp, void *addr, size_t size);

/*
 * vmem_alloc() with constraints: the address is phase past a multiple of
 * align, the segment lies within [minaddr, maxaddr) and does not straddle a
 * multiple of nocross.  0 or NULL leaves a constraint out.  Free with
 * vmem_xfree().  NULL with errno: EINVAL for constraints that cannot be met,
 * ENOMEM.
 */
void *vmem_xalloc(vmem_t *vmp, size_t size, size_t align, size_t phase, size_t nocross,
                  void *minaddr, void *maxaddr, int vmflag);
void vmem_xfree(vmem_t *vmp, void *addr, size_t size);

/*
 * Adds the span [addr, addr + size).  Returns addr, or NULL with ENOMEM, or
 * EINVAL for an empty range or one that wraps.  Address 0 is never handed out:
 * a span that begins there loses its first quantum.
 */
void *vmem_add(vmem_t *vmp, void *addr, size_t size, int vmflag);
/* 1 if [addr, addr + size) lies within one span of the arena, else 0. */
int vmem_contains(vmem_t *vmp, void *addr, size_t size);
/*
 * Calls func(arg, start, size) for every segment of the kinds in typemask
 * (VMEM_ALLOC, VMEM_FREE, | VMEM_REENTRANT), in address order in each span.
 * func must not use the arena unless VMEM_REENTRANT is given.
 */
void vmem_walk(vmem_t *vmp, int typemask, void (*func)(void *arg, void *start, size_t size),
               void *arg);
/* Units allocated, free, or both (VMEM_ALLOC, VMEM_FREE). */
size_t vmem_size(vmem_t *vmp, int typemask);

/* The arena under the heap, and the functions to import from it. */
vmem_t *vmem_heap_arena(vmem_alloc_t **allocp, vmem_free_t **freep);

#ifdef __cplusplus
}
#endif
#endif
