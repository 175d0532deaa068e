/* SPDX-License-Identifier: MIT */
/*
 * diff.c - see diff.h.
 */
#include "look/diff.h"

#include <stdlib.h>
#include <string.h>

#include "heap/memory.h"
#include "look/users.h"

/* FNV-1a: offset basis and prime of 64 bits (Fowler, Noll, Vo). */
#define FNV_BASIS UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

/* A place that has allocated, in one of the heaps. */
struct site {
    const char *cache;
    uint32_t stack;
    size_t depth;
    uint64_t *frames; /* each frame's module and offset as one number */
    struct diff_amount amount;
};

struct sites {
    struct site *list;
    size_t count;
};

static uint64_t
hash_of_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    uint64_t hash = FNV_BASIS;

    for (const char *p = slash != NULL ? slash + 1 : path; *p != '\0'; p++)
        hash = (hash ^ (unsigned char)*p) * FNV_PRIME;
    return hash;
}

/* Code that lies in no module (a JIT's) goes by its address. */
static uint64_t
frame_key(struct heap *h, addr_t addr)
{
    const struct module *modules;
    size_t count = target_modules(h->heap_target, &modules);

    for (size_t i = 0; i < count; i++)
        if (addr >= modules[i].mod_start && addr < modules[i].mod_end)
            return hash_of_name(modules[i].mod_path) + (addr - modules[i].mod_start);
    return addr;
}

static bool
read_frames(struct heap *h, struct site *site)
{
    addr_t frames[HEAP_STACK_MAX];

    site->depth = heap_stack(h, site->stack, frames, HEAP_STACK_MAX);
    site->frames = memory_zeroed(site->depth + 1, sizeof(*site->frames));
    for (size_t i = 0; site->frames != NULL && i < site->depth; i++)
        site->frames[i] = frame_key(h, frames[i]);
    return site->frames != NULL;
}

static int
compare_sites(const void *a, const void *b)
{
    const struct site *x = a;
    const struct site *y = b;
    int names = strcmp(x->cache, y->cache);

    if (names != 0)
        return names;
    if (x->depth != y->depth)
        return x->depth < y->depth ? -1 : 1;
    for (size_t i = 0; i < x->depth; i++)
        if (x->frames[i] != y->frames[i])
            return x->frames[i] < y->frames[i] ? -1 : 1;
    return 0;
}

/* Groups as the leak finder makes them: caches are one pointer each. */
static int
compare_ids(const void *a, const void *b)
{
    const struct site *x = a;
    const struct site *y = b;

    if (x->stack != y->stack)
        return x->stack < y->stack ? -1 : 1;
    return ((uintptr_t)x->cache > (uintptr_t)y->cache) -
           ((uintptr_t)x->cache < (uintptr_t)y->cache);
}

static void
add_amount(struct diff_amount *sum, const struct diff_amount *amount)
{
    sum->amt_count += amount->amt_count;
    sum->amt_bytes += amount->amt_bytes;
    sum->amt_leaked_count += amount->amt_leaked_count;
    sum->amt_leaked_bytes += amount->amt_leaked_bytes;
}

/* Notes of the sites what of theirs is leaked; they are sorted by compare_ids(). */
static void
add_leaks(struct sites *sites, const struct leaks *leaks)
{
    for (size_t i = 0; i < leaks->lks_group_count; i++) {
        const struct leak_group *group = &leaks->lks_groups[i];
        const struct site key = {.cache = group->grp_cache, .stack = group->grp_stack};
        struct site *site =
            bsearch(&key, sites->list, sites->count, sizeof(*sites->list), compare_ids);
        if (site == NULL)
            continue;
        site->amount.amt_leaked_count += group->grp_count;
        site->amount.amt_leaked_bytes += group->grp_bytes;
    }
}

static void
fini_sites(struct sites *sites)
{
    for (size_t i = 0; i < sites->count; i++)
        free(sites->list[i].frames);
    free(sites->list);
    *sites = (struct sites){0};
}

/* One for each group of users, with its frames and its leaks, by compare_sites(). */
static bool
make_sites(struct heap *h, const struct leaks *users, const struct leaks *leaks,
           struct sites *sites)
{
    bool ok = true;

    sites->list = memory_zeroed(users->lks_group_count + 1, sizeof(*sites->list));
    if (sites->list == NULL)
        return false;
    for (size_t i = 0; ok && i < users->lks_group_count; i++) {
        const struct leak_group *group = &users->lks_groups[i];
        struct site *site = &sites->list[sites->count++];
        *site =
            (struct site){.cache = group->grp_cache,
                          .stack = group->grp_stack,
                          .amount = {.amt_count = group->grp_count, .amt_bytes = group->grp_bytes}};
        ok = read_frames(h, site);
    }
    qsort(sites->list, sites->count, sizeof(*sites->list), compare_ids);
    add_leaks(sites, leaks);
    if (ok) /* without frames there is nothing to go by */
        qsort(sites->list, sites->count, sizeof(*sites->list), compare_sites);
    return ok;
}

