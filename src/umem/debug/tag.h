/* SPDX-License-Identifier: MIT */
/*
 * tag.h - bufctl and tag of a buffer as every operation on one reads and writes
 * them: what is inline in check.c, which has the rules, and on the short way of
 * small blocks (cache/object_short.c), which knows no other case than that all
 * is well.
 *
 * Owns no state.
 */
#ifndef UMEM_TAG_H
#define UMEM_TAG_H

#include "debug/bufctl.h"
#include "debug/pattern.h"
#include "os/lock.h"

static inline uint32_t
umem_encoded_size(uint64_t size)
{
    return size <= (UINT32_MAX - 1) / UMEM_SIZE_PRIME ? UMEM_SIZE_ENCODE(size) : 0;
}

static inline uint32_t
umem_bufctl_state(const struct umem_bufctl *bc)
{
    return __atomic_load_n(&bc->bc_state, __ATOMIC_ACQUIRE);
}

/* False: it is not in the state from. */
static inline bool
umem_bufctl_set_state(struct umem_bufctl *bc, uint32_t from, uint32_t to)
{
    uint8_t now = (uint8_t)from;

    if (os_thread_is_alone()) {
        if (UMEM_UNLIKELY(bc->bc_state != now))
            return false;
        __atomic_store_n(&bc->bc_state, (uint8_t)to, __ATOMIC_RELEASE);
        return true;
    }
    return __atomic_compare_exchange_n(&bc->bc_state, &now, (uint8_t)to, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

/*
 * For verifiers, which read beside the owner: the sequence in bc_turns is odd
 * from before an allocation writes the first byte until after a free wrote the
 * last.  So a buffer that counts as allocated with an odd one, or as free with an
 * even one, is as it should be, as long as that does not change.  A mark that
 * another thread sets just now may be lost: the same damage is then told twice.
 */
static inline void
umem_bufctl_turn(struct umem_bufctl *bc)
{
    uint32_t turns = __atomic_load_n(&bc->bc_turns, __ATOMIC_RELAXED);

    turns = (turns & ~(uint32_t)UMEM_BC_SEQUENCE) | ((turns + 1) & UMEM_BC_SEQUENCE);
    atomic_thread_fence(memory_order_release);
    __atomic_store_n(&bc->bc_turns, (uint8_t)turns, __ATOMIC_RELAXED);
    atomic_thread_fence(memory_order_release);
}

/* A tag as it is to be, as two words: what is compared at each operation. */
struct umem_tag_words {
    uint64_t tag_low, tag_high;
};

static UMEM_ALWAYS_INLINE struct umem_tag_words
umem_tag_words(const struct umem_bufctl *bc, uint64_t size, uint32_t mark)
{
    uint32_t bufctl = (uint32_t)(uintptr_t)bc;

    return (struct umem_tag_words){UMEM_REDZONE_PATTERN | (uint64_t)umem_encoded_size(size) << 32,
                                   bufctl | (uint64_t)(bufctl ^ mark) << 32};
}

/* By atomic stores, each of two fields or more: the buffer behind may be looking at it. */
static UMEM_ALWAYS_INLINE void
umem_tag_store(struct umem_buftag *to, struct umem_tag_words words)
{
    uint64_t *word = (uint64_t *)(void *)to;

    __atomic_store_n(&word[0], words.tag_low, __ATOMIC_RELAXED);
    __atomic_store_n(&word[1], words.tag_high, __ATOMIC_RELAXED);
}

/* What differs of a tag; 0: nothing. */
static UMEM_ALWAYS_INLINE uint64_t
umem_tag_differences(const struct umem_buftag *tag, struct umem_tag_words right)
{
    const char *p = (const char *)tag;

    return (umem_load_word(p) ^ right.tag_low) | (umem_load_word(p + 8) ^ right.tag_high);
}

/*
 * Whether slack from end on, and the tag behind it, are as they should be.  The
 * last bytes of slack are read together with the first of the tag: a word that
 * is all ours, where nobody may be writing.
 */
static UMEM_ALWAYS_INLINE bool
umem_slack_and_tag_hold(const char *end, const struct umem_buftag *tag, struct umem_tag_words right)
{
    size_t slack = (size_t)((const char *)tag - end);
    uint64_t word = umem_slack_word(end), differs = umem_tag_differences(tag, right);

    for (; slack >= sizeof(word); end += sizeof(word), slack -= sizeof(word))
        differs |= umem_load_word(end) ^ word;
    uint64_t ours = ((uint64_t)1 << 8 * slack) - 1;
    return (differs | (umem_load_word(end) ^ ((word & ours) | right.tag_low << 8 * slack))) == 0;
}

/* Whether a tag that may be changing hands is one of bc's. */
static UMEM_ALWAYS_INLINE bool
umem_tag_is_of(const struct umem_buftag *tag, const struct umem_bufctl *bc)
{
    const uint64_t *word = (const uint64_t *)(const void *)tag;
    uint64_t low = __atomic_load_n(&word[0], __ATOMIC_RELAXED);
    uint64_t high = __atomic_load_n(&word[1], __ATOMIC_RELAXED);
    uint32_t bufctl = (uint32_t)(uintptr_t)bc, size = (uint32_t)(low >> 32);
    uint32_t mark = (uint32_t)(high >> 32) ^ bufctl;

    return (uint32_t)low == UMEM_REDZONE_PATTERN && (uint32_t)high == bufctl &&
           (mark == UMEM_BUFTAG_ALLOCATED || mark == UMEM_BUFTAG_FREE) &&
           (size == 0 || UMEM_SIZE_VALID(size));
}

/*
 * The fill of fresh memory up to the requested size and slack behind it, of a
 * buffer that begins and ends at multiples of 8: in whole words, the one in
 * which the fill ends, too.
 */
static UMEM_ALWAYS_INLINE void
umem_fill_fresh_and_slack(char *addr, size_t space, size_t requested)
{
    size_t whole = umem_align_down(requested, sizeof(uint64_t));
    char *end = addr + whole;

    umem_fill(addr, whole, UMEM_UNINITIALIZED_WORD);
    if (whole != requested) {
        uint64_t fresh = ((uint64_t)1 << 8 * (requested - whole)) - 1;
        uint64_t word = (UMEM_UNINITIALIZED_WORD & fresh) | (UMEM_SLACK_WORD & ~fresh);
        memcpy(end, &word, sizeof(word));
        end += sizeof(word);
    }
    umem_fill(end, (size_t)(addr + space - end), UMEM_SLACK_WORD);
}

#endif
