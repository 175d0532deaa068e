/* SPDX-License-Identifier: MIT */
/*
 * path.c - see path.h.
 */
#include "look/path.h"

#include <stdlib.h>

#include "heap/memory.h"
#include "leaks/mark.h"

/* Words that lead to no block yet, and ways that start in a register, not in memory. */
#define FROM_NOWHERE 0
#define FROM_REGISTER ((addr_t)1) /* no aligned word lies there */

/* What is known of the way to a block, by its number. */
struct search {
    struct heap *h;
    const struct roots *roots;
    addr_t *from; /* where the pointer to it lies */
    uint64_t wanted;
    bool found;
    bool failed;
    struct block *queue;
    size_t head;
    size_t tail;
    size_t room;
};

static bool
reach(struct search *s, addr_t at, addr_t value)
{
    struct block b;

    if (!heap_find(s->h, value, &b) || !heap_is_live(s->h, b))
        return true;
    uint64_t n = heap_block_number(s->h, b);
    if (s->from[n] != FROM_NOWHERE)
        return true;
    if (!memory_grow(&s->queue, &s->room, s->tail, sizeof(*s->queue))) {
        s->failed = true;
        return false;
    }
    s->from[n] = at;
    s->queue[s->tail++] = b;
    s->found = n == s->wanted;
    return !s->found;
}

static bool
reach_word(void *arg, addr_t at, addr_t value)
{
    return reach(arg, at, value);
}

static void
reach_from_registers(struct search *s)
{
    const struct thread *threads;
    size_t n = target_threads(s->h->heap_target, &threads);

    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; threads[i].thr_stopped && k < threads[i].thr_nregs; k++)
            if (!reach(s, FROM_REGISTER, threads[i].thr_regs[k]))
                return;
}

/* Blocks that a thread runs on: held by it, and scanned as its stack only. */
static void
hold_stacks(struct search *s)
{
    struct block b;

    for (size_t i = 0; i < s->roots->stack_count && !s->found; i++)
        if (heap_find(s->h, s->roots->stacks[i], &b)) {
            uint64_t n = heap_block_number(s->h, b);
            s->from[n] = FROM_REGISTER;
            s->found = n == s->wanted;
        }
}

static void
run(struct search *s)
{
    target_find_zeroes(s->h->heap_target);
    hold_stacks(s);
    for (size_t i = 0; i < s->roots->count && !s->found && !s->failed; i++)
        scan_words(s->h, s->roots->list[i].root_start, s->roots->list[i].root_end, reach_word, s);
    if (!s->found && !s->failed)
        reach_from_registers(s);
    while (!s->found && !s->failed && s->head < s->tail) {
        struct block b = s->queue[s->head++];
        addr_t base = heap_block_addr(s->h, b);
        scan_words(s->h, base, base + heap_block_scan(s->h, b), reach_word, s);
    }
}

/* The thread one of whose registers leads into the block. */
static pid_t
thread_with_pointer(struct heap *h, struct block wanted, addr_t *value)
{
    const struct thread *threads;
    size_t n = target_threads(h->heap_target, &threads);
    struct block b;

    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; threads[i].thr_stopped && k < threads[i].thr_nregs; k++)
            if (heap_find(h, threads[i].thr_regs[k], &b) && b.block_region == wanted.block_region &&
                b.block_index == wanted.block_index) {
                *value = threads[i].thr_regs[k];
                return threads[i].thr_tid;
            }
    return 0;
}

static void
tell_root(const struct search *s, struct path *path)
{
    struct path_step *first = &path->path_steps[0];

    if (first->step_at == 0) {
        path->path_register = true;
        path->path_thread = thread_with_pointer(s->h, first->step_block, &first->step_value);
        return;
    }
    for (size_t i = 0; i < s->roots->count; i++) {
        const struct root *root = &s->roots->list[i];
        if (first->step_at >= root->root_start && first->step_at < root->root_end) {
            path->path_root = root->root_kind;
            path->path_thread = root->root_thread;
            return;
        }
    }
}

/* Whether a word lies in a block that was itself reached, rather than in a root. */
static bool
block_of_word(const struct search *s, addr_t at, struct block *b)
{
    if (at == FROM_REGISTER)
        return false;
    for (size_t i = 0; i < s->roots->count; i++)
        if (at >= s->roots->list[i].root_start && at < s->roots->list[i].root_end)
            return false;
    return heap_find(s->h, at, b);
}

/* From the wanted block back to the root; then the right way round. */
static bool
collect(const struct search *s, struct block b, struct path *path)
{
    size_t room = 0;
    bool more = true;

    while (more) {
        addr_t at = s->from[heap_block_number(s->h, b)];
        struct path_step step = {.step_at = at == FROM_REGISTER ? 0 : at, .step_block = b};
        if (!memory_grow(&path->path_steps, &room, path->path_count, sizeof(*path->path_steps)))
            return false;
        if (step.step_at != 0)
            (void)reader_word(&s->h->heap_reader, at, s->h->heap_offsets.off_word,
                              &step.step_value);
        path->path_steps[path->path_count++] = step;
        more = block_of_word(s, at, &b);
    }
    for (size_t i = 0, k = path->path_count - 1; i < k; i++, k--) {
        struct path_step step = path->path_steps[i];
        path->path_steps[i] = path->path_steps[k];
        path->path_steps[k] = step;
    }
    tell_root(s, path);
    return true;
}

int
path_begin(struct heap *h, struct path_search *search)
{
    *search = (struct path_search){.psr_heap = h};
    heap_add_segments(h);
    if (heap_seal(h) != 0)
        return -1;
    roots_find(h, &search->psr_roots);
    return search->psr_roots.failed || heap_seal(h) != 0 ? -1 : 0;
}

void
path_end(struct path_search *search)
{
    roots_fini(&search->psr_roots);
}

enum path_result
path_find(struct path_search *search, addr_t addr, struct path *path)
{
    struct heap *h = search->psr_heap;
    struct search s = {.h = h, .roots = &search->psr_roots};
    enum path_result result = PATH_FAILED;
    struct block b;

    *path = (struct path){0};
    if (!heap_find(h, addr, &b) || !heap_is_live(h, b))
        return PATH_NONE;
    s.wanted = heap_block_number(h, b);
    s.from = memory_zeroed((size_t)h->heap_blocks + 1, sizeof(*s.from));
    if (s.from != NULL)
        run(&s);
    if (s.found)
        result = collect(&s, b, path) ? PATH_FOUND : PATH_FAILED;
    else if (s.from != NULL && !s.failed)
        result = PATH_NONE;
    free(s.from);
    free(s.queue);
    return result;
}

void
path_fini(struct path *path)
{
    free(path->path_steps);
    *path = (struct path){0};
}
