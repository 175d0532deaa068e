/* SPDX-License-Identifier: MIT */
/*
 * look.c - see fuzz.h.
 */
#include "fuzz.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heap/stack_table.h"
#include "leaks/leaks.h"
#include "leaks/whatis.h"
#include "look/diff.h"
#include "look/grep.h"
#include "look/history.h"
#include "look/path.h"
#include "look/sizes.h"
#include "look/top.h"
#include "look/users.h"
#include "look/verify.h"
#include "shell/shell.h"
#include "target/target_impl.h"

#define WORDS 64         /* of each mapping that are read */
#define BLOCKS 16        /* that are asked about */
#define HITS 1000        /* of what is looked for, */
#define GREP_BYTES 65536 /* in so much memory on either side of the address */
#define LINE_MAX_BYTES 256

static struct target *
open_core(const void *image, size_t size)
{
    struct target *t = target_open_image("core", image, size);
    if (t != NULL)
        t->t_helper_deaths = UINT_MAX; /* no child is started to name addresses */
    return t;
}

/* --- Tables --- */

static bool
take_symbol(void *arg, const struct module *mod, addr_t addr)
{
    addr_t *sum = arg;
    *sum += addr + mod->mod_start;
    return true;
}

static void
look_at_tables(struct target *t)
{
    const struct mapping *maps;
    const struct module *modules;
    const struct thread *threads;
    addr_t sum = 0;
    uint64_t words[WORDS];
    size_t n = target_mappings(t, &maps);
    for (size_t i = 0; i < n; i++) {
        sum += strlen(maps[i].map_name);
        sum += target_read(t, maps[i].map_start, words, sizeof(words));
        sum += target_read_pages(t, maps[i].map_end - sizeof(words) / 2, words, sizeof(words));
        sum += target_mapping_of(t, maps[i].map_end) != NULL;
    }
    n = target_modules(t, &modules);
    for (size_t i = 0; i < n; i++)
        sum += strlen(modules[i].mod_path) + modules[i].mod_build_id[0];
    n = target_threads(t, &threads);
    for (size_t i = 0; i < n; i++)
        for (size_t r = 0; r < threads[i].thr_nregs; r++)
            sum += threads[i].thr_regs[r];
    target_find_symbol(t, "main", take_symbol, &sum);
    /* So that none of this is left out as having no effect. */
    volatile addr_t sink = sum;
    (void)sink;
}

void
look_at_core(const void *image, size_t size)
{
    struct target *t = open_core(image, size);
    if (t != NULL)
        look_at_tables(t);
    target_close(t);
}

/* --- Heaps --- */

static void
ask_leaks(struct heap *h, const struct question *q)
{
    struct leaks leaks;
    addr_t frames[HEAP_STACK_MAX];
    const struct leak_options options = {.opt_possible = q->qu_which & 1,
                                         .opt_mappings = q->qu_which & 2,
                                         .opt_since = q->qu_which & 4 ? 1000000000 : 0,
                                         .opt_addresses = 4};
    (void)leaks_find(h, &options, &leaks);
    for (size_t i = 0; i < leaks.lks_group_count && i < BLOCKS; i++)
        (void)heap_stack(h, leaks.lks_groups[i].grp_stack, frames, HEAP_STACK_MAX);
    leaks_fini(&leaks);
}

static void
ask_users(struct heap *h, const struct question *q)
{
    struct leaks users;
    const struct users_options options = {.usr_addresses = q->qu_which & 7};
    (void)users_find(h, &options, &users);
    leaks_fini(&users);
}

static void
ask_whatis(struct heap *h, const struct question *q)
{
    struct what what;
    whatis(h, q->qu_addr, &what);
    for (uint32_t r = 0; r < h->heap_region_count && r < BLOCKS; r++)
        whatis(h, heap_block_addr(h, (struct block){r, 0}) + 1, &what);
}

static void
ask_verify(struct heap *h, const struct question *q)
{
    struct verification v;
    const char *cache = h->heap_cache_count > 0 && q->qu_which % 4 == 3
                            ? h->heap_caches[q->qu_which / 4 % h->heap_cache_count].cache_name
                            : NULL;
    (void)verify_heap(h, cache, &v);
    verify_fini(&v);
}

static void
ask_sizes(struct heap *h, const struct question *q)
{
    struct sizes sizes;
    struct size_bin bins[SIZE_BINS_MAX];
    const struct size_bins_options options = {.bno_max = q->qu_which % (SIZE_BINS_MAX + 1),
                                              .bno_geometric = q->qu_addr & 1};
    if (sizes_find(h, NULL, &sizes) == 0)
        (void)sizes_bins(&sizes, &options, bins);
    sizes_fini(&sizes);
}

static void
ask_top(struct heap *h, const struct question *q)
{
    struct top before;
    struct top after;
    (void)q;
    if (top_take(h, NULL, &before) == 0) {
        (void)top_take(h, &before, &after);
        top_fini(&after);
    }
    top_fini(&before);
}

static bool
count_hits(void *arg, const struct grep_hit *hit)
{
    unsigned *left = arg;
    (void)hit;
    return (*left)-- > 0;
}