static bool
find_sites(struct heap *h, const struct diff_options *options, struct sites *sites)
{
    const struct leak_options find = {.opt_cache = options->dif_cache};
    const struct users_options who = {.usr_caches = &options->dif_cache,
                                      .usr_cache_count = options->dif_cache != NULL};
    struct leaks leaks = {0}, users = {0};

    *sites = (struct sites){0};
    bool ok = leaks_find(h, &find, &leaks) == 0 && users_find(h, &who, &users) == 0 &&
              make_sites(h, &users, &leaks, sites);
    leaks_fini(&leaks);
    leaks_fini(&users);
    return ok;
}

static uint64_t
change_of(uint64_t before, uint64_t after)
{
    return after > before ? after - before : before - after;
}

static bool
is_wanted(const struct diff_options *options, const struct diff_row *row)
{
    const struct diff_amount *a = &row->row_before, *b = &row->row_after;
    uint64_t live = change_of(a->amt_bytes, b->amt_bytes);
    uint64_t leaked = change_of(a->amt_leaked_bytes, b->amt_leaked_bytes);

    return (live > 0 || leaked > 0) &&
           (live >= options->dif_min_bytes || leaked >= options->dif_min_bytes);
}

/* By growth of bytes, then of leaked bytes; then by name, so that the order is one. */
static int
compare_rows(const void *a, const void *b)
{
    const struct diff_row *x = a;
    const struct diff_row *y = b;
    int64_t gx = (int64_t)(x->row_after.amt_bytes - x->row_before.amt_bytes);
    int64_t gy = (int64_t)(y->row_after.amt_bytes - y->row_before.amt_bytes);

    if (gx == gy) {
        gx = (int64_t)(x->row_after.amt_leaked_bytes - x->row_before.amt_leaked_bytes);
        gy = (int64_t)(y->row_after.amt_leaked_bytes - y->row_before.amt_leaked_bytes);
    }
    if (gx != gy)
        return gx > gy ? -1 : 1;
    int names = strcmp(x->row_cache, y->row_cache);
    return names != 0 ? names : (x->row_stack > y->row_stack) - (x->row_stack < y->row_stack);
}

/* All of one place, which may have been recorded as several stacks; moves *at past them. */
static const struct site *
take_site(const struct sites *sites, size_t *at, struct diff_amount *sum)
{
    const struct site *first = &sites->list[*at];

    do
        add_amount(sum, &sites->list[(*at)++].amount);
    while (*at < sites->count && compare_sites(first, &sites->list[*at]) == 0);
    return first;
}

static void
join(const struct sites *before, const struct sites *after, const struct diff_options *options,
     struct diff *diff)
{
    size_t i = 0, k = 0;

    while (i < before->count || k < after->count) {
        struct diff_row row = {0};
        const struct site *site = NULL;
        int order = i == before->count  ? 1
                    : k == after->count ? -1
                                        : compare_sites(&before->list[i], &after->list[k]);
        if (order <= 0)
            site = take_site(before, &i, &row.row_before);
        if (order >= 0) {
            site = take_site(after, &k, &row.row_after);
            row.row_in_second = true;
        }
        row.row_cache = site->cache;
        row.row_stack = site->stack;
        add_amount(&diff->dif_before, &row.row_before);
        add_amount(&diff->dif_after, &row.row_after);
        if (is_wanted(options, &row))
            diff->dif_rows[diff->dif_count++] = row;
    }
    qsort(diff->dif_rows, diff->dif_count, sizeof(*diff->dif_rows), compare_rows);
}

int
diff_find(struct heap *first, struct heap *second, const struct diff_options *options,
          struct diff *diff)
{
    struct sites before, after = {0};
    bool ok = find_sites(first, options, &before) && find_sites(second, options, &after);

    *diff = (struct diff){0};
    if (ok)
        diff->dif_rows = memory_zeroed(before.count + after.count + 1, sizeof(*diff->dif_rows));
    if (diff->dif_rows != NULL)
        join(&before, &after, options, diff);
    fini_sites(&before);
    fini_sites(&after);
    return diff->dif_rows != NULL ? 0 : -1;
}

void
diff_fini(struct diff *diff)
{
    free(diff->dif_rows);
    *diff = (struct diff){0};
}
