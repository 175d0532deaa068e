/* SPDX-License-Identifier: MIT */
/*
 * stacks.c - the stack depot: a hash table of call stacks that only grows.
 *
 * Memory is a row of segments, mapped one by one as they are reached; a stack
 * is bumped off the last one and lies in one bucket's chain for ever.  So
 * readers need no lock: a chain is entered by an acquiring read of its head,
 * and everything behind a head was complete when it was published.
 *
 * Interning: scan the chain; if the stack is not in it, reserve room (compare
 * and swap on the fill mark), write, and put it at the head, unless the head
 * has moved: then the stacks in front of the old head are scanned first, so
 * that one stack never gets two ids.  The room of a loser of that race is
 * lost, some hundred bytes once in a while.
 *
 * May call os/.  stacks_lock (UMEM_RANK_STACKS) is held only while a segment
 * or the buckets are mapped; everything it protects is published atomically.
 */
#include "debug/stacks.h"

#include <errno.h>
#include <string.h>

#include "os/lock.h"
#include "os/os.h"

/* Ids count units of 8 bytes, the alignment of a stack. */
#define UNIT ((size_t)8)
#define SEGMENT_UNITS ((uint32_t)1 << UMEM_STACKS_SEGMENT_SHIFT)
#define SEGMENT_SIZE (SEGMENT_UNITS * UNIT)
#define UNITS_MAX (SEGMENT_UNITS * (uint32_t)UMEM_STACKS_SEGMENTS)
#define STACK_UNITS(depth)                                                                         \
    ((uint32_t)((sizeof(struct umem_stack) + (depth) * sizeof(uintptr_t) + UNIT - 1) / UNIT))
/* What one segment holds. */
#define DEPTH_MAX ((SEGMENT_SIZE - sizeof(struct umem_stack)) / sizeof(uintptr_t))
/* Id 0 means none, so the first stack starts one unit later. */
#define FIRST_ID 1u

/*
 * A stack of 20 frames takes 176 bytes: 1.5 million of them fill the depot,
 * and then a chain has 6; programs have some thousands, mostly alone in their
 * buckets.  1 MiB, of which only the pages touched exist.
 */
#define BUCKET_BITS 18
#define BUCKETS ((size_t)1 << BUCKET_BITS)

char *umem_stacks_segment[UMEM_STACKS_SEGMENTS];

static struct umem_lock stacks_lock = UMEM_LOCK_INIT(UMEM_RANK_STACKS);
static _Atomic(_Atomic uint32_t *) stacks_buckets;
static _Atomic uint32_t stacks_fill = FIRST_ID; /* units given out */
static _Atomic uint64_t stacks_count;
static _Atomic uint64_t stacks_refused;

static char *
segment_get(uint32_t index)
{
    return __atomic_load_n(&umem_stacks_segment[index], __ATOMIC_ACQUIRE);
}

/* The stack at an id that is in a chain. */
static inline struct umem_stack *
stack_at(uint32_t id)
{
    char *segment = segment_get(id >> UMEM_STACKS_SEGMENT_SHIFT);

    return (struct umem_stack *)(void *)(segment + (id & (SEGMENT_UNITS - 1)) * UNIT);
}

/* Maps size bytes for the depot, keeping errno. */
static void *
depot_map(size_t size)
{
    int saved = errno;
    void *addr = os_map(umem_align_up(size, os_page_size()), os_page_size());

    if (addr != NULL)
        os_name(addr, size, "umem_stacks");
    errno = saved;
    return addr;
}

static UMEM_COLD _Atomic uint32_t *
buckets_map(void)
{
    umem_lock_acquire(&stacks_lock);
    _Atomic uint32_t *buckets = atomic_load_explicit(&stacks_buckets, memory_order_acquire);
    if (buckets == NULL) {
        buckets = depot_map(BUCKETS * sizeof(*buckets));
        atomic_store_explicit(&stacks_buckets, buckets, memory_order_release);
    }
    umem_lock_release(&stacks_lock);
    return buckets;
}

