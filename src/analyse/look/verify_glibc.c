/* SPDX-License-Identifier: MIT */
/*
 * verify_glibc.c - whether glibc's own heap is sound, as far as it tells.
 *
 * That chunks follow one another was found out when they were read, and so were
 * the lists of threads' caches and of fast bins (heap_problems).  Here those that
 * are free and in a bin: their size is written behind them once more, and their
 * list leads there and back.  A write after free, or past the end of what lies
 * before, changes these first.
 *
 * A process is stopped anywhere: where a thread may be within malloc, bins are
 * passed over.
 */
#include <inttypes.h>
#include <string.h>

#include "heap/glibc.h"
#include "look/verify.h"

/* Instructions that make a system call: nobody who waits in one is changing a list. */
static bool
is_in_system_call(struct target *t, const struct thread *thr)
{
    static const unsigned char x86_64[] = {0x0f, 0x05};
    static const unsigned char x86[] = {0xcd, 0x80};
    static const unsigned char aarch64[] = {0x01, 0x00, 0x00, 0xd4};
    unsigned char code[4];

    if (thr->thr_stopped && target_read_exact(t, thr->thr_pc - 4, code, sizeof(code)))
        return memcmp(code + 2, x86_64, sizeof(x86_64)) == 0 ||
               memcmp(code + 2, x86, sizeof(x86)) == 0 ||
               memcmp(code, aarch64, sizeof(aarch64)) == 0;
    return false;
}

/* Whether a thread of a process that runs may be changing the bins.  A core is of its last moment.
 */
static bool
is_busy(const struct heap *h)
{
    struct target *t = h->heap_target;
    const struct thread *threads;
    size_t n = target_threads(t, &threads);

    for (size_t i = 0; target_is_process(t) && i < n; i++)
        if (!is_in_system_call(t, &threads[i]))
            return true;
    return false;
}

struct chunk {
    struct block chk_block;
    addr_t chk_addr; /* of its header */
    uint64_t chk_size;
    uint32_t chk_class;
};

static void
note(struct verification *v, const struct chunk *c, addr_t block, const char *what, addr_t value)
{
    struct verify_problem *prb = verify_note(v, VERIFY_MODIFIED, c->chk_class, block,
                                             "free chunk corrupted: %s 0x%" PRIx64, what, value);
    prb->prb_has_block = true;
    prb->prb_block = c->chk_block;
}

/* A chunk that is free by its successor, so in a bin. */
static void
check_free(struct verification *v, struct heap *h, const struct chunk *c)
{
    const unsigned word = h->heap_offsets.off_word;
    struct reader *rd = &h->heap_reader;
    const addr_t block = c->chk_addr + 2 * (addr_t)word;
    uint64_t behind, forward, backward, back;

    if (reader_word(rd, c->chk_addr + c->chk_size, word, &behind) && behind != c->chk_size)
        note(v, c, block, "the size behind it is", behind);
    if (!reader_word(rd, block, word, &forward) || !reader_word(rd, block + word, word, &backward))
        return;
    if (!reader_word(rd, forward + 3 * (addr_t)word, word, &back) || back != c->chk_addr)
        note(v, c, block, "the next one of its list does not lead back:", forward);
    if (!reader_word(rd, backward + 2 * (addr_t)word, word, &back) || back != c->chk_addr)
        note(v, c, block, "the one before in its list does not lead to it:", backward);
}

static bool
is_in_bin(struct heap *h, const struct chunk *c)
{
    const unsigned word = h->heap_offsets.off_word;
    uint64_t next;
    return reader_word(&h->heap_reader, c->chk_addr + c->chk_size + word, word, &next) &&
           (next & GLIBC_PREV_INUSE) == 0;
}

static void
check_region(struct verification *v, struct heap *h, uint32_t region, uint32_t only, bool busy)
{
    const unsigned word = h->heap_offsets.off_word;

    for (uint32_t i = 0; i < h->heap_regions[region].region_blocks; i++) {
        struct chunk c = {.chk_block = {region, i}};
        uint64_t usable = heap_block_scan(h, c.chk_block);
        c.chk_class = glibc_class(usable);
        if (only != VERIFY_ALL && c.chk_class != only)
            continue;
        struct verify_cache *row = verify_row(v, c.chk_class);
        row->vc_buffers++;
        row->vc_busy = busy;
        c.chk_addr = heap_block_addr(h, c.chk_block) - 2 * (addr_t)word;
        c.chk_size = usable + word;
        if (!busy && !heap_is_live(h, c.chk_block) && is_in_bin(h, &c))
            check_free(v, h, &c);
    }
}

void
verify_chunks(struct verification *v, struct heap *h, uint32_t only)
{
    bool busy = is_busy(h);

    for (uint32_t i = 0; i < h->heap_region_count; i++)
        if (h->heap_regions[i].region_kind == REGION_CHUNKS)
            check_region(v, h, i, only, busy);
}
