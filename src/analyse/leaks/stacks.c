/* SPDX-License-Identifier: MIT */
/*
 * stacks.c - finds thread stacks by their control blocks.
 *
 * glibc keeps the control block of a thread at the upper end of its stack.
 * Two facts of it have held since 2003 and are all that is used here: its
 * first and third word point to itself (the second is the thread's table of
 * TLS blocks), and it holds the stack's start and size side by side.  Where
 * they are not found (musl, the main thread), the callers fall back on
 * mappings.
 */
#include "leaks/roots.h"

#include <string.h>

/* struct pthread has 2,304 bytes in glibc 2.36; x86 has it behind the thread pointer, arm before.
 */
#define TCB_SEARCH 4096
/* The control block, and alignment of TLS above it, end the stack within this. */
#define TCB_TO_END_MAX ((addr_t)64 << 10)
#define STACK_SIZE_MIN ((uint64_t)16384) /* PTHREAD_STACK_MIN */
#define STACK_SIZE_MAX(word) ((uint64_t)1 << ((word) == 8 ? 40 : 30))
/* Control blocks are aligned as the strictest TLS block is, at least to this. */
#define TCB_ALIGN 64
/* Larger mappings hold no row of cached stacks (glibc keeps 40 MiB of them at most). */
#define TCBS_SEARCH_MAX ((addr_t)256 << 20)
#define PAGE ((addr_t)4096)

/*
 * Blocks of glibc's heap in what would be the stack of a control block that is
 * in none: a static program has its first one just below the heap, whose words
 * are not libc's to tell a stack by.
 */
static bool
reaches_into_heap(const struct heap *h, addr_t tcb, addr_t start, addr_t end)
{
    struct block b;
    if (h->heap_allocator != HEAP_GLIBC || heap_find(h, tcb, &b))
        return false;
    size_t i = ranges_find(&h->heap_spans, start);
    return i < h->heap_spans.count && h->heap_spans.list[i].range_start < end;
}

/* Looks for start and size, side by side, in [from, from + TCB_SEARCH). */
static void
search_extent(struct heap *h, addr_t from, struct stack_extent *ext)
{
    unsigned word = h->heap_offsets.off_word;
    unsigned char buf[TCB_SEARCH];
    size_t got = target_read(h->heap_target, from, buf, sizeof(buf));
    struct record rec = {buf, got, from};

    for (size_t i = 0; i + 2 * word <= got; i += word) {
        uint64_t start = record_get(&rec, i, (struct field){0, word});
        uint64_t size = record_get(&rec, i + word, (struct field){0, word});
        /* Of words of 4 bytes any two may fit: there a stack begins with a page. */
        if (start == 0 || start >= ext->ext_tcb || (word == 4 && start % PAGE != 0) ||
            size < STACK_SIZE_MIN || size > STACK_SIZE_MAX(word) || start + size < ext->ext_tcb ||
            start + size - ext->ext_tcb > TCB_TO_END_MAX ||
            reaches_into_heap(h, ext->ext_tcb, start, start + size))
            continue;
        ext->ext_start = start;
        ext->ext_end = start + size;
        ext->ext_found = true;
        return;
    }
}

void
stack_of_tcb(struct heap *h, addr_t tcb, struct stack_extent *ext)
{
    const struct field first = {0, h->heap_offsets.off_word};

    *ext = (struct stack_extent){.ext_tcb = tcb};
    if (tcb < TCB_SEARCH || tcb % h->heap_offsets.off_word != 0)
        return;
    struct record rec = reader_record(&h->heap_reader, tcb, h->heap_offsets.off_word);
    /* Where the thread pointer leads to the block itself (x86), what lies below it is not libc's.
     */
    bool behind = record_get(&rec, 0, first) == tcb;
    search_extent(h, tcb, ext);
    if (!ext->ext_found && !behind)
        search_extent(h, tcb - TCB_SEARCH, ext);
}

static bool
is_live_tcb(const struct heap *h, addr_t tcb)
{
    const struct thread *threads;
    size_t n = target_threads(h->heap_target, &threads);
    for (size_t i = 0; i < n; i++)
        if (threads[i].thr_fs_base == tcb)
            return true;
    return false;
}

/* Offset of the first word that with the third one is its own address, or the record's size. */
static size_t
find_tcb(const struct heap *h, const struct record *rec)
{
    const unsigned word = h->heap_offsets.off_word;
    for (size_t i = (size_t)(-rec->rec_addr & (TCB_ALIGN - 1)); i + TCB_ALIGN <= rec->rec_size;
         i += TCB_ALIGN)
        if (word_get(rec->rec_data + i, word) == rec->rec_addr + i &&
            word_get(rec->rec_data + i + 2 * word, word) == rec->rec_addr + i)
            return i;
    return rec->rec_size;
}

/* Calls fn for what looks like a control block, until it returns false. */
static void
for_tcbs(struct heap *h, addr_t start, addr_t end, bool (*fn)(struct heap *, addr_t, void *),
         void *arg)
{
    const unsigned word = h->heap_offsets.off_word;
    const void *data;
    size_t got;
    if (end - start > TCBS_SEARCH_MAX)
        return;
    for (addr_t at = (start + word - 1) & ~(addr_t)(word - 1);
         (data = reader_next(&h->heap_reader, &at, end, word, &got)) != NULL;) {
        struct record rec = {data, got, at};
        size_t found = find_tcb(h, &rec);
        at += found;
        if (found == got)
            continue;
        if (!fn(h, at, arg)) /* which moves the reader on */
            return;
        at += TCB_ALIGN;
    }
}

struct dead_search {
    void (*fn)(void *arg, const struct stack_extent *ext);
    void *arg;
};

static bool
check_dead(struct heap *h, addr_t tcb, void *arg)
{
    const struct dead_search *search = arg;
    struct stack_extent ext;
    if (is_live_tcb(h, tcb))
        return true;
    stack_of_tcb(h, tcb, &ext);
    if (ext.ext_found)
        search->fn(search->arg, &ext);
    return true;
}

bool
stacks_know_threads(const struct heap *h)
{
    const struct thread *threads;
    size_t n = target_threads(h->heap_target, &threads);
    for (size_t i = 0; i < n; i++)
        if (threads[i].thr_fs_base != 0)
            return true;
    return n == 0;
}

void
stacks_find_dead(struct heap *h, addr_t start, addr_t end,
                 void (*fn)(void *arg, const struct stack_extent *ext), void *arg)
{
    struct dead_search search = {fn, arg};
    if (stacks_know_threads(h))
        for_tcbs(h, start, end, check_dead, &search);
}

static bool
note_tcb(struct heap *h, addr_t tcb, void *arg)
{
    (void)h;
    (void)tcb;
    *(bool *)arg = true;
    return false;
}

bool
stacks_any_tcb(struct heap *h, addr_t start, addr_t end)
{
    bool found = false;
    for_tcbs(h, start, end, note_tcb, &found);
    return found;
}

static bool
read_stack_end(void *arg, const struct module *mod, addr_t addr)
{
    struct {
        struct heap *h;
        uint64_t value;
    } *found = arg;
    (void)mod;
    return !reader_word(&found->h->heap_reader, addr, found->h->heap_offsets.off_word,
                        &found->value);
}

addr_t
stack_main_end(struct heap *h)
{
    struct {
        struct heap *h;
        uint64_t value;
    } found = {h, 0};
    target_find_symbol(h->heap_target, "__libc_stack_end", read_stack_end, &found);
    return found.value;
}