static UMEM_COLD bool
segment_map(uint32_t index)
{
    umem_lock_acquire(&stacks_lock);
    char *segment = segment_get(index);
    if (segment == NULL) {
        segment = depot_map(SEGMENT_SIZE);
        __atomic_store_n(&umem_stacks_segment[index], segment, __ATOMIC_RELEASE);
    }
    umem_lock_release(&stacks_lock);
    return segment != NULL;
}

/* The high and the low half of a 128-bit product, folded. */
static inline uint64_t
fold(uint64_t a, uint64_t b)
{
#ifdef __SIZEOF_INT128__
    unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)(product >> 64) ^ (uint64_t)product;
#else
    return umem_hash64(a ^ umem_hash64(b));
#endif
}

/*
 * Two frames a multiplication, each pair with constants of its own so that
 * order counts; the pairs are summed and so do not wait for one another.
 */
static inline uint64_t
hash_frames(const uintptr_t *frames, uint32_t depth)
{
    const uint64_t step_even = UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio */
    const uint64_t step_odd = UINT64_C(0xd1b54a32d192ed03);  /* 2^64 / plastic number, odd */
    uint64_t even = step_even;
    uint64_t odd = step_odd;
    uint64_t sum = depth * step_even;
    uint32_t i;

    for (i = 0; i + 2 <= depth; i += 2) {
        sum += fold(frames[i] ^ even, frames[i + 1] ^ odd);
        even += step_even;
        odd += step_odd;
    }
    if (i < depth)
        sum += fold(frames[i] ^ even, odd);
    return umem_hash64(sum);
}

static inline bool
frames_equal(const uintptr_t *a, const uintptr_t *b, uint32_t depth)
{
    typedef uintptr_t pair __attribute__((vector_size(2 * sizeof(uintptr_t))));
    pair differ = {0, 0}, x, y;
    uint32_t i;

    for (i = 0; i + 2 <= depth; i += 2) {
        memcpy(&x, a + i, sizeof(x));
        memcpy(&y, b + i, sizeof(y));
        differ |= x ^ y;
    }
    return (differ[0] | differ[1]) == 0 && (i == depth || a[i] == b[i]);
}

/* The id of the stack in the chain from id up to but without end; 0 if it is not there. */
static inline uint32_t
chain_find(uint32_t id, uint32_t end, uint32_t hash, const uintptr_t *frames, uint32_t depth)
{
    while (id != end) {
        const struct umem_stack *stack = stack_at(id);
        if (stack->stack_hash == hash && stack->stack_depth == depth &&
            frames_equal(stack->stack_frame, frames, depth))
            return id;
        id = stack->stack_next;
    }
    return 0;
}

/* Room for a stack of so many units; 0 where the depot is full or memory is out. */
static uint32_t
reserve(uint32_t units)
{
    uint32_t fill = atomic_load_explicit(&stacks_fill, memory_order_relaxed);
    uint32_t start;

    do {
        start = fill;
        /* A stack never crosses a segment: what is left of this one stays unused. */
        if ((start & (SEGMENT_UNITS - 1)) + units > SEGMENT_UNITS)
            start = (uint32_t)umem_align_up(start, SEGMENT_UNITS);
        if (start >= UNITS_MAX)
            return 0;
        uint32_t index = start >> UMEM_STACKS_SEGMENT_SHIFT;
        if (UMEM_UNLIKELY(segment_get(index) == NULL) && !segment_map(index))
            return 0;
    } while (!atomic_compare_exchange_weak_explicit(&stacks_fill, &fill, start + units,
                                                    memory_order_relaxed, memory_order_relaxed));
    return start;
}

