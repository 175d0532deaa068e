/* SPDX-License-Identifier: MIT */
/*
 * cmd_look.c - questions about the heap as a whole: ::umem_verify, ::umausers,
 * ::ugrep.  The verbs verify, users and grep ask the same.
 */
#include "shell/bufctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "look/grep.h"
#include "look/users.h"
#include "look/verify.h"

#define NAME_COLUMN 30
#define USERS_COLUMN 9

/* --- ::umem_verify --- */

static void
print_integrity(const char *name, addr_t addr, const struct verify_cache *row)
{
    printf("%-*s %016" PRIx64 " ", NAME_COLUMN, name, addr);
    if (row->vc_corrupt == 0 && row->vc_damaged == 0)
        printf("clean");
    if (row->vc_corrupt > 0)
        printf("%" PRIu64 " corrupt buffer%s", row->vc_corrupt, row->vc_corrupt == 1 ? "" : "s");
    if (row->vc_damaged > 0)
        printf("%s%" PRIu64 " damaged list%s", row->vc_corrupt > 0 ? ", " : "", row->vc_damaged,
               row->vc_damaged == 1 ? "" : "s");
    putchar('\n');
}

static void
print_problem(struct shell *sh, const struct verify_problem *prb)
{
    bool live = prb->prb_has_block && heap_is_live(&sh->sh_heap, prb->prb_block);

    if (prb->prb_has_block)
        printf("  buffer %" PRIx64 " (%s) seems corrupted, at %" PRIx64 ": %s\n", prb->prb_addr,
               live ? "allocated" : "free",
               prb->prb_addr + (prb->prb_has_bytes ? (uint64_t)prb->prb_offset : 0),
               prb->prb_message);
    else
        printf("  record %" PRIx64 ": %s\n", prb->prb_addr, prb->prb_message);
}

static void
print_summary(struct shell *sh, const struct verification *v, const char *name)
{
    printf("Summary for cache '%s'\n", name);
    for (size_t i = 0; i < v->ver_kept; i++)
        print_problem(sh, &v->ver_problems[i]);
    if (v->ver_count > v->ver_kept)
        printf("  and %" PRIu64 " more\n", v->ver_count - v->ver_kept);
    if (v->ver_count == 0)
        printf("  clean\n");
}

static void
print_all(struct shell *sh, const struct verification *v)
{
    const struct heap *h = &sh->sh_heap;

    printf("%-*s %-16s %s\n", NAME_COLUMN, "Cache Name", "Addr", "Cache Integrity");
    for (size_t i = 0; i < h->heap_cache_count; i++)
        if (v->ver_caches[i].vc_buffers > 0 || v->ver_caches[i].vc_damaged > 0)
            print_integrity(h->heap_caches[i].cache_name, h->heap_caches[i].cache_addr,
                            &v->ver_caches[i]);
    print_integrity(HEAP_OVERSIZE_NAME, 0, &v->ver_caches[h->heap_cache_count]);
}

static bool
dcmd_umem_verify(struct shell *sh, const struct call *call)
{
    const struct heap_cache *cache = NULL;
    struct verification v;

    if (!dcmd_plain(sh, call) || !shell_one_cache(sh, call, &cache))
        return false;
    bool ok = verify_heap(&sh->sh_heap, cache != NULL ? cache->cache_name : NULL, &v) == 0 ||
              shell_error(sh, "umem_verify: no memory");
    if (ok && cache != NULL)
        print_summary(sh, &v, cache->cache_name);
    else if (ok)
        print_all(sh, &v);
    sh->sh_found = sh->sh_found || (ok && v.ver_count > 0);
    verify_fini(&v);
    return ok;
}

/* --- ::umausers --- */

static void
print_buffers(struct shell *sh, const struct leak_group *group)
{
    for (size_t i = 0; i < group->grp_address_count; i++) {
        struct block_info info;
        struct block b;
        if (!heap_find(&sh->sh_heap, group->grp_addresses[i], &b))
            continue;
        heap_block_info(&sh->sh_heap, b, &info);
        printf("size %8" PRIu64 ", addr %016" PRIx64 ", thread %" PRIu32 ", cache %s\n",
               info.blk_size, info.blk_addr, info.blk_thread, info.blk_cache);
    }
}

static void
print_user(struct shell *sh, const struct leak_group *group, bool each)
{
    addr_t frames[HEAP_STACK_MAX];
    char name[SHELL_NAME_MAX];
    size_t n = heap_stack(&sh->sh_heap, group->grp_stack, frames, HEAP_STACK_MAX);

    if (each)
        print_buffers(sh, group);
    else
        printf("%" PRIu64 " bytes for %" PRIu64 " allocations with data size %" PRIu64 ":\n",
               group->grp_bytes, group->grp_count, group->grp_bytes / group->grp_count);
    for (size_t i = 0; i < n; i++)
        printf("%*s%s\n", USERS_COLUMN, "", shell_name(sh, frames[i], true, name));
    if (n == 0)
        printf("%*s(no stack: recorded under audit only)\n", USERS_COLUMN, "");
}

static bool
check_caches(struct shell *sh, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!heap_has_cache(&sh->sh_heap, names[i]))
            return shell_error(sh, "umausers: no cache %s; ::umem_cache lists them", names[i]);
    return true;
}