static void
ask_grep(struct heap *h, const struct question *q)
{
    unsigned left = HITS;
    struct grep_options options = {.grp_value = q->qu_addr,
                                   .grp_mask = UINT64_MAX,
                                   .grp_size = 1U << q->qu_which % 4,
                                   .grp_from = q->qu_addr - GREP_BYTES,
                                   .grp_to = q->qu_addr + GREP_BYTES};
    if (q->qu_which & 4)
        (void)grep_into_block(h, q->qu_addr, &options);
    (void)grep_target(h, &options, count_hits, &left);
}

static void
ask_history(struct heap *h, const struct question *q)
{
    struct history history;
    (void)history_find(h, q->qu_addr, &history);
    history_fini(&history);
}

static void
ask_path(struct heap *h, const struct question *q)
{
    struct path_search search;
    struct path path;
    if (path_begin(h, &search) == 0) {
        (void)path_find(&search, q->qu_addr, &path);
        path_fini(&path);
    }
    path_end(&search);
}

static void
ask_state(struct heap *h, const struct question *q)
{
    struct heap_state state;
    struct event_list list;
    struct stack_table table;
    char why[SHELL_WHY_MAX];

    (void)heap_read_state(h, &state);
    free(heap_read_messages(h));
    heap_read_log(h, (enum event_log)(q->qu_which % LOG_COUNT), &list);
    event_list_fini(&list);
    if (stack_table_read(h->heap_target, &table, why, sizeof(why)))
        stack_table_fini(&table);
    (void)heap_now(h);
}

typedef void ask_fn(struct heap *h, const struct question *q);
static ask_fn *const asks[] = {ask_leaks, ask_users, ask_whatis,  ask_verify, ask_sizes,
                               ask_top,   ask_grep,  ask_history, ask_path,   ask_state};
#define ASK_COUNT (sizeof(asks) / sizeof(asks[0]))
/* Further kinds: the core against itself, and lines of umem shell. */
enum { ASK_DIFF = ASK_COUNT, ASK_DCMD, ASK_WALK, ASK_KINDS };

static void
ask_heap(struct target *t, const struct question *q, ask_fn *ask)
{
    struct heap h;
    char why[SHELL_WHY_MAX];
    if (heap_open(&h, t, why, sizeof(why)) == HEAP_FAILED)
        return;
    ask(&h, q);
    heap_close(&h);
}

static void
ask_diff(struct target *t, const struct question *q)
{
    struct heap first;
    struct heap second;
    struct diff diff;
    const struct diff_options options = {.dif_min_bytes = q->qu_which};
    char why[SHELL_WHY_MAX];
    if (heap_open(&first, t, why, sizeof(why)) == HEAP_FAILED)
        return;
    if (heap_open(&second, t, why, sizeof(why)) != HEAP_FAILED) {
        (void)diff_find(&first, &second, &options, &diff);
        diff_fini(&diff);
        heap_close(&second);
    }
    heap_close(&first);
}

static size_t
count_dcmds(void)
{
    size_t n = 0;
    while (dcmd_at(n) != NULL)
        n++;
    return n;
}

static size_t
count_walkers(void)
{
    size_t n = 0;
    while (walker_at(n) != NULL)
        n++;
    return n;
}

/* A dcmd with or without an address, or with those that a walker finds. */
static void
make_line(const struct question *q, char *line)
{
    const unsigned kind = q->qu_kind % ASK_KINDS;
    const struct dcmd *dcmd = dcmd_at(q->qu_which % count_dcmds());
    const struct walker *walker = walker_at(q->qu_which % count_walkers());
    char addr[32] = "";
    bool bare = dcmd->dcmd_name[0] < 'a' || dcmd->dcmd_name[0] > 'z';

    if (kind == ASK_DCMD ? (dcmd->dcmd_flags & DCMD_ADDRESS) || q->qu_which & 0x8000
                         : walker->walker_start == WALK_FROM_ADDRESS || q->qu_which & 0x8000)
        snprintf(addr, sizeof(addr), "%" PRIx64, q->qu_addr);
    if (kind == ASK_DCMD)
        snprintf(line, LINE_MAX_BYTES, "%s%s%s", addr, bare ? "" : "::", dcmd->dcmd_name);
    else
        snprintf(line, LINE_MAX_BYTES, "%s::walk %s", addr, walker->walker_name);
}

static void
ask_shell(struct target *t, const struct question *q)
{
    struct shell sh;
    char line[LINE_MAX_BYTES];
    if (!shell_open_on(&sh, "core", t))
        return;
    make_line(q, line);
    shell_run(&sh, line);
    shell_close(&sh);
}

void
look_at_heap(const void *image, size_t size, const struct question *question)
{
    const unsigned kind = question->qu_kind % ASK_KINDS;
    struct target *t = open_core(image, size);
    if (t == NULL)
        return;
    if (kind >= ASK_DCMD) {
        ask_shell(t, question); /* which closes it */
        return;
    }
    if (kind == ASK_DIFF)
        ask_diff(t, question);
    else
        ask_heap(t, question, asks[kind]);
    target_close(t);
}