static UMEM_NOINLINE uint32_t
insert(_Atomic uint32_t *bucket, uint32_t head, uint32_t hash, const uintptr_t *frames,
       uint32_t depth)
{
    uint32_t id = depth <= DEPTH_MAX ? reserve(STACK_UNITS(depth)) : 0;

    if (id == 0) {
        atomic_fetch_add_explicit(&stacks_refused, 1, memory_order_relaxed);
        return 0;
    }
    struct umem_stack *stack = stack_at(id);
    stack->stack_hash = hash;
    stack->stack_depth = depth;
    memcpy(stack->stack_frame, frames, depth * sizeof(*frames));
    for (;;) {
        uint32_t seen = head;
        stack->stack_next = head;
        if (atomic_compare_exchange_strong_explicit(bucket, &head, id, memory_order_release,
                                                    memory_order_acquire))
            break;
        uint32_t theirs = chain_find(head, seen, hash, frames, depth);
        if (theirs != 0)
            return theirs;
    }
    atomic_fetch_add_explicit(&stacks_count, 1, memory_order_relaxed);
    return id;
}

uint32_t
umem_stacks_intern(const uintptr_t *frames, uint32_t depth)
{
    _Atomic uint32_t *buckets = atomic_load_explicit(&stacks_buckets, memory_order_acquire);

    if (depth == 0)
        return 0;
    if (UMEM_UNLIKELY(buckets == NULL)) {
        buckets = buckets_map();
        if (buckets == NULL) {
            atomic_fetch_add_explicit(&stacks_refused, 1, memory_order_relaxed);
            return 0;
        }
    }
    uint64_t full = hash_frames(frames, depth);
    /* The bucket by the low bits, the hash that is compared by the others. */
    uint32_t hash = (uint32_t)(full >> 32);
    _Atomic uint32_t *bucket = &buckets[full & (BUCKETS - 1)];
    uint32_t head = atomic_load_explicit(bucket, memory_order_acquire);
    uint32_t id = chain_find(head, 0, hash, frames, depth);
    return UMEM_LIKELY(id != 0) ? id : insert(bucket, head, hash, frames, depth);
}

const struct umem_stack *
umem_stacks_get(uint32_t id)
{
    _Atomic uint32_t *buckets = atomic_load_explicit(&stacks_buckets, memory_order_acquire);
    uint32_t at = id & (SEGMENT_UNITS - 1);

    if (id < FIRST_ID || buckets == NULL ||
        id >= atomic_load_explicit(&stacks_fill, memory_order_relaxed) ||
        segment_get(id >> UMEM_STACKS_SEGMENT_SHIFT) == NULL || at + STACK_UNITS(0) > SEGMENT_UNITS)
        return NULL;
    const struct umem_stack *stack = stack_at(id);
    uint32_t depth = __atomic_load_n(&stack->stack_depth, __ATOMIC_RELAXED);
    if (depth == 0 || depth > DEPTH_MAX || at + STACK_UNITS(depth) > SEGMENT_UNITS)
        return NULL;
    /* It may be the middle of a stack, or one not yet published: only chains say. */
    uint64_t full = hash_frames(stack->stack_frame, depth);
    uint32_t in_chain = atomic_load_explicit(&buckets[full & (BUCKETS - 1)], memory_order_acquire);
    while (in_chain != 0 && in_chain != id)
        in_chain = stack_at(in_chain)->stack_next;
    return in_chain == id ? stack : NULL;
}

struct umem_stacks_stats
umem_stacks_stats(void)
{
    return (struct umem_stacks_stats){
        .stacks_count = atomic_load_explicit(&stacks_count, memory_order_relaxed),
        .stacks_bytes =
            (atomic_load_explicit(&stacks_fill, memory_order_relaxed) - FIRST_ID) * UNIT,
        .stacks_refused = atomic_load_explicit(&stacks_refused, memory_order_relaxed),
    };
}

UMEM_USUAL void
umem_stacks_fork_prepare(void)
{
    umem_lock_acquire_fork(&stacks_lock);
}

UMEM_USUAL void
umem_stacks_fork_parent(void)
{
    umem_lock_release(&stacks_lock);
}

void
umem_stacks_fork_child(void)
{
    umem_lock_reset_child(&stacks_lock);
}
