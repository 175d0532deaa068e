/* SPDX-License-Identifier: MIT */
/*
 * base.h - the vocabulary of the engine: branch hints, alignment arithmetic,
 * assertions that never allocate, an intrusive list.
 *
 * Owns no state but the panic hook.  Calls nothing below it.
 */
#ifndef UMEM_BASE_H
#define UMEM_BASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UMEM_LIKELY(x) __builtin_expect(!!(x), 1)
#define UMEM_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define UMEM_EXPORT __attribute__((visibility("default")))
#define UMEM_ALWAYS_INLINE inline __attribute__((always_inline))
#define UMEM_NOINLINE __attribute__((noinline))
/* Not on the way of a program that only allocates and frees: lies apart (libumem.ld). */
#define UMEM_COLD __attribute__((cold, noinline))
/* And what is, in a file that is not. */
#define UMEM_USUAL __attribute__((hot))
#define UMEM_CACHE_LINE 64
/*
 * Some twenty instructions, called all the time: begins with a line.  Where the
 * linker happened to put them across one line more, a pair took a twentieth longer.
 */
#define UMEM_SHORT __attribute__((aligned(UMEM_CACHE_LINE)))
/* Initial-exec: resolved without __tls_get_addr, which may itself malloc. */
#define UMEM_TLS __thread __attribute__((tls_model("initial-exec")))

#define UMEM_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define UMEM_CONTAINER_OF(ptr, type, member)                                                       \
    ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* align must be a power of two; the arguments are size_t or uintptr_t. */
static inline uintptr_t
umem_align_up(uintptr_t x, uintptr_t align)
{
    return (x + align - 1) & ~(align - 1);
}

static inline uintptr_t
umem_align_down(uintptr_t x, uintptr_t align)
{
    return x & ~(align - 1);
}

static inline bool
umem_is_pow2(size_t x)
{
    return x != 0 && (x & (x - 1)) == 0;
}

static inline size_t
umem_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Of times and counts, which are wider than sizes where those have 32 bits. */
static inline uint64_t
umem_min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline size_t
umem_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Index of the highest set bit; x must not be 0. */
static inline unsigned
umem_log2(size_t x)
{
    return (unsigned)(sizeof(unsigned long) * 8 - 1) - (unsigned)__builtin_clzl((unsigned long)x);
}

/* Finaliser of MurmurHash3 (Appleby, public domain): spreads addresses. */
static inline uint64_t
umem_hash64(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdULL;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ULL;
    x ^= x >> 33;
    return x;
}

/*
 * Of numbers that often come in sequence, as those of pages do: a run of 1,024
 * keeps its order, so that neighbours are filed side by side, where a table that
 * is larger than the caches has them at hand.  The low bits are the good ones.
 */
#define UMEM_HASH_RUN_SHIFT 10

static inline uint64_t
umem_hash_run(uint64_t x)
{
    return umem_hash64(x >> UMEM_HASH_RUN_SHIFT) + x;
}

/*
 * Prints "umem: <file>:<line>: <what>" on stderr and aborts.  For our own
 * bugs; the caller's misuse goes through debug/report.h.
 */
_Noreturn void umem_panic(const char *file, int line, const char *what);

/* Cheap enough to stay in every build: checked where a wrong guess would corrupt. */
#define UMEM_VERIFY(cond)                                                                          \
    do {                                                                                           \
        if (UMEM_UNLIKELY(!(cond)))                                                                \
            umem_panic(__FILE__, __LINE__, #cond);                                                 \
    } while (0)

/* Only in builds with -DUMEM_ASSERTIONS (tests and sanitizers). */
#ifdef UMEM_ASSERTIONS
#define UMEM_ASSERT(cond) UMEM_VERIFY(cond)
#else
#define UMEM_ASSERT(cond) ((void)0)
#endif

/* A circular doubly-linked list; an empty one points at itself. */
struct umem_list {
    struct umem_list *next;
    struct umem_list *prev;
};

#define UMEM_LIST_INIT(name)                                                                       \
    {                                                                                              \
        &(name), &(name)                                                                           \
    }

static inline void
umem_list_init(struct umem_list *head)
{
    head->next = head->prev = head;
}

static inline bool
umem_list_empty(const struct umem_list *head)
{
    return head->next == head;
}

static inline void
umem_list_insert_between(struct umem_list *node, struct umem_list *prev, struct umem_list *next)
{
    node->next = next;
    node->prev = prev;
    prev->next = node;
    next->prev = node;
}

static inline void
umem_list_push_front(struct umem_list *head, struct umem_list *node)
{
    umem_list_insert_between(node, head, head->next);
}

static inline void
umem_list_push_back(struct umem_list *head, struct umem_list *node)
{
    umem_list_insert_between(node, head->prev, head);
}

static inline void
umem_list_remove(struct umem_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = node;
}

#define UMEM_LIST_FOR(node, head)                                                                  \
    for (struct umem_list *node = (head)->next; node != (head); node = node->next)

#endif
