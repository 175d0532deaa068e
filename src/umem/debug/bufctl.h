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

enum umem_bufctl_state {
    UMEM_BUFFER_RAW = 0, /* never handed out since its slab was made */
    UMEM_BUFFER_ALLOCATED,
    UMEM_BUFFER_FREE
};

/* One transaction: an allocation or a free. */
struct umem_transaction {
    uint32_t txn_stack;  /* id in the stack depot, 0 none */
    uint32_t txn_thread; /* kernel id */
    uint64_t txn_time;   /* CLOCK_MONOTONIC, nanoseconds, to the tick: 4 ms mostly */
};

/*
 * The transactions are there in caches with UMF_AUDIT only: a sidecar without
 * them is a third as large, and four of its bufctls share a cache line.
 */
struct umem_bufctl {
    uint64_t bc_size;                /* requested size, bytes */
    uint32_t bc_state;               /* enum umem_bufctl_state */
    uint16_t bc_flags;               /* UMEM_BC_* */
    uint16_t bc_sequence;            /* for verifiers: see check.c */
    struct umem_transaction bc_last; /* the last transaction */
    struct umem_transaction bc_prev; /* the one before */
};
#define UMEM_BUFCTL_UNAUDITED offsetof(struct umem_bufctl, bc_last)

/* Bytes of a bufctl in caches with these flags: none without any. */
static inline uint32_t
umem_bufctl_size(uint32_t flags)
{
    if (flags == 0)
        return 0;
    return flags & UMF_AUDIT ? sizeof(struct umem_bufctl) : UMEM_BUFCTL_UNAUDITED;
}
#define UMEM_BC_REPORTED 0x1 /* damage round it was reported (noabort): once is enough */
#define UMEM_BC_SAMPLED 0x2  /* behind a firewall by UMEM_DEBUG=sample */

#endif