static bool
dcmd_umausers(struct shell *sh, const struct call *call)
{
    bool every = false;
    bool each = false;
    int rest;
    struct leaks users;
    const struct dcmd_option options[] = {
        {'e', DCMD_FLAG, &every, NULL}, {'f', DCMD_FLAG, &each, NULL}, {0}};

    if (!dcmd_options(sh, call, options, -1, &rest))
        return false;
    const size_t count = rest < call->call_argc ? (size_t)(call->call_argc - rest) : 0;
    const char *const *names = count > 0 ? (const char *const *)call->call_argv + rest : NULL;
    struct users_options find = {
        .usr_caches = names, .usr_cache_count = count, .usr_addresses = each ? SIZE_MAX : 0};
    if (!check_caches(sh, names, count))
        return false;
    if (users_find(&sh->sh_heap, &find, &users) != 0) {
        leaks_fini(&users);
        return shell_error(sh, "umausers: no memory");
    }
    for (size_t i = 0; i < users.lks_group_count; i++)
        if (every || !users_is_small(&users.lks_groups[i]))
            print_user(sh, &users.lks_groups[i], each);
    leaks_fini(&users);
    return true;
}

/* --- ::ugrep --- */

struct grepping {
    struct shell *sh;
    const struct call *call;
    bool verbose;
    bool ok;
};

static bool
take_hit(void *arg, const struct grep_hit *hit)
{
    struct grepping *g = arg;

    if (shell_interrupted)
        g->ok = shell_error(g->sh, "interrupted");
    else if (call_feeds(g->call))
        g->ok = hit->hit_addr == 0 || shell_say_address(g->sh, hit->hit_addr);
    else if (hit->hit_addr == 0)
        printf("a register of thread %d\n", (int)hit->hit_thread);
    else if (!g->verbose)
        printf("%" PRIx64 "\n", hit->hit_addr);
    else {
        printf("%" PRIx64 ": %" PRIx64 "  ", hit->hit_addr, hit->hit_value);
        shell_print_whatis(g->sh, hit->hit_addr);
    }
    return g->ok;
}

static bool
dcmd_ugrep(struct shell *sh, const struct call *call)
{
    bool masked = false;
    bool inverse = false;
    uint64_t mask = UINT64_MAX;
    uint64_t unmasked = 0;
    uint64_t size = sh->sh_heap.heap_offsets.off_word;
    struct grep_options find = {.grp_value = call->call_addr, .grp_to = UINT64_MAX};
    struct grepping g = {sh, call, false, true};
    const struct dcmd_option options[] = {
        {'v', DCMD_FLAG, &g.verbose, NULL},    {'a', DCMD_VALUE, &find.grp_from, NULL},
        {'A', DCMD_VALUE, &find.grp_to, NULL}, {'d', DCMD_VALUE, &find.grp_distance, NULL},
        {'m', DCMD_VALUE, &mask, &masked},     {'M', DCMD_VALUE, &unmasked, &inverse},
        {'s', DCMD_VALUE, &size, NULL},        {0}};

    if (!dcmd_options(sh, call, options, 0, NULL))
        return false;
    if ((masked && inverse) || (find.grp_distance != 0 && (masked || inverse)))
        return shell_error(sh, "ugrep: give one of -d, -m and -M");
    if (size != 1 && size != 2 && size != 4 && size != 8)
        return shell_error(sh, "ugrep: -s takes 1, 2, 4 or 8");
    find.grp_mask = inverse ? ~unmasked : mask;
    find.grp_size = (unsigned)size;
    if (grep_target(&sh->sh_heap, &find, take_hit, &g) != 0)
        return shell_error(sh, "ugrep: no memory");
    return g.ok;
}

const struct dcmd dcmds_look[] = {
    {"umem_verify", "", "check that caches, or the one at an address, are not corrupt",
     "  Of all caches whether they are clean; of one each problem. What can be seen depends on\n"
     "  what was written into buffers: UMEM_DEBUG=guards.\n",
     "::umem_verify\n::walk umem_cache | ::umem_verify ! grep corrupted || echo clean",
     dcmd_umem_verify, DCMD_HEAP},
    {"umausers", "[-ef] [cache ...]", "who has the memory: live buffers by allocating stack",
     "  Of all caches, or of those that are named. Small groups are left out.\n"
     "    -e   every group\n"
     "    -f   each buffer, instead of their sum\n",
     "::umausers -e\n::umausers -ef umem_alloc_48", dcmd_umausers, DCMD_HEAP | DCMD_NONE},
    {"ugrep", "[-v] [-a from] [-A to] [-d distance | -m mask | -M mask] [-s size]",
     "look for a value in all memory and in registers",
     "  The value is the address before it: main::ugrep.\n"
     "    -v            what was found, and what it lies in\n"
     "    -a from       only from this address on\n"
     "    -A to         only below this address\n"
     "    -d distance   also values up to so much more\n"
     "    -m mask       compare these bits\n"
     "    -M mask       compare all bits but these\n"
     "    -s size       look at so many bytes: 1, 2, 4 or 8\n",
     "main::ugrep\n::walk leakbuf | ::ugrep -v -d 40", dcmd_ugrep,
     DCMD_HEAP | DCMD_FEEDS | DCMD_ADDRESS},
    {0}};
