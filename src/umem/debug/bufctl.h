/* SPDX-License-Identifier: MIT */
/*
 * bufctl.h - what debugging knows of one buffer, and what it writes round it.
 *
 * A bufctl lies in the sidecar of the buffer's slab (or in the record of an
 * oversize block), out of reach of an overrun.  In the chunk itself lies only
 * what an overrun must find: with UMF_REDZONE the bytes from the requested
 * size on hold slack, and the last of the chunk are a buftag.
 *
 *   | requested size | slack, gap: 0xb1 0xb2... | buftag: redzone, size, state |
 *   ^ buffer                ^ bufsize rounded up                               ^ next buffer
 *
 * So what lies before a buffer is a buftag too: that of the chunk in front, or,
 * before the first chunk of a slab and before an oversize block, a head tag,
 * which names the buffer's own bufctl.  A write before a buffer's start damages
 * it from its end.
 */
#ifndef UMEM_BUFCTL_H
#define UMEM_BUFCTL_H

#include "base/base.h"

/* Flags of a cache under debugging. */
#define UMF_AUDIT 0x0001    /* record transactions */
#define UMF_DEADBEEF 0x0002 /* fill free and uninitialised memory */
#define UMF_REDZONE 0x0004  /* buftag and slack bytes */
#define UMF_CONTENTS 0x0008 /* log freed contents */
/*
 * In the place of UMF_BUFTAG where nothing may be written into or behind an
 * object: its state alone, in a bufctl outside.
 */
#define UMF_STATE 0x0010
#define UMF_BUFTAG (UMF_DEADBEEF | UMF_REDZONE)
#define UMF_DEBUG (UMF_AUDIT | UMF_BUFTAG | UMF_CONTENTS)

#define UMEM_FREE_PATTERN 0xdeadbeefu          /* every word of free memory */
#define UMEM_UNINITIALIZED_PATTERN 0xbaddcafeu /* every word of fresh memory */
#define UMEM_REDZONE_PATTERN 0xfeedfaceu       /* first word of a buftag */
/*
 * Slack, from the requested size to the buftag, depends on the address: so a
 * run of one value differs from it in its second byte at the latest, and none
 * of these values is text, zero, all ones, or part of the patterns above.
 */
#define UMEM_SLACK_BYTE(addr) (0xb1u + ((uintptr_t)(addr)&7))
/* Encoded size: a random corruption rarely is 1 modulo this prime. */
#define UMEM_SIZE_PRIME 251u
#define UMEM_SIZE_ENCODE(size) ((uint32_t)(UMEM_SIZE_PRIME * (uint32_t)(size) + 1u))
#define UMEM_SIZE_VALID(encoded) ((encoded) % UMEM_SIZE_PRIME == 1u)
#define UMEM_SIZE_DECODE(encoded) ((encoded) / UMEM_SIZE_PRIME)

/* buftag_state is the bufctl's address (low 32 bits) XOR one of these. */
#define UMEM_BUFTAG_ALLOCATED 0xa110c8edu
#define UMEM_BUFTAG_FREE 0xf4eef4eeu

/* The last 16 bytes of a chunk. */
struct umem_buftag {
    uint32_t buftag_redzone; /* UMEM_REDZONE_PATTERN */
    uint32_t buftag_size;    /* UMEM_SIZE_ENCODE(requested), 0 where it overflows 32 bits */
    uint32_t buftag_bufctl;  /* low 32 bits of the bufctl's address */
    uint32_t buftag_state;   /* buftag_bufctl XOR UMEM_BUFTAG_* */
};

/* No address space that a block could lie in is larger. */
#define UMEM_BUFCTL_SIZE_BITS 48
#define UMEM_BUFCTL_ALIGN 32

enum umem_bufctl_state {
    UMEM_BUFFER_RAW = 0, /* never handed out since its slab was made */
    UMEM_BUFFER_ALLOCATED,
    UMEM_BUFFER_FREE
};

/*
 * One transaction: an allocation or a free.  12 bytes, since a buffer keeps two
 * of them: thread and time share a word.
 */
struct umem_transaction {
    uint32_t txn_stack; /* id in the stack depot, 0 none */
    uint64_t txn_when;  /* 0: there was none */
} __attribute__((packed, aligned(4)));
/* The kernel's thread ids are below 2^22 (PID_MAX_LIMIT). */
#define UMEM_TXN_THREAD_BITS 22
/*
 * Of CLOCK_MONOTONIC in nanoseconds, bits that are not kept: a millisecond, less
 * than the tick by which that time is read (4 ms mostly).  The rest lasts 146 years.
 */
#define UMEM_TXN_TIME_SHIFT 20

static inline uint64_t
umem_transaction_when(uint32_t thread, uint64_t time_ns)
{
    return time_ns >> UMEM_TXN_TIME_SHIFT << UMEM_TXN_THREAD_BITS | thread;
}

static inline uint32_t
umem_transaction_thread(const struct umem_transaction *txn)
{
    return (uint32_t)txn->txn_when & (((uint32_t)1 << UMEM_TXN_THREAD_BITS) - 1);
}

static inline uint64_t
umem_transaction_ns(const struct umem_transaction *txn)
{
    return txn->txn_when >> UMEM_TXN_THREAD_BITS << UMEM_TXN_TIME_SHIFT;
}

/*
 * 32 bytes, two in a cache line (slabs align them): small blocks are many, and
 * each has one.  The transactions are there in caches with UMF_AUDIT only; a
 * bufctl without them is 8 bytes.
 */
struct umem_bufctl {
    uint64_t bc_size : UMEM_BUFCTL_SIZE_BITS; /* requested size, bytes */
    uint8_t bc_state;                         /* enum umem_bufctl_state */
    uint8_t bc_turns;                         /* UMEM_BC_* */
    struct umem_transaction bc_last;          /* the last transaction */
    struct umem_transaction bc_prev;          /* the one before */
};
#define UMEM_BUFCTL_UNAUDITED offsetof(struct umem_bufctl, bc_last)
_Static_assert(sizeof(struct umem_bufctl) == UMEM_BUFCTL_ALIGN, "two share a cache line");
_Static_assert(offsetof(struct umem_bufctl, bc_state) * 8 == UMEM_BUFCTL_SIZE_BITS,
               "what the layout block says of bc_size");

static inline void
umem_bufctl_set_size(struct umem_bufctl *bc, uint64_t size)
{
    bc->bc_size = size & (((uint64_t)1 << UMEM_BUFCTL_SIZE_BITS) - 1);
}

/* For verifiers, the low bits of bc_turns: see tag.h. */
#define UMEM_BC_SEQUENCE 0x3f
#define UMEM_BC_REPORTED 0x40 /* damage round it was reported (noabort): once is enough */
#define UMEM_BC_SAMPLED 0x80  /* behind a firewall by UMEM_DEBUG=sample */

/* Bytes of a bufctl in caches with these flags: none without any. */
static inline uint32_t
umem_bufctl_size(uint32_t flags)
{
    if (flags == 0)
        return 0;
    return flags & UMF_AUDIT ? sizeof(struct umem_bufctl) : UMEM_BUFCTL_UNAUDITED;
}

#endif
